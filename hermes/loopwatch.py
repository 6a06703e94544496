"""How often a session's loop was kept from running, and for how long: the beat of a timer that is late says it.

Arithmetic over the instants of one clock, with a thin shell that sets the timer. A synchronous call of the session's
own re-enters the loop and lets it beat, so it is no stall.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import NamedTuple

STALL_SECONDS = 0.1
"""A loop that is kept from running for longer has stalled."""

BEAT_SECONDS = 0.05
"""How often the loop is to beat; by so much a stall may have been longer than it is known to be."""

TOLD_SECONDS = 1.0
"""A stall from which on it is worth a line in the log, where somebody watches."""


class Stalls(NamedTuple):
    """How `many` times a loop was kept from running for over `STALL_SECONDS`, and for how many seconds at worst."""

    many: int = 0
    longest: float = 0.0

    def after(self, late: float) -> Stalls:
        """Return what they are after a beat that came so many seconds late."""
        return Stalls(self.many + 1, max(self.longest, late)) if late > STALL_SECONDS else self

    def hint(self, cause: str) -> str:
        """Return them as a sentence that says what they did, with what is known of their cause."""
        many = "1 stall of" if self.many == 1 else f"{self.many} stalls, the longest"
        return f"{many} {self.longest:.1f} s: {cause}"


class LoopWatch:
    """Watches the loop that `start` is called on, until stopped; `on_stall` gets the seconds of each stall."""

    def __init__(self, on_stall: Callable[[float], None]) -> None:
        self.stalls = Stalls()
        self.on_thread = False  # whether the loop runs elsewhere than on the main thread
        self._on_stall = on_stall
        self._next: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to beat."""
        self.on_thread = threading.current_thread() is not threading.main_thread()
        loop = asyncio.get_running_loop()
        self._next = loop.call_later(BEAT_SECONDS, self._beat, loop, loop.time() + BEAT_SECONDS)

    def stop(self) -> None:
        """Beat no more; what has been counted stays."""
        if self._next is not None:
            self._next.cancel()

    def _beat(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        late = loop.time() - due
        before, self.stalls = self.stalls, self.stalls.after(late)
        self.start()
        if self.stalls is not before:
            self._on_stall(late)
