"""Whether waiting workers spin or sleep, where nothing is paced: whichever makes more frames, measured as the run goes.

Spinning, and yielding to whoever has work, is several times faster while the processors have nothing else to do. Beside
a busy process, a notebook cell that computes say, every yield gives away a whole time slice, and sleeping is the faster
of the two. Neither is guessed: both are tried again and again for a few milliseconds. What the modules compute does
not depend on it.
"""

from __future__ import annotations

SPIN_NS = 1_000_000
"""How long either side spins before it sleeps after all."""

PROBE_NS = 2_000_000
"""How long the other way is tried at a time."""

TERM_NS = 50_000_000
"""How long the better way is kept before the other is tried again; longer each time that it loses again."""

LONGEST_TERM_NS = 1_600_000_000

TRIALS_APART = 20
"""A term lasts at least as many times as long as the trial before it, where a single frame is longer than a term."""


class Handover:
    """The choice for the next burst of frames; `spin_ns` is 0 for sleeping."""

    def __init__(self) -> None:
        self.spin_ns = SPIN_NS
        self._probing = False
        self._frames = 0
        self._spent_ns = 0
        self._cost_ns = 0.0
        self._left_ns = TERM_NS
        self._term_ns = TERM_NS

    def note(self, frames: int, spent_ns: int) -> None:
        """Take in a burst that was made as chosen, and choose for the next."""
        self._frames += frames
        self._spent_ns += spent_ns
        self._left_ns -= spent_ns
        if self._left_ns <= 0 and self._frames:
            self._choose(self._spent_ns / self._frames)
            self._frames = self._spent_ns = 0

    def _choose(self, cost_ns: float) -> None:
        """End a term by trying the other way, or a trial by taking the better one for a term."""
        if not self._probing:
            self._probing, self._cost_ns, self._left_ns = True, cost_ns, PROBE_NS
            self._switch()
            return
        self._probing = False
        if cost_ns < self._cost_ns:
            self._term_ns = TERM_NS
        else:
            self._switch()
            self._term_ns = min(2 * self._term_ns, LONGEST_TERM_NS)
        self._left_ns = max(self._term_ns, TRIALS_APART * self._spent_ns)

    def _switch(self) -> None:
        self.spin_ns = SPIN_NS - self.spin_ns
