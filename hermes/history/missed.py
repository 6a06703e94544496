"""Frames that the ring had lost before they were copied: named by ranges, per epoch, and counted.

The slots before and after a gap say which frames are missing within an epoch. Where a reset lies in the gap, only the
engine's journal says how far the epoch before it went; until that has been heard, the number of lost slots bounds it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from hermes.history.rows import Place

_RANGES = 4096
"""Ranges from which on the older ones are joined in pairs."""

_SHOWN = 4


class MissedRange(NamedTuple):
    """`frames` frames of an epoch are missing from `first` to `last` (inclusive).

    That is all of them, unless thousands of ranges had to be joined: then some frames between were kept.
    """

    epoch: int
    first: int
    last: int
    frames: int

    def __str__(self) -> str:
        some = "" if self.frames == self.last - self.first + 1 else f" ({self.frames} of them)"
        return f"{self.first}-{self.last}{some} of epoch {self.epoch}"


class Missed:
    """Ranges of missed frames, in the order of the run. It is false where nothing is missing."""

    def __init__(self, ranges: Iterable[MissedRange]) -> None:
        self.ranges = tuple(ranges)

    @property
    def count(self) -> int:
        """How many frames are missing."""
        return sum(one.frames for one in self.ranges)

    def __len__(self) -> int:
        """Return the number of ranges."""
        return len(self.ranges)

    def __iter__(self) -> Iterator[MissedRange]:
        """Iterate over the ranges."""
        return iter(self.ranges)

    def __repr__(self) -> str:
        if not self.ranges:
            return "no frame missed"
        more = f" and {len(self) - _SHOWN} ranges more" if len(self) > _SHOWN else ""
        return f"{self.count} frames missed: {', '.join(map(str, self.ranges[:_SHOWN]))}{more}"


class Epochs:
    """The last frame of every epoch that a reset has ended, as the engine reports it."""

    def __init__(self) -> None:
        self.ends: list[int] = []
        self._leaving = 0

    def hear(self, record: dict[str, Any]) -> None:
        """Take one of the engine's records: a reset is noted in the journal before, and is an event once done."""
        if record["type"] == "journal" and record["entry"]["verb"] == "reset":
            self._leaving = record["entry"]["frame"]
        elif record["type"] == "event" and record["event"] == "reset":
            self.ends.append(self._leaving)


class _Gap(NamedTuple):
    epoch: int
    first: int
    last: int
    to_its_end: bool
    """Whether the gap reaches to the end of the epoch; `last` then only bounds it."""


class MissedLog:
    """Gaps as they are found; at most some thousand ranges, beyond which the older ones are joined in pairs."""

    def __init__(self, epochs: Epochs, limit: int = _RANGES) -> None:
        self._epochs = epochs
        self._limit = limit
        self._joined: list[MissedRange] = []
        self._gaps: list[_Gap] = []

    def note(self, before: Place, after: Place) -> None:
        """Take in that every slot between two published frames is lost."""
        if before.epoch == after.epoch:
            self._add(_Gap(after.epoch, before.frame + 1, after.frame - 1, False))
            return
        bound = before.frame + after.sequence - before.sequence - 1 - after.frame
        self._add(_Gap(before.epoch, before.frame + 1, bound, True))
        for epoch in range(before.epoch + 1, after.epoch):
            self._add(_Gap(epoch, 0, -1, True))
        self._add(_Gap(after.epoch, 0, after.frame - 1, False))

    def missed(self) -> Missed:
        """Return what is missing, as far as the engine has been heard."""
        return Missed([*self._joined, *self._resolved(self._gaps)])

    def _add(self, gap: _Gap) -> None:
        if gap.first <= gap.last or gap.to_its_end:
            self._gaps.append(gap)
        if len(self._gaps) >= self._limit:
            settled, self._gaps = self._gaps[: -self._limit // 2], self._gaps[-self._limit // 2 :]
            self._joined += self._resolved(settled)
            if len(self._joined) >= self._limit:
                self._joined = list(_in_pairs(self._joined))

    def _resolved(self, gaps: Iterable[_Gap]) -> Iterator[MissedRange]:
        ends = self._epochs.ends
        for gap in gaps:
            last = ends[gap.epoch] if gap.to_its_end and gap.epoch < len(ends) else gap.last
            if last >= gap.first:
                yield MissedRange(gap.epoch, gap.first, last, last - gap.first + 1)


def _in_pairs(ranges: list[MissedRange]) -> Iterator[MissedRange]:
    """Join each two neighbours of the same epoch."""
    waiting: MissedRange | None = None
    for one in ranges:
        if waiting is None:
            waiting = one
        elif waiting.epoch == one.epoch:
            yield MissedRange(one.epoch, waiting.first, one.last, waiting.frames + one.frames)
            waiting = None
        else:
            yield waiting
            waiting = one
    if waiting is not None:
        yield waiting
