"""When a frame may end in real time: arithmetic against absolute deadlines, over a clock that the caller reads.

Frame `k` after an anchor is due `k` exact frame times later, so rounding never adds up. After an overrun at most
`CATCH_UP` frames run late without waiting; beyond that the clock re-anchors and the lost time stays lost.
"""

from __future__ import annotations

from hermes.frametime import FrameClock

CATCH_UP = 3


class Pacer:
    """Deadlines of consecutive frames; all instants are nanoseconds of one monotonic clock."""

    def __init__(self, clock: FrameClock) -> None:
        self._clock = clock
        self._anchor_ns = 0
        self._frames = 0

    def anchor(self, now_ns: int) -> None:
        """Begin anew at `now_ns`: after start, pause, step, reset and resume."""
        self._anchor_ns = now_ns
        self._frames = 0

    def next_deadline(self, now_ns: int) -> int:
        """Count one computed frame and return the instant at which it is due; in the past when it is late."""
        self._frames += 1
        deadline = self._anchor_ns + self._clock.time_ns(self._frames)
        allowed = self._clock.time_ns(CATCH_UP)
        if now_ns - deadline > allowed:
            self._anchor_ns += now_ns - deadline - allowed
            deadline = now_ns - allowed
        return deadline
