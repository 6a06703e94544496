"""Histograms and the critical path against plain references, over memory that no process writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes.backplane.shm import SharedMemoryManager
from hermes.backplane.signals import Signal, SignalRegistry
from hermes.backplane.sync import STEP_NS
from hermes.engine import metering
from hermes.engine.metering import Histogram, Meter
from hermes.engine.plan import ModulePlan, Plan

TOLERANCE = 0.023
ROWS = metering._ROWS


def histogram(values: Sequence[int]) -> Histogram:
    found = Histogram()
    found.add(np.array(values, np.int64))
    return found


DURATIONS = st.integers(0, 40).flatmap(lambda octave: st.integers(0, 2**octave))


@given(st.lists(DURATIONS, min_size=1, max_size=300), st.sampled_from([0.0, 0.01, 0.25, 0.5, 0.9, 0.99, 1.0]))
def test_quantiles_are_those_of_numpy_to_a_bin(values: list[int], share: float) -> None:
    found = histogram(values).quantile(share)
    exact = max(1, int(np.quantile(values, share, method="inverted_cdf")))
    assert abs(found - exact) <= max(1, TOLERANCE * exact)


@given(st.lists(DURATIONS, max_size=50), st.lists(DURATIONS, min_size=1, max_size=50))
def test_what_is_added_in_turns_is_what_is_added_at_once(first: list[int], second: list[int]) -> None:
    turns = histogram(first)
    turns.add(np.array(second, np.int64))
    assert turns.summary() == histogram(first + second).summary()
    assert (turns.count, turns.max) == (len(first + second), max(first + second))


def test_nothing_measured_is_nought_and_the_longest_is_exact() -> None:
    assert Histogram().summary() == {"count": 0, "p50": 0, "p99": 0, "max": 0}
    assert histogram([0]).summary() == {"count": 1, "p50": 0, "p99": 0, "max": 0}
    assert histogram([3, 123_456_789]).max == 123_456_789
    assert histogram([2**60] * 3).summary()["max"] == 2**60, "beyond the last bin it still counts"


# -- the meter

Steps = Callable[[dict[str, int]], None]


@contextmanager
def metered(plan: Plan) -> Iterator[tuple[Meter, Steps]]:
    """Yield a meter and what writes the modules' step times, as their workers would."""
    signals = SignalRegistry([Signal(module.name, "y") for module in plan.modules])
    shm = SharedMemoryManager.create(signals, rate=plan.rate, history=8)
    meter = Meter(plan, shm)
    lines = {block.name: shm.module_memory(block).done for block in shm.layout.modules}

    def write(steps: dict[str, int]) -> None:
        for name, step in steps.items():
            lines[name][STEP_NS] = step

    yield meter, write
    lines.clear()
    meter.release()
    shm.close()


def plan_of(*modules: tuple[str, str, int], schedule: Sequence[Sequence[str]] = (), rate: int = 60) -> Plan:
    """Return a plan of modules given as name, worker and every."""
    members = tuple(ModulePlan(name, {}, {}, worker, every) for name, worker, every in modules)
    return Plan("plan", members, rate=(rate, 1), schedule=tuple(map(tuple, schedule)))


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    names = draw(st.permutations("abcde"))[: draw(st.integers(1, 5))]
    modules = [(n, draw(st.sampled_from(["", "w", "x"])), draw(st.sampled_from([1, 1, 2, 3]))) for n in sorted(names)]
    cut = draw(st.integers(0, len(names)))
    phases = [part for part in (names[:cut], names[cut:]) if part]
    return plan_of(*modules, schedule=draw(st.sampled_from([(), phases])))


def path_of(plan: Plan, steps: dict[str, int], frame: int) -> list[list[str]]:
    """Return the due modules of the slowest worker of each phase, by the book; the first of equally slow ones."""
    due = {module.name for module in plan.modules if (frame - 1) % module.every == 0}
    found = []
    for phase in plan.schedule or [[module.name for module in plan.modules]]:
        parts = [[m.name for m in worker if m.name in phase] for worker in plan.workers.values()]
        parts = [[name for name in part if name in due] for part in parts if part]
        found.append(max(parts, key=lambda part: sum(steps[name] for name in part)))
    return found


@settings(max_examples=60, deadline=None)
@given(plans(), st.data())
def test_the_critical_path_is_that_of_brute_force(plan: Plan, data: st.DataObject) -> None:
    names = [module.name for module in plan.modules]
    rows = data.draw(st.lists(st.tuples(*[st.integers(1, 10**6)] * len(names)), min_size=1, max_size=20))
    shares, lengths = dict.fromkeys(names, 0), []
    counts: dict[str, list[int]] = {name: [] for name in names}
    with metered(plan) as (meter, write):
        for frame, row in enumerate(rows, 1):
            steps = dict(zip(names, row, strict=True))
            write(steps)
            meter.take(frame, sum(row))
            path = path_of(plan, steps, frame)
            lengths.append(sum(steps[name] for part in path for name in part))
            for name in (name for part in path for name in part):
                shares[name] += steps[name]
            for module in plan.modules:
                if (frame - 1) % module.every == 0:
                    counts[module.name].append(steps[module.name])
        report = meter.report()
    whole = sum(shares.values())
    for row in report["modules"]:
        assert row["share"] == pytest.approx(shares[row["module"]] / whole)
        assert {k: row[k] for k in ("count", "p50", "p99", "max")} == histogram(counts[row["module"]]).summary()
    assert report["critical"] == histogram(lengths).summary()
    assert report["work"] == histogram([sum(row) for row in rows]).summary()


