"""New processes in the place of old ones, without a session: modules that are replaced, and that are restarted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from bounds import PATIENCE

from hermes.backplane.signals import Signal, encode_cell
from hermes.backplane.sync import readable
from hermes.engine.moduleprocess import WorkerProcess
from hermes.engine.plan import ModulePlan, Plan, WirePlan
from hermes.engine.process import ProcessManager
from hermes.engine.scheduler import Scheduler
from hermes.errors import ConfigurationError, ModuleDied, ModuleError, ModuleFailed

CLOCK = """
import hermes

class Clock(hermes.Module):
    ticks = hermes.Output()
    def step(self, time, dt):
        self.ticks += 1
"""

GAIN = """
import os
import hermes

class Gain(hermes.Module):
    '''Multiplies, and counts its steps in a variable of its own.'''
    u = hermes.Input(unit="m")
    k = hermes.Parameter({k}, unit="1/s")
    dies_at = hermes.Parameter(0.0)
    y = hermes.Output()
    steps = hermes.Output(initial={first})
    def step(self, time, dt):
        self.y = self.k * self.u
        self.steps += 1
        if self.steps == self.dies_at:
            {death}
"""


class Case:
    """A clock that drives a gain, and what was told."""

    def __init__(self, folder: Path, *, death: str = "os._exit(3)", restarts: int = 0) -> None:
        (folder / "clock.py").write_text(CLOCK)
        self.folder = folder
        self.restarts: list[tuple[str, int]] = []
        self.redeclared: list[Signal] = []
        gain = ModulePlan("gain", self.spec(death=death), {}, restarts=restarts)
        clock = ModulePlan("clock", {"file": str(folder / "clock.py"), "class": "Clock"}, {})
        self.plan = Plan("case", (clock, gain), (WirePlan("clock.ticks", "gain.u"),), mode="afap", step_timeout=1.0)

    def spec(
        self, *, k: float = 2.0, first: float = 0.0, death: str = "os._exit(3)", change: str = ""
    ) -> dict[str, Any]:
        """Return the spec of a gain that is written to a file of its own."""
        path = self.folder / f"gain{len(list(self.folder.iterdir()))}.py"
        source = GAIN.format(k=k, first=first, death=death)
        old, _, new = change.partition("->")
        path.write_text(source.replace(old, new) if change else source)
        return {"file": str(path), "class": "Gain"}

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start the modules."""
        with ProcessManager(self.plan) as self.manager:
            told = (lambda: None, self._restarted, self.redeclared.extend)
            self.scheduler = Scheduler(self.manager, self.plan, {}, *told)
            try:
                self.scheduler.reset()
                yield
            finally:
                self.scheduler.release()

    def _restarted(self, error: ModuleError, times: int) -> None:
        self.restarts.append((str(error), times))

    def steps(self, count: int) -> None:
        """Compute frames, to the last."""
        while count:
            count -= self.scheduler.advance(count, 10**9)

    def set(self, name: str, value: float) -> None:
        """Set an input or a parameter."""
        index = self.manager.shm.registry.index(name)
        self.scheduler.set_cells([(index, encode_cell(self.manager.shm.registry.at(index), value))])

    def beside(self, **changes: Any) -> tuple[WorkerProcess, ModulePlan]:
        """Start another gain, and wait until it has declared its signals."""
        module = self.plan.modules[1]._replace(spec=self.spec(**changes))
        process = self.manager.spawn_beside(module)
        while not process.declared:
            assert readable([process.channel.fileno()], PATIENCE)
            process.read_records()
        return process, module

    def replace(self, source: str = "", **changes: Any) -> None:
        """Replace the gain."""
        self.scheduler.succession.replace(*self.beside(**changes), source)

    def values(self, *names: str) -> list[object]:
        """Return committed values."""
        return [self.manager.shm.get_signal(name) for name in names]


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


def test_a_replaced_module_begins_at_its_initial_conditions_and_everything_else_goes_on(case: Case) -> None:
    with case.running():
        case.steps(10)
        old = case.manager.processes["gain"].pid
        case.replace(k=7.0, first=100.0)
        case.steps(1)
        assert case.scheduler.frame == 11
        assert case.values("clock.ticks", "gain.u", "gain.y", "gain.steps", "gain.k") == [11.0, 11.0, 70.0, 101.0, 7.0]
        assert case.manager.processes["gain"].pid != old
        assert [(one.qualified, one.initial) for one in case.redeclared] == [("gain.k", 7.0), ("gain.steps", 100.0)]
        case.scheduler.reset()
        assert case.values("gain.k", "gain.steps") == [7.0, 100.0]


