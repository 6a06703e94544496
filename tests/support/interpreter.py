"""What a frame is, in as few lines as it can be said: a plain program to compare the engine with.

Values are Python's own (float, int, bool), exact but for f32, which is rounded. Nothing here knows of processes, cells
or bytes. A module is a step and a reset function over an object that holds its signals, as in `toys`.
"""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from types import SimpleNamespace
from typing import Any, NamedTuple

Wire = tuple[str, str, float, float]
"""Source, destination, gain and offset."""


class Toy(NamedTuple):
    """A module; `signals` are (type, initial value) by name."""

    signals: Mapping[str, tuple[str, Any]]
    step: Callable[[Any, float, float], None]
    reset: Callable[[Any], None]
    every: int = 1


def frames(
    toys: Mapping[str, Toy],
    wires: Sequence[Wire] = (),
    rate: Fraction = Fraction(60),
    schedule: Sequence[Sequence[str]] = (),
    sets: Mapping[int, Mapping[str, Any]] | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield all values of frame 0, 1, ... by qualified name; `sets` are values set while a frame is the newest one."""
    phases = schedule or [list(toys)]
    place = {name: number for number, names in enumerate(phases) for name in names}
    ends = {wire: [place[end.partition(".")[0]] for end in wire[:2]] for wire in wires}
    types = {f"{name}.{key}": kind for name, toy in toys.items() for key, (kind, _) in toy.signals.items()}
    values = {f"{name}.{key}": initial for name, toy in toys.items() for key, (_, initial) in toy.signals.items()}
    objects = {name: SimpleNamespace() for name in toys}

    def put(name: str, value: Any) -> None:
        values[name] = single(value) if types[name] == "f32" else value

    def call(name: str, function: Callable[..., None], *times: float) -> None:
        vars(objects[name]).update({key: values[f"{name}.{key}"] for key in toys[name].signals})
        function(objects[name], *times)
        for key in toys[name].signals:
            put(f"{name}.{key}", getattr(objects[name], key))

    def route(chosen: Iterable[Wire]) -> None:
        for source, target, gain, offset in chosen:
            put(target, values[source] if (gain, offset) == (1, 0) else values[source] * gain + offset)

    for name in toys:
        call(name, toys[name].reset)
    route(wires)
    for frame in itertools.count():
        yield dict(values)
        values.update((sets or {}).get(frame, {}))
        for number, names in enumerate(phases):
            for name in (name for name in names if frame % toys[name].every == 0):
                call(name, toys[name].step, float(frame / rate), float(toys[name].every / rate))
            route(wire for wire in wires if number == ends[wire][0] < ends[wire][1])
        route(wire for wire in wires if ends[wire][0] >= ends[wire][1])


def single(value: float) -> float:
    """Return a number rounded to f32, beyond its range to an infinity."""
    try:
        return float(struct.unpack("f", struct.pack("f", value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)
