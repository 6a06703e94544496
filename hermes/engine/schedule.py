"""Which modules run when, and how late each wire therefore is: arithmetic over a plan, without a process.

A frame runs its phases in order, the modules of a phase in parallel. A wire into a later phase is routed as soon as
its source's phase is done and arrives in the same frame; every other wire is routed after the last phase, in the order
of definition, and arrives in the next. Nothing is reordered and no loop is solved: where modules depend on each other
within a phase, each sees the other's values of the frame before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import lcm
from typing import NamedTuple

from hermes.engine.plan import Plan, WirePlan

LONGEST_CYCLE = 4096
"""Frames after which the pattern of due modules repeats, at most; beyond, it is worked out anew for each frame."""


class WireDelay(NamedTuple):
    """How late a wire is: frames between the step whose value it carries and the step that uses it, 0 or 1.

    `phase` is the one after which it is routed, counted from 0; None for after the last.
    """

    wire: WirePlan
    frames: int
    phase: int | None


class Loop(NamedTuple):
    """Modules that depend on each other in a circle, and the numbers of the wires that arrive a frame late in it."""

    modules: tuple[str, ...]
    delayed: tuple[int, ...]


def phases(plan: Plan) -> tuple[tuple[str, ...], ...]:
    """Return the names of the modules of each phase."""
    return plan.schedule or (tuple(module.name for module in plan.modules),)


def due(every: int, frame: int) -> bool:
    """Return whether a module steps in the frame that starts at `frame` completed frames."""
    return frame % every == 0


def cycle(plan: Plan) -> int:
    """Return after how many frames the pattern of due modules repeats."""
    return lcm(*(module.every for module in plan.modules))


def wire_delays(plan: Plan) -> list[WireDelay]:
    """Return the delay of every wire, in the order of definition."""
    place = {name: number for number, names in enumerate(phases(plan)) for name in names}
    fresh: set[str] = set()  # inputs that already hold the next frame's value
    found = []
    for wire in plan.wires:
        source, target = place[module_of(wire.src)], place[module_of(wire.dst)]
        if source < target:
            found.append(WireDelay(wire, 0, source))
        else:
            found.append(WireDelay(wire, int(wire.src not in fresh), None))
            fresh.add(wire.dst)
    return found


def loops(plan: Plan) -> list[Loop]:
    """Return every circle of modules that feed each other through wires, a module that feeds itself included."""
    delays = wire_delays(plan)
    found = []
    for members in _circles([module.name for module in plan.modules], plan.wires):
        inside = [number for number, wire in enumerate(plan.wires) if _ends(wire) <= members]
        if inside:
            names = tuple(module.name for module in plan.modules if module.name in members)
            found.append(Loop(names, tuple(number for number in inside if delays[number].frames)))
    return found


def module_of(name: str) -> str:
    """Return the module of a qualified signal name."""
    return name.partition(".")[0]


def _ends(wire: WirePlan) -> set[str]:
    return {module_of(wire.src), module_of(wire.dst)}


def _circles(names: Sequence[str], wires: Sequence[WirePlan]) -> Iterator[set[str]]:
    """Yield the sets of modules that reach each other (a module alone included), in order of definition."""
    forward: dict[str, set[str]] = {name: set() for name in names}
    backward: dict[str, set[str]] = {name: set() for name in names}
    for wire in wires:
        forward[module_of(wire.src)].add(module_of(wire.dst))
        backward[module_of(wire.dst)].add(module_of(wire.src))
    left = dict.fromkeys(names)
    while left:
        first = next(iter(left))
        members = _reached(first, forward) & _reached(first, backward)
        yield members
        for name in members:
            del left[name]


def _reached(start: str, edges: dict[str, set[str]]) -> set[str]:
    seen, ahead = {start}, [start]
    while ahead:
        new = edges[ahead.pop()] - seen
        seen |= new
        ahead += new
    return seen
