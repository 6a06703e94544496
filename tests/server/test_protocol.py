"""The conversation with one client, sentence by sentence: no socket, no loop, and a clock that is a number."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes.backplane.ring import Snapshot
from hermes.backplane.signals import Signal, SignalKind, SignalRegistry, SignalType, Value, encode_cell
from hermes.commands import VIEWING, Action, Command
from hermes.errors import BadValue, HermesError, NotReady, SessionClosed, UnknownSignal
from hermes.server.protocol import (
    COMMAND_BURST,
    COMMAND_RATE,
    MESSAGE_LIMIT,
    PENDING_LIMIT,
    ClientProtocol,
    Subscription,
)

REGISTRY = SignalRegistry(
    [
        Signal("plant", "x", allow_nonfinite=True),
        Signal("plant", "y", type=SignalType.F32, allow_nonfinite=True),
        Signal("plant", "count", type=SignalType.I64),
        Signal("plant", "small", type=SignalType.I32),
        Signal("ctl", "armed", SignalKind.INPUT, SignalType.BOOL, initial=False),
        Signal("ctl", "gain", SignalKind.PARAMETER),
    ]
)
WIDE = SignalRegistry(Signal("m", f"s{number:04}") for number in range(1_000))
AT = {"frame": 7, "time": 0.07}


def snapshot(registry: SignalRegistry = REGISTRY, **values: Value) -> Snapshot:
    """Return frame 7 at 0.07 s; signals are named with ``_`` for the dot and hold 0 unless given."""
    cells = b"".join(
        encode_cell(signal, values.get(signal.qualified.replace(".", "_"), signal.initial)).to_bytes(8, "little")
        for signal in registry
    )
    return Snapshot(1, 0, 7, 0.07, bytes(16), 0, cells)


class Conversation:
    """A client's side of it; answers are parsed as the strictest reader would."""

    def __init__(self, registry: SignalRegistry = REGISTRY, newest: Snapshot | None = None, **options: Any) -> None:
        self.protocol = ClientProtocol(registry, **options)
        self.newest = newest or snapshot(registry)
        self.status: Mapping[str, Any] = {"state": "paused", "real_time_factor": math.nan}

    def send(self, message: Any) -> Command | dict[str, Any]:
        """Send a message; return the command that it is, or the parsed refusal."""
        found = self.protocol.receive(message if isinstance(message, str | bytes) else json.dumps(message))
        return found if isinstance(found, Command) else strict(found)

    def ask(self, action: str, **params: Any) -> dict[str, Any]:
        """Send a command that looks, and return its reply."""
        command = self.send({"action": action, "params": params})
        return self.look(command) if isinstance(command, Command) else command

    def look(self, command: Command) -> dict[str, Any]:
        return strict(self.protocol.look(command, self.newest, lambda: self.status))

    def tokens(self, tokens: int) -> float:
        """Return what the debt is for so many tokens that were not there, in seconds."""
        return tokens / COMMAND_RATE

    def spend_the_burst(self) -> None:
        """Send so much that the next token is a debt."""
        for _ in range(int(COMMAND_BURST)):
            self.send("{")
        assert self.protocol.wait(0.0) == 0.0


def strict(text: str) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    found = json.loads(text, parse_constant=refuse)
    assert isinstance(found, dict)
    return found


def settle(client: Conversation, command: Command | dict[str, Any], outcome: Any = AT) -> dict[str, Any]:
    assert isinstance(command, Command)
    return strict(client.protocol.settle(command, outcome))


# -- messages that are commands


def test_a_command_is_pending_until_its_one_reply() -> None:
    client = Conversation()
    first = client.send({"action": "step", "id": "a"})
    second = client.send({"type": "cmd", "action": "set", "params": {"signal": "ctl.gain", "value": 2}})
    assert (first, second) == (Command("step", {"count": 1}, "a"), Command("set", {"values": {"ctl.gain": 2}}))
    assert client.protocol.pending == 2
    assert settle(client, first, {**AT, "completed": 1}) == {
        "type": "ack",
        "action": "step",
        **AT,
        "completed": 1,
        "id": "a",
    }
    assert settle(client, second) == {"type": "ack", "action": "set", **AT}
    assert (client.protocol.pending, client.protocol.commands) == (0, 2)


