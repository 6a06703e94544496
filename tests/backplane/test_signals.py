from __future__ import annotations

import math
import struct
from difflib import SequenceMatcher
from typing import Any

import numpy as np
import pytest
from bounds import promised, spent
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes.backplane.signals import (
    Signal,
    SignalKind,
    SignalRegistry,
    SignalType,
    decode_cell,
    encode_cell,
)
from hermes.errors import BadValue, UnknownSignal
from hermes.wording import nearest

F64, F32, I64, I32, BOOL = SignalType


def signal(type_: SignalType = F64, name: str = "x", **more: Any) -> Signal:
    return Signal(**{"module": "m", "name": name, "kind": SignalKind.INPUT, "type": type_, **more})


STORED = [
    (F64, 0.1, 0.1),
    (F64, -0.0, -0.0),
    (F64, 5e-324, 5e-324),
    (F64, 2**53, 2.0**53),
    (F64, np.float64(0.1), 0.1),
    (F64, np.float32(0.1), float(np.float32(0.1))),
    (F64, np.int16(3), 3.0),
    (F32, 0.5, 0.5),
    (F32, 2**24, 2.0**24),
    (F32, 3.4028234663852886e38, 3.4028234663852886e38),
    (F32, 1.401298464324817e-45, 1.401298464324817e-45),
    (I64, -(2**63), -(2**63)),
    (I64, 2**63 - 1, 2**63 - 1),
    (I64, 3.0, 3),
    (I64, np.uint64(2**63 - 1), 2**63 - 1),
    (I32, -(2**31), -(2**31)),
    (I32, 2.0**31 - 1, 2**31 - 1),
    (BOOL, True, True),
    (BOOL, np.bool_(False), False),
]


@pytest.mark.parametrize(("type_", "value", "stored"), STORED)
def test_what_fits_is_stored_exactly(type_: SignalType, value: object, stored: object) -> None:
    read = decode_cell(type_, encode_cell(signal(type_), value))
    assert (read, type(read), str(read)) == (stored, type(stored), str(stored))


REAL, WHOLE = "a number (f64)", "a whole number from -2^63 to 2^63-1 (i64)"
SHORT, SINGLE = "a whole number from -2147483648 to 2147483647 (i32)", "a number that f32 holds exactly"
REFUSED = [
    (F64, "7", "'7'", REAL),
    (F64, True, "True", REAL),
    (F64, None, "None", REAL),
    (F64, [1.0], "[1.0]", REAL),
    (F64, 1j, "1j", REAL),
    (F64, np.array([1.0]), "array([1.])", REAL),
    (F64, 2**53 + 1, "9007199254740993", REAL),
    (F64, 10**309, "an integer of 1027 bits", REAL),
    (F64, math.nan, "nan", REAL),
    (F64, "NaN", "nan", REAL),
    (F64, "Infinity", "inf", REAL),
    (F64, "nan", "'nan'", REAL),
    (F32, 0.1, "0.1 (the nearest f32 is 0.10000000149011612)", SINGLE),
    (F32, 1e39, "1e+39", SINGLE),
    (F32, 2**24 + 1, "16777217", SINGLE),
    (F32, -math.inf, "-inf", SINGLE),
    (I64, 1.9, "1.9", WHOLE),
    (I64, 2**63, "9223372036854775808", WHOLE),
    (I64, -(2**63) - 1, "-9223372036854775809", WHOLE),
    (I64, 2.0**63, "9.223372036854775e+18", WHOLE),
    (I64, math.nan, "nan", WHOLE),
    (I64, math.inf, "inf", WHOLE),
    (I64, "1", "'1'", WHOLE),
    (I64, False, "False", WHOLE),
    (I32, 2**31, "2147483648", SHORT),
    (I32, -(2**31) - 1, "-2147483649", SHORT),
    (BOOL, 1, "1", "true or false (bool)"),
    (BOOL, "true", "'true'", "true or false (bool)"),
    (BOOL, None, "None", "true or false (bool)"),
]


