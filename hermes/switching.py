"""How quickly threads of this process give way to each other, while a session lives on one of them."""

from __future__ import annotations

import sys
import threading


class QuickSwitches:
    """While one or more have begun, a thread that computes in Python gives way after 1 ms and not after 5.

    Every send and every wait of another thread costs that thread so long: with 5 ms, telemetry from a session's own
    thread halves its rate beside a cell that computes. It costs such a cell some percent. Where somebody has chosen an
    interval of their own meanwhile, that stays.
    """

    SECONDS = 0.001

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open = 0
        self._before = 0.0
        self._ours = 0.0

    def begin(self) -> None:
        """Count one more; may be called on any thread, as `end`."""
        with self._lock:
            self._open += 1
            if self._open == 1:
                self._before = sys.getswitchinterval()
                if self._before > self.SECONDS:
                    sys.setswitchinterval(self.SECONDS)
                self._ours = sys.getswitchinterval()

    def end(self) -> None:
        """Count one less; after the last, the interval is what it was."""
        with self._lock:
            self._open -= 1
            if self._open == 0 and sys.getswitchinterval() == self._ours != self._before:
                sys.setswitchinterval(self._before + 5e-7)  # it counts whole microseconds, and rounds down


QUICK_SWITCHES = QuickSwitches()
