"""What a session must answer, as plain Python: a reference model of the wire, written from its specification.

Nothing in here knows a socket, a process or a clock, and nothing is taken from the server's own rules. `verdict` says
what a message is by itself. `Model` holds what a session must be: it foretells a single command, and it *replays* the
commands that a session says took effect (its journal), in that order, which must yield every event and every value that
anybody saw. `explained` then finds for each reply its place in that order, or fails.

A client's replies and events come in one stream, so the number of events before a reply (its `seen`) says in which
state it was made; that is what makes bursts of several clients tractable.
"""

from __future__ import annotations

import ctypes
import json
import math
import re
import struct
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NamedTuple

Value = float | int | bool
Reply = dict[str, Any]

RATE = 1000
"""Frames per simulated second."""

END_FRAME = 600
"""The frame after which the run is finished."""

TELEMETRY_HZ = 250.0

DEPTH = 32
CONTAINERS = 1_024
ENTRIES = 4_096
PATTERNS = 32
MESSAGE_BYTES = 64 * 1024
WAITING = 256
NONFINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}

VIEWING = frozenset({"subscribe", "unsubscribe", "get", "status"})
ACTIONS = frozenset({*VIEWING, "pause", "resume", "reset", "step", "run", "set"})
OVERTAKING = frozenset({*VIEWING, "pause", "set"})
"""What acts at the next frame boundary while a step is at work, and so may be answered before what waits for it."""


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
execution: {{mode: realtime, rate_hz: {RATE}, end_time: {END_FRAME / RATE}}}
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


# -- messages


@dataclass
class Verdict:
    """What a message is by itself: the codes of which its error must have one, or, without any, a command.

    `params` are a command's, complete; `identity` is what the reply repeats, `unknown` the names it must list.
    """

    action: str | None = None
    identity: str | int | None = None
    codes: frozenset[str] = frozenset()
    params: dict[str, Any] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)

    @property
    def is_command(self) -> bool:
        """Whether nothing is wrong with it by itself."""
        return not self.codes


def verdict(message: str | bytes) -> Verdict:
    """Return what a message from a client is."""
    if isinstance(message, bytes):
        return Verdict(codes=frozenset({"bad_message"}))
    try:
        value = _strict(message)
    except ValueError:
        return Verdict(codes=frozenset({"bad_json"}))
    if not isinstance(value, dict):
        return Verdict(codes=frozenset({"bad_message"}))
    action, identity = value.get("action"), value.get("id")
    found = Verdict(action if isinstance(action, str) else None)
    if isinstance(identity, str | int) and not isinstance(identity, bool):
        found.identity = identity
    params = value.get("params", {})
    well_formed = [
        value.keys() <= {"type", "action", "params", "id"},
        value.get("type", "cmd") == "cmd",
        isinstance(action, str),
        isinstance(params, dict),
        identity is None or found.identity is not None,
    ]
    if not all(well_formed):
        found.codes = frozenset({"bad_message"})
    elif action not in ACTIONS:
        found.codes = frozenset({"unknown_action"})
    else:
        _judge_params(found, params)
    return found


def _strict(text: str) -> Any:
    def integer(digits: str) -> int:
        if math.isinf(float(digits)):
            raise ValueError(digits)
        return int(digits)

    def real(digits: str) -> float:
        if math.isinf(float(digits)):
            raise ValueError(digits)
        return float(digits)

    def constant(name: str) -> None:
        raise ValueError(name)

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(found)) < len(found):
            raise ValueError("a key twice")
        return dict(found)

    try:
        value = json.loads(text, parse_int=integer, parse_float=real, parse_constant=constant, object_pairs_hook=pairs)
    except RecursionError:
        raise ValueError("deep") from None
    if _containers(value, 0) > CONTAINERS:
        raise ValueError("many")
    return value


def _containers(value: Any, depth: int) -> int:
    """Return how many arrays and objects there are; raises ValueError on a lone surrogate, and where it is too deep."""
    if isinstance(value, str):
        value.encode()
    if not isinstance(value, dict | list):
        return 0
    if depth == DEPTH:
        raise ValueError("deep")
    items = [*value, *value.values()] if isinstance(value, dict) else value
    return 1 + sum(_containers(item, depth + 1) for item in items)


