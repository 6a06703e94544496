"""A server's messages read strictly: JSON whose parts have the types that `docs/protocol.md` promises, or Broken."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from hermes.backplane.signals import NONFINITE_NAMES, Signal, SignalKind, SignalType, Value
from hermes.errors import HermesError
from hermes.lifecycle import State
from hermes.strictjson import decode
from hermes.wording import shown

T = TypeVar("T")

_CONTAINERS = 10_000_000
"""Arrays and objects that a message may have: two or three per signal, in a schema."""


class Broken(Exception):
    """The server has broken the protocol; the text says how."""


def read_object(text: str | bytes) -> dict[str, Any]:
    """Return the object that a text message is."""
    try:
        found = decode(text, _CONTAINERS)
    except HermesError as error:
        raise Broken(str(error)) from None
    if not isinstance(found, dict):
        raise Broken(f"a message that is no object but {shown(found)}")
    return found


def read_field(message: Mapping[str, Any], key: str, kind: type[T]) -> T:
    """Return what stands at a key; true and false are no integers."""
    value = message.get(key)
    if not isinstance(value, kind) or isinstance(value, bool) is not (kind is bool):
        raise Broken(f"{key} is {shown(value)}, which is no {kind.__name__}")
    return value


def read_objects(message: Mapping[str, Any], key: str) -> Iterator[dict[str, Any]]:
    """Return the objects of the list at a key."""
    for entry in read_field(message, key, list):
        if not isinstance(entry, dict):
            raise Broken(f"{shown(entry)} in {key}, which is no object")
        yield entry


def read_number(message: Mapping[str, Any], key: str) -> float:
    """Return the number at a key; one that is not finite is a string."""
    return float(read_value(SignalType.F64, message.get(key)))


def read_state(message: Mapping[str, Any]) -> State:
    """Return the session's state that a message tells."""
    try:
        return State(read_field(message, "state", str))
    except ValueError as error:
        raise Broken(str(error)) from None


def read_signals(modules: Mapping[str, Any]) -> Iterator[Signal]:
    """Return the signals in a schema's `modules`."""
    for module in modules:
        for entry in read_objects(read_field(modules, module, dict), "signals"):
            try:
                yield _signal(module, entry)
            except ValueError as error:
                raise Broken(f"signal {shown(entry.get('name'))} of {shown(module)}: {error}") from None


def _signal(module: str, entry: Mapping[str, Any]) -> Signal:
    type_ = SignalType(read_field(entry, "type", str))
    return Signal(
        module,
        read_field(entry, "name", str),
        SignalKind(read_field(entry, "kind", str)),
        type_,
        unit=read_field({"unit": "", **entry}, "unit", str),
        description=read_field({"description": "", **entry}, "description", str),
        initial=read_value(type_, entry.get("initial", False if type_ is SignalType.BOOL else 0)),
        limits=_limits(entry),
        allow_nonfinite=read_field({"allow_nonfinite": False, **entry}, "allow_nonfinite", bool),
    )


def _limits(entry: Mapping[str, Any]) -> tuple[float, float] | None:
    if "limits" not in entry:
        return None
    low, high = (float(read_value(SignalType.F64, limit)) for limit in read_field(entry, "limits", list))
    return low, high


def read_value(kind: SignalType, value: Any) -> Value:
    """Return a signal's value from JSON, where a number that is not finite is a string."""
    if kind is SignalType.BOOL and isinstance(value, bool):
        return value
    if kind.is_float and isinstance(value, str) and value in NONFINITE_NAMES:
        return NONFINITE_NAMES[value]
    if kind is not SignalType.BOOL and isinstance(value, int) and not isinstance(value, bool):
        return float(value) if kind.is_float else value
    if kind.is_float and isinstance(value, float):
        return value
    raise Broken(f"{shown(value)}, which is no {kind}")
