from __future__ import annotations

import math
import struct
import time
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes.backplane.signals import (
    Signal,
    SignalKind,
    SignalRegistry,
    SignalType,
    decode_cell,
    encode_cell,
    expand_pattern,
    expand_patterns,
)
from hermes.errors import BadValue, UnknownSignal

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
    for look in (known.index, known.__getitem__, lambda name: expand_pattern(name, known)):
        with pytest.raises(UnknownSignal) as caught:
            look("plant.altitud")
        assert caught.value.fields == {"signals": ["plant.altitud"], "near": ["plant.altitude", "plant.attitude"]}
    with pytest.raises(UnknownSignal, match=r"^no signal matches 'q\*'$"):
        expand_pattern("q*", known)


def test_patterns() -> None:
    known = registry("a.x", "a.y.z", "b.x", "b.x1")
    assert expand_pattern("*", known) == ["a.x", "a.y.z", "b.x", "b.x1"]
    assert expand_pattern("a.*", known) == ["a.x", "a.y.z"]
    assert expand_pattern("*.x", known) == ["a.x", "b.x"]
    assert expand_pattern("?.x", known) == ["a.x", "b.x"]
    assert expand_pattern("*x?", known) == ["b.x1"]
    assert expand_pattern("a.x", known) == ["a.x"]
    assert expand_patterns([], known) == []
    assert expand_patterns(["b.*", "*.x", "b.x", "b.*"], known) == ["b.x", "b.x1", "a.x"]
    for literal in ("[ab].x", "a.x|b.x", "a.", "A.x", "", ".", "a.x\n", "(?i)A.x*"):
        with pytest.raises(UnknownSignal):
            expand_pattern(literal, known)


def test_every_pattern_without_a_match_is_listed_once() -> None:
    known = registry("plant.mass", "plant.x")
    with pytest.raises(UnknownSignal) as caught:
        expand_patterns(["plant.mas", "plant.x", "zzz*", "plant.mas", "plant.mass."], known)
    assert caught.value.fields == {"signals": ["plant.mas", "zzz*", "plant.mass."], "near": ["plant.mass", "plant.x"]}


@given(st.text("ab.?*", max_size=8), st.lists(st.text("ab.", min_size=1, max_size=8), min_size=1, unique=True))
def test_globs_agree_with_a_backtracking_reference(pattern: str, names: list[str]) -> None:
    known = registry(*(f"m.{name}" for name in names))
    expected = [f"m.{name}" for name in names if fnmatchcase(f"m.{name}", f"m{pattern}")]
    if expected:
        assert expand_pattern(f"m{pattern}", known) == expected
    else:
        with pytest.raises(UnknownSignal):
            expand_pattern(f"m{pattern}", known)


@pytest.mark.parametrize("pattern", ["*a*a*a*b", "*a" * 100 + "*b", "*?" * 100 + "b", "*" * 10_000 + "b"])
def test_a_hostile_pattern_takes_bounded_time(pattern: str) -> None:
    known = registry(*(f"m.{'a' * 250}{number}" for number in range(100)))
    start = time.process_time()
    with pytest.raises(UnknownSignal):
        expand_pattern(pattern, known)
    assert time.process_time() - start < 1.0


def test_many_patterns_without_a_match_take_bounded_time() -> None:
    known = registry(*(f"plant.signal_{number}" for number in range(1000)))
    start = time.process_time()
    with pytest.raises(UnknownSignal) as caught:
        expand_patterns([f"plan.sign_{number}" for number in range(5000)], known)
    assert len(caught.value.fields["signals"]) == 5000
    assert time.process_time() - start < 2.0