def test_an_overrun_is_put_down_to_the_longest_step_on_the_critical_path() -> None:
    plan = plan_of(("a", "", 1), ("b", "w", 1), ("c", "w", 1), ("d", "", 1))
    with metered(plan) as (meter, write):
        write({"a": 50, "b": 30, "c": 40, "d": 60})
        meter.take(1, 100)
        assert meter.overran() == ("c", 40), "b and c are one worker, which takes longest"
        write({"d": 71})
        meter.take(2, 100)
        assert meter.overran() == ("d", 71)
        assert {row["module"]: row["overruns"] for row in meter.report()["modules"]} == {"a": 0, "b": 0, "c": 1, "d": 1}


def test_a_module_that_was_not_due_is_not_at_fault() -> None:
    with metered(plan_of(("a", "", 2), ("b", "", 1))) as (meter, write):
        write({"a": 900, "b": 10})
        meter.take(1, 1000)
        assert meter.overran() == ("a", 900)
        meter.take(2, 1000)
        assert meter.overran() == ("b", 10)
        rows = {row["module"]: (row["count"], row["max"]) for row in meter.report()["modules"]}
    assert rows == {"a": (1, 900), "b": (2, 10)}


@pytest.mark.parametrize("frames", [ROWS - 1, ROWS, ROWS + 1, 2 * ROWS, 2 * ROWS + 1])
def test_a_fold_loses_nothing_and_an_overrun_beside_it_is_judged_by_its_own_frame(frames: int) -> None:
    with metered(plan_of(("a", "", 1), ("b", "", 1))) as (meter, write):
        for frame in range(1, frames + 1):
            write({"a": frame, "b": 5 if frame % 100 else 10**6 + frame})
            meter.take(frame, frame)
            if frame % 100 == 0 or frame % ROWS <= 1:
                assert meter.overran() == (
                    ("b", 10**6 + frame) if frame % 100 == 0 else ("a", frame) if frame > 5 else ("b", 5)
                )
            meter.late(frame)
        report = meter.report()
        assert report == meter.report()
    a, b = report["modules"]
    assert (a["count"], a["max"], b["count"], b["overruns"]) == (frames, frames, frames, 1 + frames // 100)
    assert (report["work"]["count"], report["late"]["count"], report["late"]["max"]) == (frames, frames, frames)


def test_an_overrun_can_be_judged_in_the_frame_whose_lateness_fills_the_table() -> None:
    """Lateness and frames are gathered in tables of their own: the one that is full folds both."""
    with metered(plan_of(("a", "", 1))) as (meter, write):
        for _ in range(ROWS):
            meter.late(1)
        write({"a": 7})
        meter.take(1, 9)
        assert meter.overran() == ("a", 7)
        assert meter.report()["late"]["count"] == ROWS


def test_wake_ups_later_than_a_frame_time_are_counted() -> None:
    with metered(plan_of(("a", "", 1), rate=1000)) as (meter, _):
        for late in (0, 999_999, 1_000_000, 1_000_001, 5_000_000):
            meter.late(late)
        report = meter.report()
    assert (report["late_wakeups"], report["late"]["count"], report["late"]["max"]) == (2, 5, 5_000_000)


def test_a_reset_forgets_everything() -> None:
    with metered(plan_of(("a", "", 1))) as (meter, write):
        empty = meter.report()
        write({"a": 7})
        meter.take(1, 9)
        meter.overran()
        meter.late(10**9)
        assert meter.report() != empty
        meter.restart()
        assert meter.report() == empty


@pytest.mark.parametrize("every", [1, 2, 3, 16, 17, 32])
def test_unpaced_frames_are_sampled_so_that_a_module_of_any_rate_is_seen_as_often_as_it_steps(every: int) -> None:
    frames = 200_000
    with metered(plan_of(("slow", "", every), ("quick", "", 1))) as (meter, _):
        for frame in range(1, frames + 1):
            if frame >= meter.next:
                meter.take(frame, 1)
        slow, quick = (row["count"] for row in meter.report()["modules"])
    assert quick == pytest.approx(frames / Meter.SAMPLED, rel=0.1)
    assert slow == pytest.approx(quick / every, rel=0.3)


def test_whatever_a_module_writes_as_its_step_time_is_a_duration() -> None:
    with metered(plan_of(("wild", "", 1), ("tame", "", 1))) as (meter, write):
        for frame, word in enumerate((2**64 - 1, 2**63, 2**63 - 1, 0), 1):
            write({"wild": word, "tame": 5})
            meter.take(frame, 10)
            assert meter.overran() == (("wild", 2**48) if word else ("tame", 5))
        report: dict[str, Any] = meter.report()
    wild, tame = report["modules"]
    assert (wild["max"], tame["max"], wild["overruns"]) == (2**48, 5, 3)
    assert 0 <= tame["share"] <= wild["share"] <= 1