def _judge_params(found: Verdict, params: dict[str, Any]) -> None:
    codes: set[str] = set()
    match found.action:
        case "pause" | "resume" | "reset" | "status":
            codes |= {"bad_params"} if params else set()
        case "step":
            count = params.get("count", 1)
            good = isinstance(count, int) and not isinstance(count, bool) and 1 <= count < 2**53
            codes |= set() if good and params.keys() <= {"count"} else {"bad_params"}
            found.params = {"count": count}
        case "run":
            seconds: Any = params.get("seconds")
            good = params.keys() == {"seconds"} and _is_number(seconds) and 0 < seconds <= 1e9
            codes |= set() if good else {"bad_params"}
            found.params = {"count": max(1, math.ceil(Fraction(repr(seconds)) * RATE))} if good else {}
        case "set":
            codes |= _judge_set(found, params)
        case _:
            codes |= _judge_names(found, params)
    found.codes = frozenset(codes)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _judge_names(found: Verdict, params: dict[str, Any]) -> set[str]:
    if found.action == "unsubscribe" and not params:
        return set()
    keys = {"signals", "telemetry_hz"} if found.action == "subscribe" else {"signals"}
    signals = params.get("signals")
    hertz = params.get("telemetry_hz", TELEMETRY_HZ)
    if not params.keys() <= keys or not isinstance(signals, list) or not all(isinstance(one, str) for one in signals):
        return {"bad_params"}
    wrong = not _is_number(hertz) or not 0 < hertz <= TELEMETRY_HZ
    globs = {one for one in signals if "*" in one or "?" in one}
    if len(signals) > ENTRIES or len(globs) > PATTERNS:
        return {"too_many", *(("bad_params",) if wrong else ())}
    names, found.unknown = expanded(signals)
    found.params = {"signals": names}
    return ({"bad_params"} if wrong else set()) | ({"unknown_signal"} if found.unknown else set())


def _judge_set(found: Verdict, params: dict[str, Any]) -> set[str]:
    values = params.get("values")
    if params.keys() == {"signal", "value"} and isinstance(params["signal"], str):
        values = {params["signal"]: params["value"]}
    elif params.keys() != {"values"} or not isinstance(values, dict) or not values:
        return {"bad_params"}
    if len(values) > ENTRIES:
        return {"too_many"}
    found.unknown = [name for name in values if name not in SIGNALS]
    refused = {name: _refusal(name, value) for name, value in values.items()}
    if not any(refused.values()):
        found.params = {"values": {name: stored(SIGNALS[name], value) for name, value in values.items()}}
    return {code for code in refused.values() if code is not None}


def _refusal(name: str, value: object) -> str | None:
    spec = SIGNALS.get(name)
    if spec is None:
        return "unknown_signal"
    if spec.kind == "output":
        return "read_only"
    if spec.source is not None:
        return "wired"
    return "bad_value" if stored(spec, value) is None else None


# -- the session


class Simulation:
    """The newest frame: what every signal holds, as the modules and wires make it."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self.frame = 0
        self.values: dict[str, Value] = {name: one.initial for name, one in SETTABLE.items()}
        self._made: dict[str, Value] = {
            name: float(one.initial) if one.type in ("f64", "f32") else one.initial
            for name, one in SIGNALS.items()
            if one.kind == "output"
        }
        self._route()

    def advance(self, frame: int) -> None:
        """Compute frames up to one; after three of equal inputs nothing but the counts changes."""
        for _ in range(min(frame - self.frame, 3)):
            self._made["plant.twice"] = 2 * self._driven["plant.drive"]
            self._made |= {
                name.replace(".", ".seen/", 1): value for name, value in self.values.items() if "knobs" in name
            }
            self._route()
        self.frame = frame
        self._made |= {name: frame for name in self._made if name.endswith(".count")}
        self._made["probe-1.odd"] = frame % 2 == 1

    def _route(self) -> None:
        self._driven = {name: self._made[one.source] for name, one in SIGNALS.items() if one.source is not None}
        self._driven["plant.drive"] = self._made["knobs.seen/level"] * DRIVE_GAIN + DRIVE_OFFSET

    @property
    def all(self) -> dict[str, Value]:
        """Every signal's value, in order."""
        found = {**self.values, **self._made, **self._driven}
        return {name: found[name] for name in SIGNALS}


