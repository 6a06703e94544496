from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes.commands import COUNT_LIMIT, ENTRY_LIMIT, PATTERN_LIMIT, SECONDS_LIMIT, VIEWING, Action, Command, checked
from hermes.errors import BadJson, BadMessage, BadParams, CommandError, TooMany, UnknownAction

MANY = {f"a.x{number}": 1.0 for number in range(ENTRY_LIMIT + 1)}
PATTERNS = [f"a.{number}*" for number in range(PATTERN_LIMIT)] + ["b.?"]

ACCEPTED = [
    ("pause", {}, {}),
    ("resume", {}, {}),
    ("reset", {}, {}),
    ("step", {}, {"count": 1}),
    ("step", {"count": 1}, {"count": 1}),
    ("step", {"count": COUNT_LIMIT}, {"count": 2**53 - 1}),
    ("set", {"signal": "a.x", "value": 1.5}, {"values": {"a.x": 1.5}}),
    ("set", {"signal": "a.x", "value": None}, {"values": {"a.x": None}}),
    ("set", {"values": {"a.x": 1.5, "a.y": "NaN"}}, {"values": {"a.x": 1.5, "a.y": "NaN"}}),
    ("set", {"values": dict(list(MANY.items())[:-1])}, {"values": dict(list(MANY.items())[:-1])}),
    ("subscribe", {"signals": []}, {"signals": []}),
    ("subscribe", {"signals": ["*", "a.?", "a.x"]}, {"signals": ["*", "a.?", "a.x"]}),
    ("subscribe", {"signals": ["*"] * ENTRY_LIMIT}, {"signals": ["*"] * ENTRY_LIMIT}),
    ("subscribe", {"signals": list(MANY)[:-1]}, {"signals": list(MANY)[:-1]}),
    ("subscribe", {"signals": PATTERNS[:-1] + ["a.x"] * 100}, {"signals": PATTERNS[:-1] + ["a.x"] * 100}),
    ("subscribe", {"signals": ["*"], "telemetry_hz": 30}, {"signals": ["*"], "telemetry_hz": 30.0}),
    ("subscribe", {"signals": ["*"], "telemetry_hz": 0.5}, {"signals": ["*"], "telemetry_hz": 0.5}),
    ("unsubscribe", {}, {}),
    ("unsubscribe", {"signals": []}, {"signals": []}),
    ("unsubscribe", {"signals": ["a.*", "a.x"]}, {"signals": ["a.*", "a.x"]}),
    ("get", {"signals": []}, {"signals": []}),
    ("get", {"signals": ["a.x", "b.?"]}, {"signals": ["a.x", "b.?"]}),
    ("status", {}, {}),
    ("run", {"seconds": 0.1}, {"seconds": 0.1}),
    ("run", {"seconds": 5}, {"seconds": 5}),
    ("run", {"seconds": SECONDS_LIMIT}, {"seconds": 1e9}),
    ("run", {"seconds": 5e-324}, {"seconds": 5e-324}),
]


@pytest.mark.parametrize(("action", "params", "complete"), ACCEPTED)
def test_accepted_params_come_back_complete(action: str, params: Mapping[str, Any], complete: object) -> None:
    assert checked(Command(action, params, "mine")) == Command(action, complete, "mine")


