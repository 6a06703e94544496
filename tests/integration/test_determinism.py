"""The same run again: timed commands, exported cases and random numbers, against real engines and modules."""

from __future__ import annotations

import asyncio
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from bounds import PATIENCE

import hermes
from hermes.errors import ConfigurationError, EngineDied, ModuleDied, ModuleFailed, NotExported, NotReady, SessionClosed
from hermes.lifecycle import State

MODULE = """
import os
import hermes

class Noisy(hermes.Module):
    gain = hermes.Parameter(1.0, limits=(-10, 10))
    push = hermes.Input(unit="N")
    long = hermes.Input(0, type="i64")
    loose = hermes.Input(allow_nonfinite=True)
    single = hermes.Input(type="f32", allow_nonfinite=True)
    armed = hermes.Input(False, type="bool")
    die = hermes.Input(False, type="bool")
    count = hermes.Output(type="i64")
    ramp = hermes.Output(unit="m", initial=0.5)
    noise = hermes.Output()
    first = hermes.Output()

    def __init__(self):
        self.born = self.rng.random()

    def reset(self):
        assert not os.path.exists(__file__ + ".broken")
        self.first = self.rng.random()
        assert self.first == self.born, "a reset begins with the first number"

    def step(self, time, dt):
        if self.die:
            os._exit(3)
        self.count += 1
        self.noise = self.rng.normal()
        self.ramp += (self.gain + self.push + self.noise) * dt
"""

CONFIGURATION = """
name: noisy
modules:
  a: {type: script, script: ./noisy.py}
  b: {type: script, script: ./noisy.py, params: {gain: 2.0}}
wiring:
  - {src: a.ramp, dst: b.push, gain: 0.5}
execution: {rate_hz: RATE, mode: MODE, seed: 5, start_timeout: 60, step_timeout: 60}
server: {enabled: false}
"""


@pytest.fixture
def noisy(write: Callable[[str, str], Path]) -> Callable[..., Path]:
    """Return what writes a configuration of two modules that draw random numbers, and returns its path."""

    def _noisy(commands: str = "", *, mode: str = "afap", rate: str = "100", name: str = "noisy.yaml") -> Path:
        write("noisy.py", MODULE)
        text = CONFIGURATION.replace("RATE", rate).replace("MODE", mode)
        return write(name, text + (f"commands: [{commands}]\n" if commands else ""))

    return _noisy


async def finished(session: hermes.AsyncSession) -> tuple[int, str]:
    """Run a session that has an end up to it; return its last frame and fingerprint."""
    while session.state is not State.FINISHED:
        await session.run(1e6)
    return session.frame, session.fingerprint


async def until(condition: Callable[[], object]) -> None:
    """Wait for a condition."""
    limit = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < limit
        await asyncio.sleep(0.005)


def verbs(session: hermes.AsyncSession) -> list[tuple[int, str, str]]:
    """Return frame, verb and origin of everything in the journal."""
    return [(entry["frame"], entry["verb"], entry["origin"]) for entry in session.journal]


COMMANDS = (
    "{frame: 5, set: {a.push: 4}}, {time: 0.045, pause: true}, {frame: 0, set: {a.push: 3, a.gain: 2}}, "
    "{frame: 5, set: {a.push: 5}}, {frame: 8, pause: true}, {frame: 0, pause: true}"
)


