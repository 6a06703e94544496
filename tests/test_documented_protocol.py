"""docs/protocol.md, executed: its examples, its table of errors, its states and its layout of telemetry."""

from __future__ import annotations

import inspect
import re
import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hermes.backplane.shm import SharedMemoryManager
from hermes.backplane.signals import Signal, SignalKind, SignalRegistry, SignalType
from hermes.commands import ENTRY_LIMIT, Action, Command, checked
from hermes.errors import CommandError, ConfigurationError, HermesError, LoopError, ModuleDied, PortInUse
from hermes.lifecycle import State, Verb, legal
from hermes.mirror import failure_fields
from hermes.server import client, protocol, websocket
from hermes.server.telemetry import TelemetryEncoder
from hermes.strictjson import decode, encode

TEXT = (Path(__file__).parent.parent / "docs" / "protocol.md").read_text()
EXAMPLES = re.findall(r"^```json (\w+)(?: (\w+))?\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
COMMANDS = [(text, code) for side, code, text in EXAMPLES if side == "client"]
MESSAGES = [text for side, _, text in EXAMPLES if side == "server"]
NEVER_ON_THE_WIRE = {ConfigurationError, PortInUse, LoopError}


def table(first: str) -> list[list[str]]:
    """Return the rows of the table whose first column has this head."""
    found = re.search(rf"^\| {re.escape(first)} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", TEXT, re.MULTILINE)
    assert found, first
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in found[1].splitlines()]


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def kinds(kind: type[HermesError] = HermesError) -> Iterator[type[HermesError]]:
    if kind not in NEVER_ON_THE_WIRE:
        yield kind
    for further in kind.__subclasses__():
        yield from kinds(further)


def own_fields(kind: type[HermesError]) -> list[str]:
    """Return the fields that an error of this kind adds to a message."""
    names = [name for name, one in inspect.signature(kind).parameters.items() if one.kind is not one.VAR_KEYWORD]
    return [name for name in names if name not in ("action", "message", "traceback")]


def test_every_block_of_json_is_marked_and_executed() -> None:
    assert len(EXAMPLES) == TEXT.count("```json") == TEXT.count("```") / 2
    assert {side for side, _, _ in EXAMPLES} == {"client", "server"}
    assert {decode(text)["type"] for text in MESSAGES} == {"schema", "ack", "error", "event"}
    assert {decode(text)["action"] for text, code in COMMANDS if not code} == set(Action)


@pytest.mark.parametrize(("text", "code"), COMMANDS)
def test_a_command_is_accepted_or_refused_with_the_code_it_names(text: str, code: str) -> None:
    if not code:
        assert checked(Command.from_json(text)).action == decode(text)["action"]
        return
    with pytest.raises(CommandError) as caught:
        checked(Command.from_json(text))
    assert caught.value.code == code


def rebuilt(message: dict[str, Any]) -> str:
    """Return the text that the server makes of what a message tells."""
    told = {key: value for key, value in message.items() if key not in ("type", "action", "id", "event")}
    command = Command(message.get("action", ""), {}, message.get("id"))
    match message["type"]:
        case "ack":
            return protocol.make_ack(command, told)
        case "event":
            return protocol.make_event(message["event"], told)
        case "error":
            kind = next(kind for kind in kinds() if kind.code == told["code"] and kind is not HermesError)
            fields = {name: told.get(name) for name in inspect.signature(kind).parameters}
            return protocol.make_error(kind(**fields), command)
        case _:
            session = {key: told[key] for key in ("session", "state", "frame", "time", "rate_hz", "telemetry_hz")}
            return protocol.make_schema(SignalRegistry(signals(told["modules"])), session, told["wiring"])


def signals(modules: dict[str, Any]) -> Iterator[Signal]:
    for module, content in modules.items():
        for one in content["signals"]:
            words = {"unit": one.get("unit", ""), "description": one.get("description", "")}
            yield Signal(module, one["name"], SignalKind(one["kind"]), SignalType(one["type"]), **words)


@pytest.mark.parametrize("text", MESSAGES, ids=[re.sub(r"\W+", "-", text[:60]) for text in MESSAGES])
def test_a_message_is_what_the_server_sends(text: str) -> None:
    message = decode(text)
    assert rebuilt(message) == encode(message)


def test_the_failure_shown_is_what_a_failure_tells() -> None:
    message = next(decode(text) for text in MESSAGES if '"failed"' in text)
    fields = failure_fields(ModuleDied("vehicle", 412, "step", "signal SIGSEGV"))
    assert {key: message[key] for key in fields} == fields


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
    assert documented == ["running", "paused", "reset", "finished", "failed", "overrun", "closing"]
    assert {decode(text)["event"] for text in MESSAGES if '"event"' in text} <= set(documented)


def test_the_states_accept_what_the_table_of_transitions_allows() -> None:
    documented = {State(quoted(state)[0]): quoted(commands) for state, _, commands in table("state")}
    assert set(documented) == set(State) - {State.STARTING, State.CLOSED}
    for state, commands in documented.items():
        assert set(commands) == {verb.value for verb in legal(state) if verb is not Verb.RUN}
    assert [verb for verb in legal(State.PAUSED, single_frame=True) if verb in set(Action)] == [
        *(Verb.PAUSE, Verb.STEP, Verb.RESET, Verb.SET)
    ]


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


@pytest.mark.parametrize(
    "sentence",
    [
        f"protocol version {protocol.PROTOCOL_VERSION}.",
        f"At most {websocket.CLIENT_LIMIT} clients",
        f"complete within {websocket.HANDSHAKE_SECONDS:g} s",
        f"at most {protocol.MESSAGE_LIMIT // 1024} KiB",
        f"at most {protocol.PENDING_LIMIT} may wait",
        f"over {ENTRY_LIMIT:,} entries",
        f"behind which {client.TEXT_LIMIT:,} of them wait",
        f"after {client.STALL_SECONDS:g} s without reading",
        f"at least {client.BUFFER_CAP // 1024} KiB",
    ],
)
def test_the_limits_are_those_of_the_server(sentence: str) -> None:
    assert sentence in re.sub(r"\s+", " ", TEXT)
