from __future__ import annotations

import itertools
import math
import random
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes.backplane.ring import PREFIX
from hermes.backplane.shm import SharedMemoryManager
from hermes.backplane.signals import FORMATS, Signal, SignalKind, SignalRegistry, SignalType
from hermes.engine import wiring
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
def backplane(signals: list[Signal] = SIGNALS) -> Iterator[SharedMemoryManager]:
    shm = SharedMemoryManager.create(SignalRegistry(signals), history=8)
    yield shm  # left open where a test fails: its views would hide why
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


# -- any form of routing against the plain loop, bit for bit

MODULES = ("m", "n", "o")
MANY = [
    Signal(module, f"{type_}_{kind.value[0]}{number}", kind, type_, initial=ZERO[type_])
    for module in MODULES
    for kind in (OUT, IN, PAR)
    for type_ in SignalType
    for number in range(3 if kind is IN else 1)
]
ORDER = [signal.qualified for signal in SignalRegistry(MANY)]
BY_NAME = {signal.qualified: signal for signal in MANY}
TARGETS = [signal for signal in MANY if signal.kind is IN]
FLOATS = [signal for signal in MANY if signal.type.is_float]

SPECIAL = [
    *(0x7FF0000000000001, 0xFFF8DEADBEEF0001, 0x7FF0000000000000, 0xFFF0000000000000, 1 << 63, 1, 0x000FFFFFFFFFFFFF),
    *(0x7FEFFFFFFFFFFFFF, 0x47EFFFFFE0000000, 0x47EFFFFFF0000000, 0x3690000000000000, 0x380FFFFFC0000000),
]
"""NaN with payloads, infinities, -0.0, denormals, the largest f64, and what is at the edges of f32."""

SPECIAL_SINGLE = [0x7FA00001, 0xFFC12345, 0x7F800000, 0xFF800000, 0x80000000, 1, 0x007FFFFF, 0x7F7FFFFF]

CELLS = {
    SignalType.F64: st.sampled_from(SPECIAL) | st.integers(0, 2**64 - 1),
    SignalType.F32: st.sampled_from(SPECIAL_SINGLE) | st.integers(0, 2**32 - 1),
    SignalType.I64: st.integers(0, 2**64 - 1),
    SignalType.I32: st.integers(0, 2**32 - 1),
    SignalType.BOOL: st.integers(0, 1),
}
FACTORS = st.sampled_from([1.0, -1.0, 0.0, -0.0, 0.1, 1e300, 5e-324]) | st.floats(allow_nan=False, allow_infinity=False)


def reference(cells: list[int], wires: list[WirePlan]) -> list[int]:
    """Route by the book: one wire after the other, in f64, rounded to the width of the input."""
    at = {name: index for index, name in enumerate(ORDER)}
    result = list(cells)
    for src, dst, gain, offset in wires:
        cell = result[at[src]]
        if (gain, offset) != (1, 0):
            (value,) = FORMATS[BY_NAME[src].type].unpack(cell.to_bytes(8, "little"))
            cell = int.from_bytes(packed(BY_NAME[dst].type, value * gain + offset), "little")
        result[at[dst]] = cell
    return result


def packed(type_: SignalType, value: float) -> bytes:
    try:
        return FORMATS[type_].pack(value)
    except OverflowError:
        return FORMATS[type_].pack(math.copysign(math.inf, value))


@st.composite
def wires(draw: st.DrawFn) -> WirePlan:
    target = draw(st.sampled_from(TARGETS))
    if target.type.is_float and draw(st.booleans()):
        gain, offset = draw(FACTORS), draw(st.just(0.0) | FACTORS)
        if (gain, offset) != (1, 0):
            return WirePlan(draw(st.sampled_from(FLOATS)).qualified, target.qualified, gain, offset)
    source = draw(st.sampled_from([signal for signal in MANY if signal.type is target.type]))
    return WirePlan(source.qualified, target.qualified, offset=draw(st.sampled_from([0.0, -0.0])))


@st.composite
def many_wires(draw: st.DrawFn) -> list[WirePlan]:
    """Draw a few wires freely, or hundreds of which a seed chooses most."""
    pool = draw(st.lists(wires(), min_size=1, max_size=60))
    count = draw(st.sampled_from([0, 0, 40, 300]))
    return pool + random.Random(draw(st.integers())).choices(pool, k=count)


def every_cell(draw: st.DataObject) -> list[int]:
    few = {type_: draw.draw(st.lists(cells, min_size=3, max_size=12)) for type_, cells in CELLS.items()}
    choose = random.Random(draw.draw(st.integers()))
    return [choose.choice(few[BY_NAME[name].type]) for name in ORDER]


@settings(max_examples=60, deadline=None)
@pytest.mark.parametrize("few", [0, 3, wiring.FEW, 1 << 30], ids=["arrays", "mixed", "as it is", "loop"])
@given(plan=many_wires(), data=st.data())
def test_routing_agrees_with_the_loop_in_order_of_definition(
    few: int, plan: list[WirePlan], data: st.DataObject
) -> None:
    """Bit for bit, in one part or in several, again and again."""
    cuts = data.draw(st.lists(st.integers(0, len(plan)), max_size=3).map(sorted))
    cells = every_cell(data)
    with backplane(MANY) as shm, pytest.MonkeyPatch.context() as patch:
        patch.setattr(wiring, "FEW", few)
        for index, cell in enumerate(cells):
            shm.write_cell(index, cell)
        router = Router(plan, shm)
        parts = [router.part(range(*ends)) for ends in itertools.pairwise([0, *cuts, len(plan)])]
        for whole in (True, False, True):
            for route in [router.route] if whole else parts:
                route()
            cells = reference(cells, plan)
            assert read_cells(shm) == cells
        parts.clear()
        del route
        router.release()


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=60))
def test_batches_keep_what_depends_on_each_other_in_order(ends: list[tuple[int, int]]) -> None:
    """Gathered before anything of its batch is written, each reads what it reads in the loop, and the same one wins."""
    moves = [wiring.Move(source, target, "Q", "Q") for source, target in ends]
    loop, batched = list(range(10)), list(range(10))
    for move in moves:
        loop[move.target] = loop[move.source]
    for batch in wiring.batches(moves):
        assert len({move.target for move in batch}) == len(batch), "no batch writes a cell twice"
        for move, value in [(move, batched[move.source]) for move in batch]:
            batched[move.target] = value
    assert batched == loop
    assert sorted(itertools.chain(*wiring.batches(moves))) == sorted(moves)


def test_independent_wires_are_one_batch_and_a_chain_as_many_as_it_has_wires() -> None:
    fan = [wiring.Move(0, target, "Q", "Q") for target in range(1, 9)]
    chain = [wiring.Move(at, at + 1, "Q", "Q") for at in range(8)]
    assert [len(batch) for batch in wiring.batches(fan)] == [8]
    assert [len(batch) for batch in wiring.batches(chain)] == [1] * 8
    assert [len(batch) for batch in wiring.batches(chain[::-1])] == [8], "against a chain, nothing passes through"