async def test_timed_commands_act_at_their_frames_in_order_and_again_after_a_reset(noisy: Callable[..., Path]) -> None:
    own = "configuration"
    pauses: list[int] = []

    def observer(event: str, fields: Mapping[str, Any]) -> None:
        if event == "paused":
            pauses.append(fields["frame"])

    async with hermes.AsyncSession.from_yaml(noisy(COMMANDS)) as session:
        session.observe(observer)
        assert (session.state, session.frame, session["a.push"], session["a.gain"]) == (State.PAUSED, 0, 3.0, 2.0)
        assert await session.step(4) == 4
        assert session["a.push"] == 3.0
        assert await session.step(10) == 1, "a timed pause ends a step early"
        assert (session.frame, session["a.push"]) == (5, 5.0), "all that acts at a frame has been done"
        assert await session.run(0.1) == 3, "and a run"
        assert (session.frame, session.state) == (8, State.PAUSED)
        assert await session.run(0.1) == 10
        stepped = session.fingerprint
        assert verbs(session) == [
            (0, "set", own), (0, "step", "python"), (4, "step", "python"), (5, "set", own), (5, "pause", own),
            (5, "set", own), (5, "run", "python"), (8, "pause", own), (8, "run", "python"),
        ]  # fmt: skip
        assert [entry["values"] for entry in session.journal if entry["verb"] == "set"] == [
            {"a.push": 3.0, "a.gain": 2.0}, {"a.push": 4.0}, {"a.push": 5.0}
        ]  # fmt: skip
        await session.set({"a.push": 9})
        await session.reset()
        assert (session.state, session.frame, session["a.push"]) == (State.PAUSED, 0, 3.0)
        assert [await session.run(0.18) for _ in range(3)] == [5, 3, 18]
        await session.reset()
        assert [await session.run(0.18) for _ in range(2)] == [5, 3]
        assert await session.step(10) == 10
        assert session.fingerprint == stepped
        await session.resume()
        await session.reset()
        assert (session.state, session.frame) == (State.PAUSED, 0), "what pauses at frame 0 pauses after a reset"
        assert verbs(session)[-3:] == [(18, "reset", "python"), (0, "set", own), (0, "pause", own)] or (
            verbs(session)[-3][1:] == ("reset", "python")
            and verbs(session)[-2:] == [(0, "set", own), (0, "pause", own)]
        )
    assert pauses == [8, 18, 5, 8, 26, 5, 8, 0]


def test_wrong_timed_commands_are_told_at_once_in_the_file_and_nothing_runs(
    noisy: Callable[..., Path], hermes_pids: Callable[[], set[int]]
) -> None:
    path = noisy("{frame: 1, set: {a.pusch: 1, a.ramp: 2}}, {frame: 2, set: {b.push: 1, a.long: 1.5, a.gain: 11}}")
    session = hermes.Session.from_yaml(path)
    before = hermes_pids()
    with pytest.raises(ConfigurationError) as caught:
        session.start()
    assert hermes_pids() == before
    assert session.state is State.CLOSED
    line = path.read_text().splitlines()[-1]
    keys = ("a.pusch: ", "a.ramp: ", "b.push: ", "a.long: ", "a.gain: ")
    columns = [line.index(key) + len(key) + 1 for key in keys]
    assert [problem.where for problem in caught.value.problems] == [f"{path}:10:{column}" for column in columns]
    assert str(caught.value.problems[0]).endswith("no signal matches 'a.pusch'; did you mean a.push, b.push?")
    assert [problem.message[:24] for problem in caught.value.problems[1:]] == [
        "a.ramp is an output and ", "b.push is driven by a wi", "a.long cannot be 1.5; it", "a.gain cannot be 11; it "
    ]  # fmt: skip
    session.close()


