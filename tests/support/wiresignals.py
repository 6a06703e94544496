"""The session of the wire's tests: its signals, its modules, and what a signal holds once a value is set.

Plain Python, written from the wire's specification; nothing is taken from the server's own rules.
"""

from __future__ import annotations

import ctypes
import math
import re
import struct
from collections.abc import Mapping, Sequence
from typing import NamedTuple

Value = float | int | bool

RATE = 1000
"""Frames per simulated second."""

END_FRAME = 600
"""The frame after which the run is finished."""

TELEMETRY_HZ = 250.0
NONFINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class Spec(NamedTuple):
    """One signal; `source` is the output that a wire carries into it."""

    name: str
    type: str
    kind: str
    initial: Value
    limits: tuple[float, float] | None = None
    nonfinite: bool = False
    source: str | None = None


def _specs() -> list[Spec]:
    knobs = [
        Spec("level", "f64", "input", 0.25),
        Spec("bounded", "f64", "input", 1.5, (-10, 10)),
        Spec("wild", "f64", "input", 2.5, nonfinite=True),
        Spec("single", "f32", "input", 3.5),
        Spec("tame", "f32", "input", 4.5, (-100, 100), nonfinite=True),
        Spec("big", "i64", "input", 5),
        Spec("small", "i32", "input", 6),
        Spec("on", "bool", "input", True),
        Spec("place.x", "f64", "input", 7.5),
        Spec("place.y", "f64", "input", 8.5),
        Spec("ranged", "i64", "parameter", 9, (-5, 1000)),
        Spec("count_by", "i32", "parameter", 10, (-7, 77)),
        Spec("armed", "bool", "parameter", False),
        Spec("drag", "i32", "parameter", 0, (0, 50)),
    ]
    echoes = [Spec(f"seen/{one.name}", one.type, "output", False if one.type == "bool" else 0) for one in knobs]
    plant = [
        Spec("count", "i64", "output", 0),
        Spec("twice", "f64", "output", 0.0),
        Spec("drive", "f64", "input", 0.0, source="knobs.seen/level"),
        Spec("big_in", "i64", "input", 0, source="knobs.seen/big"),
        Spec("single_in", "f32", "input", 0.0, source="knobs.seen/single"),
        Spec("on_in", "bool", "input", False, source="knobs.seen/on"),
        Spec("trim", "f64", "input", 11.5),
        Spec("gain", "f64", "parameter", 12.5, (0, 1e300)),
    ]
    probe = [
        Spec("count", "i64", "output", 0),
        Spec("odd", "bool", "output", False),
        Spec("pick", "i32", "parameter", 13),
    ]
    modules = {"knobs": [Spec("count", "i64", "output", 0), *echoes, *knobs], "plant": plant, "probe-1": probe}
    return [one._replace(name=f"{module}.{one.name}") for module, found in modules.items() for one in found]


SIGNALS = {one.name: one for one in _specs()}
"""Every signal by its qualified name, in the order of the schema and of `*`."""

SETTABLE = {name: one for name, one in SIGNALS.items() if one.kind != "output" and one.source is None}
DRIVE_GAIN, DRIVE_OFFSET = 2.0, 1.0

MODULES = '''
import time
import hermes
from hermes import Input, Output, Parameter

class Knobs(hermes.Module):
    """Settable signals of every type and, a frame later, outputs that repeat them."""
    count = Output(type="i64")
    level = Input(0.25, unit="m", description="how high")
    bounded = Input(1.5, limits=(-10, 10))
    wild = Input(2.5, allow_nonfinite=True)
    single = Input(3.5, type="f32")
    tame = Input(4.5, type="f32", limits=(-100, 100), allow_nonfinite=True)
    big = Input(5, type="i64")
    small = Input(6, type="i32")
    on = Input(True, type="bool")
    place = Input((7.5, 8.5), labels=("x", "y"))
    ranged = Parameter(9, type="i64", limits=(-5, 1000))
    count_by = Parameter(10, type="i32", limits=(-7, 77))
    armed = Parameter(False, type="bool")
    drag = Parameter(0, type="i32", limits=(0, 50), description="how long a step takes, in 0.1 ms")

    def declare(self):
        kinds = {name: one.type for name, one in self._declared.items() if name not in ("count", "place")}
        order = [name for name in kinds if name in ("level", "bounded", "wild", "single", "tame", "big", "small", "on")]
        order += ["place.x", "place.y", "ranged", "count_by", "armed", "drag"]
        self.order = order
        return {f"seen/{name}": Output(0, type=kinds.get(name, "f64")) for name in order}

    def step(self, now, dt):
        self.count += 1
        for name in self.order:
            vector, dot, label = name.partition(".")
            self[f"seen/{name}"] = float(self.place["xy".index(label)]) if dot else self[name]
        if self.drag:
            time.sleep(self.drag / 10_000)

class Plant(hermes.Module):
    """Driven by wires: one with a gain, one plain for each other type."""
    count = Output(type="i64")
    twice = Output()
    drive = Input()
    big_in = Input(type="i64")
    single_in = Input(type="f32")
    on_in = Input(type="bool")
    trim = Input(11.5)
    gain = Parameter(12.5, limits=(0, 1e300))

    def step(self, now, dt):
        self.count += 1
        self.twice = 2 * self.drive

class Probe(hermes.Module):
    """Says whether its frame is odd."""
    count = Output(type="i64")
    odd = Output(type="bool")
    pick = Parameter(13, type="i32")

    def step(self, now, dt):
        self.count += 1
        self.odd = self.count % 2 == 1
'''

