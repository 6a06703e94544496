"""What a signal is, which values it can hold, and how names and patterns find signals.

Pure values: no memory, no processes. A signal's value lives in a *cell* of 8 bytes, little-endian, unused bytes zero;
here a cell is its 64 bits as an unsigned integer. A value is stored exactly or refused: nothing is rounded, wrapped
or coerced.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from hermes.errors import BadValue, UnknownSignal, nearest, shown

Value = float | int | bool
"""What a signal holds, in Python."""

NONFINITE_NAMES = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
"""How non-finite numbers are written in JSON, which has none of its own."""


class SignalType(StrEnum):
    """The type of a signal's value."""

    F64 = "f64"
    F32 = "f32"
    I64 = "i64"
    I32 = "i32"
    BOOL = "bool"

    @property
    def is_float(self) -> bool:
        """Whether the type is a floating-point type."""
        return self in (SignalType.F64, SignalType.F32)


class SignalKind(StrEnum):
    """Who writes a signal: its module (output), a wire or a command (input), or a command only (parameter)."""

    INPUT = "input"
    OUTPUT = "output"
    PARAMETER = "parameter"


FORMATS: dict[SignalType, struct.Struct] = {
    SignalType.F64: struct.Struct("<d"),
    SignalType.F32: struct.Struct("<fxxxx"),
    SignalType.I64: struct.Struct("<q"),
    SignalType.I32: struct.Struct("<ixxxx"),
    SignalType.BOOL: struct.Struct("<?xxxxxxx"),
}

_HINTED = 3
"""Patterns without a match for which near names are looked up."""

_INTEGER_BITS = {SignalType.I64: 64, SignalType.I32: 32}


class Signal(NamedTuple):
    """One declared signal.

    `name` is the name inside its `module` (it may contain dots), `unit` the SI unit's symbol ("" when it has none),
    `initial` the value after start and reset, `limits` the inclusive range that commands may set.
    """

    module: str
    name: str
    kind: SignalKind = SignalKind.OUTPUT
    type: SignalType = SignalType.F64
    unit: str = ""
    description: str = ""
    initial: Value = 0.0
    limits: tuple[float, float] | None = None
    allow_nonfinite: bool = False

    @property
    def qualified(self) -> str:
        """The name by which everybody else knows the signal: ``module.name``."""
        return f"{self.module}.{self.name}"

    @property
    def is_settable(self) -> bool:
        """Whether a command may set it, as far as its kind goes (a wired input still may not)."""
        return self.kind is not SignalKind.OUTPUT

    @property
    def accepted(self) -> str:
        """In words, the values the signal takes."""
        words = {
            SignalType.F64: "a number (f64)",
            SignalType.F32: "a number that f32 holds exactly",
            SignalType.I64: "a whole number from -2^63 to 2^63-1 (i64)",
            SignalType.I32: "a whole number from -2147483648 to 2147483647 (i32)",
            SignalType.BOOL: "true or false (bool)",
        }[self.type]
        if self.type.is_float and self.allow_nonfinite:
            words += ', or "NaN", "Infinity", "-Infinity"'
        if self.limits is not None:
            words += f", within {self.limits[0]:g} to {self.limits[1]:g}"
        return words + (f", in {self.unit}" if self.unit else "")


def encode_cell(signal: Signal, value: object) -> int:
    """Return `value` as the signal's cell.

    Python and NumPy scalars are accepted, and the strings of `NONFINITE_NAMES` where the signal allows them.

    Raises BadValue unless the value fits the type exactly and lies within the limits.
    """
    plain = value.item() if isinstance(value, np.generic) else value
    if isinstance(plain, str) and plain in NONFINITE_NAMES and signal.type.is_float:
        plain = NONFINITE_NAMES[plain]
    exact = _exact(signal, plain)
    if exact is None:
        raise BadValue(signal.qualified, _found(signal, plain), signal.accepted)
    return int.from_bytes(FORMATS[signal.type].pack(exact), "little")


def decode_cell(kind: SignalType, cell: int) -> Value:
    """Return the value that a cell of this type holds."""
    value: Value = FORMATS[kind].unpack(cell.to_bytes(8, "little"))[0]
    return value


def _exact(signal: Signal, value: object) -> Value | None:
    """Return the value as the signal's Python type, or None where it does not fit."""
    if signal.type is SignalType.BOOL:
        return value if isinstance(value, bool) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    number = _exact_float(signal, value) if signal.type.is_float else _exact_integer(signal.type, value)
    if number is None or signal.limits is None or math.isnan(number):
        return number
    return number if signal.limits[0] <= number <= signal.limits[1] else None


def _exact_float(signal: Signal, value: float) -> float | None:
    try:
        number = float(value)
    except OverflowError:
        return None
    if not math.isfinite(number):
        return number if signal.allow_nonfinite else None
    if number != value or (signal.type is SignalType.F32 and _as_f32(number) != number):
        return None
    return number


