"""Every frame of some signals from one moment on, through resets, until stopped.

Rows are put into blocks, each as large as all before it, up to a bound. So no row is moved as the recording grows: one
array that doubles would hold up the session's loop for most of a second at half a gigabyte.
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import RLock
from typing import TYPE_CHECKING, Protocol

import numpy as np

from hermes.backplane.layout import CELL
from hermes.backplane.signals import SignalRegistry
from hermes.history.missed import Epochs, Missed, MissedLog
from hermes.history.rows import CELLS, EPOCH, FRAME, TIME, Place, Table, Words, as_table, table_dtype
from hermes.history.table import dataframe, field, summary, table_html, units_of

if TYPE_CHECKING:
    import pandas as pd

_FEWEST_ROWS = 64
_BLOCK_BYTES = 64 * 1024 * 1024
"""Large enough for the system to give huge pages: with 16 MiB, most of the cost was page faults."""
_HEAD = TIME - EPOCH + 1


class Source(Protocol):
    """What feeds recordings."""

    lock: RLock

    def drain(self) -> None:
        """Hand on what has been committed since; nothing where the session is closed."""

    def detach(self, recording: Recording) -> None:
        """Hand nothing on to this recording any more."""


class Recording:
    """A growing table of frames, as `Session.record` returns it; a context manager that stops at its end.

    It begins with the frame that was the newest when it started. It takes 8 bytes per signal and frame
    (and 24 per frame) until `stop`. What it has may be read at any time and on any thread, also after the session is
    closed. Letting go of it ends it.
    """

    def __init__(
        self, source: Source, registry: SignalRegistry, names: Sequence[str], epochs: Epochs, *, lossless: bool
    ) -> None:
        """Prepare; the source then calls `take` and `miss`, under its lock."""
        signals = [registry[name] for name in names]
        self._source = source
        self._dtype = table_dtype(signals, with_epoch=True)
        self._words = [*range(EPOCH, TIME + 1), *(CELLS + registry.index(name) for name in names)]
        self._contiguous = self._words[_HEAD:] == list(range(CELLS, CELLS + len(names)))
        self._full: list[Words] = []
        self._block = self._empty(0)
        self._used = self._count = 0
        self._log = MissedLog(epochs)
        self.lossless = lossless
        self.stopped = False
        self.units = units_of(signals)

    @property
    def signals(self) -> tuple[str, ...]:
        """The qualified names of the signals, in the order of the fields."""
        return tuple(self.units)

    @property
    def data(self) -> Table:
        """The frames so far, as a structured array that cannot be written: one row per epoch and frame.

        Fields: `epoch` (u8, counts resets from 0), `frame` (i8), `time` (f8, seconds of simulation time), then one per
        signal, with its own type. It is a copy while the recording goes on and the recording's own memory after.
        """
        with self._source.lock:
            self._source.drain()
            rows = np.concatenate([*self._full, self._block[: self._used]])
            if self.stopped:
                self._full, self._block, self._used = [rows], self._empty(0), 0
            return as_table(rows, self._dtype)

    @property
    def missed(self) -> Missed:
        """The frames that were lost before they could be copied; always none where it is lossless."""
        with self._source.lock:
            self._source.drain()
            return self._log.missed()

    def stop(self) -> None:
        """Take what has been committed until now, and then no more. Idempotent; a lossless one frees the engine."""
        with self._source.lock:
            self._source.drain()
            self._source.detach(self)
            self.stopped = True

    def dataframe(self) -> pd.DataFrame:
        """Return a pandas DataFrame: `epoch` and a column per signal, indexed by time (s), with ``attrs["units"]``.

        Raises HermesError, naming what to install, where pandas is missing.
        """
        return dataframe(self.data, self.units, ["epoch"])

    def __len__(self) -> int:
        """Return the number of frames so far."""
        with self._source.lock:
            self._source.drain()
            return self._count

    def __bool__(self) -> bool:
        """Return True: a recording without a frame is a recording."""
        return True

    def __getitem__(self, name: str) -> Table:
        """Return one field: a signal's values, `epoch`, `frame` or `time`; raises KeyError."""
        return field(self.data, name)

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return self._title(self.data)

    def _repr_html_(self) -> str:
        data = self.data
        return table_html(self._title(data), data, self.units)

    def _title(self, data: Table) -> str:
        state = ("stopped" if self.stopped else "going on") + (", lossless" if self.lossless else "")
        return f"<Recording ({state}): {summary(data, self.units)}, {self.missed!r}>"

    # -- what its source calls, under the lock

    def take(self, slots: Words) -> None:
        """Take slots, at least one, in order, one of each epoch and frame; a frame that is here already is replaced."""
        newest = self._block[self._used - 1 : self._used, : FRAME - EPOCH + 1]
        if len(newest) and (newest == slots[0, EPOCH : FRAME + 1]).all():
            self._used -= 1
            self._count -= 1
        while len(slots):
            if self._used == len(self._block):
                self._begin_block()
            room = self._block[self._used : self._used + len(slots)]
            self._fill(room, slots[: len(room)])
            self._used += len(room)
            self._count += len(room)
            slots = slots[len(room) :]

    def miss(self, before: Place, after: Place) -> None:
        """Take in that every slot between two published frames is lost."""
        self._log.note(before, after)

    def _fill(self, room: Words, slots: Words) -> None:
        if self._contiguous:
            room[:, :_HEAD] = slots[:, EPOCH : TIME + 1]
            room[:, _HEAD:] = slots[:, CELLS : CELLS + len(self._words) - _HEAD]
        else:
            room[:] = slots[:, self._words]

    def _begin_block(self) -> None:
        most = _BLOCK_BYTES // (CELL * len(self._words))
        block = self._empty(max(_FEWEST_ROWS, min(self._count, most)))
        if self._used:
            self._full.append(self._block)
        self._block, self._used = block, 0

    def _empty(self, rows: int) -> Words:
        return np.empty((rows, len(self._words)), np.uint64)