@dataclass
class Sent:
    """A message that was sent, and its one reply with the number of state events that came before it.

    `order` counts the messages of one sender, `answered` the replies of all; `is_alone` says that the sender then
    waited for nothing else.
    """

    origin: str
    text: str | bytes
    verdict: Verdict
    order: int
    is_alone: bool = False
    reply: Reply | None = None
    seen: int = 0
    answered: int = 0

    def __repr__(self) -> str:
        return f"{self.origin} {self.text[:300]!r} ({self.seen} events, then {self.reply})"

    @property
    def action(self) -> str:
        """The command's action."""
        return self.verdict.action or ""

    @property
    def is_acked(self) -> bool:
        """Whether it was accepted."""
        return self.reply is not None and self.reply["type"] == "ack"


@dataclass
class Effect:
    """A command that took effect: `frame` and `seen` (state events so far) are those of its ack; `place` its entry.

    A pause `cuts` the step or run that it ends, whose answer must come before its own.
    """

    entry: dict[str, Any]
    place: int
    frame: int
    seen: int
    completed: int = 0
    cuts: Effect | None = None
    is_answered: bool = False


class Foretold(NamedTuple):
    """What a command must do in a state."""

    code: str | None = None
    journaled: bool = False
    events: tuple[str, ...] = ()


class Job:
    """A step or run at work."""

    def __init__(self, effect: Effect, begin: int) -> None:
        self.effect = effect
        self.is_step = effect.entry["verb"] == "step"
        self.count = int(effect.entry["count"])
        self.begin = begin
        self.before = 0

    def completed(self, frame: int) -> int:
        """Return the frames done at a frame."""
        return self.before + frame - self.begin

    @property
    def last(self) -> int:
        """The frame at which it is done."""
        return self.begin + self.count - self.before


