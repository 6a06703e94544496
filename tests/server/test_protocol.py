from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes.backplane.signals import Signal, SignalKind, SignalRegistry, SignalType
from hermes.commands import Command
from hermes.errors import (
    BadJson,
    BadMessage,
    BadParams,
    BadValue,
    EngineDied,
    HermesError,
    InvalidState,
    ModuleDied,
    ModuleFailed,
    ModuleHung,
    NotReady,
    ReadOnlySignal,
    SessionClosed,
    TooMany,
    UnknownAction,
    UnknownSignal,
    WiredSignal,
)
from hermes.server.protocol import (
    MESSAGE_LIMIT,
    PENDING_LIMIT,
    MessageType,
    ServerMessage,
    make_ack,
    make_error,
    make_event,
    make_schema,
)

REGISTRY = SignalRegistry(
    [
        Signal("vehicle", "mass", SignalKind.PARAMETER, SignalType.F32, "kg", "Mass"),
        Signal("vehicle", "position.x", unit="m", description="North"),
        Signal("controls", "armed", SignalKind.INPUT, SignalType.BOOL),
        Signal("vehicle", "count", type=SignalType.I64),
    ]
)
SESSION = {
    "session": "flight",
    "state": "paused",
    "frame": 0,
    "time": 0.0,
    "rate_hz": 100.0,
    "telemetry_hz": 60.0,
}
WIRE = {"src": "vehicle.position.x", "dst": "controls.x", "gain": 2.0, "offset": 0.0}


def test_the_schema() -> None:
    assert make_schema(REGISTRY, SESSION, [WIRE]) == (
        '{"type":"schema","modules":{'
        '"vehicle":{"signals":['
        '{"name":"position.x","type":"f64","unit":"m","kind":"output","writable":false,"description":"North"},'
        '{"name":"count","type":"i64","kind":"output","writable":false},'
        '{"name":"mass","type":"f32","unit":"kg","kind":"parameter","writable":true,"description":"Mass"}]},'
        '"controls":{"signals":[{"name":"armed","type":"bool","kind":"input","writable":true}]}},'
        '"protocol":1,"session":"flight","state":"paused","frame":0,"time":0.0,"rate_hz":100.0,"telemetry_hz":60.0,'
        '"wiring":[{"src":"vehicle.position.x","dst":"controls.x","gain":2.0,"offset":0.0}]}'
    )


def test_the_schema_of_no_signals_is_still_one() -> None:
    assert make_schema(SignalRegistry([]), {}, []) == '{"type":"schema","modules":{},"protocol":1,"wiring":[]}'


NOW = {"state": "running", "frame": 7, "time": 0.07}
AT = {"frame": 7, "time": 0.07}
ACKS = [
    (Command("pause"), AT, '{"type":"ack","action":"pause","frame":7,"time":0.07}'),
    (
        Command("step", {"count": 3}, "a"),
        {**AT, "completed": 3},
        '{"type":"ack","action":"step","frame":7,"time":0.07,"completed":3,"id":"a"}',
    ),
    (
        Command("subscribe", {"signals": ["*"]}, 0),
        {"count": 2, "signals": ("a.x", "a.y"), "frame": 7, "time": 0.07},
        '{"type":"ack","action":"subscribe","count":2,"signals":["a.x","a.y"],"frame":7,"time":0.07,"id":0}',
    ),
    (Command("reset"), {"frame": 0, "time": 0.0}, '{"type":"ack","action":"reset","frame":0,"time":0.0}'),
    (Command("pause"), {"time": math.nan}, '{"type":"ack","action":"pause","time":"NaN"}'),
]


@pytest.mark.parametrize(("command", "fields", "text"), ACKS)
def test_an_ack(command: Command, fields: dict[str, Any], text: str) -> None:
    assert make_ack(command, fields) == text


