from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes.backplane.signals import Signal, SignalKind, SignalType, Value, encode_cell
from hermes.errors import BadValue
from hermes.notebook.fields import POSITIONS, Suited, found, grid, suited, text_of, value_of, writable


def parameter(kind: SignalType = SignalType.F64, limits: tuple[float, float] | None = None, name: str = "p") -> Signal:
    return Signal("m", name, SignalKind.PARAMETER, kind, limits=limits)


@pytest.mark.parametrize(
    ("kind", "limits", "expected"),
    [
        (SignalType.F64, (-1, 1), Suited.SLIDER),
        (SignalType.F32, (0, 0.1), Suited.SLIDER),
        (SignalType.I32, (0, 3), Suited.SLIDER),
        (SignalType.I64, (0, 2**53), Suited.SLIDER),
        (SignalType.I64, (0, 2**60), Suited.NUMBER),
        (SignalType.I32, (0.2, 0.8), Suited.NUMBER),
        (SignalType.F64, None, Suited.NUMBER),
        (SignalType.F64, (0, math.inf), Suited.NUMBER),
        (SignalType.F64, (1, 1), Suited.NUMBER),
        (SignalType.F64, (1e16, 1e16 + 2), Suited.NUMBER),
        (SignalType.BOOL, None, Suited.CHECKBOX),
        (SignalType.BOOL, (0, 1), Suited.CHECKBOX),
    ],
)
def test_which_field_suits_a_signal(kind: SignalType, limits: tuple[float, float] | None, expected: Suited) -> None:
    assert suited(parameter(kind, limits)) is expected


def test_only_what_no_wire_drives_can_be_set() -> None:
    signals = [Signal("m", "y"), Signal("m", "u", SignalKind.INPUT), Signal("m", "w", SignalKind.INPUT), parameter()]
    assert [signal.name for signal in writable(signals, {"m.w"})] == ["u", "p"]


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (SignalType.F64, " 2.5 ", 2.5),
        (SignalType.F64, "1e-3", 0.001),
        (SignalType.F64, "9007199254740993", 9007199254740993),  # which f64 then refuses
        (SignalType.F64, "-Infinity", -math.inf),
        (SignalType.I64, "9007199254740993", 9007199254740993),
        (SignalType.I64, "9007199254740993.0", 9007199254740993),
        (SignalType.I64, "-9223372036854775808", -(2**63)),
        (SignalType.I64, "1e3", 1000),
        (SignalType.I32, "+7", 7),
    ],
)
def test_a_text_is_read_exactly(kind: SignalType, text: str, value: Value) -> None:
    read = value_of(parameter(kind), text)
    assert (type(read), read) == (type(value), value)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (SignalType.F64, ""),
        (SignalType.F64, "1,5"),
        (SignalType.F64, "two"),
        (SignalType.F64, "9" * 5000),
        (SignalType.I64, "1.5"),
        (SignalType.I64, "NaN"),
        (SignalType.I64, "1e999999999"),
        (SignalType.I32, "0x10"),
    ],
)
def test_a_text_that_is_no_such_number_is_refused_in_a_sentence(kind: SignalType, text: str) -> None:
    with pytest.raises(BadValue, match=r"m\.p cannot be '.*'; it takes a "):
        value_of(parameter(kind), text)


def test_f64_refuses_an_integer_that_it_would_round() -> None:
    signal = parameter()
    with pytest.raises(BadValue):
        encode_cell(signal, value_of(signal, "9007199254740993"))


@given(st.floats(allow_nan=False) | st.integers(-(2**63), 2**63 - 1))
def test_what_a_field_shows_is_read_back_as_the_same_value(value: float) -> None:
    signal = parameter(SignalType.F64 if isinstance(value, float) else SignalType.I64)
    assert value_of(signal, text_of(value)) == value


LIMITS = st.tuples(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9)).map(lambda ends: (ends[0], ends[0] + ends[1]))


@given(LIMITS, st.sampled_from([SignalType.F64, SignalType.I32, SignalType.I64]))
def test_every_position_of_a_slider_is_a_value_that_is_accepted(limits: tuple[float, float], kind: SignalType) -> None:
    signal = parameter(kind, limits)
    positions = grid(signal)
    if positions is None:
        return
    assert positions.last <= POSITIONS
    for position in {0, 1, positions.last // 2, positions.last - 1, positions.last}:
        value = positions.value(position)
        encode_cell(signal, value)
        assert positions.position(value) == position


@pytest.mark.parametrize("limits", [(0.0, 0.1), (-0.3, 0.7), (-1.0, 1.0)])
def test_a_slider_sets_what_f32_holds(limits: tuple[float, float]) -> None:
    signal = parameter(SignalType.F32, limits)
    positions = grid(signal)
    assert positions is not None
    for position in range(positions.last + 1):
        value = positions.value(position)
        assert struct.unpack("<f", struct.pack("<f", value))[0] == value
        encode_cell(signal, value)
        assert positions.position(value) == position


def test_positions_are_round_numbers_and_reach_both_ends() -> None:
    positions = grid(parameter(limits=(-0.4, 0.45)))
    assert positions is not None
    assert [positions.value(position) for position in (0, 1, 2, positions.last)] == [-0.4, -0.395, -0.39, 0.45]
    assert [positions.position(value) for value in (math.nan, -9, 9, -0.3951)] == [0, 0, positions.last, 1]


def test_every_word_of_a_search_must_occur() -> None:
    signals = [parameter(name="gain.roll"), parameter(name="gain.pitch")._replace(description="Elevator"), parameter()]
    assert [signal.name for signal in found(signals, "")] == ["gain.roll", "gain.pitch", "p"]
    assert [signal.name for signal in found(signals, " GAIN m.")] == ["gain.roll", "gain.pitch"]
    assert [signal.name for signal in found(signals, "gain elev")] == ["gain.pitch"]
    assert found(signals, "yaw") == []