class Model:
    """A session as it must be."""

    def __init__(self) -> None:
        self.state = "paused"
        self.simulation = Simulation()
        self.segments: list[str] = []
        self.history: list[dict[str, Value]] = []
        self.effects: list[Effect] = []
        self._events: deque[Reply] = deque()
        self._job: Job | None = None

    def foretell(self, command: Verdict, state: str) -> list[Foretold]:
        """Return what may come of one command alone in `state`; several where the clock decides."""
        action, count = command.action or "", command.params.get("count", 0)
        if action in VIEWING:
            return [Foretold()]
        if state == "finished" and action not in ("reset", "set"):
            return [Foretold("invalid_state")]
        if action == "step" and state == "running":
            return [Foretold("invalid_state")]
        over = "finished" if self.simulation.frame + count >= END_FRAME else "paused"
        told: dict[str, tuple[str, ...]] = {
            "set": (),
            "reset": ("reset",),
            "pause": ("paused",),
            "resume": ("running",),
            "step": () if over == "paused" else (over,),
            "run": ("running", over),
        }
        if (action, state) in (("pause", "paused"), ("resume", "running")):
            return [Foretold()]
        if (action, state) == ("run", "running"):
            return [Foretold(None, True, (end,)) for end in ("paused", "finished")]
        return [Foretold(None, True, told[action])]

    # -- replay

    def replay(self, journal: Sequence[dict[str, Any]], events: Iterable[Reply]) -> None:
        """Apply what a session says took effect, and check that exactly these events follow from it."""
        self._events = deque(events)
        self._seen = 0
        self.segments = [self.state]
        self.history = [dict(self.simulation.values)]
        self.effects = []
        for entry in journal:
            self._conclude_before(entry)
            self._take(entry)
            self.history.append(dict(self.simulation.values))
        while self._events:
            self._conclude()
        if self._job is not None and self._job.is_step:
            self._end_step()
        assert self._job is None, f"{self._job.effect.entry} was not concluded by an event"

    def _conclude_before(self, entry: dict[str, Any]) -> None:
        """Let end by itself what must have ended before a command could take effect."""
        verb, frame = entry["verb"], entry["frame"]
        if verb == "reset":
            while self._events and self._events[0]["event"] != "reset":
                self._conclude()
        job = self._job
        meanwhile = verb == "pause" or (verb == "set" and job is not None and frame < job.last)
        if job is not None and job.is_step and job.last < END_FRAME and not meanwhile:
            self._end_step()
        while self.state == "running" and (verb in ("resume", "step") or (verb == "run" and self._job is not None)):
            self._conclude()

    def _conclude(self) -> None:
        """Take an event that no command causes: a run that is done, or the end of the simulation."""
        event = self._events[0]
        assert self.state == "running", f"nothing caused {event}"
        self._advance(event["frame"])
        if event["event"] == "finished":
            assert event["frame"] == END_FRAME, f"finished too early: {event}"
            self._tell("finished", "finished")
        else:
            job = self._job
            assert job is not None, f"nothing caused {event}"
            assert not job.is_step, f"a step tells no {event}"
            assert event["frame"] == job.last, f"a run of {job.count} ended at another frame: {event}"
            self._tell("paused", "paused")
        self._end_job()

    def _end_step(self) -> None:
        assert self._job is not None
        assert self._job.last < END_FRAME, f"{self._job.effect.entry} reached the end, and no event said so"
        self._advance(self._job.last)
        self.state = "paused"
        self._end_job()

    def _take(self, entry: dict[str, Any]) -> None:
        verb = entry["verb"]
        self._advance(entry["frame"])
        effect = Effect(entry, len(self.effects), self.simulation.frame, self._seen)
        self.effects.append(effect)
        needed = {"pause": ("running",), "resume": ("paused",), "step": ("paused",), "run": ("paused", "running")}
        assert self.state in needed.get(verb, (self.state,)), f"{entry} took effect while {self.state}"
        match verb:
            case "set":
                assert entry["values"].keys() <= SETTABLE.keys(), f"{entry} sets what nobody may"
                self.simulation.values |= entry["values"]
            case "reset":
                self._reset()
            case "resume":
                self._tell("running", "running")
            case "pause":
                self._pause()
            case _:
                self._job = Job(effect, self.simulation.frame)
                if verb == "run" and self.state == "paused":
                    self._tell("running", "running")
                self.state = "running"
        effect.seen = max(effect.seen, self._seen)
        effect.frame = self.simulation.frame

    def _pause(self) -> None:
        if self._job is None or not self._job.is_step:
            self._tell("paused", "paused")
        self.state = "paused"
        self.effects[-1].cuts = self._job.effect if self._job is not None else None
        self._end_job()

    def _reset(self) -> None:
        if self._job is not None:
            self._job.before, self._job.begin = self._job.completed(self.simulation.frame), 0
        self.simulation.reset()
        self._tell("reset", "running" if self.state == "running" else "paused")

    def _end_job(self) -> None:
        if self._job is not None:
            effect, completed = self._job.effect, self._job.completed(self.simulation.frame)
            assert completed <= self._job.count, f"{effect.entry} did {completed} frames"
            assert self.state != "paused" or completed == self._job.count or self._cut, (
                f"{effect.entry} did {completed}"
            )
            effect.completed, effect.frame, effect.seen = completed, self.simulation.frame, self._seen
            self._job = None

    @property
    def _cut(self) -> bool:
        return bool(self.effects) and self.effects[-1].entry["verb"] == "pause"

    def _advance(self, frame: int) -> None:
        still = self.state != "running"
        assert frame >= self.simulation.frame, f"frame {frame} after {self.simulation.frame} within an epoch"
        assert frame == self.simulation.frame or not still, (
            f"frame {frame} while {self.state} at {self.simulation.frame}"
        )
        assert frame <= END_FRAME, f"frame {frame} is beyond the end"
        self.simulation.advance(frame)

    def _tell(self, name: str, state: str) -> None:
        assert self._events, f"no event {name} at frame {self.simulation.frame}"
        event = self._events.popleft()
        expected = {"event": name, "state": state, "frame": self.simulation.frame}
        found = {key: event.get(key) for key in expected}
        assert found == expected, f"expected {expected}, found {event}"
        self.state = state
        self.segments.append(state)
        self._seen += 1

    # -- replies

    def explain(self, replies: Sequence[Sent], unanswered: Sequence[Sent] = ()) -> None:
        """Check that the replies to commands, each origin's in the order they came in, fit what was replayed.

        Of the `unanswered` any may have taken effect, in order.
        """
        effects: dict[tuple[str, str], deque[Effect]] = defaultdict(deque)
        for effect in self.effects:
            effects[effect.entry["origin"], effect.entry["verb"]].append(effect)
        by_origin: dict[str, list[Sent]] = defaultdict(list)
        for sent in replies:
            by_origin[sent.origin].append(sent)
        for own in by_origin.values():
            _check_overtaking(own)
            self._explain_one(own, effects)
        for sent in unanswered:
            queue = effects[sent.origin, sent.action]
            if queue and _is_effect_of(queue[0], sent):
                queue.popleft()
        left = [effect.entry for queue in effects.values() for effect in queue]
        assert not left, f"in the journal, and nobody has an ack: {left}"

    def _explain_one(self, own: list[Sent], effects: dict[tuple[str, str], deque[Effect]]) -> None:
        places: list[int | None] = []
        for sent in own:
            assert sent.reply is not None
            assert 0 <= sent.seen < len(self.segments), f"{sent} came after {sent.seen} events of {self.segments}"
            state = self.segments[sent.seen]
            places.append(None)
            if sent.action in VIEWING:
                assert sent.is_acked, f"{sent} was refused"
                stepped = any(effect.entry["verb"] == "step" for effect in self.effects)
                assert stepped or sent.reply.get("state", state) == state, f"{sent}: it was {state}"
                continue
            if not sent.is_acked:
                assert sent.reply["code"] == "invalid_state", f"{sent} was refused"
                (foretold, *_) = self.foretell(sent.verdict, state)
                assert foretold.code == "invalid_state", f"{sent} is legal while {state}"
                continue
            effect = _taken(effects[sent.origin, sent.action], sent)
            if effect is not None:
                places[-1] = effect.place if sent.action not in ("step", "run") else None
                continue
            idle = {"pause": "paused", "resume": "running"}.get(sent.action)
            assert idle == state, f"{sent} has an ack while {state} and is not in the journal"
        self._explain_values(own, places)

    def _explain_values(self, own: list[Sent], places: list[int | None]) -> None:
        """Check that what each `get` shows held at some place between its sender's own commands around it."""
        low = 0
        for at, sent in enumerate(own):
            place = places[at]
            if place is not None:
                low = max(low, place + 1)
            if sent.action != "get":
                continue
            assert sent.reply is not None
            high = next((later for later in places[at:] if later is not None), len(self.history) - 1)
            values = sent.reply["values"]
            asked = [name for name in values if name in SETTABLE]
            while low <= high and not all(same(values[name], shown(self.history[low][name])) for name in asked):
                low += 1
            assert low <= high, f"{sent} shows values that never were between its sender's own commands"


