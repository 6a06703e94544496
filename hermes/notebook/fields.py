"""Which field suits a signal, how values are written in it and read from it, and which signals a search finds.

Rules over values: no widgets. A text is read exactly, so that what is typed is what is set or refused; only a slider,
which shows a grid of its own, is coarse.
"""

from __future__ import annotations

import math
import re
from collections.abc import Container, Iterable
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from hermes.backplane.signals import Signal, SignalType, Value
from hermes.errors import BadValue
from hermes.wording import shown

POSITIONS = 400
"""Positions that a slider has at most, about one for each pixel of it."""

_EXACT = 1 << 53
"""Integers beyond this are rounded in a browser, where every number is an f64."""

_DIGITS = 400
"""Digits of a number that is read at all: f64 has 309 before the point."""

_WHOLE = re.compile(r"[+-]?[0-9]+")


class Suited(StrEnum):
    """What a signal is set with."""

    CHECKBOX = "checkbox"
    NUMBER = "number"
    SLIDER = "slider"
    """Together with a number field."""


class Grid(NamedTuple):
    """The positions of a slider, 0 to `last`: `low` and every `step` from there, and `high`."""

    low: Decimal
    high: Decimal
    step: Decimal
    type: SignalType = SignalType.F64

    @property
    def last(self) -> int:
        """The position of `high`."""
        return max(1, math.ceil((self.high - self.low) / self.step))

    def position(self, value: float) -> int:
        """Return the position nearest to a value; anything beyond an end, or not a number, is at an end."""
        if math.isnan(value) or value <= self.low:
            return 0
        if value >= self.high:
            return self.last
        exact = Decimal(value)
        below = min(int((exact - self.low) / self.step), self.last - 1)
        return below + (exact - self._at(below) > self._at(below + 1) - exact)

    def value(self, position: int) -> float | int:
        """Return what a position sets: a value that the signal's type holds and its limits allow."""
        at = self._at(position)
        if not self.type.is_float:
            return int(at)
        return _within(np.float32(float(at)), self) if self.type is SignalType.F32 else float(at)

    def _at(self, position: int) -> Decimal:
        return min(self.low + position * self.step, self.high)


def _within(single: np.float32, grid: Grid) -> float:
    """Return an f32 that the limits, which need not be one, allow."""
    if float(single) > grid.high:
        single = np.nextafter(single, np.float32(-np.inf))
    elif float(single) < grid.low:
        single = np.nextafter(single, np.float32(np.inf))
    return float(single)


def writable(signals: Iterable[Signal], wired: Container[str]) -> list[Signal]:
    """Return the signals that a command may set: parameters, and inputs that no wire drives."""
    return [signal for signal in signals if signal.is_settable and signal.qualified not in wired]


def suited(signal: Signal) -> Suited:
    """Return what a signal is set with."""
    if signal.type is SignalType.BOOL:
        return Suited.CHECKBOX
    return Suited.NUMBER if grid(signal) is None else Suited.SLIDER


def grid(signal: Signal) -> Grid | None:
    """Return the positions of a signal's slider; None where it has no two finite limits or a browser would round."""
    if signal.limits is None or signal.type is SignalType.BOOL or not all(map(math.isfinite, signal.limits)):
        return None
    low, high = (Decimal(repr(float(limit))) for limit in signal.limits)
    if signal.type.is_float:
        return Grid(low, high, _step(high - low), signal.type) if _fine(low, high) else None
    low, high = Decimal(math.ceil(low)), Decimal(math.floor(high))
    if low >= high or max(abs(low), abs(high)) > _EXACT:
        return None
    return Grid(low, high, max(Decimal(1), _step(high - low)), signal.type)


def _fine(low: Decimal, high: Decimal) -> bool:
    """Return whether an f64 tells the positions between two limits apart."""
    return high - low > max(abs(low), abs(high)) * Decimal("1e-9")


def _step(width: Decimal) -> Decimal:
    """Return the least of 1, 2 or 5 times a power of ten that makes at most `POSITIONS` of a range."""
    power = Decimal(1).scaleb((width / POSITIONS).adjusted())
    return next(power * times for times in (1, 2, 5, 10) if power * times * POSITIONS >= width)


def text_of(value: Value) -> str:
    """Return the text of a number field: exact, as Python writes it."""
    return repr(value)


def value_of(signal: Signal, text: str) -> float | int:
    """Return the number that a text says, exactly for whole numbers, else as the nearest f64.

    Raises BadValue where it says none. Whether the signal can hold it is not decided here.
    """
    stripped = text.strip()
    try:
        if len(stripped) > _DIGITS:
            raise ValueError(stripped)
        if _WHOLE.fullmatch(stripped):
            return int(stripped)
        return float(stripped) if signal.type.is_float else _whole(Decimal(stripped))
    except (ValueError, InvalidOperation):
        raise BadValue(signal.qualified, shown(text, 40), signal.accepted) from None


def _whole(number: Decimal) -> int:
    """Return an integer written with a point or an exponent, as 1e3 is; raises ValueError for any other."""
    if not number.is_finite() or number.adjusted() > _DIGITS or number != number.to_integral_value():
        raise ValueError(number)
    return int(number)


def found(signals: Iterable[Signal], search: str) -> list[Signal]:
    """Return the signals in whose name or description every word of a search occurs, upper or lower case."""
    words = search.casefold().split()
    return [signal for signal in signals if all(word in _searched(signal) for word in words)]


def _searched(signal: Signal) -> str:
    return f"{signal.qualified} {signal.description}".casefold()
