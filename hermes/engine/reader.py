"""A reader that must miss nothing: the engine keeps every slot that it has not drained yet, and waits if need be.

Only arithmetic over sequences. The engine asks before it commits; the owner answers `UNDRAINED` with how far it has
drained, and each answer makes a new value of this.
"""

from __future__ import annotations

from collections.abc import Callable


class LosslessReader:
    """A reader that has drained every slot up to a sequence, of a ring of `slots`.

    `tell` is called once, when half of the ring waits for the reader: early enough for it to drain while frames go on.
    """

    def __init__(self, slots: int, drained: int, tell: Callable[[], None]) -> None:
        self._most = slots - 2
        self._half = slots // 2
        self._drained = drained
        self._tell = tell
        self._told = False

    def room(self, committed: int) -> int:
        """Return how many frames may be committed after the sequence `committed`.

        Then all that is undrained may still be read: a reader counts as overtaken when K-1 slots were committed since.
        One slot is kept for what the configuration sets at the last of these frames.
        """
        undrained = committed - self._drained
        if undrained >= self._half and not self._told:
            self._told = True
            self._tell()
        return max(0, self._most - undrained)
