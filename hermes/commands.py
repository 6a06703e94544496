"""The verbs as values: what a user may ask of a session, the same from Python, the command line, a widget or the wire.

`Command` is what was asked, checked by `checked`; nothing in here knows a session, a socket or a signal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeGuard

from hermes.errors import BadParams, TooMany, UnknownAction
from hermes.wording import nearest, shown

ENTRY_LIMIT = 4_096
"""Entries that the list or object of one command may have."""

PATTERN_LIMIT = 32
"""Entries of one command that may be patterns: each is compared with every signal of the session."""

SECONDS_LIMIT = 1e9
"""Simulated seconds that one run may ask for."""

RATE_LIMIT = 1000
"""Telemetry frames per second that any session sends, in Hz."""

COUNT_LIMIT = (1 << 53) - 1
"""Frames that one step may ask for: the largest integer that every JSON reader keeps exactly."""


class Action(StrEnum):
    """What a command asks for."""

    PAUSE = "pause"
    RESUME = "resume"
    RESET = "reset"
    STEP = "step"
    RUN = "run"
    SET = "set"
    SUBSCRIBE = "subscribe"
    UNSUBSCRIBE = "unsubscribe"
    GET = "get"
    STATUS = "status"


VIEWING = frozenset({Action.SUBSCRIBE, Action.UNSUBSCRIBE, Action.GET, Action.STATUS})
"""What changes nothing for anybody else, and is therefore allowed to a client that may only observe."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command: its action, its parameters, and the sender's own name for it, which the reply repeats."""

    action: str
    params: Mapping[str, Any] = field(default_factory=dict)
    id: str | int | None = None

    @classmethod
    def from_json(cls, data: str | bytes) -> Command:
        """Return the command in a message from a client; raises BadJson or BadMessage (see `hermes.strictjson`)."""
        from hermes.strictjson import decode, fields_of  # noqa: PLC0415 - the wire's form, which Python callers never need

        return cls(**fields_of(decode(data)))


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


def _run(params: Mapping[str, Any]) -> dict[str, Any]:
    _known(Action.RUN, params, "seconds")
    seconds = params.get("seconds")
    if not _is_number(seconds) or not 0 < seconds <= SECONDS_LIMIT:
        raise BadParams(f"run takes seconds of simulated time, above 0 and at most 1e9; found {shown(seconds)}")
    return {"seconds": seconds}


def _subscribe(params: Mapping[str, Any]) -> dict[str, Any]:
    _known(Action.SUBSCRIBE, params, "signals", "telemetry_hz")
    asked = {"signals": _signals(Action.SUBSCRIBE, params)}
    if "telemetry_hz" not in params:
        return asked
    rate = params["telemetry_hz"]
    if not _is_number(rate) or not 0 < rate <= RATE_LIMIT:
        raise BadParams(f"telemetry_hz is a rate above 0 and at most {RATE_LIMIT}, in Hz; found {shown(rate)}")
    return {**asked, "telemetry_hz": float(rate)}


def _unsubscribe(params: Mapping[str, Any]) -> dict[str, Any]:
    _known(Action.UNSUBSCRIBE, params, "signals")
    return {"signals": _signals(Action.UNSUBSCRIBE, params)} if params else {}


def _get(params: Mapping[str, Any]) -> dict[str, Any]:
    _known(Action.GET, params, "signals")
    return {"signals": _signals(Action.GET, params)}


def _signals(action: Action, params: Mapping[str, Any]) -> list[str]:
    signals = params.get("signals")
    if not isinstance(signals, list) or not all(isinstance(pattern, str) for pattern in signals):
        raise BadParams(f"{action} takes signals, a list of names and patterns such as '*'; found {shown(signals)}")
    if len(signals) > ENTRY_LIMIT:
        raise TooMany(f"entries in one {action}", ENTRY_LIMIT)
    if sum("*" in entry or "?" in entry for entry in set(signals)) > PATTERN_LIMIT:
        raise TooMany(f"patterns with * or ? in one {action}", PATTERN_LIMIT)
    return signals


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


_CHECKS: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    Action.PAUSE: _no_params(Action.PAUSE),
    Action.RESUME: _no_params(Action.RESUME),
    Action.RESET: _no_params(Action.RESET),
    Action.STEP: _step,
    Action.RUN: _run,
    Action.SET: _set,
    Action.SUBSCRIBE: _subscribe,
    Action.UNSUBSCRIBE: _unsubscribe,
    Action.GET: _get,
    Action.STATUS: _no_params(Action.STATUS),
}