def test_an_outcome_that_is_an_error_is_settled_with_its_code() -> None:
    client = Conversation()
    refused = client.send({"action": "set", "params": {"signal": "ctl.gain", "value": "x"}, "id": 0})
    assert settle(client, refused, BadValue("ctl.gain", "'x'", "a number (f64)")) == {
        "type": "error",
        "action": "set",
        "code": "bad_value",
        "message": "ctl.gain cannot be 'x'; it takes a number (f64)",
        "signal": "ctl.gain",
        "found": "'x'",
        "accepted": "a number (f64)",
        "id": 0,
    }
    nameless = client.send({"action": "pause"})
    assert "id" not in settle(client, nameless, HermesError(message="no"))
    assert client.protocol.pending == 0


# -- messages that are refused

REFUSED = [
    ("{", "bad_json", None, None),
    ("", "bad_json", None, None),
    ('{"action":"resume","action":"pause"}', "bad_json", None, None),
    ('{"action":"set","params":{"signal":"ctl.gain","value":NaN}}', "bad_json", None, None),
    ("[]", "bad_message", None, None),
    ("7", "bad_message", None, None),
    (b"\x00\x01", "bad_message", None, None),
    (b'{"action":"resume","id":1}', "bad_message", None, None),
    ("{}", "bad_message", None, None),
    # what has the form of an action or an id is repeated, also from a message that is none
    ('{"action":"resume","id":1,"when":"now"}', "bad_message", "resume", 1),
    ('{"action":"resume","id":"mine","type":"command"}', "bad_message", "resume", "mine"),
    ('{"action":"resume","id":"","params":[]}', "bad_message", "resume", ""),
    ('{"action":7,"id":0}', "bad_message", None, 0),
    ('{"id":-1}', "bad_message", None, -1),
    ('{"action":"resume","id":true}', "bad_message", "resume", None),
    ('{"action":"resume","id":1.5}', "bad_message", "resume", None),
    ('{"action":"resume","id":[1]}', "bad_message", "resume", None),
    ('{"action":"resume","id":null,"x":1}', "bad_message", "resume", None),
    ('{"action":null,"id":{}}', "bad_message", None, None),
    ('{"action":"puase","id":2}', "unknown_action", "puase", 2),
    ('{"action":"step","params":{"count":0},"id":3}', "bad_params", "step", 3),
    ('{"action":"subscribe","params":{"signals":["*"],"telemetry_hz":0},"id":4}', "bad_params", "subscribe", 4),
    (json.dumps({"action": "get", "params": {"signals": ["*"] * 4_097}, "id": 5}), "too_many", "get", 5),
]


@pytest.mark.parametrize(("message", "code", "action", "identity"), REFUSED)
def test_a_refused_message_gets_one_error_at_once_that_repeats_what_is_known_of_it(
    message: str | bytes, code: str, action: str | None, identity: object
) -> None:
    client = Conversation()
    error = client.send(message)
    assert isinstance(error, dict)
    assert (error["type"], error["code"], error.get("action"), error.get("id")) == ("error", code, action, identity)
    assert ("id" in error) == (identity is not None)
    assert (client.protocol.pending, client.protocol.commands) == (0, 1)


def test_256_commands_may_be_pending_and_the_next_is_too_many() -> None:
    client = Conversation()
    waiting = [client.send({"action": "step", "id": number}) for number in range(PENDING_LIMIT)]
    assert all(isinstance(command, Command) for command in waiting)
    for over in ({"action": "step", "id": "over"}, {"action": "status", "id": "over"}):
        error = client.send(over)
        assert error == {
            "type": "error",
            "action": over["action"],
            "code": "too_many",
            "message": "too many commands waiting for their reply: at most 256 are accepted",
            "what": "commands waiting for their reply",
            "limit": 256,
            "id": "over",
        }
    assert client.protocol.pending == PENDING_LIMIT == 256
    settle(client, waiting[0])
    assert isinstance(client.send({"action": "step"}), Command)
    assert client.send({"action": "step"})["code"] == "too_many"  # type: ignore[index]


@pytest.mark.parametrize("action", Action)
def test_a_client_that_may_only_observe_gets_forbidden_for_all_but_looking(action: Action) -> None:
    params: dict[Action, dict[str, Any]] = {
        Action.SET: {"values": {"ctl.gain": 1}},
        Action.RUN: {"seconds": 1},
        Action.SUBSCRIBE: {"signals": ["*"]},
        Action.GET: {"signals": ["*"]},
    }
    message = {"action": action, "params": params.get(action, {}), "id": "o"}
    found = Conversation(observe=True).send(message)
    if action in VIEWING:
        assert found == Command(action, params.get(action, {}), "o")
    else:
        assert found == {
            "type": "error",
            "action": action,
            "code": "forbidden",
            "message": f"{action} is refused: this session lets its clients watch only (server.control: observe)",
            "id": "o",
        }
    assert isinstance(Conversation(observe=False).send(message), Command)


