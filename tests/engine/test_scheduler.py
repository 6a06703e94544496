"""Frames without a session: the scheduler over a started process manager, in this process."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from bounds import PATIENCE

from hermes.backplane.signals import encode_cell
from hermes.backplane.sync import WORKER_SLEEPS
from hermes.engine import scheduler as scheduler_module
from hermes.engine.plan import ModulePlan, Plan, WirePlan
from hermes.engine.process import ProcessManager
from hermes.engine.scheduler import Scheduler
from hermes.errors import ConfigurationError, ModuleDied

MODULE = """
import os
import hermes

class Adder(hermes.Module):
    addend = hermes.Input(initial=1.0)
    end = hermes.Parameter(0.0)
    total = hermes.Output()

    def reset(self):
        self.total = 10.0

    def step(self, time, dt):
        self.total += self.addend
        if self.end:
            os._exit(9)
"""


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    (tmp_path / "adder.py").write_text(MODULE)
    spec = {"file": str(tmp_path / "adder.py"), "class": "Adder"}
    modules = tuple(ModulePlan(name, spec, {}) for name in ("a", "b"))
    return Plan(
        "adders", modules, (WirePlan("a.total", "b.addend", 2.0, 1.0),), mode="afap", start_timeout=60, step_timeout=60
    )


@pytest.fixture
def manager(plan: Plan) -> Iterator[ProcessManager]:
    with ProcessManager(plan) as started:
        yield started


@pytest.fixture
def scheduler(manager: ProcessManager, plan: Plan) -> Iterator[Scheduler]:
    made = Scheduler(manager, plan)
    made.reset()
    yield made
    made.release()


def totals(manager: ProcessManager) -> tuple[object, object, object]:
    return tuple(manager.shm.get_signal(name) for name in ("a.total", "b.total", "b.addend"))  # type: ignore[return-value]


def test_wires_carry_the_initial_outputs_at_frame_0_and_one_frame_late_from_then_on(
    manager: ProcessManager, scheduler: Scheduler
) -> None:
    assert (scheduler.frame, totals(manager)) == (0, (10.0, 10.0, 21.0))
    scheduler.step(paced=False)
    assert (scheduler.frame, totals(manager)) == (1, (11.0, 31.0, 23.0))
    scheduler.step(paced=True)
    assert (scheduler.frame, scheduler.time, totals(manager)) == (2, 2 / 60, (12.0, 54.0, 25.0))
    assert (manager.shm.get_frame(), manager.shm.get_time()) == (2, 2 / 60)


def test_a_set_shows_at_once_in_the_same_frame_and_enters_the_fingerprint_of_the_next(
    manager: ProcessManager, scheduler: Scheduler
) -> None:
    index = manager.shm.registry.index("a.addend")
    cell = encode_cell(manager.shm.registry.at(index), 5.0)
    before = manager.shm.snapshot()
    scheduler.set_cells([(index, cell)])
    scheduler.republish()
    after = manager.shm.snapshot()
    assert (after.sequence, after.frame, after.fingerprint) == (before.sequence + 1, before.frame, before.fingerprint)
    assert manager.shm.get_signal("a.addend") == 5.0
    scheduler.step(paced=False)
    with_set = manager.shm.snapshot().fingerprint
    scheduler.reset()
    assert (manager.shm.get_signal("a.addend"), manager.shm.snapshot().epoch) == (1.0, 1)
    assert manager.shm.snapshot().fingerprint == before.fingerprint
    scheduler.step(paced=False)
    assert manager.shm.snapshot().fingerprint != with_set


def test_no_wake_up_is_lost_whether_the_engine_spins_or_sleeps(manager: ProcessManager, scheduler: Scheduler) -> None:
    for frame in range(600):
        scheduler.step(paced=frame % 2 == 0)
    assert manager.shm.get_signal("a.total") == 610.0
    assert manager.shm.counters["kicks"] == 0
    assert scheduler.meter.overran()[0] in ("a", "b")


def test_a_lost_wake_up_is_mended_and_counted(
    manager: ProcessManager, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler.step(paced=True)
    monkeypatch.setattr(scheduler_module, "signal_event", lambda fd: None)
    workers = [(gate.done, manager.processes[name].pid) for name, gate in manager.gates.items()]
    limit = time.monotonic() + PATIENCE
    while not all(done[WORKER_SLEEPS] and is_blocked(pid) for done, pid in workers):
        assert time.monotonic() < limit
    scheduler.step(paced=True)
    assert (scheduler.frame, manager.shm.get_signal("a.total")) == (2, 12.0)
    assert 2 <= manager.shm.counters["kicks"] <= 4, "each needs one, and a slow one may look lost once more"


def is_blocked(pid: int) -> bool:
    """Return whether a process waits in the kernel, so that it has no second look at what it waits for before it."""
    return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] == "S"


def test_a_frame_in_which_a_module_dies_is_not_committed_and_reset_starts_it_anew(
    manager: ProcessManager, scheduler: Scheduler
) -> None:
    pids = {name: process.pid for name, process in manager.processes.items()}
    index = manager.shm.registry.index("b.end")
    scheduler.set_cells([(index, encode_cell(manager.shm.registry.at(index), 1.0))])
    with pytest.raises(ModuleDied, match="module b died in frame 1: exit code 9"):
        scheduler.step(paced=False)
    assert (scheduler.frame, manager.shm.get_frame()) == (0, 0)
    scheduler.reset()
    assert manager.processes["a"].pid == pids["a"]
    assert manager.processes["b"].pid != pids["b"]
    scheduler.step(paced=False)
    assert totals(manager) == (11.0, 31.0, 23.0)


def test_a_wire_to_nowhere_is_refused_before_the_first_frame(manager: ProcessManager, plan: Plan) -> None:
    with pytest.raises(ConfigurationError, match=r"wiring\.0\.dst: no signal matches 'b\.addent'"):
        Scheduler(manager, plan._replace(wires=(WirePlan("a.total", "b.addent"),)))
