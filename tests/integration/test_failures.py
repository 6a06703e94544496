"""A module that fails is a sentence that names it, in time, and nothing is left behind (see `tests/conftest.py`)."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from bounds import promised, unhurried

from hermes import AsyncSession, ModuleDied, ModuleFailed, ModuleHung
from hermes.errors import ConfigurationError, EngineDied, HermesError, ModuleError
from hermes.lifecycle import State

GOOD = """import hermes
class Good(hermes.Module):
    y = hermes.Output()
    def step(self, time, dt):
        self.y += 1
"""
BAD = """import hermes
class Bad(hermes.Module):
"""

BAD_STARTS = {
    "import missing_thing\n": (ModuleFailed, "No module named 'missing_thing'"),
    "def broken(:\n": (ModuleFailed, "invalid syntax"),
    "import os\nos._exit(3)\n": (ModuleDied, "module bad died during start: exit code 3"),
    "import os, sys\nprint('last words', file=sys.stderr)\nos.abort()\n": (ModuleDied, "last words"),
    "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n": (ModuleDied, "signal SIGKILL"),
    "x = 1\n": (ModuleFailed, "bad.py holds 0 Module subclasses (none)"),
    GOOD + "class Other(Good): pass\n": (ModuleFailed, "holds 2 Module subclasses (Good, Other)"),
    BAD + "    y = hermes.Output()\n    def reset(self): raise OSError('no disk')\n": (
        ModuleFailed,
        "module bad raised during reset: OSError: no disk",
    ),
    BAD + "    def step(self, time, dt): pass\n": (
        ConfigurationError,
        "module bad declares no signal",
    ),
    BAD + "    y = hermes.Output(initial=0.5, type='i32')\n": (
        ModuleFailed,
        "y cannot be 0.5; it takes a whole number",
    ),
}


NAMES = ("good1", "bad", "good2")


@pytest.fixture
def session(write: Callable[[str, str], Path]) -> Callable[..., AsyncSession]:
    """Return what makes a session of two good modules and one with the given source, or of fewer."""

    def make(
        source: str, execution: str = "mode: afap", *, serve: bool = False, names: Sequence[str] = NAMES
    ) -> AsyncSession:
        write("good.py", GOOD)
        write("bad.py", source)
        modules = "".join(f"  {name}: {{type: script, script: ./{name[:4].rstrip('12')}.py}}\n" for name in names)
        text = f"name: faulty\nmodules:\n{modules}execution: {{{unhurried(execution)}}}\nserver: {{port: 0}}\n"
        return AsyncSession.from_yaml(write("faulty.yaml", text), serve=serve)

    return make


def failing(act: str) -> str:
    """Return a module's source that does something in its 101st step."""
    return (
        "import hermes, os, signal, sys, time as clock\n"
        "class Bad(hermes.Module):\n"
        "    y = hermes.Output()\n"
        "    calm = hermes.Parameter(0.0)\n"
        "    def step(self, time, dt):\n"
        "        self.y += 1\n"
        "        if self.y == 101 and not self.calm:\n"
        "            print('about to fail', file=sys.stderr)\n"
        f"            {act}\n"
    )


@pytest.mark.parametrize(("source", "expected"), BAD_STARTS.items(), ids=range(len(BAD_STARTS)))
async def test_a_module_that_cannot_start_is_named(
    session: Callable[..., AsyncSession], source: str, expected: tuple[type[HermesError], str]
) -> None:
    faulty = session(source)
    with pytest.raises(expected[0]) as caught:
        await faulty.start()
    assert expected[1] in str(caught.value)
    assert "bad" in str(caught.value)
    assert faulty.state is State.CLOSED


async def test_a_module_that_is_never_ready_is_ended_after_start_timeout(session: Callable[..., AsyncSession]) -> None:
    begin = time.monotonic()
    with pytest.raises(
        ModuleHung, match=r"module bad did not answer during start within 1 s \(execution.start_timeout"
    ):
        await session("import time\nwhile True: time.sleep(60)\n", "start_timeout: 1", names=["bad"]).start()
    assert time.monotonic() - begin < promised(5)


