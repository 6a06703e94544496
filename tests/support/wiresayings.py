"""What clients of the wire's tests say: Hypothesis draws it, and nothing it draws depends on what is answered."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st
from wireclient import Draft, Params, Text
from wiresignals import END_FRAME, SETTABLE, SIGNALS, stored
from wireworld import CLIENTS, PYTHON, command

_NAMES = [*SIGNALS]
_PATTERNS = ["*", "**", "knobs.*", "plant.*", "?nobs.*", "*.count", "*place.?", "knobs.seen/*", "*-1.*", "?*", "*.s*e*"]
UNKNOWN = ["", "knobs", "knobs.", "knobs.levle", "KNOBS.level", "nobody.*", "knobs.level ", "knobs.level?", "é?*", "?",
            "knobs.*\n", "[a-z]*", "x" * 300]  # fmt: skip
_KINDS = ["none", "none", "number", "number", "text", "text", "text", "zero", "empty", "negative", "huge", "odd"]
VALUES: dict[str, list[Any]] = {
    "f64": [0, -0.0, 1, -1.5, 0.1, 5e-324, 1.7976931348623157e308, 2**53, -(2**60), 10, -10, 9.999999999999998],
    "f32": [0, -0.0, 0.5, -3, 2**24, 3.4028234663852886e38, 2**-149, 100, -100, 99.5],
    "i64": [0, -1, 2**63 - 1, -(2**63), 2**53 + 1, 1000, -5, 7.0, 1e18, -0.0],
    "i32": [0, -1, 2**31 - 1, -(2**31), 77, -7, 1, 12.0],
    "bool": [True, False],
}
ODD_VALUES: list[Any] = [
    None, "1", "", "NaN", "Infinity", "-Infinity", "nan", "inf", [], [1], {}, {"a": 1}, True, 2, 0.1, 1e-46, 16777217,
    3.5e38, 10.000000000000002, 101, 1001, -8, 2**31, 2**53 + 1, 2**63, -(2**63) - 1, 9.223372036854775807e18, 1.5,
    10**22, 10**23, 10**300 + 1, "true", "0x10", -1e-300,
]  # fmt: skip
_BAD_COUNTS: list[Any] = [0, -1, 1.5, "3", True, None, [], 2**53, 10**300, 1e300]
_BAD_SECONDS: list[Any] = [0, -1, "1", True, None, 1e10, [1], "NaN"]
_BAD_HERTZ: list[Any] = [0, -1, "60", True, None, 250.5, 1e308, []]
_ONE = {"signal": "knobs.level", "value": 1}
BAD_PARAMS: dict[str, list[dict[str, Any]]] = {
    "pause": [{"now": True}, {"count": 1}, {"": None}],
    "resume": [{"seconds": 1}],
    "reset": [{"frame": 0}],
    "status": [{"signals": ["*"]}, {"a": {"b": [[[]]]}}],
    "step": [{"Count": 1}, *({"count": bad} for bad in _BAD_COUNTS)],
    "run": [{}, {"seconds": 1, "count": 1}, *({"seconds": bad} for bad in _BAD_SECONDS)],
    "get": [{}, {"signals": "*"}, {"signals": None}, {"signals": [1]}, {"signals": ["*", None]}, {"signals": {}},
            {"signals": ["*"], "telemetry_hz": 1}, {"signals": ["knobs.level"] * 4097}],
    "subscribe": [{}, {"signals": "*"}, {"signals": [["*"]]}, {"names": ["*"]}, {"signals": ["*"], "hz": 1},
                  {"signals": [f"*{number}*" for number in range(33)]}, {"signals": ["nobody.*"], "telemetry_hz": 0},
                  *({"signals": ["*"], "telemetry_hz": bad} for bad in _BAD_HERTZ)],
    "unsubscribe": [{"signals": "*"}, {"signals": [0]}, {"all": True}],
    "set": [{}, {"signal": "knobs.level"}, {"value": 1}, {"signal": 1, "value": 1}, {"signal": ["a"], "value": 1},
            {"values": {}}, {"values": []}, {"values": [["knobs.level", 1]]}, {"values": None}, {**_ONE, "frame": 7},
            {**_ONE, "values": {"knobs.level": 1}}, {"signal": "knobs.level", "values": 1}, {"knobs.level": 1},
            {"values": {f"{number}": 0 for number in range(4097)}}],
}  # fmt: skip
NOT_COMMANDS: list[Any] = [
    {}, {"action": None}, {"action": 5}, {"action": ["pause"]}, {"Action": "pause"}, {"type": "cmd"},
    {"action": "pause", "type": "ack"}, {"action": "pause", "type": None}, {"action": "pause", "params": None},
    {"action": "pause", "params": []}, {"action": "step", "params": 5}, {"action": "set", "signal": "a", "value": 1},
    {"action": "pause", "id": True}, {"action": "pause", "id": 1.0}, {"action": "reset", "id": []},
    {"action": "pause", "id": {"a": 1}}, {"action": "resume", "x": 1, "id": 5}, {"": ""},
]  # fmt: skip
UNKNOWN_ACTIONS = [
    "", "Pause", "pause ", "stop", "close", "look", "started", "finish", "fail", "stat", "__class__", "é",
]  # fmt: skip


def _deep(depth: int) -> str:
    """Return a command of so many levels, whose parameters are wrong in any case."""
    inner = depth - 2
    return '{"action":"pause","params":{"a":' + "[" * inner + "]" * inner + "}}"


_BAD_JSON = [
    "", " ", "{", "}", "[", "nul", "{'action':'pause'}", '{"action":"pause",}', '{"action":"pause"}}', "\x00",
    '{"action":"pause"} x', '{"action":"pause"}{"action":"pause"}', '{"action":"step","params":{"count":NaN}}',
    '{"id":-Infinity,"action":"pause"}', '{"action":"set","params":{"signal":"knobs.wild","value":Infinity}}',
    '{"action":"run","params":{"seconds":1e400}}', '{"action":"set","params":{"signal":"knobs.wild","value":-1e999}}',
    '{"action":"pause","action":"pause"}', '{"action":"set","params":{"values":{"knobs.level":1,"knobs.level":1}}}',
    '{"action":"pause","id":"\\ud800"}', '{"action":"pause","id":"\\udc00\\ud800"}', '{"action":"pause","id":"a\nb"}',
    '{"action":"pause","id":01}', '{"action":"pause","id":+1}', '{"action":"pause","id":.5}', '{"action":"pa',
    '{"action":"pause","id":0x1}', "\ufeff{}", '{"action":"pause" /* why */}', '{action:"pause"}',
    '{"action":"pause","id":"\\x41"}', '{"action":"pause","id":' + "9" * 400 + "}",
    '{"action":"pause","id":' + "9" * 5000 + "}", "[" * 30_000, '{"a":' * 9_000, _deep(33), _deep(40),
    "[" + "[]," * 1_023 + "[],[]]", "[" * 40 + "]" * 40, "\t" * 60_000,
]  # fmt: skip
_ODD_TEXTS = [
    "[]", "null", "true", "1", '"pause"', '[{"action":"pause"}]', "[" * 32 + "]" * 32, _deep(32), _deep(31),
    '{"action":"' + "p" * 60_000 + '"}', '{"action":"get","params":{"signals":["' + "x" * 60_000 + '"]}}',
    ' \n\t{"action" : "status" , "params" : { } } \r\n', '{"\\u0061ction":"status","id":"\\ud83d\\ude80"}',
    '{"action":"status","id":-0}', '{"action":"set","params":{"signal":"knobs.level","value":1E2}}',
    '{"action":"set","params":{"signal":"knobs.big","value":9007199254740993}}',
    '{"action":"set","params":{"signal":"knobs.big","value":9007199254740993.0}}',
    '{"action":"set","params":{"signal":"knobs.small","value":1e0}}',
    '{"action":"set","params":{"signal":"knobs.level","value":1e-400}}', "[" + "[]," * 1_022 + "[]]",
    '{"action":"status","id":"' + "i" * 60_000 + '"}',
]  # fmt: skip
_BINARY = [b"", b"{}", b'{"action":"resume"}', b"\xff" * 100, bytes(24)]


def _signals(bad: bool) -> st.SearchStrategy[list[str]]:
    pools = [_NAMES, _NAMES, _PATTERNS]
    found = st.lists(st.one_of([st.sampled_from(pool) for pool in pools]), max_size=5)
    if not bad:
        return found
    return st.tuples(found, st.sampled_from(UNKNOWN), found).map(lambda parts: [*parts[0], parts[1], *parts[2]])


@st.composite
def _good_value(draw: st.DrawFn) -> tuple[str, Any]:
    """Draw a signal and a value that often fits it."""
    name = draw(st.sampled_from([*SETTABLE]))
    spec = SETTABLE[name]
    if spec.nonfinite and draw(st.booleans()):
        return name, draw(st.sampled_from(["NaN", "Infinity", "-Infinity"]))
    return name, draw(st.sampled_from(VALUES[spec.type]))


@st.composite
def _fitting_value(draw: st.DrawFn, names: Sequence[str] = tuple(SETTABLE)) -> tuple[str, Any]:
    """Draw a signal and a value that fits it."""
    name = draw(st.sampled_from(names))
    spec = SETTABLE[name]
    pool = [*VALUES[spec.type], "NaN", "Infinity", "-Infinity"]
    return name, draw(st.sampled_from([value for value in pool if stored(spec, value) is not None]))


_any_value = st.tuples(st.sampled_from(_NAMES + UNKNOWN[:4]), st.sampled_from(ODD_VALUES))
_wide_value = st.one_of(
    st.tuples(
        st.sampled_from(["knobs.level", "knobs.wild", "plant.gain"]), st.floats(allow_nan=False, allow_infinity=False)
    ),
    st.tuples(
        st.sampled_from(["knobs.single", "knobs.tame"]), st.floats(allow_nan=False, allow_infinity=False, width=32)
    ),
    st.tuples(st.sampled_from(["knobs.big", "knobs.ranged", "knobs.level"]), st.integers(-(2**64), 2**64)),
)


def set_one(pair: tuple[str, Any]) -> dict[str, Any]:
    return command("set", {"signal": pair[0], "value": pair[1]})


def _set_many(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return command("set", {"values": dict(pairs)})


SETS = [
    _fitting_value().map(set_one),
    st.lists(_fitting_value(), min_size=1, max_size=6).map(_set_many),
]
DOUBTFUL_SETS = [
    _good_value().map(set_one),
    _any_value.map(set_one),
    _wide_value.map(set_one),
    st.tuples(st.lists(_fitting_value(), min_size=1, max_size=4), _any_value).map(
        lambda two: _set_many([*two[0], two[1]])
    ),
]
_SLOWER: list[dict[str, Any]] = [{}, {}, {}, {"telemetry_hz": 250}, {"telemetry_hz": 100.5}, {"telemetry_hz": 1}]
_HERTZ = st.sampled_from(_SLOWER)
LOOKS = [
    st.tuples(_signals(False), _HERTZ).map(lambda two: command("subscribe", {"signals": two[0], **two[1]})),
    _signals(False).map(lambda names: command("get", {"signals": names})),
    st.sampled_from([command("get", {"signals": ["*"]}), command("status"), command("unsubscribe")]),
    _signals(False).map(lambda names: command("unsubscribe", {"signals": names})),
]
_LOST_LOOKS = [
    st.tuples(st.sampled_from(["get", "subscribe", "unsubscribe"]), _signals(True)).map(
        lambda two: command(two[0], {"signals": two[1]})
    )
]
_COUNTS = st.sampled_from([1, 2, 3, 10, 77, 300])
_SECONDS = st.sampled_from([0.001, 0.0005, 0.0021, 0.01, 0.025, 1e-9])
VERBS = [
    st.sampled_from([command("pause"), command("resume"), command("reset", {}), {"type": "cmd", "action": "resume"}]),
    st.sampled_from([command("pause", {}), command("resume", {}), command("reset"), command("step")]),
    _COUNTS.map(lambda count: command("step", {"count": count})),
    _SECONDS.map(lambda seconds: command("run", {"seconds": seconds})),
]
_ENDING = [st.just(command("step", {"count": 10**9}))]
_WRONG = [
    st.sampled_from([command(action, Params(params)) for action, bad in BAD_PARAMS.items() for params in bad]),
    st.sampled_from([*NOT_COMMANDS, *map(command, UNKNOWN_ACTIONS)]),
]
TEXTS: list[str | bytes] = [*map(Text, _BAD_JSON), *map(Text, _ODD_TEXTS), *_BINARY]
_RAW = st.sampled_from(TEXTS)
_FRAGMENTS = st.sampled_from([1, 1, 1, 1, 2, 5])


@st.composite
def _mixed(draw: st.DrawFn, seldom: st.SearchStrategy[Any], often: st.SearchStrategy[Any]) -> Any:
    """Draw from one strategy or the other, and shrink towards the first (each is named once: shorter than one_of)."""
    return draw(often if draw(st.integers(0, 3)) else seldom)


def drafts(*pools: list[st.SearchStrategy[dict[str, Any]]], raw: bool = True) -> st.SearchStrategy[Draft]:
    bodies = st.one_of([one for pool in pools for one in pool])
    found = st.builds(drafted, bodies, st.sampled_from(_KINDS), _FRAGMENTS)
    return _mixed(_RAW.map(verbatim), found) if raw else found


def drafted(body: dict[str, Any], identity: str, fragments: int) -> Draft:
    return Draft(body, "none" if "id" in body else identity, fragments)


def verbatim(text: str | bytes) -> Draft:
    return Draft(text)


def _cut(text: str, place: int) -> Draft:
    return Draft(text[: place % len(text)])


WHO = st.integers(0, CLIENTS - 1)
ANYTHING = drafts(SETS, DOUBTFUL_SETS, LOOKS, LOOKS, _LOST_LOOKS, VERBS, VERBS, _ENDING, _WRONG, _WRONG)
BURST = drafts(SETS, SETS, DOUBTFUL_SETS, LOOKS, _LOST_LOOKS, VERBS, _ENDING, _WRONG)
PIECES = st.builds(_cut, st.one_of(SETS).map(json.dumps), st.integers(0, 10_000))


Said = list[tuple[int, Draft | None]]
"""Who says what; None is nothing."""


def several(drafts: st.SearchStrategy[Draft], low: int, high: int) -> st.SearchStrategy[Said]:
    """Return what draws many messages; each can shrink to nothing (a list without a least size stays short)."""
    return st.lists(st.tuples(WHO, _mixed(st.none(), drafts)), min_size=low, max_size=high)


_LONG = command("step", {"count": 10**9})
_LEVELS = [set_one(("knobs.level", value)) for value in (0.5, 1e300, -2)]
ALL = command("get", {"signals": ["*"]})
_AGAIN = [command("reset"), command("pause")]
_PAUSE, _RESUME, _STEP = command("pause"), command("resume"), command("step")
_SHORT = [command("run", {"seconds": 0.005})] * 3
EVERY_VERB = [
    *(_PAUSE, _PAUSE, _STEP, _RESUME, _RESUME, _STEP, _PAUSE, command("run", {"seconds": 0.002}), _LONG),
    *map(command, PYTHON),
    *(command("run", {"seconds": 0.01}), command("reset"), command("step", {"count": END_FRAME - 10})),
    *[command("run", {"seconds": 10})] * 2,
]
_NEAR_THE_END = [command("step", {"count": END_FRAME - 5}), *[command("step", {"count": 2})] * 3]
PIPELINES = [
    [*_AGAIN, _LONG, _LEVELS[0], ALL, _PAUSE, ALL, _RESUME, _LEVELS[1], ALL, _PAUSE],
    [*_AGAIN, _LEVELS[0], ALL, _LEVELS[1], ALL, command("status"), _LEVELS[2], ALL, _STEP, ALL],
    [*_AGAIN, command("run", {"seconds": 0.05}), _STEP, _RESUME, command("reset"), ALL, _LONG],
    [*_AGAIN, *_SHORT, _LEVELS[0], ALL, _PAUSE, ALL, _STEP],
    [*_AGAIN, *_NEAR_THE_END, *_AGAIN, _RESUME, ALL],
    [command("subscribe", {"signals": ["*"]}), *_AGAIN, _LONG, command("subscribe", {"signals": ["plant.*"]}),
     _LEVELS[1], command("unsubscribe", {"signals": ["*.count"]}), _PAUSE, command("subscribe", {"signals": []})],
]  # fmt: skip
"""What one client may say without waiting."""
