from __future__ import annotations

import math
import struct

import numpy as np
import pytest

from hermes.backplane.signals import FORMATS, Signal, SignalKind, SignalType, Value
from hermes.engine.plan import ModulePlan, Plan, WirePlan
from hermes.history.rows import Words
from hermes.verification.difference import Difference, find_difference, layout_difference, texts

INPUT = SignalKind.INPUT
SIGNALS = [Signal("a", "y"), Signal("b", "y"), Signal("b", "u", INPUT), Signal("c", "y"), Signal("c", "u", INPUT)]
WIRES = (WirePlan("a.y", "b.u"), WirePlan("b.y", "c.u"))


def plan(*schedule: tuple[str, ...]) -> Plan:
    modules = tuple(ModulePlan(name, {}, {}) for name in "abc")
    return Plan("p", modules, WIRES, rate=(100, 1), schedule=schedule)


def row(*values: float, fingerprint: int = 0) -> Words:
    return np.concatenate([[np.uint64(fingerprint), np.uint64(0)], np.array(values, "<f8").view("<u8")])


def found(*values: float, frame: int = 12, schedule: tuple[tuple[str, ...], ...] = ()) -> Difference:
    return find_difference(plan(*schedule), SIGNALS, frame, row(0, 0, 0, 0, 0), row(*values, fingerprint=1))


def test_in_parallel_whoever_gives_something_else_began_it_and_inputs_follow() -> None:
    difference = found(0.1, 0, 0.1, 2, 0)
    assert (difference.frame, difference.time, difference.culprits) == (12, 0.12, ("a", "c"))
    assert [(one.signal, one.module) for one in difference.signals] == [("a.y", "a"), ("c.y", "c"), ("b.u", "b")]
    assert str(difference).splitlines() == [
        "from frame 12 (0.12 s) on (first run, this run)",
        "  begun by a, c, given the same until then:",
        "    a.y  0.0  0.1",
        "    c.y  0.0  2.0",
        "  followed by:",
        "    b.u  0.0  0.1",
    ]


PHASES = (("a",), ("b",), ("c",))


def test_whom_an_earlier_phase_fed_within_the_frame_follows() -> None:
    assert found(1, 1, 1, 1, 1, schedule=PHASES).culprits == ("a",)
    assert found(0, 0, 0, 1, 0, schedule=PHASES).culprits == ("c",)
    assert found(1, 0, 1, 1, 0, schedule=PHASES).culprits == ("a", "c"), "b was fed and did not pass it on"


def test_at_frame_0_nobody_has_been_fed() -> None:
    assert found(1, 1, 1, 1, 1, frame=0, schedule=PHASES).culprits == ("a", "b", "c")


def test_only_inputs_that_differ_were_set_and_no_signal_at_all_is_said() -> None:
    assert str(found(0, 0, 0, 0, 3)).splitlines()[1:] == [
        "  begun by no module's output; other values were set:", "    c.u  0.0  3.0"
    ]  # fmt: skip
    nothing = found(0, 0, 0, 0, 0)
    assert str(nothing).splitlines()[1:] == [
        "  no signal differs, but the fingerprints do: other values were set before this frame"
    ]


def test_twenty_signals_are_listed() -> None:
    signals = [Signal("a", f"y{n}") for n in range(23)]
    difference = find_difference(plan(), signals, 1, row(*[0.0] * 23), row(*[1.0] * 23))
    lines = str(difference).splitlines()
    assert len(difference.signals) == 23
    assert len(lines) == 2 + 20 + 1
    assert lines[-2:] == ["    a.y19  0.0  1.0", "    and 3 more"]


def cell(kind: SignalType, value: Value) -> int:
    return int.from_bytes(FORMATS[kind].pack(value), "little")


@pytest.mark.parametrize(
    ("kind", "first", "other", "expected"),
    [
        (SignalType.F64, 0.1, math.nextafter(0.1, 1), ("0.1", "0.10000000000000002")),
        (SignalType.F64, 0.0, -0.0, ("0.0", "-0.0")),
        (SignalType.F32, 0.5, np.nextafter(np.float32(0.5), np.float32(1)), ("0.5", "0.50000006")),
        (SignalType.I64, 2**53, 2**53 + 1, ("9007199254740992", "9007199254740993")),
        (SignalType.BOOL, False, True, ("False", "True")),
    ],
)
def test_values_have_the_digits_that_tell_them_apart(
    kind: SignalType, first: Value, other: Value, expected: tuple[str, str]
) -> None:
    assert texts(kind, cell(kind, first), cell(kind, other)) == expected


def test_what_numbers_do_not_tell_apart_is_told_by_its_bits() -> None:
    quiet = struct.unpack("<Q", struct.pack("<d", math.nan))[0]
    assert texts(SignalType.F64, quiet, quiet + 1) == ("nan (0x7ff8000000000000)", "nan (0x7ff8000000000001)")
    assert texts(SignalType.I32, 5, 5 + (1 << 40)) == ("5 (0x0000000000000005)", "5 (0x0000010000000005)")


def test_signals_that_are_declared_otherwise_are_named() -> None:
    first = [Signal("a", "y", initial=math.nan, allow_nonfinite=True), Signal("a", "z"), Signal("b", "u", INPUT)]
    assert layout_difference(first, [first[0]._replace(initial=float("nan")), *first[1:]]) is None
    other = [first[0]._replace(initial=1.5, unit="m"), Signal("a", "w"), first[2]]
    difference = layout_difference(first, other)
    assert difference is not None
    assert str(difference).splitlines() == [
        "the modules declare other signals",
        "    a.z is only in the first",
        "    a.w is only in the other",
        "    a.y: its unit is '' and 'm'",
        "    a.y: its initial is nan (0x7ff8000000000000) and 1.5",
    ]
    turned = layout_difference(first, first[::-1])
    assert turned is not None
    assert turned.layout == ("they are in another order",)
    many = layout_difference([], [Signal("a", f"y{n}") for n in range(30)])
    assert str(many).splitlines()[-1] == "    and 10 more"