def test_a_reset_after_a_replacement_is_the_run_of_a_session_that_had_it_from_the_start(
    case: Case, tmp_path: Path
) -> None:
    (tmp_path / "fresh").mkdir()
    fresh = Case(tmp_path / "fresh")
    fresh.plan = fresh.plan.with_module(fresh.plan.modules[1]._replace(spec=fresh.spec(k=7.0, first=100.0)))
    with case.running(), fresh.running():
        case.steps(5)
        case.replace(k=7.0, first=100.0)
        case.steps(5)
        case.scheduler.reset()
        case.steps(20)
        fresh.steps(20)
        assert case.manager.shm.snapshot().fingerprint == fresh.manager.shm.snapshot().fingerprint


def test_the_source_of_a_replacement_enters_the_fingerprint_of_the_next_frame(case: Case) -> None:
    found = []
    with case.running():
        for source in ("one", "one", "two"):
            case.scheduler.reset()
            case.steps(3)
            case.replace(source)
            assert case.manager.shm.snapshot().frame == 3
            case.steps(1)
            found.append(case.manager.shm.snapshot().fingerprint)
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ('u = hermes.Input(unit="m")->u = hermes.Input(unit="km")', "u has unit km, before m"),
        ("y = hermes.Output()->y = hermes.Output(type='f32')", "y has type f32, before f64"),
        ('k = hermes.Parameter(2.0, unit="1/s")->k = hermes.Input(unit="1/s")', "k has kind input, before parameter"),
        (
            "k = hermes.Parameter(2.0,->k = hermes.Parameter(2.0, limits=(0, 9),",
            r"k has limits \(0.0, 9.0\), before None",
        ),
        ("y = hermes.Output()->y = hermes.Output(); z = hermes.Output()", "z is new"),
        ("    dies_at = hermes.Parameter(0.0)\n->    dies_at = 0\n", "dies_at is missing"),
        ("    y = hermes.Output()\n    steps->    steps", "y is missing"),
    ],
)
def test_a_module_that_declares_other_signals_is_refused_with_the_difference_and_nothing_changes(
    case: Case, change: str, sentence: str
) -> None:
    with case.running():
        case.steps(3)
        process, module = case.beside(change=change)
        with pytest.raises(ConfigurationError, match=f"now declares other signals than before: .*{sentence}"):
            case.scheduler.succession.replace(process, module, "")
        case.manager.discard_beside(process)
        case.steps(3)
        assert case.values("clock.ticks", "gain.y", "gain.steps") == [6.0, 10.0, 6.0]


@pytest.mark.parametrize(
    ("death", "said"),
    [
        ("os._exit(3)", "module gain died in frame 4: exit code 3"),
        ("raise ValueError('too steep')", "module gain raised in frame 4: ValueError: too steep"),
        ("import time; time.sleep(1000)", "module gain did not answer in frame 4 within 1 s"),
    ],
)
def test_a_module_that_fails_in_a_frame_is_started_anew_and_makes_that_step_again(
    tmp_path: Path, death: str, said: str
) -> None:
    case = Case(tmp_path, death=death, restarts=2)
    with case.running():
        case.set("gain.dies_at", 4.0)
        case.steps(3)
        case.steps(1)  # the fourth step of the first process, the first of the second
        assert [(text.startswith(said), times) for text, times in case.restarts] == [(True, 1)]
        assert case.values("clock.ticks", "gain.y", "gain.steps", "gain.dies_at") == [4.0, 6.0, 1.0, 4.0]
        case.steps(2)
        assert case.values("clock.ticks", "gain.y", "gain.steps") == [6.0, 10.0, 3.0]


def test_it_is_started_anew_at_most_so_often_until_a_reset_counts_from_0_again(tmp_path: Path) -> None:
    case = Case(tmp_path, restarts=2)
    with case.running():
        for _ in range(2):
            case.set("gain.dies_at", 2.0)
            with pytest.raises(ModuleDied, match="module gain died in frame 4"):
                case.steps(10)  # it dies in each frame that is the second of a process
            assert case.scheduler.frame == 3
            assert [times for _, times in case.restarts] == [1, 2]
            case.restarts.clear()
            case.scheduler.reset()


def test_a_module_that_died_between_two_frames_begins_anew_and_is_not_a_step_behind(tmp_path: Path) -> None:
    case = Case(tmp_path, restarts=1)
    with case.running():
        case.steps(3)
        process = case.manager.processes["gain"]
        process.signal_group(9)
        assert readable([process.pidfd], PATIENCE)
        case.scheduler.succession.recover(case.manager.failure("gain", 3, "idle"))
        assert case.restarts == [("module gain died between frames, after frame 3: signal SIGKILL", 1)]
        case.steps(2)
        assert case.values("clock.ticks", "gain.y", "gain.steps") == [5.0, 8.0, 2.0]


def test_what_cannot_start_again_fails_as_a_start_does(tmp_path: Path) -> None:
    case = Case(tmp_path, restarts=1)
    with case.running():
        case.set("gain.dies_at", 2.0)
        Path(case.plan.modules[1].spec["file"]).write_text("import missing_thing\n")
        with pytest.raises(ModuleFailed, match=r"module gain raised during start: .*missing_thing"):
            case.steps(5)
