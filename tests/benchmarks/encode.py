"""What a telemetry frame costs to encode, beside packing it from a read per name."""

from __future__ import annotations

import struct
import timeit
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import cycle, islice
from typing import Any

from hermes.backplane.ring import Snapshot
from hermes.backplane.shm import SharedMemoryManager
from hermes.backplane.signals import Signal, SignalRegistry, SignalType
from hermes.server.telemetry import TelemetryEncoder

COUNTS = (10, 100, 1_000, 10_000, 100_000)
GOALS = {1_000: {"goal_us": "<= 2", "goal_ratio": ">= 100"}}
SAMPLED = 500
"""Names that are read at most in one call of the per-name way; its time is scaled up to all."""

_REPEATS = 5


def encoding(counts: Sequence[int], seconds: float) -> list[dict[str, Any]]:
    """Return rows for subscriptions of so many signals, timing each thing for about `seconds` five times."""
    return [row for count in counts for row in rows_for(count, seconds)]


def rows_for(count: int, seconds: float) -> Iterator[dict[str, Any]]:
    """Yield the rows of subscriptions of `count` signals: contiguous, scattered, and of mixed types."""
    with closing(backplane(count, [SignalType.F64])) as shm:
        names = [signal.qualified for signal in shm.registry]
        row = {"subscription": "all", **encoder_times(shm, names, seconds)}
        yield row | per_name_times(shm, names, seconds, row["encode_snapshot_us"]) | GOALS.get(count, {})
    with closing(backplane(2 * count, [SignalType.F64])) as shm:
        names = [signal.qualified for signal in shm.registry][::-2]
        yield {"subscription": "every second, reversed", **encoder_times(shm, names, seconds)}
    with closing(backplane(count, list(SignalType))) as shm:
        names = [signal.qualified for signal in shm.registry]
        yield {"subscription": "all, five types", **encoder_times(shm, names, seconds)}


def backplane(count: int, types: Sequence[SignalType]) -> SharedMemoryManager:
    """Return a backplane of so many signals, their types in turn, with a committed frame."""
    zeros = {kind: False if kind is SignalType.BOOL else 0 for kind in types}
    turns = enumerate(islice(cycle(types), count))
    registry = SignalRegistry([Signal("m", f"x{number}", type=kind, initial=zeros[kind]) for number, kind in turns])
    shm = SharedMemoryManager.create(registry, history=8)
    shm.commit(0, 1, 0.01)
    return shm


def encoder_times(shm: SharedMemoryManager, names: Sequence[str], seconds: float) -> dict[str, Any]:
    """Return the time of one frame, in us: of a snapshot that is there already, and with its copy from the ring."""
    encoder, snapshot = TelemetryEncoder(shm, names), shm.snapshot()
    return {
        "signals": len(names),
        "encode_snapshot_us": microseconds(lambda: encoder.encode_snapshot(snapshot), seconds),
        "encode_us": microseconds(encoder.encode, seconds),
    }


def per_name_times(shm: SharedMemoryManager, names: Sequence[str], seconds: float, ours: float) -> dict[str, Any]:
    """Return the time of one frame packed from a read per name, in us, and how many times `ours` that is.

    Once with `get_signal`, which copies a whole frame for every value, and once as lean as Python can: a dictionary
    and an `unpack_from` in one frame.
    """
    chosen = names[:SAMPLED]
    header = struct.Struct("<IQdI")

    def pack(read: Callable[[str], Any]) -> bytes:
        values = [read(name) for name in chosen]
        return header.pack(TelemetryEncoder.MAGIC, 1, 0.01, len(chosen)) + struct.pack(f"<{len(chosen)}d", *values)

    lean = lean_reader(shm, shm.snapshot())
    scale = len(names) / len(chosen)
    get_signal = scale * microseconds(lambda: pack(shm.get_signal), seconds)
    unpacked = scale * microseconds(lambda: pack(lean), seconds)
    return {
        "get_signal_us": get_signal,
        "get_signal_ratio": get_signal / ours,
        "unpack_from_us": unpacked,
        "unpack_from_ratio": unpacked / ours,
    }


def lean_reader(shm: SharedMemoryManager, snapshot: Snapshot) -> Callable[[str], float]:
    """Return what reads one f64 of a frame by its name."""
    offsets = {signal.qualified: 8 * index for index, signal in enumerate(shm.registry)}
    cells, unpack_from = snapshot.cells, struct.Struct("<d").unpack_from

    def read(name: str) -> float:
        value: float = unpack_from(cells, offsets[name])[0]
        return value

    return read


def microseconds(act: Callable[[], object], seconds: float) -> float:
    """Return the best of five means of `act`, each over about `seconds`, in us."""
    timer = timeit.Timer(act)
    number = max(1, int(seconds / max(timer.timeit(1), timer.timeit(1), 1e-7)))
    return 1e6 * min(timer.repeat(_REPEATS, number)) / number