def test_these_look() -> None:
    assert {"subscribe", "unsubscribe", "get", "status"} == VIEWING


# -- subscriptions


def test_before_the_first_subscribe_there_is_none() -> None:
    assert Conversation().protocol.subscription is None


def test_a_subscription_lists_names_in_pattern_order_each_once() -> None:
    client = Conversation(telemetry_hz=60.0)
    ack = client.ask("subscribe", signals=["ctl.gain", "plant.?", "*", "plant.x", "ctl.gain"])
    names = ["ctl.gain", "plant.x", "plant.y", "plant.count", "plant.small", "ctl.armed"]
    assert ack == {"type": "ack", "action": "subscribe", "count": 6, "signals": names, "telemetry_hz": 60.0, **AT}
    assert list(ack)[:5] == ["type", "action", "count", "signals", "telemetry_hz"]
    assert client.protocol.subscription == Subscription(tuple(names), 60.0)
    assert client.protocol.pending == 0


def test_a_new_subscription_takes_the_place_of_the_old_one() -> None:
    client = Conversation()
    client.ask("subscribe", signals=["plant.*"])
    assert client.ask("subscribe", signals=["ctl.armed"])["signals"] == ["ctl.armed"]
    assert client.protocol.subscription == Subscription(("ctl.armed",), 60.0)
    assert client.ask("subscribe", signals=[])["count"] == 0
    assert client.protocol.subscription == Subscription((), 60.0)


def test_a_client_may_ask_for_less_than_the_session_s_rate_but_not_for_more() -> None:
    client = Conversation(telemetry_hz=60.0)
    assert client.ask("subscribe", signals=["plant.x"], telemetry_hz=10)["telemetry_hz"] == 10.0
    assert client.ask("subscribe", signals=["plant.x"], telemetry_hz=60)["telemetry_hz"] == 60.0
    before = client.protocol.subscription
    refused = client.ask("subscribe", signals=["plant.y"], telemetry_hz=60.5)
    assert (refused["code"], refused["message"]) == (
        "bad_params",
        "telemetry_hz is at most 60 Hz, the session's own; found 60.5",
    )
    assert client.protocol.subscription is before


def test_unknown_names_are_listed_with_near_ones_and_change_nothing() -> None:
    client = Conversation()
    client.ask("subscribe", signals=["plant.x", "plant.y"], telemetry_hz=30)
    before = client.protocol.subscription
    for action in ("subscribe", "unsubscribe", "get"):
        error = client.ask(action, signals=["plant.x", "ctl.gian", "no.*", "ctl.gian"])
        assert (error["code"], error["signals"]) == ("unknown_signal", ["ctl.gian", "no.*"]), action
        assert error["near"][0] == "ctl.gain"
        assert error["message"].startswith("no signal matches 'ctl.gian', 'no.*'; did you mean ctl.gain")
        assert client.protocol.subscription is before, action


def test_unsubscribing_a_part_keeps_the_order_and_the_rate_of_the_rest() -> None:
    client = Conversation()
    client.ask("subscribe", signals=["ctl.*", "plant.*"], telemetry_hz=12.5)
    ack = client.ask("unsubscribe", signals=["plant.?", "ctl.gain"])
    assert ack == {
        "type": "ack",
        "action": "unsubscribe",
        "count": 3,
        "signals": ["ctl.armed", "plant.count", "plant.small"],
        **AT,
    }
    assert client.protocol.subscription == Subscription(("ctl.armed", "plant.count", "plant.small"), 12.5)


@pytest.mark.parametrize("params", [{}, {"signals": ["*"]}, {"signals": ["plant.x", "plant.y"]}])
def test_unsubscribing_of_everything_ends_the_telemetry(params: dict[str, Any]) -> None:
    client = Conversation()
    client.ask("subscribe", signals=["plant.?"])
    ack = client.ask("unsubscribe", **params)
    assert (ack["type"], ack["count"], ack["signals"]) == ("ack", 0, [])
    assert client.protocol.subscription is None
    assert client.ask("unsubscribe", **params)["count"] == 0


@pytest.mark.parametrize("signals", [[], ["ctl.gain"], ["ctl.*", "plant.count"]])
def test_unsubscribing_of_what_was_not_subscribed_changes_nothing(signals: list[str]) -> None:
    client = Conversation()
    client.ask("subscribe", signals=["plant.?"])
    before = client.protocol.subscription
    assert client.ask("unsubscribe", signals=signals)["signals"] == ["plant.x", "plant.y"]
    assert client.protocol.subscription is before