@pytest.mark.parametrize(("type_", "value", "found", "accepted"), REFUSED)
def test_what_does_not_fit_is_refused(type_: SignalType, value: object, found: str, accepted: str) -> None:
    with pytest.raises(BadValue) as caught:
        encode_cell(signal(type_), value)
    assert caught.value.fields["signal"] == "m.x"
    assert caught.value.fields["accepted"] == accepted
    assert caught.value.fields["found"] == found.replace("9.223372036854775e+18", repr(2.0**63))


def test_limits_are_inclusive_and_said() -> None:
    limited = signal(F64, limits=(-1.0, 2.5), unit="m", allow_nonfinite=True)
    for value in (-1, 2.5, math.nan):
        encode_cell(limited, value)
    for value in (math.nextafter(-1, -2), 3, "Infinity"):
        with pytest.raises(BadValue, match=r'or "NaN", "Infinity", "-Infinity", within -1 to 2\.5, in m$'):
            encode_cell(limited, value)
    assert encode_cell(signal(I32, limits=(0, 5)), 5) == 5
    with pytest.raises(BadValue, match=r"within 0 to 5$"):
        encode_cell(signal(I32, limits=(0, 5)), 6)


def test_nonfinite_numbers_where_they_are_allowed() -> None:
    for type_, infinity in ((F64, 0x7FF0000000000000), (F32, 0x7F800000)):
        allowed = signal(type_, allow_nonfinite=True)
        assert encode_cell(allowed, "Infinity") == encode_cell(allowed, math.inf) == infinity
        assert math.isnan(decode_cell(type_, encode_cell(allowed, "NaN")))
        with pytest.raises(BadValue):
            encode_cell(allowed, "inf")


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_f64_round_trip(value: float) -> None:
    cell = encode_cell(signal(F64), value)
    assert struct.pack("<Q", cell) == struct.pack("<d", value)
    assert str(decode_cell(F64, cell)) == str(value)


@given(st.integers() | st.floats() | st.booleans(), st.sampled_from(SignalType))
def test_a_value_is_equal_after_the_round_trip_or_refused(value: float, type_: SignalType) -> None:
    try:
        cell = encode_cell(signal(type_), value)
    except BadValue:
        fits = {
            F64: math.isfinite,
            F32: lambda v: math.isfinite(v) and abs(v) < 2**128 and float(np.float32(v)) == v,
            I64: lambda v: -(2**63) <= v < 2**63 and v == math.floor(v),
            I32: lambda v: -(2**31) <= v < 2**31 and v == math.floor(v),
            BOOL: lambda v: False,
        }[type_]
        is_number = not isinstance(value, bool)
        if is_number and (isinstance(value, int) and type_ in (I64, I32)):
            assert not fits(value)
        elif is_number and isinstance(value, float):
            assert not (math.isfinite(value) and fits(value))
        return
    read = decode_cell(type_, cell)
    assert read == value
    assert isinstance(value, bool) == isinstance(read, bool) == (type_ is BOOL)
    width = {F64: 8, F32: 4, I64: 8, I32: 4, BOOL: 1}[type_]
    assert cell < 1 << 8 * width, "unused bytes are zero"


def registry(*names: str) -> SignalRegistry:
    return SignalRegistry(
        Signal(*name.split(".", 1), kind=SignalKind.OUTPUT, type=F64)  # type: ignore[misc, arg-type]
        for name in names
    )


def test_the_order_is_modules_then_outputs_inputs_parameters() -> None:
    kinds = {"o": SignalKind.OUTPUT, "i": SignalKind.INPUT, "p": SignalKind.PARAMETER}
    given_order = ["b.p1", "b.i1", "a.o1", "b.o1", "a.p1", "b.i2", "a.i1", "b.o2", "a.o2"]
    signals = [Signal(name[0], name[2:], kinds[name[2]], F64) for name in given_order]
    ordered = SignalRegistry(signals)
    names = ["b.o1", "b.o2", "b.i1", "b.i2", "b.p1", "a.o1", "a.o2", "a.i1", "a.p1"]
    assert [one.qualified for one in ordered] == names == list(ordered.all_signals())
    assert [ordered.index(name) for name in names] == list(range(9))
    assert [ordered.at(index).qualified for index in range(9)] == names
    assert ordered.modules == ("b", "a")
    assert ordered.list_module("a") == names[5:]
    assert ordered.list_module("c") == []
    assert (len(ordered), "a.o1" in ordered, "a.o3" in ordered) == (9, True, False)
    assert ordered["a.i1"].kind is SignalKind.INPUT


