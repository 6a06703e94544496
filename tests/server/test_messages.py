"""The wire's sentences, letter for letter."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes.backplane.signals import Signal, SignalKind, SignalRegistry, SignalType
from hermes.commands import Command
from hermes.errors import (
    BadJson,
    BadMessage,
    BadParams,
    BadValue,
    EngineDied,
    Forbidden,
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
from hermes.server.messages import (
    PROTOCOL_VERSION,
    MessageType,
    Schema,
    ServerMessage,
    make_ack,
    make_error,
    make_event,
)

REGISTRY = SignalRegistry(
    [
        Signal("vehicle", "mass", SignalKind.PARAMETER, SignalType.F32, "kg", "Mass", 2.5, limits=(1.0, 9)),
        Signal("vehicle", "position.x", unit="m", description="North"),
        Signal("controls", "armed", SignalKind.INPUT, SignalType.BOOL, initial=False),
        Signal("controls", "aim", SignalKind.INPUT, initial=math.nan, allow_nonfinite=True),
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
    assert Schema(REGISTRY, [WIRE]).text(SESSION) == (
        '{"type":"schema","modules":{'
        '"vehicle":{"signals":['
        '{"name":"position.x","type":"f64","unit":"m","kind":"output","writable":false,"description":"North"},'
        '{"name":"count","type":"i64","kind":"output","writable":false},'
        '{"name":"mass","type":"f32","unit":"kg","kind":"parameter","writable":true,"description":"Mass",'
        '"initial":2.5,"limits":[1.0,9]}]},'
        '"controls":{"signals":['
        '{"name":"armed","type":"bool","kind":"input","writable":true,"initial":false},'
        '{"name":"aim","type":"f64","kind":"input","writable":true,"initial":"NaN","allow_nonfinite":true}]}},'
        '"protocol":1,"wiring":[{"src":"vehicle.position.x","dst":"controls.x","gain":2.0,"offset":0.0}],'
        '"session":"flight","state":"paused","frame":0,"time":0.0,"rate_hz":100.0,"telemetry_hz":60.0}'
    )


def test_one_schema_tells_every_client_how_the_session_is_when_it_connects() -> None:
    schema = Schema(REGISTRY, [])
    first, second = (json.loads(schema.text({**SESSION, "frame": frame})) for frame in (0, 7))
    assert second == {**first, "frame": 7}
    assert second["protocol"] == PROTOCOL_VERSION


def test_the_schema_of_no_signals_is_still_one() -> None:
    assert json.loads(Schema(SignalRegistry([]), []).text({"session": "bare"})) == {
        "type": "schema",
        "modules": {},
        "protocol": 1,
        "wiring": [],
        "session": "bare",
    }


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
        {"count": 2, "signals": ("a.x", "a.y"), "telemetry_hz": 60.0, "frame": 7, "time": 0.07},
        (
            '{"type":"ack","action":"subscribe","count":2,"signals":["a.x","a.y"],"telemetry_hz":60.0,'
            '"frame":7,"time":0.07,"id":0}'
        ),
    ),
    (
        Command("get", {"signals": ["a.n"]}, ""),
        {"values": {"a.n": 2**63 - 1, "a.x": math.inf, "a.b": True}, **AT},
        (
            '{"type":"ack","action":"get","values":{"a.n":9223372036854775807,"a.x":"Infinity","a.b":true},'
            '"frame":7,"time":0.07,"id":""}'
        ),
    ),
    (Command("reset"), {"frame": 0, "time": 0.0}, '{"type":"ack","action":"reset","frame":0,"time":0.0}'),
    (Command("pause"), {"time": math.nan}, '{"type":"ack","action":"pause","time":"NaN"}'),
]


@pytest.mark.parametrize(("command", "fields", "text"), ACKS)
def test_an_ack(command: Command, fields: dict[str, Any], text: str) -> None:
    assert make_ack(command, fields) == text


SET = {"action": "set", "id": "s"}
STEP = {"action": "step", "id": None}
ERRORS = [
    (BadJson("why"), {}, '"code":"bad_json","message":"not strict JSON: why","reason":"why"'),
    (BadMessage("why"), {"id": 0}, '"code":"bad_message","message":"why","id":0'),
    (
        UnknownAction("ste", ["set", "step"], ["step"]),
        {"action": "ste", "id": 3},
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
        STEP,
        (
            '"action":"step","code":"invalid_state","message":"cannot step while running; legal now: pause",'
            '"verb":"step","state":"running","ways_out":"legal now: pause"'
        ),
    ),
    (
        TooMany("commands", 256),
        STEP,
        (
            '"action":"step","code":"too_many","message":"too many commands: at most 256 are accepted",'
            '"what":"commands","limit":256'
        ),
    ),
    (
        Forbidden("step"),
        STEP,
        (
            '"action":"step","code":"forbidden",'
            '"message":"step is refused: this session lets its clients watch only (server.control: observe)"'
        ),
    ),
    (
        NotReady("step"),
        STEP,
        (
            '"action":"step","code":"not_ready",'
            '"message":"step needs a started session; call start() first, or use \'with session:\'","what":"step"'
        ),
    ),
    (
        SessionClosed("flight"),
        STEP,
        (
            '"action":"step","code":"closed",'
            '"message":"session flight is closed; make a new one with Session.from_yaml(...)","session":"flight"'
        ),
    ),
    (
        ModuleFailed("plant", 7, "step", "ValueError: no", "Traceback:"),
        STEP,
        (
            '"action":"step","code":"module_failed",'
            '"message":"module plant raised in frame 7: ValueError: no\\nTraceback:",'
            '"module":"plant","frame":7,"phase":"step"'
        ),
    ),
    (
        ModuleDied("plant", 7, "step", "exit code 3", ["last"]),
        STEP,
        (
            '"action":"step","code":"module_failed",'
            '"message":"module plant died in frame 7: exit code 3\\n  plant| last",'
            '"module":"plant","frame":7,"phase":"step","reason":"exit code 3","stderr":["last"]'
        ),
    ),
    (
        ModuleHung("plant", 7, "step", 5.0),
        STEP,
        (
            '"action":"step","code":"module_failed",'
            '"message":"module plant did not answer in frame 7 within 5 s (execution.step_timeout)",'
            '"module":"plant","frame":7,"phase":"step","timeout":5.0,"stderr":[],"stack":"","waiting_for":["plant"]'
        ),
    ),
    (
        EngineDied("exit code 1"),
        STEP,
        (
            '"action":"step","code":"engine_died","message":"the engine process ended: exit code 1",'
            '"reason":"exit code 1","stderr":[]'
        ),
    ),
    (
        HermesError(message="no frame has been committed yet"),
        {"action": "subscribe"},
        '"action":"subscribe","code":"internal","message":"no frame has been committed yet"',
    ),
]


@pytest.mark.parametrize(("error", "command", "text"), ERRORS, ids=[type(error).__name__ for error, _, _ in ERRORS])
def test_an_error(error: HermesError, command: dict[str, Any], text: str) -> None:
    assert make_error(error, command) == '{"type":"error",' + text + "}"


def test_an_event() -> None:
    assert make_event("paused", NOW) == '{"type":"event","event":"paused","state":"running","frame":7,"time":0.07}'
    assert make_event("overrun", {"step_ms": math.inf}) == '{"type":"event","event":"overrun","step_ms":"Infinity"}'


def test_the_types_of_messages() -> None:
    assert [kind.value for kind in MessageType] == ["schema", "event", "error", "ack", "cmd"]


@settings(deadline=None)
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
