"""The frames of the current epoch within a budget of bytes: every one while they fit, fewer of the older ones beyond.

One half of the budget holds the newest frames, every one of them. What leaves it goes to the other half, which holds
the frames whose number a stride divides; the stride begins at 1 and doubles whenever that half is full. So a frame is
copied once, or twice when it gets old, and a doubling copies at most a quarter of the budget.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from hermes.backplane.layout import CELL
from hermes.history.rows import CELLS, EPOCH, FRAME, TIME, Words

HISTORY_BYTES = 64 * 1024 * 1024
"""What the history of a session may take."""

_FEWEST = 16
"""Rows that are kept however large they are."""

_HEAD = TIME - FRAME + 1


class Decimated(NamedTuple):
    """Of the frames from `first` to `last` (inclusive), only those are kept whose number `stride` divides."""

    first: int
    last: int
    stride: int


class Store:
    """The rows: frame, time, then every signal's cell. Their epoch is that of the newest slot taken."""

    def __init__(self, signals: int, budget: int = HISTORY_BYTES) -> None:
        """Prepare for `signals` cells a row and `budget` bytes; memory is touched as rows arrive."""
        self._signals = signals
        width = _HEAD + signals
        rows = max(_FEWEST, budget // (CELL * width))
        self._recent: Words = np.empty((rows - rows // 2, width), np.uint64)
        self._older: Words = np.empty((rows // 2, width), np.uint64)
        self.clear(0)

    def clear(self, epoch: int) -> None:
        """Forget every row, for the frames of a new epoch."""
        self.epoch = epoch
        self._start = self._count = self._thinned = 0
        self._stride = 1

    def __len__(self) -> int:
        """Return the number of rows."""
        return self._thinned + self._count

    def take(self, slots: Words) -> None:
        """Take slots, at least one, in order, one of each epoch and frame; a frame that is here already is replaced."""
        epoch = int(slots[-1, EPOCH])
        if epoch != self.epoch:
            self.clear(epoch)
        if int(slots[0, EPOCH]) != epoch:
            slots = slots[slots[:, EPOCH] == epoch]
        if self._count and self._recent[self._at(self._count - 1), 0] == slots[0, FRAME]:
            self._count -= 1
        for first in range(0, len(slots), len(self._recent)):
            self._put(slots[first : first + len(self._recent)])

    def decimated(self) -> Decimated | None:
        """Return where frames were left out; None where nowhere."""
        if self._stride == 1 or not self._thinned:
            return None
        return Decimated(int(self._older[0, 0]), int(self._recent[self._start, 0]) - 1, self._stride)

    def newest_frame(self) -> int:
        """Return the number of the newest frame; -1 where there is none."""
        return int(self._recent[self._at(self._count - 1), 0]) if self._count else -1

    def select(self, signals: Sequence[int], since: int) -> Words:
        """Return frame, time and the cells at these indices, of the frames from number `since` on."""
        pieces = [self._older[: self._thinned], *self._pieces(0, self._count)]
        pieces = [piece[int(np.searchsorted(piece[:, 0], max(0, since))) :] for piece in pieces]
        everything = list(signals) == list(range(self._signals))
        columns = [*range(_HEAD), *(index + _HEAD for index in signals)]
        chosen: Words = np.empty((sum(map(len, pieces)), len(columns)), np.uint64)
        at = 0
        for piece in pieces:
            chosen[at : at + len(piece)] = piece if everything else piece[:, columns]
            at += len(piece)
        return chosen

    def _at(self, number: int) -> int:
        return (self._start + number) % len(self._recent)

    def _pieces(self, first: int, count: int) -> Iterator[Words]:
        """Return `count` places for recent rows, from the one numbered `first` on, in one piece or two."""
        place = self._at(first)
        together = min(count, len(self._recent) - place)
        yield self._recent[place : place + together]
        yield self._recent[: count - together]

    def _put(self, slots: Words) -> None:
        self._retire(max(0, self._count + len(slots) - len(self._recent)))
        at = 0
        for piece in self._pieces(self._count, len(slots)):
            piece[:, :_HEAD] = slots[at : at + len(piece), FRAME : TIME + 1]
            piece[:, _HEAD:] = slots[at : at + len(piece), CELLS : CELLS + self._signals]
            at += len(piece)
        self._count += len(slots)

    def _retire(self, count: int) -> None:
        """Move the oldest of the recent rows to the older half, as far as its stride keeps them."""
        for piece in self._pieces(0, count):
            kept = self._thin(piece)
            while self._thinned + len(kept) > len(self._older):
                self._stride *= 2
                older = self._thin(self._older[: self._thinned])
                self._thinned = len(older)
                self._older[: self._thinned] = older
                kept = self._thin(kept)
            self._older[self._thinned : self._thinned + len(kept)] = kept
            self._thinned += len(kept)
        self._start = self._at(count)
        self._count -= count

    def _thin(self, rows: Words) -> Words:
        kept: Words = rows[rows[:, 0] % self._stride == 0]
        return kept
