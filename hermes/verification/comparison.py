"""What is handed the frames of one run: the first run's are kept, every other's are compared with those.

Both want every frame from 0 on and each as it was published last (a `set` publishes a frame again). A frame that was
lost on the way, or one that cannot be kept, ends the judgement of that run; nothing is guessed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np

from hermes.errors import HermesError
from hermes.history.rows import EPOCH, FRAME, Place, Words
from hermes.verification.reference import PRINT_WORDS, Reference, rows_of


class Witness(ABC):
    """Takes the frames of one run, one after the other; `over` is called when no more are wanted.

    `frames` counts the frames that were judged, `fingerprint` is the last one's, `error` why they cannot be judged.
    """

    def __init__(self, reference: Reference, *, lossless: bool, over: Callable[[], None]) -> None:
        self.lossless = lossless
        self.stopped = False
        self.frames = 0
        self.fingerprint = ""
        self.error: HermesError | None = None
        self._reference = reference
        self._over = over
        self._newest: Words | None = None

    def take(self, slots: Words) -> None:
        """Take slots, at least one, in order, one of each epoch and frame; the first may replace the last before."""
        newest, self._newest = self._newest, slots[-1:].copy()
        if newest is not None and (newest[0, EPOCH : FRAME + 1] != slots[0, EPOCH : FRAME + 1]).any():
            self._settle(newest)
        if len(slots) > 1:
            self._settle(slots[:-1])

    def miss(self, before: Place, after: Place) -> None:
        """Take in that every slot between two published frames is lost: the run cannot be judged."""
        self._end(HermesError(message=f"cannot judge: frames between {before.frame} and {after.frame} were missed"))

    def finish(self, frames: int) -> None:
        """Judge the newest frame, too; `frames` is how many there are to be."""
        newest, self._newest = self._newest, None
        if newest is not None:
            self._settle(newest)
        if not self.stopped and self.frames != frames:
            self._end(HermesError(message=f"cannot judge: {self.frames} of {frames} frames were seen"))

    def _settle(self, slots: Words) -> None:
        """Judge frames that nothing replaces any more."""
        if self.stopped:
            return
        rows = rows_of(slots, len(self._reference.signals))
        try:
            self._judge(rows)
        except HermesError as error:
            self._end(error)
            return
        self.frames += len(rows)
        self.fingerprint = rows[-1, :PRINT_WORDS].tobytes().hex()

    @abstractmethod
    def _judge(self, rows: Words) -> None:
        """Do with these frames what this run is for; raises HermesError where that cannot be done."""

    def _end(self, error: HermesError | None = None) -> None:
        if not self.stopped:
            self.stopped, self.error = True, error
            self._over()


class Keeper(Witness):
    """Keeps the frames of the first run."""

    def _judge(self, rows: Words) -> None:
        self._reference.append(rows)


class Comparer(Witness):
    """Compares the frames of another run with those that were kept, up to the first that differs.

    `differing` is that frame, then, with its rows as kept and as here.
    """

    differing: tuple[int, Words, Words] | None = None

    def _judge(self, rows: Words) -> None:
        kept = self._reference.rows(self.frames, len(rows))
        if len(kept) < len(rows):
            raise HermesError(message=f"cannot judge: the first run has no frame {self.frames + len(kept)}")
        unequal = (rows != kept).any(axis=1)
        if unequal.any():
            at = int(np.argmax(unequal))
            self.differing = (self.frames + at, kept[at].copy(), rows[at].copy())
            self._end()
