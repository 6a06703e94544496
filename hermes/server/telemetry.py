"""Telemetry frames: one committed frame, the subscribed signals as f64, in the subscriber's order.

Binary, little-endian: magic u32, frame u64, time f64 (s), count u32, then count x f64. The encoder looks every name
up once, when it is made; encoding is a copy of bytes where the signals lie next to each other as f64, and a gather
by NumPy otherwise. Nothing happens per signal in Python.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from hermes.backplane.layout import CELL
from hermes.backplane.ring import Snapshot
from hermes.backplane.shm import SharedMemoryManager
from hermes.backplane.signals import DTYPES, SignalType


class TelemetryEncoder:
    """Encodes the signals of one subscription; `signals` are qualified names (raises UnknownSignal)."""

    MAGIC = 0x48455254
    HEADER_FORMAT = "<I Q d I"
    HEADER_SIZE = struct.calcsize(HEADER_FORMAT)

    _header = struct.Struct(HEADER_FORMAT)

    def __init__(self, shm: SharedMemoryManager, signals: Sequence[str]) -> None:
        self._shm = shm
        self.signals = tuple(signals)
        indices = [shm.registry.index(name) for name in signals]
        types = [shm.registry.at(index).type for index in indices]
        first = indices[0] if indices else 0
        contiguous = indices == list(range(first, first + len(indices)))
        plain = all(kind is SignalType.F64 for kind in types)
        self._slice = slice(CELL * first, CELL * (first + len(indices))) if contiguous and plain else None
        self._gathers = [_gather(kind, indices, types) for kind in dict.fromkeys(types)]

    def encode(self) -> bytes:
        """Return the newest committed frame as a telemetry message."""
        return self.encode_snapshot(self._shm.snapshot())

    def encode_snapshot(self, snapshot: Snapshot) -> bytes:
        """Return one committed frame as a telemetry message."""
        header = self._header.pack(self.MAGIC, snapshot.frame, snapshot.time, len(self.signals))
        return header + (snapshot.cells[self._slice] if self._slice is not None else self._gathered(snapshot.cells))

    def _gathered(self, cells: bytes) -> bytes:
        values = np.empty(len(self.signals), "<f8")
        for places, items, dtype in self._gathers:
            values[places] = np.frombuffer(cells, dtype)[items]
        return values.tobytes()


def _gather(
    kind: SignalType, indices: Sequence[int], types: Sequence[SignalType]
) -> tuple[np.ndarray[tuple[int], np.dtype[np.intp]], np.ndarray[tuple[int], np.dtype[np.intp]], np.dtype[Any]]:
    """Return where the signals of one type go, which items of the cells they are, and their dtype."""
    places = [place for place, found in enumerate(types) if found is kind]
    dtype = DTYPES[kind]
    per_cell = CELL // dtype.itemsize
    items = [indices[place] * per_cell for place in places]
    return np.array(places, np.intp), np.array(items, np.intp), dtype


def decode_telemetry(message: bytes) -> tuple[int, float, np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """Return frame, time in seconds and values of a telemetry message.

    Raises ValueError where magic or length are not those of one.
    """
    if len(message) < TelemetryEncoder.HEADER_SIZE:
        raise ValueError(f"{len(message)} bytes are too short for telemetry")
    magic, frame, time, count = struct.unpack_from(TelemetryEncoder.HEADER_FORMAT, message)
    if magic != TelemetryEncoder.MAGIC or len(message) != TelemetryEncoder.HEADER_SIZE + 8 * count:
        raise ValueError(f"not telemetry: magic {magic:#x}, {len(message)} bytes for {count} values")
    return frame, time, np.frombuffer(message, "<f8", offset=TelemetryEncoder.HEADER_SIZE)