STEP = "step takes a count of frames, a whole number from 1 to 2^53-1; found "
SET = "set takes either signal and value, or values: an object of at least one name and value"
LIST = " takes signals, a list of names and patterns such as '*'; found "
SUBSCRIBE = "subscribe" + LIST
RATE = "telemetry_hz is a rate above 0 and at most 1000, in Hz; found "
RUN = "run takes seconds of simulated time, above 0 and at most 1e9; found "
REFUSED = [
    ("pause", {"now": True}, "pause takes no params; found 'now'"),
    ("resume", {"a": 1, "b": 2}, "resume takes no params; found 'a', 'b'"),
    ("reset", {"\n": 1}, "reset takes no params; found '\\n'"),
    ("pause", dict.fromkeys("abcdefg"), "pause takes no params; found 'a', 'b', 'c', 'd', 'e'"),
    ("step", {"count": 0}, STEP + "0"),
    ("step", {"count": -1}, STEP + "-1"),
    ("step", {"count": 1.0}, STEP + "1.0"),
    ("step", {"count": 1.5}, STEP + "1.5"),
    ("step", {"count": "3"}, STEP + "'3'"),
    ("step", {"count": True}, STEP + "True"),
    ("step", {"count": None}, STEP + "None"),
    ("step", {"count": 2**53}, STEP + "9007199254740992"),
    ("step", {"frames": 3}, "step takes count; found 'frames'"),
    ("set", {}, SET),
    ("set", {"signal": "a.x"}, SET),
    ("set", {"value": 1}, SET),
    ("set", {"values": {}}, SET),
    ("set", {"values": None}, SET),
    ("set", {"values": [["a.x", 1]]}, SET),
    ("set", {"values": {"a.x": 1}, "signal": "a.x"}, SET),
    ("set", {"signal": "a.x", "value": 1, "values": None}, SET),
    ("set", {"signal": "a.x", "value": 1, "values": {"a.x": 1}}, SET),
    ("set", {"signal": 7, "value": 1}, "set takes a signal by its name, a string; found 7"),
    ("set", {"signal": "a.x", "valeu": 1}, "set takes signal, value, values; found 'valeu'"),
    ("subscribe", {}, SUBSCRIBE + "None"),
    ("subscribe", {"signals": "*"}, SUBSCRIBE + "'*'"),
    ("subscribe", {"signals": {"a.x": 1}}, SUBSCRIBE + "{'a.x': 1}"),
    ("subscribe", {"signals": ["a.x", 1]}, SUBSCRIBE + "['a.x', 1]"),
    ("subscribe", {"signals": ["*"], "rate": 30}, "subscribe takes signals, telemetry_hz; found 'rate'"),
    ("subscribe", {"telemetry_hz": 30}, SUBSCRIBE + "None"),
    ("subscribe", {"signals": ["*"], "telemetry_hz": 0}, RATE + "0"),
    ("subscribe", {"signals": ["*"], "telemetry_hz": -1.5}, RATE + "-1.5"),
    ("subscribe", {"signals": ["*"], "telemetry_hz": True}, RATE + "True"),
    ("subscribe", {"signals": ["*"], "telemetry_hz": "30"}, RATE + "'30'"),
    ("subscribe", {"signals": ["*"], "telemetry_hz": None}, RATE + "None"),
    ("subscribe", {"signals": ["*"], "telemetry_hz": math.inf}, RATE + "inf"),
    ("subscribe", {"signals": ["*"], "telemetry_hz": math.nan}, RATE + "nan"),
    ("unsubscribe", {"signals": None}, "unsubscribe" + LIST + "None"),
    ("unsubscribe", {"signals": "*"}, "unsubscribe" + LIST + "'*'"),
    ("unsubscribe", {"all": True}, "unsubscribe takes signals; found 'all'"),
    ("get", {}, "get" + LIST + "None"),
    ("get", {"signals": "a.x"}, "get" + LIST + "'a.x'"),
    ("get", {"signals": [["a.x"]]}, "get" + LIST + "[['a.x']]"),
    ("get", {"signal": "a.x"}, "get takes signals; found 'signal'"),
    ("status", {"all": True}, "status takes no params; found 'all'"),
    ("run", {}, RUN + "None"),
    ("run", {"seconds": 0}, RUN + "0"),
    ("run", {"seconds": -1}, RUN + "-1"),
    ("run", {"seconds": 1e9 + 1}, RUN + "1000000001.0"),
    ("run", {"seconds": 10**400}, RUN + "an integer of 1329 bits"),
    ("run", {"seconds": math.nan}, RUN + "nan"),
    ("run", {"seconds": math.inf}, RUN + "inf"),
    ("run", {"seconds": True}, RUN + "True"),
    ("run", {"seconds": "1"}, RUN + "'1'"),
    ("run", {"frames": 5}, "run takes seconds; found 'frames'"),
]


