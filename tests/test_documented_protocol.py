"""docs/protocol.md, executed: its examples, its tables, its generated parts and its layout of telemetry."""

from __future__ import annotations

import inspect
import json
import re
import runpy
import struct
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from hermes.backplane.shm import SharedMemoryManager
from hermes.backplane.signals import Signal, SignalKind, SignalRegistry, SignalType
from hermes.commands import VIEWING, Action, Command, checked
from hermes.connectionfile import ConnectionFile, resolve
from hermes.errors import (
    ConnectionFailed,
    HermesError,
    LoopError,
    ModuleDied,
    ModuleFailed,
    NoSession,
    NotExported,
    NotReplaced,
    PortInUse,
    ServerExposed,
)
from hermes.lifecycle import TRANSITIONS, State, Verb, legal
from hermes.mirror import failure_fields
from hermes.server import messages
from hermes.server.protocol import ClientProtocol
from hermes.server.telemetry import TelemetryEncoder
from hermes.strictjson import decode

DOCS = Path(__file__).parent.parent / "docs"
TEXT = (DOCS / "protocol.md").read_text()
EXAMPLES = re.findall(r"^```json (\w+)(?: (\w+))?\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
COMMANDS = [(text, code) for side, code, text in EXAMPLES if side == "client"]
MESSAGES = [text for side, _, text in EXAMPLES if side == "server"]
SCHEMA = next(decode(text) for text in MESSAGES if '"schema"' in text)
LOOKS = [
    (text, answer)
    for (side, _, text), (after, _, answer) in pairwise(EXAMPLES)
    if (side, after) == ("client", "server") and decode(text)["action"] in VIEWING
]
HOMES = ("hermes.errors", "hermes.errorkind", "hermes.moduleerrors")
"""Where the errors are that Hermes itself raises; a client has one more of its own."""

NEVER_ON_THE_WIRE = {PortInUse, ServerExposed, NoSession, ConnectionFailed, LoopError, NotExported, NotReplaced}


def table(first: str) -> list[list[str]]:
    """Return the rows of the table whose first column has this head."""
    found = re.search(rf"^\| {re.escape(first)} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", TEXT, re.MULTILINE)
    assert found, first
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in found[1].splitlines()]


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def title(text: str) -> str:
    """Return an example's beginning as it may stand in the name of a test."""
    return re.sub(r"\W+", "-", text[:60])


def kinds(kind: type[HermesError] = HermesError) -> Iterator[type[HermesError]]:
    if kind not in NEVER_ON_THE_WIRE and kind.__module__ in HOMES:
        yield kind
    for further in kind.__subclasses__():
        yield from kinds(further)


def own_fields(kind: type[HermesError]) -> list[str]:
    """Return the fields that an error of this kind adds to a message."""
    return [name for name in parameters(kind) if name not in ("action", "message", "traceback")]


def parameters(kind: type[HermesError]) -> list[str]:
    return [name for name, one in inspect.signature(kind).parameters.items() if one.kind is not one.VAR_KEYWORD]


def same(text: str, message: dict[str, Any]) -> bool:
    """Return whether a text is this message, in whatever order its keys come."""
    return json.dumps(decode(text), sort_keys=True) == json.dumps(message, sort_keys=True)


def test_the_generated_parts_are_what_the_code_says_now() -> None:
    generator = runpy.run_path(str(DOCS / "generate.py"))
    assert re.findall(r"<!-- generated: (\w+) -->", TEXT) == ["states", "commands", "limits", "costs", "errors"]
    assert generator["generated"](TEXT) == TEXT, "run make docs"


def test_every_block_of_json_is_marked_and_executed() -> None:
    assert len(EXAMPLES) == TEXT.count("```json")
    assert {side for side, _, _ in EXAMPLES} == {"client", "server", "file"}
    assert {decode(text)["type"] for text in MESSAGES} == {"schema", "ack", "error", "event"}
    assert {decode(text)["action"] for text, code in COMMANDS if not code} == set(Action)