def hermes_command(*arguments: object) -> tuple[int, str, str]:
    """Run the command line to its end; return exit status, standard output and standard error."""
    command = [sys.executable, "-m", "hermes", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    return done.returncode, done.stdout, done.stderr


def test_without_a_server_a_run_must_not_pause(noisy: Callable[..., Path]) -> None:
    path = noisy("{frame: 5, set: {a.push: 1}}, {time: 0.1, pause: true}")
    status, out, errors = hermes_command("run", path, "--end-time", "0.11")
    assert (status, out) == (2, "")
    assert "without a server nobody can resume after the pause that commands have at frame 10" in errors
    status, out, errors = hermes_command("run", path, "--no-server", "--end-time", "0.1")
    assert (status, out[:31]) == (0, "finished at 0.1 s, frame 10, fi"), "the end comes before the pause"


def test_a_run_that_pauses_at_frame_0_waits_for_a_client(hermes_run: Callable[..., Any], counters: Path) -> None:
    counters.write_text(counters.read_text() + "commands: [{frame: 0, pause: true}]\n")
    running = hermes_run(counters)
    assert "paused; a client may resume" in running.process.stderr.readline()
    assert running.end(signal.SIGINT)[0] == 130


def anything(chance: random.Random) -> dict[str, Any]:
    """Return one or several values to set."""
    choices: dict[str, list[Any]] = {
        "a.push": [0.1, -0.0, 1e-300, 3, 1 / 3, -1e200],
        "a.long": [2**63 - 1, -(2**63), 2**53 + 1, 0],
        "b.loose": [float("nan"), -float("nan"), "NaN", float("inf"), "-Infinity", -0.0],
        "a.single": [0.5, 2.0**-149, float("-inf"), 16777216],
        "b.armed": [True, False],
        "b.gain": [-10, 10, 0.7],
    }
    names = chance.sample(sorted(choices), chance.choice((1, 1, 2, 4)))
    return {name: chance.choice(choices[name]) for name in names}


@pytest.mark.parametrize(
    ("mode", "rate", "seed"), [("afap", "60", 1), ("single_frame", "60000/1001", 2), ("realtime", "1000", 3)]
)
async def test_an_exported_run_is_the_same_run_in_every_mode(
    noisy: Callable[..., Path], tmp_path: Path, mode: str, rate: str, seed: int
) -> None:
    chance = random.Random(seed)
    timed = (
        "{frame: 2, set: {a.push: 0.3}}, {frame: 3, set: {a.long: -7, b.gain: 0.1}}, {frame: 100000, set: {a.push: 1}}"
    )
    async with hermes.AsyncSession.from_yaml(noisy(timed, mode=mode, rate=rate)) as session:
        for epoch in range(2):
            for _ in range(12):
                await session.set(anything(chance))
                if mode == "single_frame" or chance.random() < 0.5:
                    await session.step(chance.choice((1, 1, 2, 7)))
                elif chance.random() < 0.5:
                    await session.run(chance.random() * 0.02)
                else:
                    await session.resume()
                    await session.set(anything(chance))
                    await session.pause()
            if epoch == 0:
                await session.reset()
        case = await session.export(tmp_path / "case.yaml")
        frame, fingerprint = session.frame, session.fingerprint
    assert re.search(rf"^# fingerprint at frame {frame}: {fingerprint}$", case.read_text(), re.MULTILINE)
    if mode == "single_frame":
        async with hermes.AsyncSession.from_yaml(case) as again:
            assert await again.step(frame + 5) == frame
            assert (again.state, again.frame, again.fingerprint) == (State.FINISHED, frame, fingerprint)
    case.write_text(case.read_text().replace(f"mode: {mode}", "mode: afap"))
    async with hermes.AsyncSession.from_yaml(case) as again:
        assert await finished(again) == (frame, fingerprint)
        copy = await again.export(tmp_path / "copy.yaml")
    assert copy.read_text() == case.read_text(), "the configuration's own commands are not written twice"
    case.write_text(case.read_text().replace("mode: afap", "mode: realtime"))
    async with hermes.AsyncSession.from_yaml(case) as again:
        assert await finished(again) == (frame, fingerprint)


async def test_export_while_it_runs_as_fast_as_possible(noisy: Callable[..., Path], tmp_path: Path) -> None:
    async with hermes.AsyncSession.from_yaml(noisy()) as session:
        await session.resume()
        for number in range(20):
            await session.set({"a.push": number})
        wanted = [session.set({"a.push": -number}) for number in range(20)]
        case, *_ = await asyncio.gather(session.export(tmp_path / "case.yaml"), *wanted)
        told = re.search(r"at frame (\d+): (\w+)", case.read_text())
    assert told
    async with hermes.AsyncSession.from_yaml(case) as again:
        assert await finished(again) == (int(told[1]), told[2])


async def test_export_after_failures_and_in_each_state(noisy: Callable[..., Path], tmp_path: Path) -> None:
    session = hermes.AsyncSession.from_yaml(noisy())
    with pytest.raises(NotReady):
        await session.export(tmp_path / "case.yaml")
    async with session:
        await session.set({"a.push": 1})
        start = await session.export(tmp_path / "start.yaml")
        assert "end_time" not in start.read_text()
        assert "- {frame: 0, set: {a.push: 1.0}}" in start.read_text()
        await session.step(3)
        await session.set({"a.push": 2, "a.die": True})
        fingerprint = session.fingerprint
        with pytest.raises(ModuleDied):
            await session.step()
        assert session.state is State.FAILED
        failed = await session.export(tmp_path / "failed.yaml")
        await session.reset()
        await session.step(2)
        revived = await session.export(tmp_path / "revived.yaml")
        assert "set" not in revived.read_text()
        with pytest.raises(NotExported, match="exists already"):
            await session.export(failed)
        assert await session.export(failed, overwrite=True) == failed
        assert failed.read_text() == revived.read_text()
        last = session.fingerprint
        fresh = await session.export(tmp_path / "fresh.yaml")
    with pytest.raises(SessionClosed):
        await session.export(tmp_path / "closed.yaml")
    async with hermes.AsyncSession.from_yaml(fresh) as again:
        assert await finished(again) == (2, last)
    assert len(fingerprint) == 32


async def test_a_failed_run_is_computed_again_up_to_its_last_frame(noisy: Callable[..., Path], tmp_path: Path) -> None:
    async with hermes.AsyncSession.from_yaml(noisy()) as session:
        await session.step(3)
        await session.set({"a.push": 2})
        await session.step()
        await session.set({"a.die": True})
        with pytest.raises(ModuleDied):
            await session.step()
        case = await session.export(tmp_path / "case.yaml")
        reached = (session.frame, session.fingerprint)
    async with hermes.AsyncSession.from_yaml(case) as again:
        assert await finished(again) == (4, reached[1])
        assert again["a.die"] is True


async def test_a_reset_that_fails_leaves_the_run_that_was(noisy: Callable[..., Path], tmp_path: Path) -> None:
    async with hermes.AsyncSession.from_yaml(noisy()) as session:
        await session.set({"a.push": 2})
        await session.step(3)
        (tmp_path / "noisy.py.broken").touch()
        with pytest.raises(ModuleFailed):
            await session.reset()
        (tmp_path / "noisy.py.broken").unlink()
        assert [verb for _, verb, _ in verbs(session)] == ["set", "step"]
        case = await session.export(tmp_path / "case.yaml")
        reached = (session.frame, session.fingerprint)
        await session.reset()
        await session.step()
        assert "commands" not in (await session.export(tmp_path / "reset.yaml")).read_text()
    async with hermes.AsyncSession.from_yaml(case) as again:
        assert await finished(again) == reached


async def test_a_pause_at_the_very_end_does_not_let_the_run_go_beyond_it(noisy: Callable[..., Path]) -> None:
    path = noisy(mode="realtime", rate="0.05, end_time: 20")
    async with hermes.AsyncSession.from_yaml(path) as session:
        await session.resume()
        await until(lambda: session.frame == 1)
        await session.pause()
        assert (session.state, session.frame) == (State.PAUSED, 1), (
            "for 20 seconds, the last frame waits for its deadline"
        )
        assert await session.step(2) == 0
        assert (session.state, session.frame) == (State.FINISHED, 1)


async def test_the_journal_of_a_dead_engine_may_lack_something_so_it_is_not_exported(
    noisy: Callable[..., Path], tmp_path: Path
) -> None:
    async with hermes.AsyncSession.from_yaml(noisy()) as session:
        engine = session._run._engine
        assert engine is not None
        engine.kill()
        with pytest.raises(EngineDied):
            await session.step()
        with pytest.raises(EngineDied):
            await session.export(tmp_path / "case.yaml")


async def test_random_numbers_depend_on_seed_and_name_only(noisy: Callable[..., Path], tmp_path: Path) -> None:
    path = noisy()
    swapped = path.read_text().replace("  a: {type: script, script: ./noisy.py}\n", "")
    swapped = swapped.replace(
        "wiring:", "  a: {type: script, script: ./noisy.py}\n  c: {type: script, script: ./noisy.py}\nwiring:"
    )
    (tmp_path / "swapped.yaml").write_text(swapped)
    (tmp_path / "other.yaml").write_text(path.read_text().replace("seed: 5", "seed: 6"))
    drawn: dict[str, dict[str, Any]] = {}
    for name in ("noisy", "swapped", "other"):
        async with hermes.AsyncSession.from_yaml(tmp_path / f"{name}.yaml") as session:
            await session.step(5)
            drawn[name] = session.get(["*.noise", "*.first"])
            await session.reset()
            await session.run(0.05)
            assert session.get(["*.noise", "*.first"]) == drawn[name]
    assert drawn["noisy"].items() <= drawn["swapped"].items()
    values = [*drawn["swapped"].values(), *drawn["other"].values()]
    assert len(set(values)) == len(values) == 10


def test_an_exported_flight_lands_on_the_same_fingerprint(tmp_path: Path) -> None:
    with hermes.Session.from_yaml(hermes.examples.path("c172x"), serve=False) as session:
        session.step(10)
        session["autopilot.altitude_target"] = 1600
        session.run(0.2)
        session.set({"autopilot.heading_target": 0.3, "plane.flaps": 0.1})
        session.step(7)
        case = session.export(tmp_path / "flight.yaml")
        expected = f"frame {session.frame}, fingerprint {session.fingerprint}\n"
    status, out, errors = hermes_command("run", case, "--mode", "afap", "--no-server")
    assert (status, out.partition(", ")[2]) == (0, expected), errors
