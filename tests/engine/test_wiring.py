from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes.backplane.ring import PREFIX
from hermes.backplane.shm import SharedMemoryManager
from hermes.backplane.signals import FORMATS, Signal, SignalKind, SignalRegistry, SignalType
from hermes.engine.plan import WirePlan
from hermes.engine.wiring import Router
from hermes.errors import ConfigurationError

OUT, IN, PAR = SignalKind.OUTPUT, SignalKind.INPUT, SignalKind.PARAMETER
ZERO = {type_: False if type_ is SignalType.BOOL else 0 for type_ in SignalType}
SIGNALS = [
    *(
        Signal("a", f"{type_}_{end}", kind, type_, initial=ZERO[type_])
        for type_ in SignalType
        for end, kind in (("y", OUT), ("u", IN))
    ),
    *(Signal("b", name, IN, SignalType.F64) for name in ("u0", "u1", "u2", "u3")),
    Signal("b", "f", IN, SignalType.F32),
    Signal("b", "k", PAR, SignalType.F64),
    Signal("b", "y", OUT, SignalType.F64),
]


@contextmanager
def backplane() -> Iterator[SharedMemoryManager]:
    shm = SharedMemoryManager.create(SignalRegistry(SIGNALS), history=8)
    yield shm
    shm.close()


def read_cells(shm: SharedMemoryManager) -> list[int]:
    return [int(word) for word in memoryview(bytes(shm.writer.stage()[PREFIX:])).cast("Q")]


def write(shm: SharedMemoryManager, name: str, value: float) -> None:
    signal = shm.registry[name]
    cell = int.from_bytes(FORMATS[signal.type].pack(value), "little")
    shm.write_cell(shm.registry.index(name), cell)


def read(shm: SharedMemoryManager, name: str) -> float | int | bool:
    index = shm.registry.index(name)
    (value,) = FORMATS[shm.registry.at(index).type].unpack(read_cells(shm)[index].to_bytes(8, "little"))
    return value  # type: ignore[no-any-return]


def route(shm: SharedMemoryManager, *wires: WirePlan) -> None:
    router = Router(wires, shm)
    router.route()
    router.release()


def test_gain_and_offset() -> None:
    with backplane() as shm:
        write(shm, "a.f64_y", 3.0)
        write(shm, "a.f32_y", 0.5)
        route(
            shm,
            WirePlan("a.f64_y", "b.u0", 2.0, -1.0),
            WirePlan("a.f64_y", "b.u1", offset=0.5),
            WirePlan("a.f32_y", "b.u2", gain=3.0),
            WirePlan("a.f64_y", "b.f", gain=0.1),
        )
        assert [read(shm, f"b.u{n}") for n in range(3)] == [5.0, 3.5, 1.5]
        assert read(shm, "b.f") == struct.unpack("f", struct.pack("f", 3.0 * 0.1))[0]


def test_a_chain_in_order_passes_through_and_against_it_takes_frames() -> None:
    with backplane() as shm:
        write(shm, "a.f64_y", 1.0)
        chain = [WirePlan("a.f64_y", "b.u0", 2.0), WirePlan("b.u0", "b.u1", 3.0), WirePlan("b.u1", "b.u2")]
        route(shm, *chain)
        assert [read(shm, f"b.u{n}") for n in range(3)] == [2.0, 6.0, 6.0]
        write(shm, "a.f64_y", 10.0)
        route(shm, *reversed(chain))
        assert [read(shm, f"b.u{n}") for n in range(3)] == [20.0, 6.0, 6.0]


def test_the_last_wire_to_an_input_wins() -> None:
    with backplane() as shm:
        write(shm, "a.f64_y", 1.0)
        write(shm, "b.y", 2.0)
        first, second = WirePlan("a.f64_y", "b.u0"), WirePlan("b.y", "b.u0")
        route(shm, first, second)
        assert read(shm, "b.u0") == 2.0
        route(shm, second, first)
        assert read(shm, "b.u0") == 1.0


def test_inputs_and_parameters_may_be_sources() -> None:
    with backplane() as shm:
        write(shm, "b.k", 4.0)
        write(shm, "b.u3", 5.0)
        route(shm, WirePlan("b.k", "b.u0"), WirePlan("b.u3", "b.u1"))
        assert (read(shm, "b.u0"), read(shm, "b.u1")) == (4.0, 5.0)


@pytest.mark.parametrize(
    ("type_", "bits"),
    [
        ("f64", 0x7FF0000000000001),
        ("f64", 0xFFF8DEADBEEF0001),
        ("f64", 0x8000000000000000),
        ("f64", 0xFFF0000000000000),
        ("f32", 0x7FA00001),
        ("f32", 0x80000000),
        ("i64", 0x8000000000000000),
        ("i64", 2**53 + 1),
        ("i32", 0x80000000),
        ("bool", 1),
    ],
)
def test_a_plain_wire_copies_the_bits(type_: str, bits: int) -> None:
    with backplane() as shm:
        shm.write_cell(shm.registry.index(f"a.{type_}_y"), bits)
        route(shm, WirePlan(f"a.{type_}_y", f"a.{type_}_u"))
        assert read_cells(shm)[shm.registry.index(f"a.{type_}_u")] == bits


