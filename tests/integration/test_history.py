"""History and recordings of real runs: every value compared with what the modules computed."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from bounds import PATIENCE, promised

import hermes
from hermes import AsyncSession, ConfigurationError, ModuleDied, Recording, Session
from hermes.errors import InvalidState, NotReady, SessionClosed
from hermes.lifecycle import State

DOCS = Path(__file__).parents[2] / "docs"
SLOTS = 1024


@pytest.fixture
def fast(counters: Path, write: Callable[[str, str], Path]) -> Path:
    """Return a configuration with one small module, as fast as possible, without a server."""
    text = "name: fast\nmodules:\n  a: {type: script, script: ./counter.py}\n"
    text += "execution: {mode: afap, rate_hz: 1000, start_timeout: 60, step_timeout: 60}\n"
    return write("fast.yaml", text + "server: {enabled: false}\n")


def ramps(steps: int, gain: float = 1.0, start: float = 0.5) -> list[float]:
    """Return what the module's ramp is after 0 to `steps` steps at 1 kHz, summed as it does."""
    values = [start]
    for _ in range(steps):
        values.append(values[-1] + (gain + 0.0) * 0.001)
    return values


def block_until(condition: Callable[[], object]) -> None:
    """Keep the calling thread, and the loop on it, from doing anything else until a condition holds."""
    limit = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < limit, "the condition did not come to hold"
        time.sleep(0.0005)  # which blocks as well, and leaves the processor to the engine


def check_counts(recording: Recording) -> None:
    """Check that each row holds what the module had counted in that frame."""
    assert (recording["a.count"] == recording["frame"]).all()
    assert (recording["time"] == recording["frame"] / 1000).all()


def test_history_of_a_run_that_was_paced_paused_and_stepped(counters: Path) -> None:
    with Session.from_yaml(counters) as session:
        session.run(0.3)
        session["a.push"] = 2.0
        session.step(20)
        session.pause()
        history = session.history(["a.*", "b.ramp"])
        assert history.signals == ("a.count", "a.ramp", "a.push", "a.gain", "b.ramp")
        assert history["frame"].tolist() == history["a.count"].tolist() == list(range(51))
        assert history["time"].tolist() == [frame / 100 for frame in range(51)]
        assert history["a.push"].tolist() == [0.0] * 30 + [2.0] * 21, "the set is seen in the frame it was made at"
        values = [0.5]
        for push in history["a.push"][:-1].tolist():
            values.append(values[-1] + (1.0 + push) * 0.01)
        assert history["a.ramp"].tolist() == values
        assert (history.missed.count, history.decimated) == (0, None)
        assert history.units["a.push"] == "N"
        assert session.history("a.count", last=0.1)["a.count"].tolist() == list(range(40, 51))
        session.reset()
        assert session.history()["a.count"].tolist() == [0]
        session.step(3)
        assert session.history().epoch == 1
        assert session.history()["b.count"].tolist() == [0, 1, 2, 3]
    assert session.history()["b.count"].tolist() == [0, 1, 2, 3], "what was kept stays readable"


async def test_history_follows_a_run_in_real_time_and_an_idle_session_has_no_timer(counters: Path) -> None:
    async with AsyncSession.from_yaml(counters, serve=False) as session:
        await session.resume()
        feed = session._run.feed
        async with asyncio.timeout(PATIENCE):
            while feed._position < 60:
                await asyncio.sleep(0.01)
            await session.pause()
            while feed._timer is not None:
                await asyncio.sleep(0.01)
        history = session.history("b.count")
        assert history["b.count"].tolist() == list(range(session.frame + 1))
        handles = [handle for handle in asyncio.get_running_loop()._scheduled if "Feed" in repr(handle)]  # type: ignore[attr-defined]
        assert all(handle.cancelled() for handle in handles)


def test_a_recording_goes_through_resets_and_sets_and_survives_the_session(fast: Path) -> None:
    with Session.from_yaml(fast) as session:
        session.step(5)
        recording = session.record(["a.count", "a.ramp", "a.gain"])
        session.step(100)
        session.reset()
        session.reset()
        session["a.gain"] = 3.0
        session.step(50)
        with session.record("a.push") as other:
            session["a.push"] = 1.5
            session.step(2)
        session["a.push"] = 2.5
        session.step(2)
        assert other["a.push"].tolist() == [1.5, 1.5, 1.5]
        assert other.data["frame"].tolist() == [50, 51, 52]
    assert recording.stopped
    check_counts(recording)
    assert recording["epoch"].tolist() == [0] * 101 + [1] + [2] * 55
    assert recording["frame"].tolist() == [*range(5, 106), 0, *range(55)]
    assert recording["a.ramp"][:101].tolist() == ramps(105)[5:]
    assert recording["a.ramp"][102:153].tolist() == ramps(50, gain=3.0)
    assert recording["a.gain"].tolist() == [1.0] * 102 + [3.0] * 55
    assert recording.missed.count == 0


