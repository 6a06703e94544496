"""What each frame does, laid out beforehand: whom to release in which phase, and what to route after it.

The pattern in which modules are due repeats, so there is a row of legs for each frame of it, and the loop over frames
looks nothing up. A pattern that is too long for that is laid out frame by frame, from legs that are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from typing import NamedTuple

from hermes.backplane.sync import EngineGate
from hermes.engine.plan import Plan
from hermes.engine.schedule import LONGEST_CYCLE, cycle, due, phases, wire_delays
from hermes.engine.wiring import Router


class Leg(NamedTuple):
    """One phase of one frame: whom to release, with which due words, and what to route afterwards."""

    gates: tuple[EngineGate, ...]
    go: tuple[memoryview, ...]
    done: tuple[memoryview, ...]
    due: tuple[tuple[memoryview, int], ...]
    route: Callable[[], None]


Parts = list[tuple[str, tuple[tuple[int, int], ...]]]
"""The workers that have modules in a phase, each with the bit and the `every` of each of those."""


class Legs:
    """The legs of every frame of a plan; `rows` are those of a whole pattern, or None where it is too long."""

    def __init__(self, plan: Plan, gates: Mapping[str, EngineGate], router: Router) -> None:
        self._gates = gates
        self._groups = {worker for worker, modules in plan.workers.items() if len(modules) > 1}
        self._parts = [_parts(plan, names) for names in phases(plan)]
        self._routes = _routes(plan, router)
        self._made = lru_cache(LONGEST_CYCLE)(self._leg)
        period = cycle(plan)
        self.rows = [self.row(frame) for frame in range(period)] if period <= LONGEST_CYCLE else None

    def row(self, frame: int) -> tuple[Leg, ...]:
        """Return the legs of the frame that starts at `frame` completed frames."""
        return tuple(
            self._made(number, tuple([(worker, mask) for worker, held in parts if (mask := _due_mask(held, frame))]))
            for number, parts in enumerate(self._parts)
        )

    def _leg(self, phase: int, masks: tuple[tuple[str, int], ...]) -> Leg:
        gates = tuple(self._gates[worker] for worker, _ in masks)
        due_words = tuple((self._gates[worker].go, mask) for worker, mask in masks if worker in self._groups)
        go, done = tuple(gate.go for gate in gates), tuple(gate.done for gate in gates)
        return Leg(gates, go, done, due_words, self._routes[phase])

    def release(self) -> None:
        """Let go of what the legs hold: gates and routes."""
        self._made.cache_clear()
        self._routes, self.rows = [], None


def _parts(plan: Plan, names: Collection[str]) -> Parts:
    bits = {
        worker: tuple((1 << number, one.every) for number, one in enumerate(modules) if one.name in names)
        for worker, modules in plan.workers.items()
    }
    return [(worker, held) for worker, held in bits.items() if held]


def _due_mask(held: tuple[tuple[int, int], ...], frame: int) -> int:
    return sum([bit for bit, every in held if due(every, frame)])


def _routes(plan: Plan, router: Router) -> list[Callable[[], None]]:
    """Return what routes the wires after each phase; after the last one, all that are left."""
    delays = wire_delays(plan)
    count = len(phases(plan))
    found = []
    for phase in range(count):
        numbers = [number for number, delay in enumerate(delays) if delay.phase == phase]
        if phase == count - 1:
            numbers += [number for number, delay in enumerate(delays) if delay.phase is None]
        found.append(router.part(numbers))
    return found
