"""The wire's sentences: every message of the server, as values and text. `docs/protocol.md` shows each one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from hermes import strictjson
from hermes.backplane.signals import Signal, SignalRegistry
from hermes.commands import Command
from hermes.errors import HermesError

PROTOCOL_VERSION = 1


class MessageType(StrEnum):
    """The `type` of a message."""

    SCHEMA = "schema"
    EVENT = "event"
    ERROR = "error"
    ACK = "ack"
    CMD = "cmd"


@dataclass(frozen=True, slots=True)
class ServerMessage:
    """A message from the server; `payload` follows the type in the order given."""

    type: MessageType
    payload: Mapping[str, Any]

    def to_json(self) -> str:
        """Return the message as strict JSON text."""
        return strictjson.encode({"type": self.type.value, **self.payload})


class Schema:
    """The first message of every connection: all modules, signals and wires, and how the session is right now.

    What does not change is encoded once: with 100,000 signals that takes half a second.
    """

    def __init__(self, registry: SignalRegistry, wiring: Sequence[Mapping[str, Any]]) -> None:
        modules: dict[str, Any] = {module: {"signals": []} for module in registry.modules}
        for signal in registry:
            modules[signal.module]["signals"].append(_signal_entry(signal))
        fixed = {"modules": modules, "protocol": PROTOCOL_VERSION, "wiring": list(wiring)}
        self._fixed = ServerMessage(MessageType.SCHEMA, fixed).to_json()[:-1]

    def text(self, session: Mapping[str, Any]) -> str:
        """Return the message; `session` holds the session's name, state, frame, time and rates."""
        return f"{self._fixed},{strictjson.encode(dict(session))[1:]}"


def make_ack(command: Command, fields: Mapping[str, Any]) -> str:
    """Return the acknowledgment of a command; `fields` holds at least frame and time of its boundary."""
    payload = {"action": command.action, **fields, **_identity(command)}
    return ServerMessage(MessageType.ACK, payload).to_json()


def make_error(error: HermesError, command: Mapping[str, Any]) -> str:
    """Return the refusal of a message; `command` holds what of its action and id is known."""
    action = {key: command[key] for key in ("action",) if key in command}
    identity = {key: command[key] for key in ("id",) if command.get(key) is not None}
    payload = {**action, "code": error.code, "message": str(error), **_extra(error), **identity}
    return ServerMessage(MessageType.ERROR, payload).to_json()


def make_event(name: str, fields: Mapping[str, Any]) -> str:
    """Return an event; `fields` holds at least frame and time."""
    return ServerMessage(MessageType.EVENT, {"event": name, **fields}).to_json()


def _signal_entry(signal: Signal) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": signal.name, "type": signal.type.value}
    if signal.unit:
        entry["unit"] = signal.unit
    entry["kind"] = signal.kind.value
    entry["writable"] = signal.is_settable
    if signal.description:
        entry["description"] = signal.description
    if signal.is_settable:
        entry["initial"] = signal.initial
        entry |= {"limits": list(signal.limits)} if signal.limits is not None else {}
        entry |= {"allow_nonfinite": True} if signal.allow_nonfinite else {}
    return entry


def _extra(error: HermesError) -> dict[str, Any]:
    taken = ("action", "code", "message", "type", "id", "traceback")
    return {name: value for name, value in error.fields.items() if name not in taken}


def _identity(command: Command) -> dict[str, Any]:
    return {} if command.id is None else {"id": command.id}