NAMES = st.lists(st.sampled_from([*REGISTRY.names, "*", "plant.*", "ctl.?????", "?????.?", "no.such"]), max_size=5)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["subscribe", "unsubscribe"]), NAMES | st.none()), max_size=8))
def test_whatever_is_subscribed_and_unsubscribed_the_last_ack_lists_what_telemetry_holds(
    steps: list[tuple[str, list[str] | None]],
) -> None:
    client = Conversation()
    held: list[str] = []
    for action, signals in steps:
        before = client.protocol.subscription
        reply = client.ask(action, **({} if signals is None else {"signals": signals}))
        if reply["type"] == "error":
            assert client.protocol.subscription is before
            continue
        held = reply["signals"]
        assert reply["count"] == len(held) == len(set(held))
    assert held == list(client.protocol.subscription.signals if client.protocol.subscription else ())
    assert client.protocol.pending == 0


# -- values and status


def test_get_gives_values_of_one_frame_exactly() -> None:
    values: dict[str, Value] = {
        "plant_x": 0.1,
        "plant_y": 0.5,
        "plant_count": 2**53 + 1,
        "plant_small": -(2**31),
        "ctl_armed": True,
    }
    client = Conversation(newest=snapshot(**values))
    command = client.send({"action": "get", "params": {"signals": ["plant.count", "*"]}, "id": "g"})
    assert isinstance(command, Command)
    assert client.protocol.look(command, client.newest, dict) == (
        '{"type":"ack","action":"get","values":{"plant.count":9007199254740993,"plant.x":0.1,"plant.y":0.5,'
        '"plant.small":-2147483648,"ctl.armed":true,"ctl.gain":0.0},"frame":7,"time":0.07,"id":"g"}'
    )


@pytest.mark.parametrize("count", [2**63 - 1, -(2**63), 2**53 + 3, 0, -1])
def test_get_gives_whole_numbers_beyond_f64_exactly(count: int) -> None:
    reply = Conversation(newest=snapshot(plant_count=count)).ask("get", signals=["plant.count"])
    assert reply["values"] == {"plant.count": count}