def _taken(effects: deque[Effect], sent: Sent) -> Effect | None:
    """Take the effect that an ack reports, if it is the next of its kind."""
    assert sent.reply is not None
    if not effects:
        return None
    effect = effects[0]
    reply = sent.reply
    own_cut = effect.cuts if effect.cuts is not None and effect.cuts.entry["origin"] == sent.origin else None
    if sent.action in ("pause", "resume"):
        later = sent.seen < effect.seen or reply["frame"] != effect.frame
        if later or (own_cut is not None and not own_cut.is_answered):
            return None
    effects.popleft()
    effect.is_answered = True
    assert reply["frame"] == effect.frame, f"{sent} took effect as {effect}"
    assert sent.seen >= effect.seen, f"{sent}: its ack came before the event of {effect}"
    assert _is_effect_of(effect, sent), f"{sent} took effect as {effect}"
    if sent.action in ("step", "run"):
        assert reply["completed"] == effect.completed, f"{sent} took effect as {effect}"
    return effect


def _is_effect_of(effect: Effect, sent: Sent) -> bool:
    """Return whether a journal entry says what was sent."""
    params = {key: value for key, value in effect.entry.items() if key not in ("frame", "verb", "origin")}
    if sent.action == "set":
        return params.keys() == {"values"} and same_all(params["values"], sent.verdict.params["values"])
    return params == sent.verdict.params


def _check_overtaking(own: list[Sent]) -> None:
    """Check that replies came in the order of the commands, but for what may overtake a step or a run."""
    for at, later in enumerate(own):
        for earlier in own[at + 1 :]:
            if earlier.order < later.order:
                held = earlier.action in ("step", "resume", "reset") and later.action in OVERTAKING
                held |= earlier.action == "run" and later.action != "run"
                assert held, f"{later} was answered before {earlier}"