async def test_a_blocked_loop_misses_frames_and_names_every_one_of_them(fast: Path) -> None:
    async with AsyncSession.from_yaml(fast) as session:
        recording = await session.record("a.*")
        await session.resume()
        for _ in range(3):
            await asyncio.sleep(0.05)
            goal = session.frame + 2 * SLOTS
            block_until(lambda goal=goal: session.frame > goal)
        await session.reset()
        block_until(lambda: session.frame > 2 * SLOTS)
        await session.reset()
        await session.pause()
        last, ends = session.frame, session._run.feed._epochs.ends
        with recording:
            pass
        check_counts(recording)
        missed = [(one.epoch, frame) for one in recording.missed for frame in range(one.first, one.last + 1)]
        kept = list(zip(recording["epoch"].tolist(), recording["frame"].tolist(), strict=True))
        everything = [(epoch, frame) for epoch, end in enumerate([*ends, last]) for frame in range(end + 1)]
        assert sorted(missed + kept) == everything
        assert recording.missed.count == len(missed) >= 3 * SLOTS
        assert len({epoch for epoch, _ in missed}) >= 2


async def test_a_lossless_recording_has_every_frame_although_the_loop_is_blocked_in_between(fast: Path) -> None:
    async with AsyncSession.from_yaml(fast) as session:
        recording = await session.record("a.*", lossless=True)
        stepping, shm = asyncio.ensure_future(session.step(20_000)), session._run.memory("test")
        for _ in range(3):
            before = len(recording)
            async with asyncio.timeout(PATIENCE):
                while len(recording) < before + SLOTS:
                    await asyncio.sleep(0.001)
            position, begin = session._run.feed._position, time.monotonic()
            block_until(lambda position=position: shm.committed > position)
            block_until(lambda begin=begin: time.monotonic() > begin + 0.3)  # time for thousands of frames
            assert shm.committed < position + SLOTS, "the engine waits for the reader"
        assert await stepping == 20_000
        assert len(recording) == 20_001
        check_counts(recording)
        assert recording["frame"].tolist() == list(range(20_001))
        assert recording["a.ramp"].tolist() == ramps(20_000)
        assert recording.missed.count == 0
        recording.stop()
        assert await session.step(10) == 10


def test_a_lossless_recording_that_begins_in_the_middle_of_a_run_has_every_frame_from_its_first(fast: Path) -> None:
    with Session.from_yaml(fast) as session:
        session.resume()
        first = session.record("a.count", lossless=True)
        second = session.record("a.ramp", lossless=True)
        block_until(lambda: len(second) > 3 * SLOTS)
        session.reset()
        block_until(lambda: 1 in second["epoch"])
        first.stop()
        count = len(first)
        begin = session.frame
        block_until(lambda: session.frame > begin + 2 * SLOTS or session.frame < begin)
        session.pause()
        second.stop()
        assert len(first) == count
        for recording in (first, second):
            epochs, frames = recording["epoch"], recording["frame"]
            follows = (np.diff(frames) == 1) & (np.diff(epochs) == 0) | (frames[1:] == 0) & (np.diff(epochs) == 1)
            assert follows.all()
            assert recording.missed.count == 0
        check_counts(first)
        assert second["frame"][-1] == session.frame
        assert second["a.ramp"].tolist()[-1] == session["a.ramp"]
        session.step(3 * SLOTS)  # nobody holds the engine any more


async def stalled(session: AsyncSession) -> Recording:
    """Begin a lossless recording and let its drains not reach the engine; return it when the engine waits."""
    recording = await session.record("a.*", lossless=True)
    session._run.feed._report = lambda _sequence: None
    await session.resume()
    async with asyncio.timeout(PATIENCE):
        while session.frame < SLOTS - 2:  # one slot stays free for what the configuration sets
            await asyncio.sleep(0.01)
    return recording


async def test_commands_act_while_the_engine_waits_for_the_recorder(fast: Path) -> None:
    async with AsyncSession.from_yaml(fast) as session:
        recording = await stalled(session)
        bound = session.frame
        await session.pause()
        assert (session.state, session.frame) == (State.PAUSED, bound)
        stepping = asyncio.ensure_future(session.step(10))
        setting = asyncio.ensure_future(session.set({"a.gain": 2.0}))
        await asyncio.wait([stepping, setting], timeout=0.1)
        assert not stepping.done()
        assert not setting.done(), "what publishes a frame waits too, or it would overwrite one"
        assert session.frame == bound
        pausing = asyncio.ensure_future(session.pause())
        session._run.feed._report = session._run._engine.drained  # type: ignore[union-attr]
        session._run.feed._answer()
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(stepping, setting, pausing)
        assert session["a.gain"] == 2.0
        recording.stop()
        assert recording["frame"].tolist() == list(range(session.frame + 1))
        assert recording.missed.count == 0