def test_an_unknown_name_comes_with_near_ones() -> None:
    known = registry("plant.altitude", "plant.attitude", "wind.speed")
    for look in (known.index, known.__getitem__, lambda name: known.value(name, bytes(24))):
        with pytest.raises(UnknownSignal) as caught:
            look("plant.altitud")
        assert caught.value.fields == {"signals": ["plant.altitud"], "near": ["plant.altitude", "plant.attitude"]}
    with pytest.raises(UnknownSignal, match=r"^no signal matches 'q'$"):
        known.index("q")


LETTERS = "ab_.0Aé"


@settings(deadline=None)
@given(st.text(LETTERS, max_size=12), st.lists(st.text(LETTERS, min_size=1, max_size=12), max_size=64, unique=True))
def test_in_a_small_session_near_names_are_those_of_difflib(name: str, names: list[str]) -> None:
    known = registry(*(f"m.{one}" for one in names))
    for count in (1, 3):
        assert known.near(f"m.{name}", count) == nearest(f"m.{name}", known.all_signals(), count)


AXES = ("roll", "pitch", "yaw", "altitude", "airspeed", "heading")
ROLES = ("rate", "command", "measured", "error", "limit", "gain")
CRAFT = registry(*(f"craft_{n}.{axis}.{role}" for n in range(30) for axis in AXES for role in ROLES))


@settings(deadline=None)
@given(st.sampled_from(CRAFT.names), st.integers(0, 20), st.sampled_from(["", "x", "_", "."]), st.booleans())
def test_in_a_large_session_a_misspelt_name_is_near_its_own(name: str, at: int, typed: str, upper: bool) -> None:
    misspelt = name[:at] + typed + name[at + 1 :]
    near = CRAFT.near(misspelt.upper() if upper else misspelt, 3)
    best = nearest(misspelt, CRAFT.names, 1)
    assert ratio(near[0], misspelt) == ratio(best[0], misspelt)
    assert [ratio(one, misspelt) for one in near] == sorted((ratio(one, misspelt) for one in near), reverse=True)


def ratio(name: str, other: str) -> float:
    """Return how alike difflib finds two names, the second one being that which was asked for."""
    return SequenceMatcher(None, name.lower(), other.lower()).ratio()


@settings(deadline=None)
@given(st.text(LETTERS, max_size=30))
def test_in_a_large_session_no_more_is_near_than_difflib_finds(name: str) -> None:
    near = CRAFT.near(name)
    assert len(near) <= 3
    assert all(one in CRAFT and ratio(one, name) >= 0.6 for one in near)


def test_near_names_of_names_that_nobody_would_type() -> None:
    for name in ("", "x" * 60_000, "é" * 300, "\ud800", "\U0010ffff", "\n", "İ" * 256):
        assert CRAFT.near(name) == []
    long = registry(*(f"m.{'x' * 250}{number:03}" for number in range(200)))
    assert len(long.near("m." + "x" * 190)) == 3
    assert registry().near("a.x") == []


@pytest.mark.parametrize("name", ["module1.group5.signal_12x", "lamgis.puorg.eludom_12345", "m" * 256, "ab" * 128])
def test_looking_for_near_names_among_ten_thousand_takes_bounded_time(name: str) -> None:
    known = registry(*(f"module{number % 10}.group{number % 97}.signal_{number}" for number in range(10_000)))
    assert spent(lambda: known.near(name)) < promised(0.05)