@pytest.mark.parametrize(("value", "shown"), [(math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity")])
def test_get_gives_non_finite_numbers_as_strings(value: float, shown: str) -> None:
    reply = Conversation(newest=snapshot(plant_x=value, plant_y=value)).ask("get", signals=["plant.?"])
    assert reply["values"] == {"plant.x": shown, "plant.y": shown}


def test_get_of_nothing_is_nothing() -> None:
    assert Conversation().ask("get", signals=[]) == {"type": "ack", "action": "get", "values": {}, **AT}


def test_status_is_what_the_session_says_at_the_frame_that_was_looked_at() -> None:
    client = Conversation()
    command = client.send({"action": "status", "id": 1})
    assert isinstance(command, Command)
    assert client.look(command) == {
        "type": "ack",
        "action": "status",
        "state": "paused",
        "real_time_factor": "NaN",
        **AT,
        "id": 1,
    }


def test_a_status_that_cannot_be_had_is_an_error() -> None:
    client = Conversation()

    def closed() -> Mapping[str, Any]:
        raise SessionClosed("flight")

    command = client.send({"action": "status", "id": 1})
    assert isinstance(command, Command)
    reply = strict(client.protocol.look(command, client.newest, closed))
    assert (reply["type"], reply["action"], reply["code"], reply["id"]) == ("error", "status", "closed", 1)
    assert client.protocol.pending == 0


def test_a_look_behind_other_commands_leaves_them_pending() -> None:
    client = Conversation()
    step = client.send({"action": "step"})
    get = client.send({"action": "get", "params": {"signals": ["plant.x"]}})
    assert isinstance(get, Command)
    assert client.protocol.pending == 2
    assert client.look(get)["action"] == "get"
    assert client.protocol.pending == 1
    settle(client, step)
    assert client.protocol.pending == 0


# -- what it costs


def test_the_limits_of_a_client() -> None:
    assert (PENDING_LIMIT, MESSAGE_LIMIT, COMMAND_RATE, COMMAND_BURST) == (256, 65_536, 200.0, 400.0)


def test_the_burst_is_free_and_then_every_command_is_a_debt_that_time_pays() -> None:
    client = Conversation()
    client.spend_the_burst()
    client.send("{")
    assert client.protocol.wait(0.0) == pytest.approx(1 / 200)
    client.send("{")
    assert client.protocol.wait(0.0) == pytest.approx(2 / 200)
    assert client.protocol.wait(0.008) == pytest.approx(0.002)
    assert client.protocol.wait(0.011) == 0.0


def test_a_protocol_begins_with_the_clock_that_it_is_given() -> None:
    client = Conversation(now=1e6)
    for _ in range(int(COMMAND_BURST) + 200):
        client.send("{")
    assert client.protocol.wait(1e6) == pytest.approx(1.0)
    assert client.protocol.wait(1e6 + 0.25) == pytest.approx(0.75)


def debt(client: Conversation, message: Any) -> int:
    """Return the tokens that a message and its reply cost, for a client that has none left."""
    client.spend_the_burst()
    command = client.send(message)
    if isinstance(command, Command) and command.action in VIEWING:
        client.look(command)
    elif isinstance(command, Command):
        settle(client, command)
    return round(client.protocol.wait(0.0) * COMMAND_RATE)


def long_get(names: int) -> dict[str, Any]:
    return {"action": "get", "params": {"signals": ["m.s0000"] * names}}


COSTS: list[tuple[str, Any, int]] = [
    ("an ordinary command", {"action": "pause"}, 1),
    ("what is refused", {"action": "nothing"}, 1),
    ("2,047 bytes", " " * 2_047, 1),
    ("2,048 bytes", " " * 2_048, 2),
    ("64 KiB", " " * 65_536, 33),
    ("64 KiB that are binary", b" " * 65_536, 33),
    ("199 names", long_get(199), 2),
    ("200 names", long_get(200), 3),
    ("a pattern over 1,000 names that matches one", {"action": "get", "params": {"signals": ["m.s?007"]}}, 6),
    ("all 1,000 names", {"action": "get", "params": {"signals": ["*"]}}, 11),
    ("a subscription to 1,000 names", {"action": "subscribe", "params": {"signals": ["*"]}}, 11),
    ("an unsubscription of 1,000 names", {"action": "unsubscribe", "params": {"signals": ["m.*"]}}, 11),
    ("32 patterns", {"action": "get", "params": {"signals": [f"*{'?' * n}1" for n in range(4)] * 8}}, 161),
    ("a pattern that matches nothing", {"action": "get", "params": {"signals": ["n*"]}}, 16),
    ("an unsubscription of everything", {"action": "unsubscribe"}, 1),
    ("a name that is unknown", {"action": "get", "params": {"signals": ["m.s"]}}, 11),
    ("many unknown names", {"action": "subscribe", "params": {"signals": ["a", "b", "c"]}}, 11),
]


@pytest.mark.parametrize(("message", "tokens"), [case[1:] for case in COSTS], ids=[case[0] for case in COSTS])
def test_what_takes_the_server_longer_costs_more(message: Any, tokens: int) -> None:
    assert debt(Conversation(WIDE), message) == tokens


def test_a_look_up_costs_also_where_the_dispatcher_made_it() -> None:
    client = Conversation()
    client.spend_the_burst()
    command = client.send({"action": "set", "params": {"signal": "plant.z", "value": 1}})
    settle(client, command, UnknownSignal(["plant.z"], ["plant.x"]))
    assert client.protocol.wait(0.0) == pytest.approx(client.tokens(11))
    command = client.send({"action": "set", "params": {"signal": "ctl.gain", "value": 1}})
    settle(client, command, NotReady("set"))
    assert client.protocol.wait(0.0) == pytest.approx(client.tokens(12))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
KEYS = st.sampled_from(["type", "action", "params", "id"]) | st.text(max_size=3)
PARAMS = st.dictionaries(st.sampled_from(["signals", "count", "telemetry_hz", "values"]), JSON | NAMES, max_size=3)


@settings(deadline=None)
@given(
    st.lists(st.dictionaries(KEYS, st.sampled_from(Action) | PARAMS | JSON, max_size=4) | st.text() | st.binary()),
    st.booleans(),
)
def test_any_messages_get_exactly_one_strict_reply_each(messages: list[Any], observe: bool) -> None:
    client = Conversation(observe=observe)
    for number, message in enumerate(messages, 1):
        found = client.send(message)
        if isinstance(found, Command):
            reply = client.look(found) if found.action in VIEWING else settle(client, found)
            assert (reply.get("action"), reply.get("id")) == (found.action, found.id)
        else:
            reply = found
        assert reply["type"] in ("ack", "error")
        assert isinstance(reply.get("action", ""), str)
        assert client.protocol.commands == number
    assert client.protocol.pending == 0
