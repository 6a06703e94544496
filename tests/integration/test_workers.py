"""Several modules in one process: who fails is named, the others are well after reset, and output is logged."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bounds import PATIENCE, unhurried

from hermes import AsyncSession, ModuleDied, ModuleFailed, ModuleHung
from hermes.errors import ModuleError
from hermes.lifecycle import State

MODULE = """import hermes, os, signal, sys, time as clock
class Member(hermes.Module):
    u = hermes.Input()
    fail_at = hermes.Parameter(0.0)
    count = hermes.Output(10.0)
    pid = hermes.Output(type="i64")
    def __init__(self, act="", when="step", once=""):
        self.act, self.when, self.once = act, when, once
        self.hidden = 0
        self.perhaps("init")
    def perhaps(self, when):
        if self.when == when and not (self.once and os.path.exists(self.once)):
            exec(self.act)
    def reset(self):
        self.hidden = 0
        self.pid = os.getpid()
        self.perhaps("reset")
    def step(self, time, dt):
        self.hidden += 1
        self.count += 1 + self.hidden / 8
        if self.fail_at and self.hidden == self.fail_at:
            self.perhaps("step")
"""

NAMES = ("first", "middle", "last", "apart")


@pytest.fixture
def session(write: Callable[[str, str], Path]) -> Callable[..., AsyncSession]:
    """Return what makes a session of three modules in a worker and one apart, `params` those of the middle one."""

    def make(execution: str = "mode: afap", **params: Any) -> AsyncSession:
        write("member.py", MODULE)
        lines = [
            f"  {name}: {{type: script, script: ./member.py, worker: {'own' if name == 'apart' else 'group'}"
            f"{f', params: {params!r}' if name == 'middle' else ''}}}\n"
            for name in NAMES
        ]
        return AsyncSession.from_yaml(
            write("group.yaml", f"modules:\n{''.join(lines)}execution: {{{unhurried(execution)}}}\n"), serve=False
        )

    return make


def counts(session: AsyncSession) -> list[float]:
    return [float(session[f"{name}.count"]) for name in NAMES]


def pids(session: AsyncSession) -> list[int]:
    return [int(session[f"{name}.pid"]) for name in NAMES]


FAILURES = [
    ("raise ValueError('too steep')", ModuleFailed, "raised in frame 3: ValueError: too steep"),
    (
        "print('last words', file=sys.stderr); os._exit(3)",
        ModuleDied,
        "died in frame 3: exit code 3\n  middle| last words",
    ),
    ("sys.exit(0)", ModuleDied, "died in frame 3: exit code 0"),
    ("os.kill(os.getpid(), signal.SIGSEGV)", ModuleDied, "died in frame 3: signal SIGSEGV"),
    ("clock.sleep(600)", ModuleHung, "did not answer in frame 3 within 3 s (execution.step_timeout)"),
]


@pytest.mark.parametrize(("act", "kind", "text"), FAILURES, ids=["raises", "exits", "leaves", "crashes", "hangs"])
async def test_the_one_of_a_group_that_fails_is_named_and_reset_revives_the_whole_group(
    session: Callable[..., AsyncSession], act: str, kind: type[ModuleError], text: str
) -> None:
    async with session("mode: afap" + ", step_timeout: 3" * (kind is ModuleHung), act=act) as group:
        before = pids(group)
        assert len(set(before)) == 2
        assert len(set(before[:3])) == 1
        await group.set({"middle.fail_at": 3.0})
        with pytest.raises(kind) as caught:
            await group.step(10)
        assert str(caught.value).startswith(f"module middle {text}")
        assert (caught.value.module, caught.value.frame) == ("middle", 3)
        assert (group.state, group.frame, counts(group)) == (State.FAILED, 2, [12.375] * 4)
        await group.reset()
        assert (group.state, group.frame, counts(group)) == (State.PAUSED, 0, [10.0] * 4)
        after = pids(group)
        assert after[3] == before[3], "the other worker lives on"
        assert len({*after[:3], before[0]}) == 2, "all of the group are in one new process"
        await group.step(4)
        assert counts(group) == [15.25] * 4, "no state is left of the run that failed"


BAD_STARTS = [
    ("raise OSError('no disk')", "init", ModuleFailed, "raised during start: OSError: no disk"),
    ("os._exit(4)", "init", ModuleDied, "died during start: exit code 4"),
    ("clock.sleep(600)", "init", ModuleHung, "did not answer during start within 8 s (execution.start_timeout)"),
    ("raise OSError('no disk')", "reset", ModuleFailed, "raised during reset: OSError: no disk"),
    ("os._exit(4)", "reset", ModuleDied, "died during reset: exit code 4"),
]


@pytest.mark.parametrize(("act", "when", "kind", "text"), BAD_STARTS, ids=range(len(BAD_STARTS)))
async def test_the_one_of_a_group_that_cannot_start_is_named(
    session: Callable[..., AsyncSession], act: str, when: str, kind: type[ModuleError], text: str
) -> None:
    with pytest.raises(kind) as caught:
        await session("mode: afap" + ", start_timeout: 8" * (kind is ModuleHung), act=act, when=when).start()
    assert str(caught.value).startswith(f"module middle {text}")


async def test_the_one_that_cannot_start_again_is_named_and_not_the_one_that_had_failed_before(
    session: Callable[..., AsyncSession], tmp_path: Path
) -> None:
    """The dead worker's memory still says that it was at `middle`; now `first` ends while it is loaded."""
    async with session(act="os._exit(3)") as group:
        await group.set({"middle.fail_at": 1.0})
        with pytest.raises(ModuleDied, match="module middle died in frame 1"):
            await group.step()
        (tmp_path / "member.py").write_text("import os\nos._exit(5)\n")
        with pytest.raises(ModuleDied, match="module first died during start: exit code 5"):
            await group.reset()
        (tmp_path / "member.py").write_text("x = 1 / 0\n" + MODULE)
        with pytest.raises(ModuleFailed, match="module first raised during start: ZeroDivisionError"):
            await group.reset()
        (tmp_path / "member.py").write_text(MODULE)
        await group.reset()
        await group.step(3)
        assert counts(group) == [13.75] * 4