CONFIGURATION = f"""
name: wire
modules:
  knobs: {{type: script, script: "./modules.py:Knobs"}}
  plant: {{type: script, script: "./modules.py:Plant"}}
  probe-1: {{type: script, script: "./modules.py:Probe"}}
wiring:
  - {{src: knobs.seen/level, dst: plant.drive, gain: {DRIVE_GAIN}, offset: {DRIVE_OFFSET}}}
  - {{src: knobs.seen/big, dst: plant.big_in}}
  - {{src: knobs.seen/single, dst: plant.single_in}}
  - {{src: knobs.seen/on, dst: plant.on_in}}
execution: {{mode: realtime, rate_hz: {RATE}, end_time: {END_FRAME / RATE}, start_timeout: 60}}
server: {{port: 0, telemetry_hz: {TELEMETRY_HZ}}}
"""


# -- values


def same(one: object, other: object) -> bool:
    """Return whether two values are of one type and equal to the last bit; every NaN is one value."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float) and isinstance(other, float):
        return (math.isnan(one) and math.isnan(other)) or struct.pack("<d", one) == struct.pack("<d", other)
    return one == other


def same_all(one: Mapping[str, object], other: Mapping[str, object]) -> bool:
    """Return whether two mappings have the same keys and the same values."""
    return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())


def stored(spec: Spec, value: object) -> Value | None:
    """Return what a signal holds once `value` (as JSON has it) is set, or None where it must be refused."""
    if spec.type == "bool":
        return value if isinstance(value, bool) else None
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and value in NONFINITE and spec.type in ("f64", "f32") and spec.nonfinite:
        number = NONFINITE[value]
        return number if math.isnan(number) or spec.limits is None else None
    if not isinstance(value, int | float):
        return None
    if spec.limits is not None and not spec.limits[0] <= value <= spec.limits[1]:
        return None
    return _whole(spec.type, value) if spec.type in ("i64", "i32") else _real(spec.type, value)


def _whole(kind: str, value: float) -> int | None:
    bits = 63 if kind == "i64" else 31
    return int(value) if value == int(value) and -(2**bits) <= int(value) <= 2**bits - 1 else None


def _real(kind: str, value: float) -> float | None:
    try:
        number = float(value)
    except OverflowError:
        return None
    if number != value or (kind == "f32" and ctypes.c_float(number).value != number):
        return None
    return number


def shown(value: Value) -> Value | str:
    """Return a value as a JSON reply has it."""
    if isinstance(value, float) and not math.isfinite(value):
        return next(name for name, number in NONFINITE.items() if same(number, value))
    return value


def telemetry(value: Value) -> bytes:
    """Return a value as telemetry has it; every NaN alike."""
    return struct.pack("<d", math.nan if isinstance(value, float) and math.isnan(value) else float(value))


def time_of(frame: int) -> float:
    """Return the simulation time of a frame, in seconds."""
    return frame / RATE


def expanded(patterns: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the names that patterns match, in their order and each once, and the patterns that match nothing."""
    names: dict[str, None] = {}
    unknown: dict[str, None] = {}
    for pattern in patterns:
        glob = re.compile(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), re.DOTALL)
        found = [pattern] if pattern in SIGNALS else [name for name in SIGNALS if glob.fullmatch(name)]
        names |= dict.fromkeys(found)
        unknown |= {} if found else {pattern: None}
    return list(names), list(unknown)
