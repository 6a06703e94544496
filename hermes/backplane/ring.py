"""The history ring: one writer, any number of readers, no lock, no wait, no torn frame.

The engine fills slot ``sequence mod K`` and then advances the committed sequence. A reader copies the slot of a
committed sequence and checks that the sequence has not moved by K-1 meanwhile: only then could the writer have begun
to overwrite what was being copied. A plain read beside a flat-out writer tears half of its frames, and a seqlock's
reader starves; this does neither.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from hermes.backplane.layout import CELL, COMMITTED, SLOT_HEADER, Layout
from hermes.backplane.sync import ORDERED_STORES, fence

_SLOT = struct.Struct("<QQQd16sq")

PREFIX = 16
"""Bytes in front of the staged cells, for the fingerprint before them."""


class Snapshot(NamedTuple):
    """One committed frame, copied out of the ring.

    `sequence` counts commits from 1, `epoch` counts resets from 0, `time` is in simulation seconds, `wall_ns` is the
    monotonic clock at the commit, `fingerprint` the 16 bytes that identify the run up to here, `cells` 8 bytes per
    signal in index order.
    """

    sequence: int
    epoch: int
    frame: int
    time: float
    fingerprint: bytes
    wall_ns: int
    cells: bytes


class RingWriter:
    """The engine's side; `blocks` are the live cells in index order, as pieces of memory.

    What is staged lies in private memory, so that every copy in the frame path goes between views made beforehand, and
    what is hashed is what is published.
    """

    def __init__(self, memory: memoryview, layout: Layout, blocks: Sequence[memoryview]) -> None:
        self._memory = memory
        self._committed: memoryview = memory[COMMITTED : COMMITTED + 8].cast("Q")
        self._layout = layout
        self._sequence = 0
        self.staged = memoryview(bytearray(PREFIX + CELL * layout.signals))
        self._cells = self.staged[PREFIX:]
        place = 0
        self._pieces = []
        for block in blocks:
            if len(block):
                self._pieces.append((self._cells[place : place + len(block)], block))
            place += len(block)
        self._slots = [self._slot(number) for number in range(layout.slots)]

    def _slot(self, number: int) -> tuple[int, memoryview]:
        start = self._layout.ring + number * self._layout.stride
        return start, self._memory[start + SLOT_HEADER :][: CELL * self._layout.signals]

    def stage(self) -> memoryview:
        """Copy the live cells and return them behind `PREFIX` free bytes; readers do not see them yet."""
        for target, block in self._pieces:
            target[:] = block
        return self.staged

    def publish(self, epoch: int, frame: int, time: float, fingerprint: bytes = bytes(16), wall_ns: int = 0) -> None:
        """Commit what `stage` copied under this frame number."""
        sequence = self._sequence + 1
        at, cells = self._slots[sequence % self._layout.slots]
        cells[:] = self._cells
        _SLOT.pack_into(self._memory, at, sequence, epoch, frame, time, fingerprint, wall_ns)
        if not ORDERED_STORES:
            fence()
        self._committed[0] = self._sequence = sequence

    def release(self) -> None:
        """Give up every view of the memory."""
        views = (*(cells for _, cells in self._slots), *(block for _, block in self._pieces))
        for view in (*views, self._committed):
            view.release()


class RingReader:
    """Any other process's side; needs no more than a read-only mapping."""

    def __init__(self, memory: memoryview, layout: Layout) -> None:
        self._memory = memory
        self._committed: memoryview = memory[COMMITTED : COMMITTED + 8].cast("Q")
        self._layout = layout

    @property
    def committed(self) -> int:
        """The newest committed sequence; 0 before the first commit."""
        return int(self._committed[0])

    def newest(self) -> Snapshot | None:
        """Return the newest committed frame, or None before the first commit."""
        while sequence := self.committed:
            snapshot = self.read(sequence)
            if snapshot is not None:
                return snapshot
        return None

    def read(self, sequence: int) -> Snapshot | None:
        """Return the frame of a committed sequence, or None where the ring no longer holds it."""
        if not 0 < sequence <= self.committed:
            return None
        start = self._layout.ring + sequence % self._layout.slots * self._layout.stride
        copy = bytes(self._memory[start : start + SLOT_HEADER + CELL * self._layout.signals])
        fence()
        if self.committed - sequence >= self._layout.slots - 1:
            return None
        return Snapshot._make((*_SLOT.unpack_from(copy), copy[SLOT_HEADER:]))

    def stretch(self, first: int, limit: int) -> tuple[int, bytes]:
        """Copy up to `limit` slots from the sequence `first` on, as far as they lie together in the ring.

        Returns the sequence of the first whole slot, later than `first` where the ring has lost some, and the bytes of
        it and of those that follow it: none where nothing newer is committed, or where the writer has meanwhile
        overtaken all that was copied. The next call begins behind them either way, so it always gets further.
        """
        committed, slots, stride = self.committed, self._layout.slots, self._layout.stride
        first = max(first, committed - slots + 2)
        place = first % slots
        count = max(0, min(committed - first + 1, slots - place, limit))
        start = self._layout.ring + place * stride
        copy = bytes(self._memory[start : start + count * stride])
        fence()
        overtaken = min(count, max(0, self.committed - slots + 2 - first))
        return first + overtaken, copy[overtaken * stride :] if overtaken else copy

    def release(self) -> None:
        """Give up every view of the memory."""
        self._committed.release()
