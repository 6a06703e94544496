from __future__ import annotations

import math
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes.backplane.channel import Record, decode_record, encode_record
from hermes.backplane.handshake import layout_fields, layout_numbers, signal_fields, signals_in
from hermes.backplane.layout import ModuleBlocks
from hermes.backplane.signals import Signal, SignalKind, SignalType
from hermes.errors import ConfigurationError

HELLO = Record("hello", ("1", "python"))
INITIALS = {
    SignalType.F64: st.floats(allow_nan=False, allow_infinity=False),
    SignalType.F32: st.floats(allow_nan=False, allow_infinity=False, width=32),
    SignalType.I64: st.integers(-(2**63), 2**63 - 1),
    SignalType.I32: st.integers(-(2**31), 2**31 - 1),
    SignalType.BOOL: st.booleans(),
}


@st.composite
def declared(draw: st.DrawFn) -> Signal:
    type_ = draw(st.sampled_from(SignalType))
    initial = draw(INITIALS[type_])
    name = draw(st.from_regex(r"[A-Za-z0-9_/-]{1,9}(\.[A-Za-z0-9_/-]{1,9}){0,3}", fullmatch=True))
    limits = draw(st.none() | st.just((-1e308 if abs(initial) < 1e308 else -math.inf, math.inf)))
    kind, nonfinite = draw(st.sampled_from(SignalKind)), draw(st.booleans())
    return Signal("m", name, kind, type_, draw(st.text()), draw(st.text()), initial, limits, nonfinite)


def over_the_wire(signal: Signal) -> Record:
    return decode_record(encode_record("signal", *signal_fields(signal)))


@given(declared())
def test_a_declaration_survives(signal: Signal) -> None:
    assert list(signals_in("m", [HELLO, over_the_wire(signal)])) == [signal]


def test_signals_come_in_the_order_of_their_records_and_other_verbs_are_passed_over() -> None:
    records = [
        HELLO,
        Record("signal", ("output", "f64", "y", "m", "1.5", "", "", "0", "place")),
        Record("log", ("x",)),
        Record("signal", ("input", "bool", "on", "", "1", "", "", "1", "")),
        Record("signal", ("parameter", "f32", "a.b", "", "nan", "-1", "1", "1", "")),
        Record("declared", ()),
    ]
    y, on, gain = signals_in("m", records)
    assert y == Signal("m", "y", SignalKind.OUTPUT, SignalType.F64, "m", "place", 1.5, None, False)
    assert on == Signal("m", "on", SignalKind.INPUT, SignalType.BOOL, "", "", True, None, True)
    assert (gain.qualified, gain.limits) == ("m.a.b", (-1.0, 1.0))
    assert math.isnan(gain.initial)


NAMES = "a name is letters, digits, _ / - in parts joined by dots, at most 255 characters"
GOOD = ("output", "f64", "x", "", "0", "", "", "0", "")
WRONG = [
    ((), "'': has 0 fields, 9 are needed"),
    ((*GOOD, ""), "'x': has 10 fields, 9 are needed"),
    (("wire", *GOOD[1:]), "'x': 'wire' is not a valid SignalKind"),
    ((GOOD[0], "f16", *GOOD[2:]), "'x': 'f16' is not a valid SignalType"),
    ((*GOOD[:2], "", *GOOD[3:]), f"'': {NAMES}"),
    ((*GOOD[:2], "a..b", *GOOD[3:]), f"'a..b': {NAMES}"),
    ((*GOOD[:2], "a*", *GOOD[3:]), f"'a*': {NAMES}"),
    ((*GOOD[:2], "x\n", *GOOD[3:]), f"'x\\n': {NAMES}"),
    ((*GOOD[:2], "x" * 256, *GOOD[3:]), f"'{'x' * 60}...': {NAMES}"),
    ((*GOOD[:4], "x", *GOOD[5:]), "'x': could not convert string to float: 'x'"),
    ((*GOOD[:4], "inf", *GOOD[5:]), "'x': m.x cannot be inf; it takes a number (f64)"),
    (("output", "i32", "x", "", "1.5", "", "", "0", ""), "'x': invalid literal for int() with base 10: '1.5'"),
    (
        ("output", "i32", "x", "", "2147483648", "", "", "0", ""),
        "'x': m.x cannot be 2147483648; it takes a whole number from -2147483648 to 2147483647 (i32)",
    ),
    (
        ("output", "bool", "x", "", "0.5", "", "", "0", ""),
        "'x': its initial value is '0.5'; true, false, 1 or 0 is accepted",
    ),
    ((*GOOD[:5], "2", "1", "0", ""), "'x': its limits 2 to 1 are not in order"),
    ((*GOOD[:5], "nan", "1", "0", ""), "'x': its limits nan to 1 are not in order"),
    ((*GOOD[:5], "1", "2", "0", ""), "'x': m.x cannot be 0.0; it takes a number (f64), within 1 to 2"),
    ((*GOOD[:7], "yes", ""), "'x': its allow_nonfinite is 'yes'; 0 or 1 is accepted"),
]


@pytest.mark.parametrize(("fields", "text"), WRONG)
def test_a_wrong_declaration_is_refused_in_a_sentence(fields: tuple[str, ...], text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        list(signals_in("m", [HELLO, Record("signal", fields)]))
    assert str(caught.value) == f"modules.m: module m declares {text}"


def test_every_problem_is_reported() -> None:
    good = Record("signal", GOOD)
    with pytest.raises(ConfigurationError) as caught:
        list(signals_in("m", [Record("hello", ("2",)), good, Record("signal", ("x",)), good]))
    assert [problem.message for problem in caught.value.problems] == [
        "module m speaks version '2' of the records; 1 is known",
        "module m declares '': has 1 fields, 9 are needed",
        "module m declares 'x': is declared twice",
    ]
    with pytest.raises(ConfigurationError, match=r"^modules.m: module m speaks version '' of the records; 1 is known$"):
        list(signals_in("m", [Record("hello", ())]))


def test_a_layout_survives() -> None:
    blocks = ModuleBlocks("m", 4096, 8192, 12288, 16384, 5, 2, 3)
    fields = layout_fields(65536, blocks)
    assert fields == ["1", "65536", "4096", "3", "12288", "16384", "2"]
    assert layout_numbers(tuple(fields)) == {
        "size": 65536,
        "go": 4096,
        "inputs": 3,
        "done": 12288,
        "done_size": 16384,
        "outputs": 2,
    }
    with pytest.raises(ValueError, match=r"shorter|longer"):
        layout_numbers(tuple(fields[:-1]))


@given(st.lists(st.text(max_size=5), max_size=10))
def test_any_fields_are_accepted_or_refused(fields: list[str]) -> None:
    with suppress(ConfigurationError):
        list(signals_in("m", [Record("signal", tuple(fields))]))
