"""Lock-step over very many frames: modules that dawdle at random, nobody ever ahead, no wake-up lost, nothing grows."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermes.engine.plan import ModulePlan, Plan, WirePlan
from hermes.engine.process import ProcessManager
from hermes.engine.scheduler import Scheduler

DAWDLER = """
import random, time as clock
import hermes

class Dawdler(hermes.Module):
    '''Waits for up to 20 us, counts, and compares its count with those of the others, which come one frame late.'''
    seed = hermes.Parameter(0, type="i64")
    left = hermes.Input(type="i64")
    right = hermes.Input(type="i64")
    count = hermes.Output(type="i64")
    skewed = hermes.Output(type="i64")

    def reset(self):
        self.draw = random.Random(self.seed).randrange

    def step(self, time, dt):
        end = clock.perf_counter_ns() + self.draw(20_000)
        if not (self.left == self.right == self.count == round(time / dt)):
            self.skewed += 1
        while clock.perf_counter_ns() < end:
            pass
        self.count += 1
"""

NAMES = ("a", "b", "c", "d", "e")
BURST_NS = 200_000
GROWTH = 8 * 2**20
"""Bytes that the second half of a run may add to what the process holds in memory, whatever the number of frames."""


def plan_of(folder: Path) -> Plan:
    """Return the plan of three modules apart and two in a group, each of which sees two others."""
    (folder / "dawdler.py").write_text(DAWDLER)
    modules = tuple(
        ModulePlan(
            name, {"file": str(folder / "dawdler.py"), "params": {"seed": seed}}, {}, "group" if seed > 2 else ""
        )
        for seed, name in enumerate(NAMES)
    )
    others = [(NAMES[at - 1], NAMES[at - 2], name) for at, name in enumerate(NAMES)]
    wires = [WirePlan(f"{left}.count", f"{name}.left") for left, _, name in others]
    wires += [WirePlan(f"{right}.count", f"{name}.right") for _, right, name in others]
    return Plan("dawdlers", modules, tuple(wires), (1000, 1), "afap", start_timeout=60, step_timeout=60)


def run(scheduler: Scheduler, frames: int) -> None:
    """Go on to that frame, mostly as fast as possible, now and then with everybody asleep between two frames."""
    while scheduler.frame < frames:
        scheduler.advance(min(97, frames - scheduler.frame), BURST_NS)
        if scheduler.frame < frames:
            scheduler.step(paced=True)


def resident() -> int:
    """Return how many bytes of memory this process, which is the engine here, holds beside what is shared."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("RssAnon:")[1].split()[0])


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param(6_000, id="short"),
        pytest.param(1_000_000, id="full", marks=[pytest.mark.soak, pytest.mark.timeout(3600)]),
    ],
)
def test_modules_that_dawdle_step_exactly_once_per_frame(tmp_path: Path, frames: int) -> None:
    plan = plan_of(tmp_path)
    prints = []
    with ProcessManager(plan) as manager:
        scheduler = Scheduler(manager, plan)
        for _ in range(2):
            scheduler.reset()
            run(scheduler, frames // 2)
            half = resident()
            run(scheduler, frames)
            assert resident() - half < GROWTH
            assert [manager.shm.get_signal(f"{name}.count") for name in NAMES] == [frames] * 5
            assert [manager.shm.get_signal(f"{name}.skewed") for name in NAMES] == [0] * 5
            assert manager.shm.get_frame() == frames
            prints.append(manager.shm.snapshot().fingerprint)
        assert prints[0] == prints[1]
        assert manager.shm.counters["kicks"] == 0
        scheduler.release()