@pytest.mark.parametrize(("text", "code"), COMMANDS, ids=[title(text) for text, _ in COMMANDS])
def test_a_command_is_accepted_or_refused_with_the_code_it_names(text: str, code: str) -> None:
    answer = answered(text)
    if code:
        assert (answer["type"], answer["code"]) == ("error", code)
    elif answer is not None:
        assert answer["type"] == "ack"
    else:
        assert checked(Command.from_json(text)).action not in VIEWING


@pytest.mark.parametrize(("text", "answer"), LOOKS, ids=[title(text) for text, _ in LOOKS])
def test_a_look_up_is_answered_as_shown(text: str, answer: str) -> None:
    assert answered(text, decode(answer)) == decode(answer)


def answered(text: str, shown: dict[str, Any] | None = None) -> Any:
    """Return what a server of the documented session answers, or None where the simulation has to be asked.

    Where an answer is shown, its frame and its account of the session are the server's.
    """
    now = shown or {}
    with closing(SharedMemoryManager.create(SignalRegistry(signals(SCHEMA["modules"])))) as shm:
        shm.commit(0, now.get("frame", 0), now.get("time", 0.0))
        rules = ClientProtocol(shm.registry, telemetry_hz=SCHEMA["telemetry_hz"])
        received = rules.receive(text)
        if isinstance(received, str):
            return decode(received)
        if received.action not in VIEWING:
            return None
        of_status = {key: value for key, value in now.items() if key not in ("type", "action", "id")}
        return decode(rules.look(received, shm.snapshot(), lambda: of_status))


def rebuilt(message: dict[str, Any]) -> str:
    """Return the text that the server makes of what a message tells."""
    told = {key: value for key, value in message.items() if key not in ("type", "action", "id", "event")}
    identity = {key: message[key] for key in ("action", "id") if key in message}
    match message["type"]:
        case "ack":
            return messages.make_ack(Command(**identity), told)
        case "event":
            return messages.make_event(message["event"], told)
        case "error":
            kind = next(kind for kind in kinds() if kind.code == told["code"] and kind is not HermesError)
            fields = {name: {**identity, **told}.get(name) for name in parameters(kind)}
            return messages.make_error(kind(**fields), identity)
        case _:
            session = {key: told[key] for key in ("session", "state", "frame", "time", "rate_hz", "telemetry_hz")}
            schema = messages.Schema(SignalRegistry(signals(told["modules"])), told["wiring"])
            return schema.text(session)


def signals(modules: dict[str, Any]) -> Iterator[Signal]:
    for module, content in modules.items():
        for one in content["signals"]:
            words = {"unit": one.get("unit", ""), "description": one.get("description", "")}
            limits = tuple(one["limits"]) if "limits" in one else None
            values = {"initial": one.get("initial", 0.0), "allow_nonfinite": one.get("allow_nonfinite", False)}
            kind, of_type = SignalKind(one["kind"]), SignalType(one["type"])
            yield Signal(module, one["name"], kind, of_type, **words, **values, limits=limits)


@pytest.mark.parametrize("text", MESSAGES, ids=[title(text) for text in MESSAGES])
def test_a_message_is_what_the_server_sends(text: str) -> None:
    message = decode(text)
    assert same(rebuilt(message), message)


def test_the_keys_of_a_signal() -> None:
    documented = [key for row in table("of a signal") for key in quoted(row[0])]
    shown = {key for module in SCHEMA["modules"].values() for one in module["signals"] for key in one}
    assert {*documented, "name"} == shown


def test_the_connection_file_is_as_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (shown,) = (decode(text) for side, _, text in EXAMPLES if side == "file")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    file = ConnectionFile.create(**{key: shown[key] for key in ("session", "url", "token", "memory")})
    try:
        written = decode(file.path.read_text())
        assert {**written, "pid": shown["pid"]} == shown
        assert file.path.parent == tmp_path / "hermes"
        assert re.fullmatch(r"flight-.{8}\.json", file.path.name)
        assert file.path.stat().st_mode & 0o777 == 0o600
        assert resolve("flight").url == shown["url"]
    finally:
        file.remove()
    assert not file.path.exists()


