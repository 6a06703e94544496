"""What befalls a module in the middle of a frame is told in one kind of sentence, and reset makes it good."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bounds import PATIENCE, promised, unhurried

from hermes import AsyncSession
from hermes.errors import ModuleDied, ModuleHung

MODULE = """
import os, signal, threading, time as clock
import hermes

class Victim(hermes.Module):
    pid = hermes.Output(type="i64")
    y = hermes.Output()
    act = hermes.Parameter(0, type="i32")
    pause = hermes.Parameter(0.0)

    def reset(self):
        self.pid = os.getpid()
        self.lock = threading.Lock()

    def step(self, time, dt):
        self.y += 1
        clock.sleep(self.pause)
        (self.rest, self.spin, self.stop, self.lock_twice)[self.act]()

    def rest(self):
        pass

    def spin(self):
        while True:
            pass

    def stop(self):
        os.kill(os.getpid(), signal.SIGSTOP)

    def lock_twice(self):
        self.lock.acquire()
        self.lock.acquire()
"""


@pytest.fixture
def session(write: Callable[[str, str], Path]) -> Callable[..., AsyncSession]:
    """Return what makes a session of three modules, of which `victim` is the second."""

    def make(execution: str = "mode: afap", *, serve: bool = False) -> AsyncSession:
        write("victim.py", MODULE)
        modules = "".join(f"  {name}: {{type: script, script: ./victim.py}}\n" for name in ("a", "victim", "z"))
        text = f"modules:\n{modules}execution: {{{unhurried(execution)}}}\nserver: {{port: 0}}\n"
        return AsyncSession.from_yaml(write("victim.yaml", text), serve=serve)

    return make


async def last_stack(faulty: AsyncSession, act: int, tries: int = 10) -> str:
    """Let the victim hang until it has told where; a machine that is busy enough leaves it no time to."""
    for _ in range(tries):
        await faulty.reset()
        await faulty.set({"victim.act": act})
        with pytest.raises(ModuleHung) as caught:
            await faulty.step()
        assert caught.value.fields["waiting_for"][0] == caught.value.module
        if caught.value.module == "victim" and caught.value.fields["stack"]:
            return str(caught.value)
    raise AssertionError(f"no stack in {tries} tries: {caught.value}")


@pytest.mark.parametrize(("act", "function"), [(1, "spin"), (3, "lock_twice")])
async def test_a_module_that_hangs_is_told_with_the_line_at_which_it_did(
    session: Callable[..., AsyncSession], act: int, function: str
) -> None:
    async with session("mode: afap, step_timeout: 2") as faulty:
        told = await last_stack(faulty, act)
        assert told.startswith("module victim did not answer in frame 1 within 2 s (execution.step_timeout)")
        assert "\nStack (most recent call last):\n" in told
        assert told.rstrip().endswith(f", in {function}")
        assert "worker.py" not in told
        await faulty.reset()
        assert await faulty.step(3) == 3


async def test_a_module_that_is_stopped_is_told_as_hung_without_a_stack(session: Callable[..., AsyncSession]) -> None:
    async with session("mode: afap, step_timeout: 2") as faulty:
        await faulty.step(2)
        await faulty.set({"victim.act": 2})
        begin = time.monotonic()
        with pytest.raises(ModuleHung, match="module victim did not answer in frame 3 within 2 s") as caught:
            await faulty.step()
        assert time.monotonic() - begin < promised(2 + 0.5)
        assert caught.value.fields["stack"] == ""
        assert (faulty.frame, faulty["a.y"]) == (2, 2.0)
        await faulty.reset()
        assert await faulty.step(3) == 3


@pytest.mark.parametrize("instants", [15, pytest.param(200, marks=pytest.mark.soak)])
async def test_a_module_killed_at_any_instant_of_a_frame_is_told_in_the_same_way(
    session: Callable[..., AsyncSession], instants: int
) -> None:
    """The others are at rest when it is killed, at work, or done; a frame takes 2 ms and more."""
    moments = random.Random(7)
    async with session() as faulty:
        for _ in range(instants):
            await faulty.set({"victim.pause": 0.002})
            stepping = asyncio.create_task(faulty.step(1_000_000))
            async with asyncio.timeout(PATIENCE):
                while faulty.frame < 2:
                    await asyncio.sleep(0)
            await asyncio.sleep(moments.uniform(0, 0.01))
            begin = time.monotonic()
            os.kill(int(faulty["victim.pid"]), signal.SIGKILL)
            with pytest.raises(ModuleDied) as caught:
                await asyncio.wait_for(stepping, PATIENCE)
            assert time.monotonic() - begin < promised(1)
            assert str(caught.value) == f"module victim died in frame {faulty.frame + 1}: signal SIGKILL"
            assert (caught.value.module, caught.value.frame) == ("victim", faulty.frame + 1)
            assert faulty["a.y"] == faulty["victim.y"] == faulty["z.y"] == faulty.frame
            await faulty.reset()
            assert await faulty.step(2) == 2


async def test_a_slow_module_makes_time_run_slower_and_is_told_at_most_once_a_second(
    session: Callable[..., AsyncSession], client: Callable[[str], Any]
) -> None:
    async with session("rate_hz: 60", serve=True) as slow, client(slow.url) as viewer:
        await slow.set({"victim.pause": 0.02})
        begin = time.monotonic()
        assert await slow.run(2) == 120
        spent = time.monotonic() - begin
        assert spent > 120 * 0.02, "a factor of real time below 1"
        await viewer.event("paused")
        counted = {row.module: row.overruns for row in (await slow.timing()).modules}
        assert 110 < slow.status.overruns == sum(counted.values())
        assert counted["victim"] > slow.status.overruns / 2
        assert 1 <= len(viewer.overruns) <= spent + 1
