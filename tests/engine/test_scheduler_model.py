"""The engine's frames, cell by cell and bit for bit, against `tests/support/interpreter.py`."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import toys
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from interpreter import Toy, frames

from hermes.backplane.signals import FORMATS, Signal, SignalKind, SignalType, encode_cell
from hermes.engine import legs, wiring
from hermes.engine.plan import ModulePlan, Plan, WirePlan
from hermes.engine.process import ProcessManager
from hermes.engine.schedule import LONGEST_CYCLE, cycle
from hermes.engine.scheduler import Scheduler
from hermes.module import class_declarations

FILE = str(Path(toys.__file__))
RATES = [(60, 1), (1, 1), (1000, 3), (30000, 1001), (7, 1000)]
BURST_NS = 200_000


class Case(NamedTuple):
    """A plan, the sets before each frame, and how many frames to run."""

    plan: Plan
    sets: dict[int, dict[str, Any]]
    frames: int


def declared(module: str, kind: str) -> dict[str, Signal]:
    found = class_declarations(getattr(toys, kind))
    return {signal.qualified: signal for key, one in found.items() for signal in one.signals(module, key)}


def signals_of(plan: Plan) -> dict[str, Signal]:
    return {name: one for m in plan.modules for name, one in declared(m.name, m.spec["class"]).items()}


def toys_of(plan: Plan) -> dict[str, Toy]:
    found = {}
    for module in plan.modules:
        step, reset = toys.RULES[module.spec["class"]]
        signals = {s.name: (s.type.value, exact(s)) for s in declared(module.name, module.spec["class"]).values()}
        found[module.name] = Toy(signals, step, reset, module.every)
    return found


def exact(signal: Signal) -> Any:
    return {"bool": bool, "i32": int, "i64": int}.get(signal.type, float)(signal.initial)


def expected(case: Case) -> list[bytes]:
    """Return the cells of frames 0, 1, ... as the interpreter has them."""
    plan, signals = case.plan, signals_of(case.plan)
    ordered = [name for m in plan.modules for name in in_cells(declared(m.name, m.spec["class"]))]
    run = frames(toys_of(plan), [tuple(w) for w in plan.wires], Fraction(*plan.rate), plan.schedule, case.sets)
    return [
        b"".join(FORMATS[signals[name].type].pack(values[name]) for name in ordered)
        for values, _ in zip(run, range(case.frames + 1), strict=False)
    ]


def in_cells(signals: Mapping[str, Signal]) -> list[str]:
    kinds = [SignalKind.OUTPUT, SignalKind.INPUT, SignalKind.PARAMETER]
    return sorted(signals, key=lambda name: kinds.index(signals[name].kind))


@contextmanager
def running(plan: Plan) -> Iterator[tuple[ProcessManager, Scheduler]]:
    with ProcessManager(plan) as manager:
        scheduler = Scheduler(manager, plan)
        try:
            yield manager, scheduler
        finally:
            scheduler.release()


def observed(case: Case, seed: int = 0, resets: int = 0) -> tuple[list[bytes], bytes]:
    """Run in real processes; return the cells of every frame, and the fingerprint of the last.

    Frames are advanced now by one and now by several, paced and not, and before the run there may be others which a
    reset ends.
    """
    draw = random.Random(seed)
    with running(case.plan) as (manager, scheduler):
        for _ in range(resets):
            scheduler.reset()
            play(case, manager, scheduler, draw, case.frames // 3)
        scheduler.reset()
        first = manager.shm.committed
        play(case, manager, scheduler, draw, case.frames)
        found = {}
        for sequence in range(first, manager.shm.committed + 1):
            one = manager.shm.read(sequence)
            assert one is not None
            assert (one.epoch, one.time) == (resets, float(one.frame / Fraction(*case.plan.rate)))
            found.setdefault(one.frame, one.cells)  # a set publishes the same frame again
        assert sorted(found) == list(range(case.frames + 1))
        return [found[frame] for frame in range(case.frames + 1)], manager.shm.snapshot().fingerprint


def play(case: Case, manager: ProcessManager, scheduler: Scheduler, draw: random.Random, count: int) -> None:
    registry = manager.shm.registry
    while scheduler.frame < count:
        values = case.sets.get(scheduler.frame, {})
        cells = [(registry.index(name), encode_cell(registry[name], value)) for name, value in values.items()]
        if cells:
            scheduler.set_cells(cells)
        if draw.random() < 0.2:
            scheduler.step(paced=draw.random() < 0.5)
        else:
            until = min([frame for frame in case.sets if frame > scheduler.frame] + [count])
            scheduler.advance(min(until, count) - scheduler.frame, BURST_NS * draw.randrange(5))


def differences(case: Case, found: Sequence[bytes]) -> list[str]:
    """Return what differs from the interpreter, the first few, in words."""
    names = [name for m in case.plan.modules for name in in_cells(declared(m.name, m.spec["class"]))]
    return [
        f"frame {frame}, {name}: {one[8 * at : 8 * at + 8].hex()} instead of {wanted[8 * at : 8 * at + 8].hex()}"
        for frame, (one, wanted) in enumerate(zip(found, expected(case), strict=True))
        for at, name in enumerate(names)
        if one[8 * at : 8 * at + 8] != wanted[8 * at : 8 * at + 8]
    ][:5]


# -- random cases

KINDS = sorted(toys.RULES)
GAINS = st.sampled_from([1.0, -1.0, 0.5, 0.1, 1e-3]) | st.floats(-4, 4)
VALUES = {
    SignalType.F64: st.floats(-1e6, 1e6),
    SignalType.F32: st.floats(-1e6, 1e6, width=32),
    SignalType.I64: st.integers(-1000, 1000),
    SignalType.I32: st.integers(-1000, 1000),
    SignalType.BOOL: st.booleans(),
}


@st.composite
def schedules(draw: st.DrawFn, names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    order = draw(st.permutations(names))
    cuts = draw(st.lists(st.booleans(), min_size=len(names) - 1, max_size=len(names) - 1))
    phases: list[list[str]] = [[order[0]]]
    for name, cut in zip(order[1:], cuts, strict=True):
        phases += [[]] if cut else []
        phases[-1].append(name)
    return tuple(map(tuple, phases))


@st.composite
def wires(draw: st.DrawFn, signals: Mapping[str, Signal]) -> WirePlan:
    target = draw(st.sampled_from([one for one in signals.values() if one.kind is SignalKind.INPUT]))
    alike = [one for one in signals.values() if one.type is target.type]
    floats = [one for one in signals.values() if one.type.is_float]
    if target.type.is_float and draw(st.booleans()):
        gain, offset = draw(GAINS), draw(st.just(0.0) | st.floats(-1, 1))
        if (gain, offset) != (1, 0):
            return WirePlan(draw(st.sampled_from(floats)).qualified, target.qualified, gain, offset)
    return WirePlan(draw(st.sampled_from(alike)).qualified, target.qualified)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    names = [f"m{number}" for number in range(draw(st.integers(1, 5)))]
    modules = tuple(
        ModulePlan(
            name,
            {"file": FILE, "class": draw(st.sampled_from(KINDS))},
            {},
            draw(st.sampled_from(["", "w1", "w2"])),
            draw(st.sampled_from([1, 1, 2, 3, 4])),
        )
        for name in names
    )
    plan = Plan("random", modules, rate=draw(st.sampled_from(RATES)), mode="afap", start_timeout=60, step_timeout=60)
    signals = signals_of(plan)
    chosen = draw(st.lists(wires(signals), max_size=40))
    settable = [one for one in signals.values() if one.is_settable]
    a_set = st.sampled_from(settable).flatmap(lambda one: st.tuples(st.just(one.qualified), VALUES[one.type]))
    sets = draw(st.dictionaries(st.integers(0, 59), st.lists(a_set, min_size=1, max_size=3).map(dict), max_size=8))
    phases = draw(st.just(()) | schedules(names))
    return Case(plan._replace(wires=tuple(chosen), schedule=phases), sets, draw(st.integers(1, 80)))


def isolated(plan: Plan) -> Plan:
    return plan._replace(modules=tuple(module._replace(worker="") for module in plan.modules))


def check(case: Case, seed: int) -> None:
    found, fingerprint = observed(case, seed, resets=seed % 2)
    assert not differences(case, found)
    apart, same = observed(case._replace(plan=isolated(case.plan)._replace(perturbation=seed)), seed + 1)
    assert not differences(case, apart)
    assert same == fingerprint


RELAXED = [HealthCheck.too_slow, HealthCheck.data_too_large]


@settings(max_examples=6, deadline=None, suppress_health_check=RELAXED)
@given(cases(), st.integers(0, 1000))
def test_random_plans_make_the_frames_that_the_interpreter_makes(case: Case, seed: int) -> None:
    check(case, seed)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@settings(max_examples=300, deadline=None, suppress_health_check=RELAXED)
@given(cases(), st.integers(0, 1000))
def test_very_many_random_plans_make_the_frames_that_the_interpreter_makes(case: Case, seed: int) -> None:
    check(case, seed)


# -- several rates


def watchers(everies: Mapping[str, int], rate: tuple[int, int], worker: str = "") -> Plan:
    """Return a plan of modules that tell when they are called, wired in a ring."""
    modules = tuple(ModulePlan(n, {"file": FILE, "class": "Watch"}, {}, worker, every) for n, every in everies.items())
    names = list(everies)
    ring = tuple(WirePlan(f"{n}.seen", f"{m}.u", 0.5) for n, m in zip(names, names[1:] + names[:1], strict=True))
    return Plan("rates", modules, ring, rate, mode="afap", start_timeout=60, step_timeout=60)


@pytest.mark.parametrize("worker", ["", "w"], ids=["isolated", "grouped"])
@pytest.mark.parametrize(("rate", "slow"), [((60, 1), 23), ((30000, 1001), 11), ((1000, 7), 17)])
def test_a_slower_module_is_called_with_the_exact_time_and_step_and_holds_in_between(
    rate: tuple[int, int], slow: int, worker: str
) -> None:
    everies, frame_time = {"one": 1, "two": 2, "slow": slow}, 1 / Fraction(*rate)
    assert slow * float(frame_time) != float(slow * frame_time), "rounding the product is not the same"
    plan = watchers(everies, rate, worker)
    found, _ = observed(Case(plan, {}, 70))
    signals, cells = signals_of(plan), [n for m in plan.modules for n in in_cells(declared(m.name, "Watch"))]
    for frame in range(1, 71):
        values = {n: FORMATS[signals[n].type].unpack_from(found[frame], 8 * at)[0] for at, n in enumerate(cells)}
        for name, every in everies.items():
            calls = -(-frame // every)
            called = values[f"{name}.calls"], values[f"{name}.time"], values[f"{name}.dt"]
            assert called == (calls, float((calls - 1) * every * frame_time), float(every * frame_time))


def test_a_pattern_too_long_to_be_laid_out_beforehand_makes_the_same_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    everies = {"a": 13, "b": 11, "c": 7, "d": 5}
    plan = watchers(everies, (60, 1), "w")
    assert cycle(plan) == 5005 > LONGEST_CYCLE
    case = Case(plan, {}, 60)
    found, fingerprint = observed(case)
    assert not differences(case, found)
    monkeypatch.setattr(legs, "LONGEST_CYCLE", 5005)
    assert observed(case) == (found, fingerprint)


def test_a_module_slower_than_the_run_steps_once() -> None:
    case = Case(watchers({"rare": 1_000_000, "often": 3}, (60, 1)), {}, 20)
    found, _ = observed(case)
    assert not differences(case, found)


@pytest.mark.parametrize("few", [0, 1 << 30], ids=["arrays", "loop"])
def test_many_wires_make_the_same_frames_as_arrays_and_one_by_one(few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fan-out, chains through inputs and several wires to one input, over phases and rates."""
    monkeypatch.setattr(wiring, "FEW", few)
    draw = random.Random(7)
    modules = tuple(
        ModulePlan(f"m{n}", {"file": FILE, "class": KINDS[n % len(KINDS)]}, {}, f"w{n % 2}", n % 3 + 1)
        for n in range(8)
    )
    plan = Plan("many", modules, rate=(60, 1), mode="afap", start_timeout=60, step_timeout=60)
    signals = list(signals_of(plan).values())
    chosen = []
    for target in draw.choices([one for one in signals if one.kind is SignalKind.INPUT], k=150):
        scaled = target.type.is_float and draw.random() < 0.7
        alike = [one for one in signals if (one.type.is_float if scaled else one.type is target.type)]
        source = draw.choice(alike)
        chosen.append(WirePlan(source.qualified, target.qualified, *((draw.uniform(-1, 1), 0.25) if scaled else ())))
    phases = (("m0", "m3", "m6"), ("m1", "m4"), ("m2", "m5", "m7"))
    case = Case(plan._replace(wires=tuple(chosen), schedule=phases), {5: {"m2.gain": 0.75}}, 60)
    found, _ = observed(case, resets=1)
    assert not differences(case, found)
