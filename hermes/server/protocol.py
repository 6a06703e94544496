"""The wire's sentences: every message that server and clients exchange, as values and text, without I/O.

The server answers with what stands here and nothing else; a test that needs a socket to check a sentence would mean
that the sentence stands in the wrong file. `docs/protocol.md` shows each one.
"""

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

PENDING_LIMIT = 256
"""Commands of one client that may wait for their reply."""

MESSAGE_LIMIT = 64 * 1024
"""Bytes of a message from a client; a longer one closes the connection with 1009."""


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


def make_schema(registry: SignalRegistry, session: Mapping[str, Any], wiring: Sequence[Mapping[str, Any]]) -> str:
    """Return the first message of every connection: all modules and signals, and what `session` says of the run."""
    modules: dict[str, Any] = {module: {"signals": []} for module in registry.modules}
    for signal in registry:
        modules[signal.module]["signals"].append(_signal_entry(signal))
    payload = {"modules": modules, "protocol": PROTOCOL_VERSION, **session, "wiring": list(wiring)}
    return ServerMessage(MessageType.SCHEMA, payload).to_json()


def make_ack(command: Command, fields: Mapping[str, Any]) -> str:
    """Return the acknowledgment of a command; `fields` holds at least frame and time of its boundary."""
    payload = {"action": command.action, **fields, **_identity(command)}
    return ServerMessage(MessageType.ACK, payload).to_json()


def make_error(error: HermesError, command: Command | None = None) -> str:
    """Return the refusal of a command, or of a message that is none; the error's own fields come with it."""
    action = {} if command is None else {"action": command.action}
    payload = {**action, "code": error.code, "message": str(error), **_extra(error)}
    return ServerMessage(MessageType.ERROR, {**payload, **(_identity(command) if command else {})}).to_json()


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
    return entry


def _extra(error: HermesError) -> dict[str, Any]:
    taken = ("action", "code", "message", "type", "id", "traceback")
    return {name: value for name, value in error.fields.items() if name not in taken}


def _identity(command: Command) -> dict[str, Any]:
    return {} if command.id is None else {"id": command.id}


__all__ = [
    "MESSAGE_LIMIT",
    "PENDING_LIMIT",
    "PROTOCOL_VERSION",
    "Command",
    "MessageType",
    "ServerMessage",
    "make_ack",
    "make_error",
    "make_event",
    "make_schema",
]