def test_numbers_too_large_become_infinite_as_the_hardware_has_it() -> None:
    with backplane() as shm:
        write(shm, "a.f64_y", 1e300)
        route(shm, WirePlan("a.f64_y", "b.u0", 1e300), WirePlan("a.f64_y", "b.f", -2.0))
        assert (read(shm, "b.u0"), read(shm, "b.f")) == (float("inf"), float("-inf"))


PLAIN = "a wire without gain and offset needs equal types: "
SCALED = "a wire with gain or offset needs f64 or f32 at both ends: "
PROBLEMS = [
    (WirePlan("a.f64_y", "b.y"), ["wiring.0.dst: b.y is an output; a wire drives an input"]),
    (WirePlan("a.f64_y", "b.k"), ["wiring.0.dst: b.k is a parameter; a wire drives an input"]),
    (WirePlan("a.i32_y", "b.u0"), [f"wiring.0: {PLAIN}a.i32_y is i32, b.u0 is f64"]),
    (WirePlan("a.f32_y", "b.u0"), [f"wiring.0: {PLAIN}a.f32_y is f32, b.u0 is f64"]),
    (WirePlan("a.bool_y", "b.u0", 2.0), [f"wiring.0: {SCALED}a.bool_y is bool, b.u0 is f64"]),
    (WirePlan("a.i64_y", "a.i64_u", 1.0, 1.0), [f"wiring.0: {SCALED}a.i64_y is i64, a.i64_u is i64"]),
    (WirePlan("a.f64_z", "c.u0"), [
        "wiring.0.src: no signal matches 'a.f64_z'; did you mean a.f64_y, a.f64_u, a.i64_y?",
        "wiring.0.dst: no signal matches 'c.u0'; did you mean b.u0?",
    ]),
    (WirePlan("a.i32_y", "b.k"), [
        "wiring.0.dst: b.k is a parameter; a wire drives an input",
        f"wiring.0: {PLAIN}a.i32_y is i32, b.k is f64",
    ]),
]  # fmt: skip


@pytest.mark.parametrize(("wire", "problems"), PROBLEMS)
def test_a_wrong_wire_is_refused_in_a_sentence(wire: WirePlan, problems: list[str]) -> None:
    with backplane() as shm, pytest.raises(ConfigurationError) as caught:
        Router([wire], shm)
    assert [str(problem) for problem in caught.value.problems] == problems


def test_every_wrong_wire_is_reported() -> None:
    with backplane() as shm, pytest.raises(ConfigurationError) as caught:
        Router([WirePlan("a.f64_y", "b.y"), WirePlan("b.y", "b.u0"), WirePlan("a.i32_y", "b.u0")], shm)
    assert [problem.where for problem in caught.value.problems] == ["wiring.0.dst", "wiring.2"]


REALS = st.floats(-1e100, 1e100)
ENDS = ["a.f64_y", "b.u0", "b.u1", "b.u2", "b.u3", "b.y", "b.k", "b.f", "a.f32_y"]
SIZES = {"b.f": "f", "a.f32_y": "f"}


def reference(values: dict[str, float], wires: list[WirePlan]) -> dict[str, float]:
    """Route by the book: one wire after the other, in f64, rounded to the width of the input."""
    result = dict(values)
    for src, dst, gain, offset in wires:
        value = result[src] if (gain, offset) == (1.0, 0.0) else result[src] * gain + offset
        if SIZES.get(dst) == "f":
            try:
                value = struct.unpack("f", struct.pack("f", value))[0]
            except OverflowError:
                value = float("inf") if value > 0 else float("-inf")
        result[dst] = value
    return result


@st.composite
def wires(draw: st.DrawFn) -> WirePlan:
    src, dst = draw(st.sampled_from(ENDS)), draw(st.sampled_from(["b.u0", "b.u1", "b.u2", "b.u3", "b.f"]))
    gain, offset = draw(st.sampled_from([1.0, -1.0, 0.1]) | REALS), draw(st.just(0.0) | REALS)
    if (gain, offset) == (1.0, 0.0) and SIZES.get(src) != SIZES.get(dst):
        gain = 2.0
    return WirePlan(src, dst, gain, offset)


@given(
    st.lists(wires(), max_size=12),
    st.lists(REALS, min_size=7, max_size=7),
    st.lists(st.floats(width=32), min_size=2, max_size=2),
)
def test_routing_agrees_with_the_reference(plan: list[WirePlan], reals: list[float], singles: list[float]) -> None:
    values = dict(zip(ENDS, [*reals, *singles], strict=True))
    with backplane() as shm:
        for name, value in values.items():
            write(shm, name, value)
        router = Router(plan, shm)
        for _ in range(2):
            router.route()
            values = reference(values, plan)
            assert [str(read(shm, name)) for name in ENDS] == [str(values[name]) for name in ENDS]
        router.release()
