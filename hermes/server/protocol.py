"""The conversation with one client, without I/O: what each message means, what is answered, what it costs.

The shell passes in text, clock readings, committed frames and outcomes, and sends what comes back; it decides nothing
that a client could notice. A message is either refused at once, or a command that is *pending* until `look` or
`settle` has made its one reply.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from hermes import strictjson
from hermes.backplane.patterns import expand_patterns
from hermes.backplane.ring import Snapshot
from hermes.backplane.signals import SignalRegistry
from hermes.commands import VIEWING, Action, Command, checked
from hermes.errors import BadParams, Forbidden, HermesError, TooMany, UnknownSignal
from hermes.server.flow import TokenBucket
from hermes.server.messages import MessageType, ServerMessage, make_ack, make_error

PENDING_LIMIT = 256
"""Commands of one client that may wait for their reply."""

MESSAGE_LIMIT = 64 * 1024
"""Bytes of a message from a client; a longer one closes the connection with 1009."""

COMMAND_RATE = 200.0
"""Tokens per second of one client; an ordinary command takes one."""

COMMAND_BURST = 400.0
"""Tokens that a client may take at once."""

_BYTES_PER_TOKEN = 2048
_NAMES_PER_TOKEN = 200
_LOOKUP_TOKENS = 10
"""What the near names in an error cost: in a large session they take milliseconds."""


class Subscription(NamedTuple):
    """What a client asked to be sent: qualified names in payload order, and how often per second."""

    signals: tuple[str, ...]
    telemetry_hz: float


class ClientProtocol:
    """One client's side of the conversation."""

    def __init__(
        self, registry: SignalRegistry, *, telemetry_hz: float = 60.0, observe: bool = False, now: float = 0.0
    ) -> None:
        """Begin; `telemetry_hz` is the session's rate and the highest, `observe` lets the client watch only."""
        self.pending = 0
        self.commands = 0
        self.subscription: Subscription | None = None
        self._registry = registry
        self._telemetry_hz = telemetry_hz
        self._observe = observe
        self._bucket = TokenBucket(COMMAND_RATE, COMMAND_BURST, now)

    def receive(self, message: str | bytes) -> Command | str:
        """Return the command in a message, now pending, or the text that refuses it."""
        self._bucket.take(1 + len(message) // _BYTES_PER_TOKEN)
        self.commands += 1
        value: Any = None
        try:
            value = strictjson.decode(message)
            command = checked(Command(**strictjson.fields_of(value)))
            if self._observe and command.action not in VIEWING:
                raise Forbidden(command.action)
            if self.pending >= PENDING_LIMIT:
                raise TooMany("commands waiting for their reply", PENDING_LIMIT)
        except HermesError as error:
            return make_error(error, _address(value))
        self.pending += 1
        return command

    def wait(self, now: float) -> float:
        """Return the seconds for which no further message of this client is to be read."""
        return self._bucket.wait(now)

    def look(self, command: Command, newest: Snapshot, status: Callable[[], Mapping[str, Any]]) -> str:
        """Return the reply to a pending command that changes nothing for others, from the newest committed frame.

        It may change `subscription`: the telemetry that follows the reply is that one's.
        """
        try:
            fields = self._seen(command, newest, status)
        except HermesError as error:
            return self.settle(command, error)
        return self.settle(command, {**fields, "frame": newest.frame, "time": newest.time})

    def settle(self, command: Command, outcome: Mapping[str, Any] | HermesError) -> str:
        """Return the reply to a pending command: its ack, with the fields of its outcome, or its error."""
        self.pending -= 1
        if not isinstance(outcome, HermesError):
            return make_ack(command, outcome)
        if isinstance(outcome, UnknownSignal):
            self._bucket.take(_LOOKUP_TOKENS)
        return make_error(outcome, {"action": command.action, "id": command.id})

    # -- what a client may look at

    def _seen(self, command: Command, newest: Snapshot, status: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
        match command.action:
            case Action.SUBSCRIBE:
                return self._subscribe(command.params)
            case Action.UNSUBSCRIBE:
                return self._unsubscribe(command.params)
            case Action.GET:
                names = self._names(command.params["signals"])
                return {"values": {name: self._registry.value(name, newest.cells) for name in names}}
            case _:
                return status()

    def _subscribe(self, params: Mapping[str, Any]) -> dict[str, Any]:
        rate = params.get("telemetry_hz", self._telemetry_hz)
        if rate > self._telemetry_hz:
            raise BadParams(f"telemetry_hz is at most {self._telemetry_hz:g} Hz, the session's own; found {rate:g}")
        self.subscription = Subscription(self._names(params["signals"]), rate)
        return {**_listed(self.subscription.signals), "telemetry_hz": rate}

    def _unsubscribe(self, params: Mapping[str, Any]) -> dict[str, Any]:
        gone = frozenset(self._names(params["signals"])) if params else None
        before = self.subscription
        if before is None:
            return _listed(())
        remaining = tuple(name for name in before.signals if gone is not None and name not in gone)
        if remaining != before.signals:
            self.subscription = before._replace(signals=remaining)
        if not remaining:
            self.subscription = None
        return _listed(remaining)

    def _names(self, patterns: Sequence[str]) -> tuple[str, ...]:
        globs = sum("*" in pattern or "?" in pattern for pattern in patterns)
        self._bucket.take((len(patterns) + globs * len(self._registry)) // _NAMES_PER_TOKEN)
        names = tuple(expand_patterns(patterns, self._registry))
        self._bucket.take(len(names) // _NAMES_PER_TOKEN)
        return names


def _listed(names: tuple[str, ...]) -> dict[str, Any]:
    return {"count": len(names), "signals": names}


def _address(value: Any) -> dict[str, Any]:
    """Return what an error can repeat of a refused message: its action and id, where they have the form of one."""
    if not isinstance(value, dict):
        return {}
    action, identity = value.get("action"), value.get("id")
    found: dict[str, Any] = {"action": action} if isinstance(action, str) else {}
    if isinstance(identity, str | int) and not isinstance(identity, bool):
        found["id"] = identity
    return found


__all__ = [
    "COMMAND_BURST",
    "COMMAND_RATE",
    "MESSAGE_LIMIT",
    "PENDING_LIMIT",
    "ClientProtocol",
    "Command",
    "MessageType",
    "ServerMessage",
    "Subscription",
]