async def test_close_acts_while_the_engine_waits_for_the_recorder(fast: Path) -> None:
    session = AsyncSession.from_yaml(fast)
    await session.start()
    recording = await stalled(session)
    begin = time.monotonic()
    await session.close()
    assert time.monotonic() - begin < promised(2.5)
    assert recording["frame"].tolist() == list(range(SLOTS - 1))


async def test_a_module_that_dies_while_the_engine_waits_is_a_failure_and_stop_lets_a_reset_go_on(
    fast: Path, hermes_pids: Callable[[], set[int]]
) -> None:
    async with AsyncSession.from_yaml(fast) as session:
        recording = await stalled(session)
        engine = session._run._engine
        assert engine is not None
        (module,) = hermes_pids() - {engine.pid}
        os.kill(module, signal.SIGKILL)
        async with asyncio.timeout(PATIENCE):
            while session.state is not State.FAILED:
                await asyncio.sleep(0.01)
        assert isinstance(session.failure, ModuleDied)
        session._run.feed._report = engine.drained
        recording.stop()
        await session.reset()
        assert await session.step(2 * SLOTS) == 2 * SLOTS


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_an_owner_that_dies_while_the_engine_waits_leaves_nothing(fast: Path, number: int) -> None:
    script = """
import sys, time, hermes
session = hermes.Session.from_yaml(sys.argv[1])
session.start()
recording = session.record(lossless=True)
session.aio._run.feed._report = lambda sequence: None
session.resume()
while session.frame < 1022:
    time.sleep(0.01)
print("waits", flush=True)
time.sleep(60)
"""
    command = [sys.executable, "-c", script, str(fast)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "waits\n"
        owner.send_signal(number)
        owner.communicate(timeout=PATIENCE)
    # what it would leave behind fails the test (see tests/conftest.py)


@pytest.mark.parametrize("mode", ["realtime", "single_frame"])
def test_only_a_run_without_a_clock_can_wait_for_a_recorder(
    counters: Path, write: Callable[[str, str], Path], mode: str
) -> None:
    path = write("other.yaml", counters.read_text().replace("rate_hz: 100,", f"rate_hz: 100, mode: {mode},"))
    with Session.from_yaml(path, serve=False) as session:
        with pytest.raises(ConfigurationError, match=f"needs execution.mode afap; found {mode}") as caught:
            session.record(lossless=True)
        assert "other.yaml" in str(caught.value)
        session.step(2)
        recording = session.record()
        session.step(2)
        assert recording["a.count"].tolist() == [2, 3, 4]


def test_nothing_is_recorded_before_the_start_or_after_the_end(fast: Path) -> None:
    session = Session.from_yaml(fast)
    with pytest.raises(NotReady, match="record needs a started session"):
        session.record()
    with pytest.raises(NotReady, match="history needs a started session"):
        session.history()
    session.start()
    session.close()
    with pytest.raises(SessionClosed):
        session.record()


def test_a_recording_may_be_read_on_any_thread_while_it_goes_on(fast: Path) -> None:
    with Session.from_yaml(fast) as session:
        recording = session.record("a.count", lossless=True)
        problems: list[str] = []

        def read() -> None:
            for _ in range(50):
                frames = recording["frame"]
                if not np.array_equal(frames, np.arange(len(frames))):
                    problems.append(f"{len(frames)} frames that do not follow each other")
                if len(session.history("a.ramp")) < 1:
                    problems.append("no history")

        threads = [threading.Thread(target=read) for _ in range(3)]
        for thread in threads:
            thread.start()
        assert session.step(5_000) == 5_000
        for thread in threads:
            thread.join()
        assert problems == []
        assert recording["a.count"].tolist() == list(range(5_001))


def test_the_documented_example_prints_what_it_says() -> None:
    (source,) = re.findall(r"```python\n(.*?)```", (DOCS / "history.md").read_text(), re.DOTALL)
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    said = re.findall(r"print\((?:swing|recording)\) +# (.*)", source)
    printed = done.stdout.splitlines()
    assert [printed[0], printed[2]] == said


def test_the_names_are_public() -> None:
    assert hermes.Recording.__name__ == "Recording"
    assert hermes.History.__name__ == "History"


def test_a_lossless_recorder_does_not_let_a_finished_run_go_on(fast: Path, write: Callable[[str, str], Path]) -> None:
    path = write("ends.yaml", fast.read_text().replace("rate_hz: 1000", "rate_hz: 1000, end_time: 3"))
    with Session.from_yaml(path) as session, session.record("a.count", lossless=True) as recording:
        assert session.run(10) == 3000
        assert session.state is State.FINISHED
        with pytest.raises(InvalidState):
            session.step()
        assert recording["a.count"].tolist() == list(range(3001))
