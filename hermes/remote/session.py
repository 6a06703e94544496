"""A session as one of its clients knows it: what may be asked of it and what its messages mean, without I/O.

Every message of the server goes through `RemoteSession.take`, in the order in which it came. It is read strictly:
what does not have the form that `docs/protocol.md` promises raises Broken, and nothing after it is to be trusted.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hermes.backplane.signals import SignalRegistry, Value, decode_cell, encode_cell
from hermes.commands import Action, Command, checked
from hermes.errors import ReadOnlySignal, TooMany, WiredSignal
from hermes.lifecycle import State
from hermes.remote.reading import (
    Broken,
    read_field,
    read_number,
    read_object,
    read_objects,
    read_signals,
    read_state,
    read_value,
)
from hermes.remote.refusals import refusal
from hermes.server.messages import PROTOCOL_VERSION
from hermes.server.protocol import MESSAGE_LIMIT
from hermes.server.telemetry import decode_telemetry
from hermes.strictjson import decode, encode
from hermes.wording import shown


class Telemetry(NamedTuple):
    """One committed frame of the subscribed signals: `values` in the order of `names`, `time` in seconds.

    Every type comes as f64: a bool as 0 or 1, an integer beyond 2^53 rounded.
    """

    frame: int
    time: float
    values: npt.NDArray[np.float64]
    names: tuple[str, ...]


class Event(NamedTuple):
    """Something that happened to the session."""

    name: str
    fields: Mapping[str, Any]


class Answer(NamedTuple):
    """The reply to the command of this number: what it returns, or the error that refuses it."""

    number: int
    outcome: Any


class RemoteStatus(NamedTuple):
    """How a session is doing; `clients` are connected to it, `sent` and `skipped` are telemetry frames of this client.

    `real_time_factor` is simulated over real time during the last second or so.
    """

    state: State
    frame: int
    time: float
    real_time_factor: float
    overruns: int
    late_wakeups: int
    loop_stalls: int
    clients: int
    sent: int
    skipped: int


class RemoteSession:
    """One client's knowledge of a session.

    `state`, `frame` and `time` (s) are the newest of all that the server has said; `names` are the signals of the
    telemetry that comes now, None where none was subscribed; `closing` is whether the session has said that it ends.
    """

    def __init__(self, schema: str | bytes) -> None:
        """Begin with the first message; raises Broken where that is no schema."""
        message = read_object(schema)
        if message.get("type") != "schema":
            raise Broken(f"its first message is no schema but of type {shown(message.get('type'))}")
        if message.get("protocol") != PROTOCOL_VERSION:
            raise Broken(f"it speaks version {shown(message.get('protocol'))}; this client knows {PROTOCOL_VERSION}")
        self.name = read_field(message, "session", str)
        self.state = read_state(message)
        self.frame = read_field(message, "frame", int)
        self.time = read_number(message, "time")
        self.rate_hz = read_number(message, "rate_hz")
        self.telemetry_hz = read_number(message, "telemetry_hz")
        self.signals = SignalRegistry(read_signals(read_field(message, "modules", dict)))
        self.wiring: Sequence[Mapping[str, Any]] = tuple(read_objects(message, "wiring"))
        self.names: tuple[str, ...] | None = None
        self.closing = False
        self._wired = {read_field(wire, "dst", str): read_field(wire, "src", str) for wire in self.wiring}
        self._numbers = itertools.count(1)
        self._pending: dict[int, str] = {}
        self._sent = 0

    def ask(self, action: str, params: Mapping[str, Any]) -> tuple[int, str]:
        """Return the number and the text of a command, now pending; raises CommandError where it must be refused.

        What the server could not read or would not answer is never sent.
        """
        command = checked(Command(action, params))
        fields = {"values": self._settable(command.params["values"])} if action == Action.SET else command.params
        number = next(self._numbers)
        text = encode({"action": action, "id": number, **({"params": fields} if fields else {})})
        decode(text)
        if len(text) > MESSAGE_LIMIT:
            raise TooMany("bytes in one command", MESSAGE_LIMIT)
        self._pending[number] = action
        return number, text

    def take(self, message: str | bytes) -> Telemetry | Event | Answer:
        """Return what a message says, having learned from it; raises Broken."""
        if isinstance(message, bytes):
            return self._telemetry(message)
        found = read_object(message)
        match found.get("type"):
            case "event":
                return self._event(found)
            case "ack" | "error":
                return self._answer(found)
            case unexpected:
                raise Broken(f"a message of type {shown(unexpected)}")

    def is_current(self, telemetry: Telemetry) -> bool:
        """Return whether a frame is of the present subscription and not older than what a reply or event has told."""
        return telemetry.names is self.names and telemetry.frame >= self.frame

    # -- what is asked

    def _settable(self, values: Mapping[str, object]) -> dict[str, Value]:
        """Return values to set as the signals hold them, refused just as the session in its own process does."""
        found = {}
        for name, value in values.items():
            signal = self.signals[name]
            if not signal.is_settable:
                raise ReadOnlySignal(name)
            if name in self._wired:
                raise WiredSignal(name, self._wired[name])
            found[name] = decode_cell(signal.type, encode_cell(signal, value))
        return found

    # -- what is said

    def _telemetry(self, message: bytes) -> Telemetry:
        try:
            frame, time, values = decode_telemetry(message)
        except ValueError as error:
            raise Broken(str(error)) from None
        if self.names is None or len(values) != len(self.names):
            subscribed = "none" if self.names is None else len(self.names)
            raise Broken(f"telemetry with {len(values)} values where {subscribed} are subscribed")
        if frame < self._sent:  # a new epoch, whose `reset` is still on its way
            self.frame = frame
        self._sent = frame
        self._advance(frame, time)
        return Telemetry(frame, time, values, self.names)

    def _event(self, message: dict[str, Any]) -> Event:
        name = read_field(message, "event", str)
        frame, time, self.state = read_field(message, "frame", int), read_number(message, "time"), read_state(message)
        if name == "reset":
            self.frame, self.time = frame, time
        elif name != "failed":  # its frame is one that was never completed
            self._advance(frame, time)
        if name == "closing":
            self.state, self.closing = State.CLOSED, True
        return Event(name, {key: value for key, value in message.items() if key not in ("type", "event")})

    def _answer(self, message: dict[str, Any]) -> Answer:
        number = read_field(message, "id", int)
        action = self._pending.pop(number, None)
        if action is None or message.get("action") != action:
            raise Broken(f"a reply to {shown(message.get('action'))} number {number}, which was not asked")
        if message["type"] == "error":
            read_field(message, "code", str), read_field(message, "message", str)
            return Answer(number, refusal(message))
        self._advance(read_field(message, "frame", int), read_number(message, "time"))
        return Answer(number, self._outcome(action, message))

    def _outcome(self, action: str, message: dict[str, Any]) -> Any:
        match action:
            case Action.STEP | Action.RUN:
                return read_field(message, "completed", int)
            case Action.SUBSCRIBE | Action.UNSUBSCRIBE:
                return self._listed(message)
            case Action.GET:
                return self._values(message)
            case Action.STATUS:
                return self._status(message)
            case _:
                return None

    def _advance(self, frame: int, time: float) -> None:
        """Note a frame. Events come later than telemetry that overtook them, so only `reset` may lead back."""
        if frame >= self.frame:
            self.frame, self.time = frame, time

    def _listed(self, message: dict[str, Any]) -> tuple[str, ...]:
        """Take over the signals of the telemetry that follows this reply."""
        names = tuple(read_field(message, "signals", list))
        if not all(isinstance(name, str) and name in self.signals for name in names) or message.get("count") != len(
            names
        ):
            raise Broken(f"a reply to {message['action']} with signals that are not the session's")
        self.names = names if names or message["action"] == Action.SUBSCRIBE else None
        return names

    def _values(self, message: dict[str, Any]) -> dict[str, Value]:
        values = read_field(message, "values", dict)
        if unknown := [name for name in values if name not in self.signals]:
            raise Broken(f"a value of {shown(unknown[0])}, which is no signal of the session")
        return {name: read_value(self.signals[name].type, value) for name, value in values.items()}

    def _status(self, message: dict[str, Any]) -> RemoteStatus:
        self.state = read_state(message)
        factor, time = read_number(message, "real_time_factor"), read_number(message, "time")
        read = {name: message.get(name) for name in RemoteStatus._fields}
        counts = {name: read_field(read, name, int) for name in ("frame", *RemoteStatus._fields[4:])}
        return RemoteStatus(state=self.state, time=time, real_time_factor=factor, **counts)