async def test_a_group_that_dies_between_frames_is_named_as_a_whole(session: Callable[..., AsyncSession]) -> None:
    async with session() as group:
        await group.step(5)
        os.kill(pids(group)[0], signal.SIGKILL)
        async with asyncio.timeout(PATIENCE):
            while group.state is not State.FAILED:
                await asyncio.sleep(0.01)
        assert isinstance(group.failure, ModuleDied)
        assert str(group.failure).startswith(
            "worker group (modules first, middle, last) died between frames, after frame 5: signal SIGKILL"
        )
        assert group.failure.module in NAMES[:3]
        assert group.failure.fields["modules"] == list(NAMES[:3])
        await group.reset()
        await group.step(3)
        assert counts(group) == [13.75] * 4


async def test_a_group_that_hangs_before_it_is_at_one_of_its_modules_is_named_as_a_whole(
    session: Callable[..., AsyncSession],
) -> None:
    async with session("mode: afap, step_timeout: 2") as group:
        await group.step()
        os.kill(pids(group)[0], signal.SIGSTOP)
        with pytest.raises(
            ModuleHung, match=r"^worker group \(modules first, middle, last\) did not answer in frame 2 within 2 s"
        ):
            await group.step()
        await group.reset()
        assert counts(group) == [10.0] * 4


async def test_what_a_group_prints_is_logged(
    session: Callable[..., AsyncSession], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "hermes.module"):
        async with session(act="print('from the middle')") as group:
            await group.set({"middle.fail_at": 2.0})
            await group.step(5)
            async with asyncio.timeout(PATIENCE):
                while not caplog.records:
                    await asyncio.sleep(0.01)
    (record,) = caplog.records
    assert record.name == "hermes.module.group"
    assert record.getMessage().endswith("from the middle")


async def test_a_group_makes_the_same_run_as_modules_apart(
    session: Callable[..., AsyncSession], write: Callable[[str, str], Path]
) -> None:
    text = MODULE.replace("self.pid = os.getpid()", "pass")
    prints = []
    for worker in ("worker: group, ", ""):
        write("plain.py", text)
        modules = "".join(f"  {name}: {{type: script, {worker}script: ./plain.py}}\n" for name in NAMES)
        wires = "".join(f"  - {{src: {a}.count, dst: {b}.u}}\n" for a, b in itertools.pairwise(NAMES))
        path = write(
            "same.yaml", f"modules:\n{modules}wiring:\n{wires}execution: {{mode: afap, schedule: [{SCHEDULE}]}}\n"
        )
        async with AsyncSession.from_yaml(path, serve=False) as group:
            await group.step(50)
            prints.append(group.fingerprint)
    assert prints[0] == prints[1]


SCHEDULE = "last, [first, apart], middle"


async def test_a_reset_after_one_that_failed_half_way_starts_all_that_are_not_ready(
    session: Callable[..., AsyncSession], tmp_path: Path
) -> None:
    """Both workers are dead; at the first reset one comes up and waits for its memory, and the other fails."""
    async with session("mode: afap, start_timeout: 100, step_timeout: 100") as group:
        for pid in set(pids(group)):
            os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(PATIENCE):
            while group.state is not State.FAILED:
                await asyncio.sleep(0.01)
        (tmp_path / "member.py").write_text("import sys\nassert 'first' not in sys.argv\n" + MODULE)
        with pytest.raises(ModuleFailed, match="module first raised during start: AssertionError"):
            await group.reset()
        (tmp_path / "member.py").write_text(MODULE)
        begin = time.monotonic()
        await group.reset()
        assert time.monotonic() - begin < 50
        await group.step(3)
        assert counts(group) == [13.75] * 4


async def test_what_has_been_measured_names_the_modules_of_a_group(session: Callable[..., AsyncSession]) -> None:
    async with session("mode: afap") as group:
        assert "No frame has been measured yet." in str(await group.timing())
        await group.step(400)
        timing = await group.timing()
        assert [row.module for row in timing.modules] == list(NAMES)
        assert all(0 < row.steps.p50 <= row.steps.max for row in timing.modules)
        assert sum(row.share for row in timing.modules) == pytest.approx(1)
        assert 10 <= timing.work.samples <= 400
        assert timing.critical_path.p50 <= timing.work.max
        await group.reset()
        assert (await group.timing()).work.samples == 0