def _exact_integer(kind: SignalType, value: float) -> int | None:
    if isinstance(value, float) and not value.is_integer():
        return None
    bound = 1 << (_INTEGER_BITS[kind] - 1)
    whole = int(value)
    return whole if -bound <= whole < bound else None


def _as_f32(number: float) -> float | None:
    try:
        rounded: float = struct.unpack("<f", struct.pack("<f", number))[0]
    except OverflowError:
        return None
    return rounded


def _found(signal: Signal, value: object) -> str:
    if signal.type is SignalType.F32 and isinstance(value, float) and math.isfinite(value):
        near = _as_f32(value)
        return f"{value!r}" + (f" (the nearest f32 is {near!r})" if near not in (None, value) else "")
    return shown(value, 40)


class SignalRegistry:
    """The signals of a session in index order: module by module, outputs first, then inputs, then parameters.

    The order is the order of the cells in a committed frame and of the telemetry that `*` subscribes to.
    """

    def __init__(self, signals: Iterable[Signal]) -> None:
        """Order the signals; modules stay in order of first appearance, signals in order within their kind."""
        given = list(signals)
        modules = list(dict.fromkeys(signal.module for signal in given))
        rank = {SignalKind.OUTPUT: 0, SignalKind.INPUT: 1, SignalKind.PARAMETER: 2}
        self._signals = sorted(given, key=lambda signal: (modules.index(signal.module), rank[signal.kind]))
        self._indices = {signal.qualified: index for index, signal in enumerate(self._signals)}
        self.modules: tuple[str, ...] = tuple(modules)

    def __len__(self) -> int:
        """Return the number of signals."""
        return len(self._signals)

    def __iter__(self) -> Iterator[Signal]:
        """Iterate over the signals in index order."""
        return iter(self._signals)

    def __contains__(self, name: object) -> bool:
        """Return whether a qualified name is known."""
        return name in self._indices

    def __getitem__(self, name: str) -> Signal:
        """Return the signal of a qualified name; raises UnknownSignal, with the nearest names."""
        return self._signals[self.index(name)]

    def at(self, index: int) -> Signal:
        """Return the signal at an index."""
        return self._signals[index]

    def index(self, name: str) -> int:
        """Return the index of a qualified name; raises UnknownSignal, with the nearest names."""
        try:
            return self._indices[name]
        except KeyError:
            raise UnknownSignal([name], nearest(name, self._indices)) from None

    def all_signals(self) -> dict[str, Signal]:
        """Return every signal by qualified name, in index order."""
        return {signal.qualified: signal for signal in self._signals}

    def list_module(self, module: str) -> list[str]:
        """Return the qualified names of one module's signals, in index order."""
        return [signal.qualified for signal in self._signals if signal.module == module]


def expand_pattern(pattern: str, registry: SignalRegistry) -> list[str]:
    """Return the qualified names that a pattern matches, in index order.

    A pattern is an exact name, or a glob over qualified names in which `*` stands for any characters (dots included)
    and `?` for one. Raises UnknownSignal, with the nearest names, when nothing matches.
    """
    found = _matching(pattern, registry)
    if not found:
        raise UnknownSignal([pattern], nearest(pattern, registry.all_signals()))
    return found


def expand_patterns(patterns: Sequence[str], registry: SignalRegistry) -> list[str]:
    """Return the names that several patterns match, in pattern order, each name once (at its first place).

    Raises UnknownSignal that lists every pattern that matches nothing, with names near the first of them: comparing
    takes milliseconds each, and a client may send thousands.
    """
    names: dict[str, None] = {}
    unknown: list[str] = []
    for pattern in dict.fromkeys(patterns):
        found = _matching(pattern, registry)
        names.update(dict.fromkeys(found))
        if not found:
            unknown.append(pattern)
    if unknown:
        known = registry.all_signals()
        near = dict.fromkeys(name for pattern in unknown[:_HINTED] for name in nearest(pattern, known))
        raise UnknownSignal(unknown, list(near))
    return list(names)


def _matching(pattern: str, registry: SignalRegistry) -> list[str]:
    if pattern in registry:
        return [pattern]
    if "*" not in pattern and "?" not in pattern:
        return []
    matches = _glob(pattern)
    return [signal.qualified for signal in registry if matches(signal.qualified)]


def _glob(pattern: str) -> Callable[[str], bool]:
    """Compile a glob into a predicate that takes linear time: each piece between stars is found leftmost."""
    first, *rest = [re.compile(re.escape(piece).replace(r"\?", ".")) for piece in re.split(r"\*+", pattern)]
    if not rest:
        return lambda name: first.fullmatch(name) is not None
    *middle, last = rest
    last_length = len(re.split(r"\*+", pattern)[-1])

    def matches(name: str) -> bool:
        found = first.match(name)
        for piece in middle:
            if found is None:
                return False
            found = piece.search(name, found.end())
        tail = len(name) - last_length
        return found is not None and tail >= found.end() and last.fullmatch(name, tail) is not None

    return matches
