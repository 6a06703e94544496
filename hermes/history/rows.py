"""Slots of the ring as rows of 64-bit words, and tables made of such rows.

A slot's words are sequence, epoch, frame, time, fingerprint (two), wall time and padding, then the cells. A table
keeps the words it wants; its dtype says how each is to be read, so that no value is ever converted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hermes.backplane.layout import CELL, SLOT_HEADER
from hermes.backplane.signals import Signal, SignalType

Words = npt.NDArray[np.uint64]
"""Rows of words, shape (rows, words)."""

Table = npt.NDArray[Any]
"""A structured array, shape (rows,)."""

SEQUENCE, EPOCH, FRAME, TIME = range(4)
"""Words of a slot; TIME is an f64 in seconds of simulation time."""

FINGERPRINT = 4
"""The first of the two words of a slot that hold its fingerprint."""

CELLS = SLOT_HEADER // CELL
"""The word of a slot that is its first cell."""

_FORMATS = {
    SignalType.F64: "<f8",
    SignalType.F32: "<f4",
    SignalType.I64: "<i8",
    SignalType.I32: "<i4",
    SignalType.BOOL: "?",
}


class Place(NamedTuple):
    """Where a published frame stands: its sequence, its epoch, its number in it."""

    sequence: int
    epoch: int
    frame: int


def slot_words(slots: bytes, stride: int) -> Words:
    """Return copied slots of `stride` bytes each as rows of words."""
    return np.frombuffer(slots, "<u8").reshape(-1, stride // CELL)


def place_of(row: Words) -> Place:
    """Return where one slot's frame stands; `row` has shape (words,)."""
    return Place(int(row[SEQUENCE]), int(row[EPOCH]), int(row[FRAME]))


def one_per_frame(slots: Words) -> Words:
    """Return the last slot of each epoch and frame: a set publishes the same frame again, with the new value."""
    frames = slots[:, FRAME]
    repeated = frames[1:] == frames[:-1]
    if not repeated.any():
        return slots
    repeated &= slots[1:, EPOCH] == slots[:-1, EPOCH]
    kept: Words = slots[~np.append(repeated, False)]
    return kept


def table_dtype(signals: Sequence[Signal], *, with_epoch: bool) -> np.dtype[Any]:
    """Return the dtype of rows of words: epoch (u8) where wanted, frame (i8), time (f8, s), then the signals.

    Every field begins on a word of its own and has its signal's own type: f8, f4, i8, i4 or ?.
    """
    fields = [("epoch", "<u8")] if with_epoch else []
    fields += [("frame", "<i8"), ("time", "<f8")]
    fields += [(signal.qualified, _FORMATS[signal.type]) for signal in signals]
    names, formats = zip(*fields, strict=True)
    offsets = list(range(0, CELL * len(fields), CELL))
    spec: Any = {"names": names, "formats": formats, "offsets": offsets, "itemsize": CELL * len(fields)}
    dtype: np.dtype[Any] = np.dtype(spec)
    return dtype


def as_table(words: Words, dtype: np.dtype[Any]) -> Table:
    """Return contiguous rows of words as a structured array over the same memory that cannot be written."""
    table = words.view(dtype).reshape(len(words))
    table.flags.writeable = False
    return table