@pytest.mark.parametrize(
    ("act", "kind", "text"),
    [
        ("raise ValueError('too steep')", ModuleFailed, "module bad raised in frame 101: ValueError: too steep"),
        ("os._exit(3)", ModuleDied, "module bad died in frame 101: exit code 3\n  bad| about to fail"),
        ("sys.exit(0)", ModuleDied, "module bad died in frame 101: exit code 0"),
        ("os.kill(os.getpid(), signal.SIGKILL)", ModuleDied, "module bad died in frame 101: signal SIGKILL"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", ModuleDied, "module bad died in frame 101: signal SIGSEGV"),
        ("clock.sleep(60)", ModuleHung, "module bad did not answer in frame 101 within 2 s (execution.step_timeout)"),
    ],
)
async def test_a_module_that_fails_in_a_step_fails_the_session_which_reset_revives(
    session: Callable[..., AsyncSession], client: Callable[[str], Any], act: str, kind: type[ModuleError], text: str
) -> None:
    step_timeout = 2 if kind is ModuleHung else 300
    async with (
        session(failing(act), f"mode: afap, step_timeout: {step_timeout}", serve=True) as faulty,
        client(faulty.url) as viewer,
    ):
        await viewer.command("subscribe", signals=["good1.y"])
        begin = time.monotonic()
        with pytest.raises(kind) as caught:
            await faulty.step(1000)
        assert time.monotonic() - begin < promised(3.0)
        assert str(caught.value).startswith(text)
        assert (caught.value.module, caught.value.frame) == ("bad", 101)
        assert (faulty.state, faulty.frame, faulty["good1.y"]) == (State.FAILED, 100, 100.0)
        assert str(faulty.failure) == str(caught.value)
        told = await viewer.event("failed")
        assert (told["module"], told["frame"], told["code"], told["state"]) == ("bad", 101, "module_failed", "failed")
        seen = len(viewer.frames)
        await viewer.until(lambda: len(viewer.frames) > seen + 3)
        assert viewer.frames[-1][0] == 100
        assert (await viewer.command("resume"))["code"] == "invalid_state"
        assert (await viewer.command("reset"))["type"] == "ack"
        assert (faulty.state, faulty.frame, faulty["bad.y"]) == (State.PAUSED, 0, 0.0)
        await faulty.set({"bad.calm": 1})
        assert await faulty.step(200) == 200


async def test_a_death_between_frames_is_noticed_at_once(session: Callable[..., AsyncSession]) -> None:
    source = GOOD.replace("    y =", "    pid = hermes.Output(type='i64')\n    y =").replace(
        "self.y += 1", "self.y += 1; import os; self.pid = os.getpid()"
    )
    async with session(source) as faulty:
        await faulty.step(5)
        os.kill(int(faulty["bad.pid"]), signal.SIGKILL)
        begin = time.monotonic()
        while faulty.state is State.PAUSED:
            await asyncio.sleep(0)
        assert time.monotonic() - begin < promised(1)
        assert str(faulty.failure).startswith("module bad died between frames, after frame 5: signal SIGKILL")


async def test_an_engine_that_is_killed_fails_the_session_and_takes_its_modules_with_it(
    session: Callable[..., AsyncSession], client: Callable[[str], Any]
) -> None:
    async with session(GOOD, "rate_hz: 100", serve=True) as faulty, client(faulty.url) as viewer:
        await viewer.command("subscribe", signals=["*"])
        running = asyncio.create_task(faulty.run(1000))
        await viewer.until(lambda: viewer.frames and viewer.frames[-1][0] > 3)
        engine = faulty._run._engine
        assert engine is not None
        assert engine.pid is not None
        os.kill(engine.pid, signal.SIGKILL)
        with pytest.raises(EngineDied, match="the engine process ended: signal SIGKILL"):
            await running
        assert faulty.state is State.FAILED
        told = await viewer.event("failed")
        assert told["code"] == "engine_died"
        with pytest.raises(EngineDied):
            await faulty.step()
        assert faulty["good1.y"] == faulty.frame


async def test_slow_modules_are_counted_as_overruns_and_attributed(
    session: Callable[..., AsyncSession], client: Callable[[str], Any]
) -> None:
    slow = GOOD.replace("self.y += 1", "self.y += 1; __import__('time').sleep(0.04)")
    async with session(slow, "rate_hz: 100", serve=True) as faulty, client(faulty.url) as viewer:
        running = asyncio.create_task(faulty.run(0.3))
        told = await viewer.event("overrun")
        assert told["module"] in NAMES  # on a busy machine another one may have been slower still
        assert told["step_ms"] > 39
        assert await running == 30
        assert faulty.status.overruns >= 25
        counted = {row.module: row.overruns for row in (await faulty.timing()).modules}
        assert sum(counted.values()) == faulty.status.overruns
        assert counted["bad"] > faulty.status.overruns / 2


async def test_output_of_modules_is_logged_with_name_and_frame(
    session: Callable[..., AsyncSession], caplog: pytest.LogCaptureFixture
) -> None:
    noisy = GOOD.replace("self.y += 1", "self.y += 1; print('at \\x1b[31m', time)")
    with caplog.at_level("INFO", "hermes.module"):
        async with session(noisy) as faulty:
            await faulty.step(2)
            while len(caplog.records) < 2:
                await asyncio.sleep(0)
    assert [record.name for record in caplog.records[:2]] == ["hermes.module.bad"] * 2
    assert "at \\x1b[31m 0.0" in caplog.records[0].getMessage()
