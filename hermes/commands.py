"""The verbs as values: what a user may ask of a session, the same from Python, the command line, a widget or the wire.

`Command` is what was asked, checked by `checked`; nothing in here knows a session, a socket or a signal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from hermes.errors import BadParams, TooMany, UnknownAction, nearest, shown

ENTRY_LIMIT = 4_096
"""Entries that one set or one subscribe may have."""

COUNT_LIMIT = (1 << 53) - 1
"""Frames that one step may ask for: the largest integer that every JSON reader keeps exactly."""


class Action(StrEnum):
    """What a command asks for."""

    PAUSE = "pause"
    RESUME = "resume"
    RESET = "reset"
    STEP = "step"
    SET = "set"
    SUBSCRIBE = "subscribe"


@dataclass(frozen=True, slots=True)
class Command:
    """One command: its action, its parameters, and the sender's own name for it, which the reply repeats."""

    action: str
    params: Mapping[str, Any] = field(default_factory=dict)
    id: str | int | None = None

    @classmethod
    def from_json(cls, data: str | bytes) -> Command:
        """Return the command in a message from a client; raises BadJson or BadMessage (see `hermes.strictjson`)."""
        from hermes.strictjson import command_fields  # noqa: PLC0415 - the wire's form, which Python callers never need

        return cls(**command_fields(data))


def checked(command: Command) -> Command:
    """Return the command with its parameters complete and of the right form.

    Raises UnknownAction, BadParams or TooMany.
    """
    check = _CHECKS.get(command.action)
    if check is None:
        raise UnknownAction(command.action, list(_CHECKS), nearest(command.action, _CHECKS))
    return Command(command.action, check(command.params), command.id)


def _no_params(action: Action) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    def check(params: Mapping[str, Any]) -> dict[str, Any]:
        _known(action, params)
        return {}

    return check


def _known(action: Action, params: Mapping[str, Any], *names: str) -> None:
    unknown = [name for name in params if name not in names]
    if unknown:
        takes = f"takes {', '.join(names)}" if names else "takes no params"
        raise BadParams(f"{action} {takes}; found {', '.join(shown(name) for name in unknown[:5])}")


def _step(params: Mapping[str, Any]) -> dict[str, Any]:
    _known(Action.STEP, params, "count")
    count = params.get("count", 1)
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= COUNT_LIMIT:
        raise BadParams(f"step takes a count of frames, a whole number from 1 to 2^53-1; found {shown(count)}")
    return {"count": count}


def _set(params: Mapping[str, Any]) -> dict[str, Any]:
    _known(Action.SET, params, "signal", "value", "values")
    values = params.get("values")
    if params.keys() == {"signal", "value"}:
        if not isinstance(params["signal"], str):
            raise BadParams(f"set takes a signal by its name, a string; found {shown(params['signal'])}")
        return {"values": {params["signal"]: params["value"]}}
    if not isinstance(values, Mapping) or not values or len(params) != 1:
        raise BadParams("set takes either signal and value, or values: an object of at least one name and value")
    if len(values) > ENTRY_LIMIT:
        raise TooMany("signals in one set", ENTRY_LIMIT)
    return {"values": dict(values)}


def _subscribe(params: Mapping[str, Any]) -> dict[str, Any]:
    _known(Action.SUBSCRIBE, params, "signals")
    signals = params.get("signals")
    if not isinstance(signals, list) or not all(isinstance(pattern, str) for pattern in signals):
        raise BadParams(f"subscribe takes signals, a list of names and patterns such as '*'; found {shown(signals)}")
    if len(signals) > ENTRY_LIMIT:
        raise TooMany("entries in one subscribe", ENTRY_LIMIT)
    return {"signals": signals}


_CHECKS: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    Action.PAUSE: _no_params(Action.PAUSE),
    Action.RESUME: _no_params(Action.RESUME),
    Action.RESET: _no_params(Action.RESET),
    Action.STEP: _step,
    Action.SET: _set,
    Action.SUBSCRIBE: _subscribe,
}
