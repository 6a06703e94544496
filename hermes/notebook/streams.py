"""What a page still lacks of a plot or a table, and the one message that brings it, for all of them together.

A message is a JSON header, which lists the blocks, and one piece of bytes, in which the blocks' bytes follow one
another. A plot's block is little-endian f64, column by column: time, then its signals. A table's block is the cells
of the newest frame, 8 bytes each. `js/src/blocks.js` reads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol

from hermes.backplane.signals import SignalType
from hermes.history.rows import Words
from hermes.notebook.thinning import bucket_size, thin

WINDOW_POINTS = 2000
"""Points of a signal within a plot's window; what a tick brings is never more."""

_NO_EPOCH = -1


class Block(NamedTuple):
    """One plot's or table's part of a message."""

    header: dict[str, Any]
    payload: bytes


class Rows(Protocol):
    """Where rows come from; see `hermes.history.feed.Feed.rows`."""

    def rows(self, signals: Sequence[int], epoch: int, since: int, last: int) -> tuple[int, Words]:
        """Return the current epoch and its newest rows."""


class Stream(Protocol):
    """What the hub asks of a plot's or a table's data."""

    def restart(self) -> None:
        """Let the next block bring everything."""

    def block(self, source: Rows) -> Block | None:
        """Return what has come since the block before, or None where nothing can be said."""


class PlotStream:
    """The points of one plot: all of its window at first, then only what follows.

    `after` and `epoch` in a block's header say where the receiver must be for the block to continue what it has.
    """

    def __init__(self, name: str, indices: Sequence[int], types: Sequence[SignalType], frames: int) -> None:
        """Prepare for the signals at these indices and a window of so many frames."""
        self._name = name
        self._indices, self._types = list(indices), list(types)
        self._frames = frames
        self.bucket = bucket_size(frames, WINDOW_POINTS)
        self.restart()

    def restart(self) -> None:
        """Let the next block bring the whole window."""
        self._epoch, self._until = _NO_EPOCH, -1

    def block(self, source: Rows) -> Block | None:
        """Return the points since the block before, and again those that have changed since."""
        epoch, words = source.rows(self._indices, self._epoch, self._until + 1, self._frames)
        if not len(words):
            return None
        follows = epoch == self._epoch and int(words[0, 0]) <= self._until + self.bucket
        points = thin(words, self._types, self.bucket)
        header = {
            "id": self._name,
            "full": not follows,
            "epoch": epoch,
            "after": self._until if follows else -1,
            "until": points.until,
            "points": points.columns.shape[1],
            "open": points.open,
        }
        self._epoch, self._until = epoch, points.until
        return Block(header, points.columns.astype("<f8", copy=False).tobytes())


class TableStream:
    """The newest values of one table."""

    def __init__(self, name: str, indices: Sequence[int]) -> None:
        """Prepare for the signals at these indices."""
        self._name = name
        self._indices = list(indices)

    def restart(self) -> None:
        """Do nothing: each block brings everything."""

    def block(self, source: Rows) -> Block | None:
        """Return the cells of the newest frame."""
        epoch, words = source.rows(self._indices, _NO_EPOCH, 0, 0)
        if not len(words):
            return None
        frame, time = int(words[-1, 0]), float(words[-1:].view("<f8")[0, 1])
        header = {"id": self._name, "epoch": epoch, "frame": frame, "time": time}
        return Block(header, words[-1, 2:].astype("<u8", copy=False).tobytes())


def message(number: int, blocks: Iterable[Block]) -> tuple[dict[str, Any], bytes]:
    """Return header and bytes of the message with this number."""
    chosen = list(blocks)
    header = {"number": number, "blocks": [{**block.header, "bytes": len(block.payload)} for block in chosen]}
    return header, b"".join(block.payload for block in chosen)
