"""What a signal is, which values it can hold, and how a name finds it; `hermes.backplane.patterns` finds many.

Pure values: no memory, no processes. A signal's value lives in a *cell* of 8 bytes, little-endian, unused bytes zero;
here a cell is its 64 bits as an unsigned integer. A value is stored exactly or refused: nothing is rounded, wrapped
or coerced.
"""

from __future__ import annotations

import math
import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from enum import StrEnum
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hermes.errors import BadValue, UnknownSignal
from hermes.wording import nearest, shown

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

_INTEGER_BITS = {SignalType.I64: 64, SignalType.I32: 32}

_COMPARED = 64
"""Names that are compared letter by letter with a name that is unknown; the others by how often each letter occurs."""

_COMPARED_LETTERS = 16_000
"""Pairs of letters that such a comparison may look at: 25 names of 25 letters, fewer where names are longer."""

_LETTER_CLASSES = 80
"""Code points modulo this tell the characters of folded names apart: a to z, 0 to 9 and ``_/-.``."""


DTYPES: dict[SignalType, np.dtype[Any]] = {
    SignalType.F64: np.dtype("<f8"),
    SignalType.F32: np.dtype("<f4"),
    SignalType.I64: np.dtype("<i8"),
    SignalType.I32: np.dtype("<i4"),
    SignalType.BOOL: np.dtype("?"),
}
"""How NumPy reads the beginning of a cell."""


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

    def _repr_html_(self) -> str:
        from hermes.backplane.signaltable import signal_html  # noqa: PLC0415 - only a notebook needs it

        return signal_html(self)


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
    if math.isnan(number):
        number = math.nan  # one of the many there are: the journal and a configuration cannot tell them apart
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
        self.names: tuple[str, ...] = tuple(signal.qualified for signal in self._signals)
        self._indices = {name: index for index, name in enumerate(self.names)}
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

    def redeclare(self, signal: Signal) -> None:
        """Take another initial value and description for the signal of this name; everything else is as it was."""
        index = self.index(signal.qualified)
        self._signals[index] = self._signals[index]._replace(initial=signal.initial, description=signal.description)

    def index(self, name: str) -> int:
        """Return the index of a qualified name; raises UnknownSignal, with the nearest names."""
        try:
            return self._indices[name]
        except KeyError:
            raise UnknownSignal([name], self.near(name)) from None

    def near(self, name: str, count: int = 3) -> list[str]:
        """Return up to `count` qualified names that look most like `name`, best first, as `wording.nearest` does.

        Among more than 64 signals only those are compared whose letters, in any order, agree best: a client may ask,
        and comparing 10,000 names takes a tenth of a second.
        """
        folded = name[:256].lower()
        if len(self) <= _COMPARED or not folded:
            return nearest(name, self._indices, count)
        likeness = self._likeness(folded)
        best = np.argpartition(likeness, -_COMPARED)[-_COMPARED:]
        best = best[np.argsort(-likeness[best], kind="stable")]
        looked_at = np.cumsum([len(self.names[index]) * len(folded) for index in best])
        best = best[: max(count, int(np.searchsorted(looked_at, _COMPARED_LETTERS)))]
        return nearest(name, [self.names[index] for index in np.sort(best)], count)

    def value(self, name: str, cells: bytes) -> Value:
        """Return a signal's value in a frame's cells; raises UnknownSignal, with the nearest names."""
        index = self.index(name)
        return decode_cell(self._signals[index].type, int.from_bytes(cells[8 * index : 8 * index + 8], "little"))

    def all_signals(self) -> dict[str, Signal]:
        """Return every signal by qualified name, in index order."""
        return {signal.qualified: signal for signal in self._signals}

    def list_module(self, module: str) -> list[str]:
        """Return the qualified names of one module's signals, in index order."""
        return [signal.qualified for signal in self._signals if signal.module == module]

    def _repr_html_(self) -> str:
        from hermes.backplane.signaltable import signals_html  # noqa: PLC0415 - only a notebook needs it

        return signals_html(self._signals)

    def _likeness(self, folded: str) -> npt.NDArray[np.float64]:
        """Return for every name the most that its ratio in difflib can be: that of the letters it shares."""
        shared = np.zeros(len(self), np.int64)
        for letter, times in Counter(ord(letter) % _LETTER_CLASSES for letter in folded).items():
            shared += np.minimum(self._letters[letter], times)
        return 2.0 * shared / (self._lengths + len(folded))

    @cached_property
    def _letters(self) -> npt.NDArray[np.uint16]:
        """How often a letter (row, modulo `_LETTER_CLASSES`) occurs in a folded name (column)."""
        text = "\n".join(self.names).lower()
        codes = np.frombuffer(text.encode("utf-32-le"), np.uint32).astype(np.int64)
        column = np.cumsum(codes == ord("\n"))
        inside = codes != ord("\n")
        places = codes[inside] % _LETTER_CLASSES * len(self) + column[inside]
        counts = np.bincount(places, minlength=_LETTER_CLASSES * len(self))
        return counts.astype(np.uint16).reshape(_LETTER_CLASSES, len(self))

    @cached_property
    def _lengths(self) -> npt.NDArray[np.int64]:
        lengths: npt.NDArray[np.int64] = self._letters.sum(axis=0, dtype=np.int64)
        return lengths
