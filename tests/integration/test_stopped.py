"""Processes that stand still for a while, or loops that do: nobody is cut off, nothing bursts, little is caught up."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from bounds import PATIENCE, promised
from faults import Rude, held, plants, serving, until
from loadclients import Client, run

import hermes
from hermes.asyncsession import AsyncSession
from hermes.engine.pacing import CATCH_UP
from hermes.lifecycle import State
from hermes.session import summary_html

RATE = 100
STOPPED_SECONDS = 1.0


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def engine_of(session: AsyncSession) -> int:
    engine = session._run._engine
    assert engine is not None
    assert engine.pid is not None
    return engine.pid


def walls(session: AsyncSession, first: int, last: int) -> list[int]:
    """Return when the frames of a span of the ring were committed, in ns."""
    found = (session._run.memory("walls").read(sequence) for sequence in range(first, last))
    return [slot.wall_ns for slot in found if slot is not None]


async def test_an_engine_that_stood_still_catches_up_three_frames_and_goes_on_in_real_time(counters: Path) -> None:
    async with AsyncSession.from_yaml(counters, serve=False) as session:
        memory, engine = session._run.memory("ring"), engine_of(session)
        await session.resume()
        async with asyncio.timeout(PATIENCE):
            while session.frame < 10:
                await asyncio.sleep(0.01)
            os.kill(engine, signal.SIGSTOP)
            while not is_stopped(engine):
                await asyncio.sleep(0)
            first = memory.committed
            await asyncio.sleep(STOPPED_SECONDS)
            assert memory.committed == first
            os.kill(engine, signal.SIGCONT)
            while memory.committed < first + 50:
                await asyncio.sleep(0.01)
        committed = walls(session, first, first + 50)
        gaps = [later - earlier for earlier, later in pairwise(committed)]
        assert max(gaps) >= 0.99e9 * STOPPED_SECONDS
        after = committed[gaps.index(max(gaps)) + 1 :]
        earliest = [after[0] + (number - CATCH_UP - 1) * 1e9 / RATE for number in range(len(after))]
        assert all(wall >= due for wall, due in zip(after, earliest, strict=True)), "too much was caught up"
        assert session.state is State.RUNNING


def test_a_stopped_session_process_cuts_no_client_off_and_sends_no_burst(tmp_path: Path) -> None:
    with serving(plants(tmp_path)) as served:
        clients = [Client(served.url) for _ in range(3)]
        with held(clients):
            run(clients, PATIENCE, lambda: all(len(client.arrivals) > 10 for client in clients))
            os.kill(served.process.pid, signal.SIGSTOP)
            until(lambda: is_stopped(served.process.pid))
            run(clients, 0.2)
            counts, frames = [len(client.arrivals) for client in clients], [client.frames[-1] for client in clients]
            run(clients, STOPPED_SECONDS)
            assert [len(client.arrivals) for client in clients] == counts
            os.kill(served.process.pid, signal.SIGCONT)
            run(clients, PATIENCE, lambda: all(len(c.arrivals) > n + 20 for c, n in zip(clients, counts, strict=True)))
        for client, count, frame in zip(clients, counts, frames, strict=True):
            assert client.frames[count] - frame >= 0.9 * STOPPED_SECONDS * RATE, "the simulation had stopped, too"
            steps = [
                later - earlier
                for earlier, later in zip(client.frames[count:], client.frames[count + 1 :], strict=False)
            ]
            assert min(steps) >= 0
        assert "cut off" not in served.log


async def test_a_loop_that_stands_still_cuts_no_client_off_and_says_so_once(
    counters: Path, client: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("hermes.server.flow.STALL_SECONDS", 0.5)  # of what is checked every 0.25 s
    async with AsyncSession.from_yaml(counters) as session, client(session.url) as viewer:
        await viewer.command("subscribe", signals=["*"])
        await session.resume()
        for _ in range(2):
            before = session.status
            time.sleep(1.5)
            seen = len(viewer.frames)
            await viewer.until(lambda seen=seen: len(viewer.frames) > seen + 20)
            now = session.status
            assert now.loop_stalls > before.loop_stalls
            assert 1.4 <= now.longest_stall < promised(1.6)
        assert len(session.status.clients) == 1
        said = [record.getMessage() for record in caplog.records if "stall" in record.getMessage()]
        assert len(said) == 1
        assert "the program blocked its event loop; telemetry paused meanwhile" in said[0]
        assert "the program blocked its event loop" in summary_html(session)


def test_a_stall_that_nobody_watches_is_counted_and_not_talked_about(
    counters: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def act() -> None:
        async with AsyncSession.from_yaml(counters) as session:
            time.sleep(1.2)
            async with asyncio.timeout(PATIENCE):
                while not session.status.loop_stalls:
                    await asyncio.sleep(0.01)
            assert session.stall_hint is not None

    asyncio.run(act())
    assert not [record for record in caplog.records if "stall" in record.getMessage()]


def test_ctrl_z_pauses_a_run_and_fg_goes_on(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hermes", "run", str(plants(tmp_path))]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, process_group=0) as process:
        try:
            assert process.stderr is not None
            url = process.stderr.readline().rpartition(" ")[2].strip()
            with Rude(url) as viewer:
                until(lambda: viewer.command("status")["frame"] > 10)
                for _ in range(2):
                    os.killpg(process.pid, signal.SIGTSTP)
                    until(lambda: is_stopped(process.pid))
                    threading.Event().wait(STOPPED_SECONDS)
                    os.killpg(process.pid, signal.SIGCONT)
                    paused = until(lambda: [text for text in [viewer.receive()] if text.get("event") == "paused"])[0]
                    running = until(lambda: [text for text in [viewer.receive()] if text.get("event") == "running"])[0]
                    assert running["frame"] == paused["frame"]
                    until(lambda paused=paused: viewer.command("status")["frame"] > paused["frame"] + 10)
                viewer.command("pause")
                os.killpg(process.pid, signal.SIGTSTP)
                until(lambda: is_stopped(process.pid))
                os.killpg(process.pid, signal.SIGCONT)
                assert viewer.command("step", count=5)["completed"] == 5
                assert viewer.command("status")["state"] == "paused", "what somebody has paused stays so"
        finally:
            process.terminate()
            process.communicate(timeout=PATIENCE)


@pytest.mark.parametrize("jump", [3600, -3600])
def test_a_wall_clock_that_jumps_changes_nothing(
    counters: Path, jump: float, monkeypatch: pytest.MonkeyPatch, client: Callable[[str], Any]
) -> None:
    """Every clock that Hermes reads for a timeout or a time is monotonic, so a fake of the other one is not seen."""
    real = time.time

    async def act() -> None:
        async with AsyncSession.from_yaml(counters) as session, client(session.url) as viewer:
            await viewer.command("subscribe", signals=["*"])
            await session.step(5)
            monkeypatch.setattr(time, "time", lambda: real() + jump)
            assert await session.run(0.2) == 20
            assert (session.time, len(session.status.clients)) == (0.25, 1)
            assert (await viewer.command("status"))["frame"] == 25

    asyncio.run(act())


def test_no_part_of_hermes_reads_the_wall_clock() -> None:
    root = Path(hermes.__file__).parent
    found = [
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if any(name in path.read_text() for name in ("time.time(", "time_ns() ", "datetime", "CLOCK_REALTIME"))
    ]
    assert found == []