def test_the_failure_shown_is_what_a_failure_tells() -> None:
    message = next(decode(text) for text in MESSAGES if '"failed"' in text)
    fields = failure_fields(ModuleDied("vehicle", 412, "step", "signal SIGSEGV"))
    assert {key: message[key] for key in fields} == fields
    assert "traceback" in failure_fields(ModuleFailed("vehicle", 412, "step", "ValueError", "Traceback"))


def test_the_table_of_errors_has_every_code_that_can_reach_a_client_and_its_fields() -> None:
    documented = {quoted(code)[0]: quoted(fields) for code, _, fields in table("code")}
    expected: dict[str, list[str]] = {}
    for kind in kinds():
        known = expected.setdefault(kind.code, [])
        known += [name for name in own_fields(kind) if name not in known]
    assert {code: sorted(fields) for code, fields in documented.items()} == {
        code: sorted(fields) for code, fields in expected.items()
    }


def test_every_event_shown_is_in_the_table() -> None:
    documented = [quoted(row[0])[0] for row in table("event")]
    own = ["running", "paused", "reset", "finished", "failed", "replaced", "restarted", "overrun"]
    assert documented == [*own, "client_slow", "closing"]
    assert {decode(text)["event"] for text in MESSAGES if '"event"' in text} <= set(documented)


def test_the_states_accept_what_the_table_of_transitions_allows() -> None:
    *rows, (_, _, looking) = table("state")
    documented = {State(quoted(state)[0]): quoted(commands) for state, _, commands in rows}
    assert set(documented) == set(State) - {State.STARTING, State.CLOSED}
    for state, commands in documented.items():
        assert commands == legal(state)
        assert (state, Verb.LOOK) in TRANSITIONS
    assert set(quoted(looking)) == VIEWING
    refused = [verb for verb in legal(State.PAUSED) if verb not in legal(State.PAUSED, single_frame=True)]
    assert f"single-frame mode refuses {' and '.join(f'`{verb}`' for verb in refused)}." in TEXT


def test_the_diagram_has_every_change_of_state_and_no_other() -> None:
    drawn = re.findall(r"^    (\w+) --> (\w+): (.+)$", TEXT, re.MULTILINE)
    found = {(State(before), Verb(verb)): State(after) for before, after, verbs in drawn for verb in verbs.split(", ")}
    assert found == {key: after for key, after in TRANSITIONS.items() if key[0] is not after}


def test_the_keys_of_a_command() -> None:
    keys = [quoted(row[0])[0] for row in table("key")]
    assert keys == ["action", "params", "id", "type"]
    assert checked(Command.from_json('{"action":"pause","params":{},"id":1,"type":"cmd"}')).id == 1


def test_the_layout_of_telemetry_by_offset() -> None:
    letters = {"u32": "I", "u64": "Q", "f64": "d"}
    rows = table("offset")
    at = 0
    for offset, size, kind, _ in rows[:-1]:
        assert (int(offset), int(size)) == (at, struct.calcsize(f"<{letters[kind]}"))
        at += int(size)
    assert rows[-1][:3] == [str(at), "8 N", "f64"]
    assert "<" + " ".join(letters[kind] for _, _, kind, _ in rows[:-1]) == TelemetryEncoder.HEADER_FORMAT
    assert quoted(rows[0][3]) == [f"0x{TelemetryEncoder.MAGIC:08x}", "54 52 45 48"]
    with closing(SharedMemoryManager.create(SignalRegistry([Signal("m", "a"), Signal("m", "b", initial=2.5)]))) as shm:
        shm.commit(0, 3, 0.5)
        message = TelemetryEncoder(shm, ["m.b", "m.a"]).encode()
    fields = [struct.unpack_from(f"<{letters[kind]}", message, int(offset))[0] for offset, _, kind, _ in rows]
    assert message[:4].hex(" ") == "54 52 45 48"
    assert fields == [TelemetryEncoder.MAGIC, 3, 0.5, 2, 2.5]
    assert len(message) == at + 8 * 2


def test_the_version_is_that_of_the_server() -> None:
    assert f"protocol version {messages.PROTOCOL_VERSION}." in TEXT
    assert SCHEMA["protocol"] == messages.PROTOCOL_VERSION
