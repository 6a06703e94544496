"""Which points of a time series are drawn: all while they fit, the least and the greatest of each bucket beyond.

A bucket holds the frames whose numbers lie between two multiples of its size, so it does not depend on when it is
looked at: points that were sent stay as they are while the window slides. Only the newest bucket still changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hermes.backplane.layout import CELL
from hermes.backplane.signals import DTYPES, SignalType
from hermes.history.rows import Words

Floats = npt.NDArray[np.float64]

_HEAD = 2
"""Words of a row before its cells: frame and time."""


class Points(NamedTuple):
    """Points to draw: `columns` has shape (1 + signals, points), the first is time in seconds.

    The last `open` points are those of the newest bucket, which later frames still change; `until` is the last frame
    before it.
    """

    columns: Floats
    open: int
    until: int


def bucket_size(frames: int, points: int) -> int:
    """Return how many frames share a bucket so that a window of `frames` has at most about `points` points."""
    return 1 if frames <= points else -(-2 * frames // points)


def as_floats(words: Words, types: Sequence[SignalType]) -> Floats:
    """Return time and values of rows of frame, time and cells, shape (1 + signals, rows); infinite ones become NaN."""
    values = np.empty((1 + len(types), len(words)), np.float64)
    values[0] = words.view("<f8")[:, 1]
    for kind in dict.fromkeys(types):
        dtype = DTYPES[kind]
        places = np.array([place for place, found in enumerate(types) if found is kind])
        items = words.view(dtype)[:, (places + _HEAD) * (CELL // dtype.itemsize)]
        values[1 + places] = items.T
    values[np.isinf(values)] = np.nan
    return values


def thin(words: Words, types: Sequence[SignalType], size: int) -> Points:
    """Return the points of rows, at least one, in order, for buckets of `size` frames.

    A bucket of several rows gives two points, at its first and at its last time: each signal's least and greatest
    value, in the order in which it rose or fell. NaN is left out where the bucket has any number.
    """
    frames = words[:, 0].astype(np.int64)
    values = as_floats(words, types)
    until = int(frames[-1]) // size * size - 1
    if size == 1:
        return Points(values, 1, until)
    starts = np.flatnonzero(np.diff(frames // size, prepend=-1))
    ends = np.append(starts[1:], len(frames)) - 1
    pairs = np.empty((len(values), len(starts), 2))
    with np.errstate(invalid="ignore"):
        least, greatest = (function.reduceat(values, starts, axis=1) for function in (np.fmin, np.fmax))
        falls = values[:, starts] > values[:, ends]
    pairs[:, :, 0] = np.where(falls, greatest, least)
    pairs[:, :, 1] = np.where(falls, least, greatest)
    several = np.stack([np.ones(len(starts), np.bool_), ends > starts], axis=1)
    return Points(pairs[:, several], 1 + int(several[-1, 1]), until)
