"""The records with which a module introduces itself, as values: see the table in `docs/backplane.md`.

What a module declares is input: names, types and values are checked here before anything is built on them.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable, Iterator

from hermes.backplane.channel import PROTOCOL, Record
from hermes.backplane.layout import ModuleBlocks
from hermes.backplane.signals import Signal, SignalKind, SignalType, Value, encode_cell
from hermes.errors import BadValue, ConfigurationError, Problem
from hermes.wording import shown

STACK_SIGNAL = signal.SIGRTMAX - 1
"""Asks a Python module's process for its stacks before it is killed; a real-time signal, as user code takes others."""

_NAME = re.compile(r"[A-Za-z0-9_/-]+(\.[A-Za-z0-9_/-]+)*")
_NAME_LIMIT = 255


def signal_fields(signal: Signal) -> list[str]:
    """Return a `signal` record's fields: kind, type, name, unit, initial, low, high, allow_nonfinite, description."""
    low, high = ("", "") if signal.limits is None else (repr(float(limit)) for limit in signal.limits)
    initial = repr(signal.initial).lower() if isinstance(signal.initial, bool) else repr(signal.initial)
    nonfinite = "1" if signal.allow_nonfinite else "0"
    return [signal.kind, signal.type, signal.name, signal.unit, initial, low, high, nonfinite, signal.description]


def signals_in(module: str, records: Iterable[Record]) -> Iterator[Signal]:
    """Return the signals that a module's records declare.

    Raises ConfigurationError, naming the module and each record that is wrong.
    """
    problems = []
    seen: dict[str, Signal] = {}
    for record in records:
        if record.verb == "hello" and record.fields[:1] != (PROTOCOL,):
            problems.append(f"speaks version {shown(''.join(record.fields[:1]))} of the records; {PROTOCOL} is known")
        if record.verb != "signal":
            continue
        try:
            signal = _signal(module, record.fields)
            if signal.name in seen:
                raise ValueError("is declared twice")
            seen[signal.name] = signal
        except (ValueError, BadValue) as error:
            problems.append(f"declares {shown(' '.join(record.fields[2:3]))}: {error}")
    if problems:
        where = f"modules.{module}"
        raise ConfigurationError(Problem(where, f"module {module} {problem}") for problem in problems)
    yield from seen.values()


def layout_fields(size: int, blocks: ModuleBlocks) -> list[str]:
    """Return a `layout` record's fields: version, size, go, inputs, done, done_size, outputs (bytes; counts)."""
    numbers = (size, blocks.go, blocks.inputs, blocks.done, blocks.done_size, blocks.outputs)
    return [PROTOCOL, *map(str, numbers)]


def layout_numbers(fields: tuple[str, ...]) -> dict[str, int]:
    """Return a `layout` record's numbers by the names that `ModuleMapping` takes."""
    names = ("size", "go", "inputs", "done", "done_size", "outputs")
    return dict(zip(names, map(int, fields[1:]), strict=True))


def _signal(module: str, fields: tuple[str, ...]) -> Signal:
    if len(fields) != 9:
        raise ValueError(f"has {len(fields)} fields, 9 are needed")
    kind, type_, name, unit, initial, low, high, nonfinite, description = fields
    if not _NAME.fullmatch(name) or len(name) > _NAME_LIMIT:
        raise ValueError("a name is letters, digits, _ / - in parts joined by dots, at most 255 characters")
    if nonfinite not in ("0", "1"):
        raise ValueError(f"its allow_nonfinite is {shown(nonfinite)}; 0 or 1 is accepted")
    limits = (float(low), float(high)) if low or high else None
    if limits is not None and not limits[0] <= limits[1]:
        raise ValueError(f"its limits {low} to {high} are not in order")
    found = SignalType(type_)
    value = _value(found, initial)
    signal = Signal(module, name, SignalKind(kind), found, unit, description, value, limits, nonfinite == "1")
    encode_cell(signal, value)
    return signal


def _value(type_: SignalType, text: str) -> Value:
    if type_ is SignalType.BOOL:
        values = {"true": True, "1": True, "false": False, "0": False}
        if text not in values:
            raise ValueError(f"its initial value is {shown(text)}; true, false, 1 or 0 is accepted")
        return values[text]
    return float(text) if type_.is_float else int(text)
