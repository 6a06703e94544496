"""What a message of a client is by itself: a command, or an error with one of some codes; from the specification."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from wiresignals import RATE, SIGNALS, TELEMETRY_HZ, expanded, stored

Reply = dict[str, Any]

DEPTH = 32
CONTAINERS = 1_024
ENTRIES = 4_096
PATTERNS = 32
MESSAGE_BYTES = 64 * 1024

VIEWING = frozenset({"subscribe", "unsubscribe", "get", "status"})
ACTIONS = frozenset({*VIEWING, "pause", "resume", "reset", "step", "run", "set"})


@dataclass
class Verdict:
    """What a message is by itself: the codes of which its error must have one, or, without any, a command.

    `params` are a command's, complete; `identity` is what the reply repeats, `unknown` the names it must list.
    """

    action: str | None = None
    identity: str | int | None = None
    codes: frozenset[str] = frozenset()
    params: dict[str, Any] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)

    @property
    def is_command(self) -> bool:
        """Whether nothing is wrong with it by itself."""
        return not self.codes


def verdict(message: str | bytes) -> Verdict:
    """Return what a message from a client is."""
    if isinstance(message, bytes):
        return Verdict(codes=frozenset({"bad_message"}))
    try:
        value = _strict(message)
    except ValueError:
        return Verdict(codes=frozenset({"bad_json"}))
    if not isinstance(value, dict):
        return Verdict(codes=frozenset({"bad_message"}))
    action, identity = value.get("action"), value.get("id")
    found = Verdict(action if isinstance(action, str) else None)
    if isinstance(identity, str | int) and not isinstance(identity, bool):
        found.identity = identity
    params = value.get("params", {})
    well_formed = [
        value.keys() <= {"type", "action", "params", "id"},
        value.get("type", "cmd") == "cmd",
        isinstance(action, str),
        isinstance(params, dict),
        identity is None or found.identity is not None,
    ]
    if not all(well_formed):
        found.codes = frozenset({"bad_message"})
    elif action not in ACTIONS:
        found.codes = frozenset({"unknown_action"})
    else:
        _judge_params(found, params)
    return found


def _strict(text: str) -> Any:
    def integer(digits: str) -> int:
        if math.isinf(float(digits)):
            raise ValueError(digits)
        return int(digits)

    def real(digits: str) -> float:
        if math.isinf(float(digits)):
            raise ValueError(digits)
        return float(digits)

    def constant(name: str) -> None:
        raise ValueError(name)

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(found)) < len(found):
            raise ValueError("a key twice")
        return dict(found)

    try:
        value = json.loads(text, parse_int=integer, parse_float=real, parse_constant=constant, object_pairs_hook=pairs)
    except RecursionError:
        raise ValueError("deep") from None
    if _containers(value, 0) > CONTAINERS:
        raise ValueError("many")
    return value


def _containers(value: Any, depth: int) -> int:
    """Return how many arrays and objects there are; raises ValueError on a lone surrogate, and where it is too deep."""
    if isinstance(value, str):
        value.encode()
    if not isinstance(value, dict | list):
        return 0
    if depth == DEPTH:
        raise ValueError("deep")
    items = [*value, *value.values()] if isinstance(value, dict) else value
    return 1 + sum(_containers(item, depth + 1) for item in items)


def _judge_params(found: Verdict, params: dict[str, Any]) -> None:
    codes: set[str] = set()
    match found.action:
        case "pause" | "resume" | "reset" | "status":
            codes |= {"bad_params"} if params else set()
        case "step":
            count = params.get("count", 1)
            good = isinstance(count, int) and not isinstance(count, bool) and 1 <= count < 2**53
            codes |= set() if good and params.keys() <= {"count"} else {"bad_params"}
            found.params = {"count": count}
        case "run":
            seconds: Any = params.get("seconds")
            good = params.keys() == {"seconds"} and _is_number(seconds) and 0 < seconds <= 1e9
            codes |= set() if good else {"bad_params"}
            found.params = {"count": max(1, math.ceil(Fraction(repr(seconds)) * RATE))} if good else {}
        case "set":
            codes |= _judge_set(found, params)
        case _:
            codes |= _judge_names(found, params)
    found.codes = frozenset(codes)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _judge_names(found: Verdict, params: dict[str, Any]) -> set[str]:
    if found.action == "unsubscribe" and not params:
        return set()
    keys = {"signals", "telemetry_hz"} if found.action == "subscribe" else {"signals"}
    signals = params.get("signals")
    hertz = params.get("telemetry_hz", TELEMETRY_HZ)
    if not params.keys() <= keys or not isinstance(signals, list) or not all(isinstance(one, str) for one in signals):
        return {"bad_params"}
    wrong = not _is_number(hertz) or not 0 < hertz <= TELEMETRY_HZ
    globs = {one for one in signals if "*" in one or "?" in one}
    if len(signals) > ENTRIES or len(globs) > PATTERNS:
        return {"too_many", *(("bad_params",) if wrong else ())}
    names, found.unknown = expanded(signals)
    found.params = {"signals": names}
    return ({"bad_params"} if wrong else set()) | ({"unknown_signal"} if found.unknown else set())


def _judge_set(found: Verdict, params: dict[str, Any]) -> set[str]:
    values = params.get("values")
    if params.keys() == {"signal", "value"} and isinstance(params["signal"], str):
        values = {params["signal"]: params["value"]}
    elif params.keys() != {"values"} or not isinstance(values, dict) or not values:
        return {"bad_params"}
    if len(values) > ENTRIES:
        return {"too_many"}
    found.unknown = [name for name in values if name not in SIGNALS]
    refused = {name: _refusal(name, value) for name, value in values.items()}
    if not any(refused.values()):
        found.params = {"values": {name: stored(SIGNALS[name], value) for name, value in values.items()}}
    return {code for code in refused.values() if code is not None}


def _refusal(name: str, value: object) -> str | None:
    spec = SIGNALS.get(name)
    if spec is None:
        return "unknown_signal"
    if spec.kind == "output":
        return "read_only"
    if spec.source is not None:
        return "wired"
    return "bad_value" if stored(spec, value) is None else None


@dataclass
class Sent:
    """A message that was sent, and its one reply with the number of state events that came before it.

    `order` counts the messages of one sender, `answered` the replies of all; `is_alone` says that the sender then
    waited for nothing else.
    """

    origin: str
    text: str | bytes
    verdict: Verdict
    order: int
    is_alone: bool = False
    reply: Reply | None = None
    seen: int = 0
    answered: int = 0

    def __repr__(self) -> str:
        return f"{self.origin} {self.text[:300]!r} ({self.seen} events, then {self.reply})"

    @property
    def action(self) -> str:
        """The command's action."""
        return self.verdict.action or ""

    @property
    def is_acked(self) -> bool:
        """Whether it was accepted."""
        return self.reply is not None and self.reply["type"] == "ack"