@pytest.mark.parametrize(("action", "params", "text"), REFUSED)
def test_refused_params_say_what_was_found_and_what_is_accepted(action: str, params: Any, text: str) -> None:
    with pytest.raises(BadParams) as caught:
        checked(Command(action, params))
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("action", "params", "text"),
    [
        ("set", {"values": MANY}, "too many signals in one set: at most 4096 are accepted"),
        ("subscribe", {"signals": list(MANY)}, "too many entries in one subscribe: at most 4096 are accepted"),
        ("unsubscribe", {"signals": list(MANY)}, "too many entries in one unsubscribe: at most 4096 are accepted"),
        ("get", {"signals": list(MANY)}, "too many entries in one get: at most 4096 are accepted"),
        ("get", {"signals": PATTERNS}, "too many patterns with * or ? in one get: at most 32 are accepted"),
        ("subscribe", {"signals": PATTERNS}, "too many patterns with * or ? in one subscribe: at most 32 are accepted"),
        (
            "unsubscribe",
            {"signals": PATTERNS},
            "too many patterns with * or ? in one unsubscribe: at most 32 are accepted",
        ),
    ],
)
def test_one_entry_over_the_limit_is_too_many(action: str, params: Any, text: str) -> None:
    with pytest.raises(TooMany) as caught:
        checked(Command(action, params))
    assert str(caught.value) == text


def test_the_limits() -> None:
    assert (ENTRY_LIMIT, PATTERN_LIMIT, SECONDS_LIMIT, COUNT_LIMIT) == (4_096, 32, 1e9, 2**53 - 1)


THERE_ARE = "there are pause, resume, reset, step, run, set, subscribe, unsubscribe, get, status"
UNKNOWN = [
    ("puase", f"no action 'puase'; {THERE_ARE}; did you mean pause?"),
    ("unsubscripe", f"no action 'unsubscripe'; {THERE_ARE}; did you mean unsubscribe, subscribe?"),
    ("gett", f"no action 'gett'; {THERE_ARE}; did you mean get?"),
    ("stop", f"no action 'stop'; {THERE_ARE}; did you mean step?"),
    ("RUN", f"no action 'RUN'; {THERE_ARE}; did you mean run?"),
    ("", f"no action ''; {THERE_ARE}"),
    ("x" * 60_000, f"no action '{'x' * 60}...'; {THERE_ARE}"),
]


@pytest.mark.parametrize(("action", "text"), UNKNOWN, ids=[action[:12] for action, _ in UNKNOWN])
def test_an_unknown_action_lists_those_there_are(action: str, text: str) -> None:
    with pytest.raises(UnknownAction) as caught:
        checked(Command(action))
    assert str(caught.value) == text


def test_there_are_ten_actions_of_which_four_look() -> None:
    acting = ["pause", "resume", "reset", "step", "run", "set"]
    looking = ["subscribe", "unsubscribe", "get", "status"]
    assert [action.value for action in Action] == acting + looking
    assert set(looking) == VIEWING


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ('{"action":"resume"}', Command("resume")),
        ('{"type":"cmd","action":"resume","params":{},"id":null}', Command("resume")),
        ('{"id":"a","action":"step","params":{"count":3}}', Command("step", {"count": 3}, "a")),
        ('{"id":7,"action":"whatever"}', Command("whatever", {}, 7)),
    ],
)
def test_a_command_from_json(text: str, command: Command) -> None:
    assert Command.from_json(text) == command


def test_a_message_that_is_no_command_raises() -> None:
    with pytest.raises(BadJson):
        Command.from_json("{")
    with pytest.raises(BadMessage):
        Command.from_json(b'{"action":"resume"}')


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
PARAM_NAMES = st.sampled_from(["count", "signal", "value", "values", "signals", "seconds", "telemetry_hz"]) | st.text(
    max_size=5
)


@given(st.sampled_from(Action), st.dictionaries(PARAM_NAMES, JSON_VALUES, max_size=4))
def test_any_params_are_accepted_or_refused_and_checking_again_changes_nothing(action: str, params: Any) -> None:
    before = dict(params)
    try:
        command = checked(Command(action, params))
    except CommandError:
        return
    finally:
        assert params == before
    assert checked(command) == command
