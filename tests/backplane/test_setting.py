from __future__ import annotations

import math
import struct

import pytest

from hermes.backplane.setting import settable_cell
from hermes.backplane.signals import Signal, SignalKind, SignalRegistry, SignalType
from hermes.errors import BadValue, ReadOnlySignal, UnknownSignal, WiredSignal

REGISTRY = SignalRegistry(
    [
        Signal("a", "y"),
        Signal("a", "u", SignalKind.INPUT, allow_nonfinite=True),
        Signal("a", "v", SignalKind.INPUT),
        Signal("a", "p", SignalKind.PARAMETER, SignalType.F32, allow_nonfinite=True),
    ]
)


def test_inputs_without_a_wire_and_parameters_can_be_set() -> None:
    assert settable_cell(REGISTRY, {"a.v": "a.y"}, "a.u", 1) == (1, 0x3FF0000000000000)
    assert settable_cell(REGISTRY, {}, "a.p", 0.5) == (3, 0x3F000000)


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [("a.x", 1, UnknownSignal), ("a.y", 1, ReadOnlySignal), ("a.v", 1, WiredSignal), ("a.u", True, BadValue)],
)
def test_everything_else_cannot(name: str, value: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        settable_cell(REGISTRY, {"a.v": "a.y"}, name, value)


def test_every_nan_is_the_same_one() -> None:
    (odd,) = struct.unpack("<d", (0xFFF8000000000123).to_bytes(8, "little"))
    assert math.isnan(odd)
    cells = {settable_cell(REGISTRY, {}, name, value)[1] for name in ("a.u",) for value in (odd, -math.nan, "NaN")}
    assert cells == {0x7FF8000000000000}
    assert settable_cell(REGISTRY, {}, "a.p", odd) == settable_cell(REGISTRY, {}, "a.p", math.nan) == (3, 0x7FC00000)
