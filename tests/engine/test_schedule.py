"""Delays and loops as computed, against frames as the interpreter makes them and against brute force."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from interpreter import Toy, frames

from hermes.engine.plan import ModulePlan, Plan, WirePlan
from hermes.engine.schedule import cycle, due, loops, module_of, phases, wire_delays

MODULES = ["a", "b", "c", "d"]
INPUTS = ["u", "v"]


def plan_of(
    wires: Iterable[tuple[str, str]], schedule: Sequence[Sequence[str]] = (), every: Sequence[int] = ()
) -> Plan:
    modules = tuple(
        ModulePlan(name, {}, {}, every=n) for name, n in itertools.zip_longest(MODULES, every[:4], fillvalue=1)
    )
    return Plan("plan", modules, tuple(WirePlan(*wire) for wire in wires), schedule=tuple(map(tuple, schedule)))


def delays(plan: Plan) -> list[int]:
    return [delay.frames for delay in wire_delays(plan)]


def test_without_a_schedule_all_are_in_one_phase_and_every_wire_is_late() -> None:
    plan = plan_of([("a.y", "b.u"), ("b.y", "a.u"), ("a.y", "a.v")])
    assert phases(plan) == (("a", "b", "c", "d"),)
    assert [(one.wire.src, one.frames, one.phase) for one in wire_delays(plan)] == [
        ("a.y", 1, None),
        ("b.y", 1, None),
        ("a.y", 1, None),
    ]


def test_a_wire_into_a_later_phase_arrives_in_the_same_frame() -> None:
    plan = plan_of([("a.y", "b.u"), ("b.y", "a.u"), ("b.y", "d.u"), ("c.y", "b.v")], [["a"], ["b", "c"], ["d"]])
    assert [(one.frames, one.phase) for one in wire_delays(plan)] == [(0, 0), (1, None), (0, 1), (1, None)]


def test_a_chain_in_order_adds_no_frame_and_one_against_it_does() -> None:
    assert delays(plan_of([("a.y", "b.u"), ("b.u", "c.u")])) == [1, 0]
    assert delays(plan_of([("b.u", "c.u"), ("a.y", "b.u")])) == [1, 1]


def test_loops_are_named_with_the_wires_that_are_late_in_them() -> None:
    plan = plan_of([("a.y", "b.u"), ("b.y", "a.u"), ("b.y", "c.u"), ("d.y", "d.u")], [["a"], ["b"], ["c"], ["d"]])
    assert loops(plan) == [(("a", "b"), (1,)), (("d",), (3,))]
    assert loops(plan_of([("a.y", "b.u"), ("b.y", "c.u")])) == []


@pytest.mark.parametrize(("every", "period"), [((), 1), ((2, 3), 6), ((4, 2, 8), 8), ((7, 11, 13, 17), 17017)])
def test_the_pattern_of_due_modules_repeats_after_the_least_common_multiple(
    every: tuple[int, ...], period: int
) -> None:
    plan = plan_of([], every=every)
    assert cycle(plan) == period
    pattern = [[due(module.every, frame) for module in plan.modules] for frame in range(2 * period)]
    assert pattern[:period] == pattern[period:]
    assert all(pattern[0])
    assert not any(all(row) for row in pattern[1:period])


# -- against the interpreter

ENDS = [f"{module}.{key}" for module in MODULES for key in ("y", *INPUTS)]


@st.composite
def plans(draw: st.DrawFn, most: int = 8) -> Plan:
    """Draw a schedule and wires, at most one to each input: of several, all but one are never seen."""
    order = draw(st.permutations(MODULES))
    cuts = sorted(draw(st.sets(st.integers(1, 3))))
    schedule = [order[start:end] for start, end in itertools.pairwise([0, *cuts, 4])]
    targets = draw(
        st.lists(st.sampled_from([end for end in ENDS if not end.endswith("y")]), max_size=most, unique=True)
    )
    return plan_of([(draw(st.sampled_from(ENDS)), target) for target in targets], draw(st.sampled_from([(), schedule])))


def toys(used: dict[str, list[tuple[str, float]]]) -> dict[str, Toy]:
    """Return modules whose outputs tell module and frame, and which note what they use in each of their steps."""

    def toy(name: str) -> Toy:
        def step(it: Any, time: float, dt: float) -> None:
            used[name].append((it.u, it.v))
            it.y = MODULES.index(name) * 1000 + time + 1

        return Toy(dict.fromkeys(("y", *INPUTS), ("f64", math.nan)), step, lambda it: None)

    return {name: toy(name) for name in MODULES}


@given(plans())
def test_delays_as_computed_are_delays_as_observed(plan: Plan) -> None:
    """A wire from an output carries what its source has computed in this step or in the one before, as computed."""
    used: dict[str, list[tuple[float, float]]] = {name: [] for name in MODULES}
    run = frames(toys(used), [tuple(wire) for wire in plan.wires], 1, plan.schedule)  # type: ignore[arg-type]
    for _ in zip(range(9), run, strict=False):
        pass
    for wire, late, _ in wire_delays(plan):
        for frame in range(4, 8):
            got = value_used(used, wire.dst, frame)
            if module_of(wire.src) + ".y" == wire.src:
                assert got == MODULES.index(module_of(wire.src)) * 1000 + frame - late + 1
            else:
                wanted = value_used(used, wire.src, frame - late)
                assert got == wanted or (math.isnan(got) and math.isnan(wanted))


def value_used(used: dict[str, list[tuple[float, float]]], end: str, frame: int) -> float:
    """Return what an input's module has found in it in the step of a frame."""
    return used[module_of(end)][frame][INPUTS.index(end[-1])]


@given(plans(most=6))
def test_loops_are_those_of_brute_force(plan: Plan) -> None:
    edges = {(module_of(wire.src), module_of(wire.dst)) for wire in plan.wires}
    reach = set(edges)
    for middle, start, end in itertools.product(MODULES, repeat=3):
        if (start, middle) in reach and (middle, end) in reach:
            reach.add((start, end))
    circles = {tuple(n for n in MODULES if n == m or {(m, n), (n, m)} <= reach) for m in MODULES if (m, m) in reach}
    late = delays(plan)
    assert sorted(loops(plan)) == [
        (
            names,
            tuple(n for n, w in enumerate(plan.wires) if {module_of(w.src), module_of(w.dst)} <= {*names} and late[n]),
        )
        for names in sorted(circles)
    ]