SET = Command("set", {}, "s")
ERRORS = [
    (BadJson("why"), None, '"code":"bad_json","message":"not strict JSON: why","reason":"why"'),
    (BadMessage("why"), None, '"code":"bad_message","message":"why"'),
    (
        UnknownAction("ste", ["set", "step"], ["step"]),
        Command("ste", {}, 3),
        (
            '"action":"ste","code":"unknown_action",'
            '"message":"no action \'ste\'; there are set, step; did you mean step?",'
            '"accepted":["set","step"],"near":["step"],"id":3'
        ),
    ),
    (BadParams("why"), SET, '"action":"set","code":"bad_params","message":"why","id":"s"'),
    (
        UnknownSignal(["a.y"], ["a.x"]),
        SET,
        (
            '"action":"set","code":"unknown_signal","message":"no signal matches \'a.y\'; did you mean a.x?",'
            '"signals":["a.y"],"near":["a.x"],"id":"s"'
        ),
    ),
    (
        ReadOnlySignal("a.x"),
        SET,
        (
            '"action":"set","code":"read_only",'
            '"message":"a.x is an output and is written by its module only; set an input or a parameter",'
            '"signal":"a.x","id":"s"'
        ),
    ),
    (
        WiredSignal("b.u", "a.x"),
        SET,
        (
            '"action":"set","code":"wired",'
            '"message":"b.u is driven by a wire from a.x; set that, or remove the wire",'
            '"signal":"b.u","source":"a.x","id":"s"'
        ),
    ),
    (
        BadValue("a.x", "nan", "a number (f64)"),
        SET,
        (
            '"action":"set","code":"bad_value","message":"a.x cannot be nan; it takes a number (f64)",'
            '"signal":"a.x","found":"nan","accepted":"a number (f64)","id":"s"'
        ),
    ),
    (
        InvalidState("step", "running", "legal now: pause"),
        Command("step"),
        (
            '"action":"step","code":"invalid_state","message":"cannot step while running; legal now: pause",'
            '"verb":"step","state":"running","ways_out":"legal now: pause"'
        ),
    ),
    (
        TooMany("commands", 256),
        Command("step"),
        (
            '"action":"step","code":"too_many","message":"too many commands: at most 256 are accepted",'
            '"what":"commands","limit":256'
        ),
    ),
    (
        NotReady("step"),
        Command("step"),
        (
            '"action":"step","code":"not_ready",'
            '"message":"step needs a started session; call start() first, or use \'with session:\'","what":"step"'
        ),
    ),
    (
        SessionClosed("flight"),
        Command("step"),
        (
            '"action":"step","code":"closed",'
            '"message":"session flight is closed; make a new one with Session.from_yaml(...)","session":"flight"'
        ),
    ),
    (
        ModuleFailed("plant", 7, "step", "ValueError: no", "Traceback:"),
        Command("step"),
        (
            '"action":"step","code":"module_failed",'
            '"message":"module plant raised in frame 7: ValueError: no\\nTraceback:",'
            '"module":"plant","frame":7,"phase":"step"'
        ),
    ),
    (
        ModuleDied("plant", 7, "step", "exit code 3", ["last"]),
        Command("step"),
        (
            '"action":"step","code":"module_failed",'
            '"message":"module plant died in frame 7: exit code 3\\n  plant| last",'
            '"module":"plant","frame":7,"phase":"step","reason":"exit code 3","stderr":["last"]'
        ),
    ),
    (
        ModuleHung("plant", 7, "step", 5.0),
        Command("step"),
        (
            '"action":"step","code":"module_failed",'
            '"message":"module plant did not answer in frame 7 within 5 s (execution.step_timeout)",'
            '"module":"plant","frame":7,"phase":"step","timeout":5.0,"stderr":[]'
        ),
    ),
    (
        EngineDied("exit code 1"),
        Command("step"),
        (
            '"action":"step","code":"engine_died","message":"the engine process ended: exit code 1",'
            '"reason":"exit code 1","stderr":[]'
        ),
    ),
    (
        HermesError(message="no frame has been committed yet"),
        Command("subscribe"),
        '"action":"subscribe","code":"internal","message":"no frame has been committed yet"',
    ),
]


@pytest.mark.parametrize(("error", "command", "text"), ERRORS, ids=[type(error).__name__ for error, _, _ in ERRORS])
def test_an_error(error: HermesError, command: Command | None, text: str) -> None:
    assert make_error(error, command) == '{"type":"error",' + text + "}"


def test_an_event() -> None:
    assert make_event("paused", NOW) == '{"type":"event","event":"paused","state":"running","frame":7,"time":0.07}'
    assert make_event("overrun", {"step_ms": math.inf}) == '{"type":"event","event":"overrun","step_ms":"Infinity"}'


def test_the_types_and_limits_of_the_protocol() -> None:
    assert [kind.value for kind in MessageType] == ["schema", "event", "error", "ack", "cmd"]
    assert (PENDING_LIMIT, MESSAGE_LIMIT) == (256, 65_536)


@given(
    st.sampled_from(MessageType),
    st.dictionaries(
        st.text().filter(lambda key: key != "type"), st.floats() | st.lists(st.floats()) | st.text() | st.none()
    ),
)
def test_every_message_is_one_strict_object_with_its_type_first(kind: MessageType, payload: dict[str, Any]) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    text = ServerMessage(kind, payload).to_json()
    assert list(json.loads(text, parse_constant=refuse)) == ["type", *payload]
    assert text.startswith(f'{{"type":"{kind}"')
