"""One pass over all wires, `Router.route()`, beside a plain Python loop over the cells.

.venv/bin/python tests/benchmarks/wires.py [--quick]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median

from tables import Bench, Row, cell, run

from hermes.backplane.shm import SharedMemoryManager
from hermes.backplane.signals import Signal, SignalKind, SignalRegistry
from hermes.engine.plan import WirePlan
from hermes.engine.wiring import Router

COUNTS = (10, 100, 1_000, 10_000, 100_000)
KINDS = {"copies": (1.0, 0.0), "gain and offset": (0.5, 1.0)}
Move = tuple[memoryview, memoryview, float | None, float]


def wires(options: argparse.Namespace) -> list[Row]:
    """Return the rows of every number and kind of wires."""
    rounds, seconds = (3, 0.01) if options.quick else (5, 0.1)
    counts = COUNTS[:-1] if options.quick else COUNTS
    return [row for count in counts for row in rows_of(count, rounds, seconds)]


def rows_of(count: int, rounds: int, seconds: float) -> Iterator[Row]:
    """Yield the rows of so many wires between two modules."""
    sources = [Signal("a", f"y{number}", initial=float(number)) for number in range(count)]
    targets = [Signal("b", f"u{number}", SignalKind.INPUT) for number in range(count)]
    shm = SharedMemoryManager.create(SignalRegistry([*sources, *targets]), history=8)
    for kind, (gain, offset) in KINDS.items():
        plan = [WirePlan(f"a.y{number}", f"b.u{number}", gain, offset) for number in range(count)]
        yield {"wires": count, "kind": kind, **measured(shm, plan, rounds, seconds)}
    shm.close()


def measured(shm: SharedMemoryManager, plan: list[WirePlan], rounds: int, seconds: float) -> Row:
    """Return what a pass over these wires takes, in us, and what preparing for it took, in ms."""
    begin = time.perf_counter()
    router = Router(plan, shm)
    prepared = time.perf_counter() - begin
    with plain_loop(shm, plan) as loop:
        check(shm, plan, router.route)
        passes: dict[str, list[float]] = {"route": [], "loop": []}
        for _ in range(rounds):
            passes["route"].append(seconds_each(router.route, seconds))
            passes["loop"].append(seconds_each(loop, seconds))
    router.release()
    route, bare = (1e6 * median(found) for found in passes.values())
    spread = f"{cell(1e6 * min(passes['route']))} .. {cell(1e6 * max(passes['route']))}"
    compared = {"plain_loop_us": bare, "times_as_fast": bare / route}
    per_wire = {"ns_per_wire": 1e3 * route / len(plan), "prepare_ms": 1e3 * prepared}
    return {"route_us": route, "rounds": spread, **compared, **per_wire}


def check(shm: SharedMemoryManager, plan: list[WirePlan], act: Callable[[], None]) -> None:
    """Raise RuntimeError unless a pass carries the last wire's value over."""
    source, target, gain, offset = plan[-1]
    act()
    shm.commit(0, 1, 0.0)
    value, wanted = shm.get_signal(target), float(shm.get_signal(source)) * gain + offset
    if value != wanted:
        raise RuntimeError(f"{target} is {value} and not {wanted}")


@contextmanager
def plain_loop(shm: SharedMemoryManager, plan: list[WirePlan]) -> Iterator[Callable[[], None]]:
    """Yield a pass over the same wires, one after the other, in Python."""
    moves = [move_of(shm, wire) for wire in plan]

    def loop() -> None:
        for target, source, gain, offset in moves:
            if gain is None:
                target[0] = source[0]
            else:
                target[0] = source[0] * gain + offset  # type: ignore[call-overload]

    yield loop
    for target, source, _, _ in moves:
        target.release()
        source.release()


def move_of(shm: SharedMemoryManager, wire: WirePlan) -> Move:
    """Return the two cells of a wire, and its gain and offset where it is no copy."""
    plain = (wire.gain, wire.offset) == (1.0, 0.0)
    target, source = (shm.live_cells(shm.registry.index(name), "Q" if plain else "d") for name in (wire.dst, wire.src))
    return target, source, None if plain else wire.gain, wire.offset


def seconds_each(act: Callable[[], None], seconds: float) -> float:
    """Return the mean time of a call, over about so many seconds."""
    calls, begin = 0, time.perf_counter()
    while (passed := time.perf_counter() - begin) < seconds or not calls:
        act()
        calls += 1
    return passed / calls if calls > 1 else time.perf_counter() - begin


BENCHES = [Bench("wires", "One pass over wires between two modules", wires)]

if __name__ == "__main__":
    run(BENCHES, "wires", __doc__)
