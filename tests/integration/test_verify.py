"""``hermes verify`` and `hermes.verify`: equal runs pass, and whatever makes two runs differ is found and named."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bounds import PATIENCE, unhurried

import hermes
from hermes.engine.plan import Plan
from hermes.errors import BadParams, ConfigurationError
from hermes.planning import plan_for
from hermes.verification.report import RunReport, Verification
from hermes.verification.running import verify_async

MODULES = """
import time
from pathlib import Path

import hermes

BOARD = Path(__file__).with_name("board")


class Follow(hermes.Module):
    u = hermes.Input()
    y = hermes.Output()

    def step(self, t, dt):
        self.y += self.u * dt + dt


class Clock(hermes.Module):
    y = hermes.Output()

    def step(self, t, dt):
        self.y = time.time() if t > 0.045 else t


class Timer(hermes.Module):
    y = hermes.Output()
    last = time.perf_counter()

    def step(self, t, dt):
        self.y += time.perf_counter() - self.last


class Forgets(hermes.Module):
    y = hermes.Output()
    steps = 0

    def step(self, t, dt):
        self.steps += 1
        self.y = float(self.steps)


class Hashed(hermes.Module):
    y = hermes.Output(type="i64")

    def step(self, t, dt):
        self.y = hash("order")


class Born(hermes.Module):
    y = hermes.Output()

    def reset(self):
        self.y = time.time()

    def step(self, t, dt): ...


class Declared(Born):
    z = hermes.Output(initial=time.time())


class Says(hermes.Module):
    y = hermes.Output(type="i64")

    def reset(self):
        BOARD.write_text("0")

    def step(self, t, dt):
        self.y += 1
        BOARD.write_text(str(self.y))


class Hears(hermes.Module):
    y = hermes.Output(type="i64")

    def step(self, t, dt):
        self.y = len(BOARD.read_text()) + int(BOARD.read_text() or 0)


class Random(hermes.Module):
    y = hermes.Output()
    push = hermes.Input()

    def __init__(self):
        self.first = self.rng.normal()

    def step(self, t, dt):
        self.y = self.rng.normal() + self.first + self.push


class Fails(hermes.Module):
    y = hermes.Output()

    def step(self, t, dt):
        if t > 0.1:
            raise ValueError("too late")


class FailsAgain(Forgets):
    def step(self, t, dt):
        super().step(t, dt)
        self.y = 0.0
        if self.steps > 40:
            raise ValueError("worn out")
"""


@pytest.fixture
def configuration(write: Callable[[str, str], Path]) -> Callable[..., Path]:
    """Return what writes a configuration with a module `m` of a class, a module `f` that it feeds, and further text."""

    def _configuration(name: str, more: str = "", env: str = "{}", execution: str = "end_time: 0.3") -> Path:
        write("parts.py", MODULES)
        return write(
            "case.yaml",
            f"modules:\n  m: {{type: script, script: './parts.py:{name}', env: {env}}}\n"
            "  f: {type: script, script: './parts.py:Follow'}\n"
            f"wiring: [{{src: m.y, dst: f.u}}]\nexecution: {{{unhurried(f'rate_hz: 100, {execution}')}}}\n{more}\n",
        )

    return _configuration


def differing(found: Verification) -> dict[str, tuple[int, tuple[str, ...], set[str]]]:
    """Return frame, culprits and signals of every run that differs."""
    assert all(run.error is None for run in found.runs), str(found)
    return {
        run.way: (run.difference.frame, run.difference.culprits, {one.signal for one in run.difference.signals})
        for run in found.runs
        if run.difference is not None
    }


WAYS = ["as fast as possible", "after a reset", "stepped by hand", "perturbed, seed 1", "in real time"]


@pytest.mark.parametrize("example", ["pendulum", "servo", "c172x"])
def test_the_examples_are_the_same_run_in_every_way(example: str) -> None:
    heard: list[RunReport] = []
    found = hermes.verify(hermes.examples.path(example), end_time=0.5, heard=heard.append)
    assert found.equal, str(found)
    assert found.runs == tuple(heard)
    assert [run.way for run in found.runs] == WAYS
    assert len({(run.frame, run.fingerprint) for run in found.runs}) == 1
    assert str(found).endswith(f"equal: 5 runs of {found.runs[0].frame} frames, bit for bit")


async def test_random_numbers_timed_sets_pauses_and_slow_modules_are_the_same_in_every_way(
    configuration: Callable[..., Path],
) -> None:
    more = (
        "commands: [{frame: 0, set: {m.push: 1}}, {frame: 0, pause: true}, {time: 0.1, set: {m.push: 2.5}},\n"
        "  {time: 0.1, pause: true}, {time: 0.3, set: {m.push: 3}}]\nbackplane: {history: 8}"
    )
    path = configuration("Random", more, execution="end_time: 0.3, mode: single_frame, seed: 5, schedule: [m, f]")
    path.write_text(path.read_text().replace("Follow'", "Follow', every: 3"))
    found = await verify_async(path, runs=7)
    assert found.equal, str(found)
    assert [run.way for run in found.runs][3:6] == ["perturbed, seed 1", "perturbed, seed 2", "perturbed, seed 3"]
    assert [run.frame for run in found.runs] == [30] * 7


async def test_each_session_gets_its_mode_its_perturbation_and_a_ring_that_lasts(
    configuration: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    plans: list[Plan] = []

    def noted(*arguments: Any) -> Plan:
        plans.append(plan_for(*arguments))
        return plans[-1]

    monkeypatch.setattr("hermes.run.plan_for", noted)
    found = await verify_async(configuration("Random", "backplane: {history: 8}"), runs=6, end_time=0.05)
    assert found.equal, str(found)
    assert [(plan.mode, plan.perturbation) for plan in plans] == [
        ("afap", None), ("single_frame", None), ("afap", 1), ("afap", 2), ("realtime", None)
    ]  # fmt: skip
    assert {(plan.history, plan.end_frame) for plan in plans} == {(1024, 5)}


@pytest.mark.parametrize(
    ("name", "frame", "signals"),
    [("Clock", 6, {"m.y", "f.u"}), ("Timer", 1, {"m.y", "f.u"}), ("Born", 0, {"m.y", "f.u"})],
)
def test_a_module_that_reads_a_clock_is_named_with_its_signal_and_the_frame(
    configuration: Callable[..., Path], name: str, frame: int, signals: set[str]
) -> None:
    assert differing(hermes.verify(configuration(name))) == dict.fromkeys(WAYS[1:], (frame, ("m",), signals))


def test_hashes_differ_between_processes_and_not_after_a_reset(configuration: Callable[..., Path]) -> None:
    path = configuration("Hashed", env="{PYTHONHASHSEED: random}")
    path.write_text(path.read_text().replace("wiring: [{src: m.y, dst: f.u}]", "wiring: []"))
    assert differing(hermes.verify(path)) == dict.fromkeys(WAYS[2:], (1, ("m",), {"m.y"}))


def test_what_a_reset_forgets_shows_after_the_reset_only(configuration: Callable[..., Path]) -> None:
    found = hermes.verify(configuration("Forgets"))
    assert differing(found) == {"after a reset": (1, ("m",), {"m.y", "f.u"})}
    assert found.verdict == "not equal: of 5 runs 1 differs from the first"


def test_modules_that_meet_beside_the_wires_are_found_when_they_are_perturbed(
    configuration: Callable[..., Path],
) -> None:
    path = configuration("Hears", execution="end_time: 3")
    talker = "  s: {type: script, script: './parts.py:Says'}\nwiring: []"
    path.write_text(path.read_text().replace("wiring: [{src: m.y, dst: f.u}]", talker))
    found = differing(hermes.verify(path, runs=6))
    assert found.keys() & {"perturbed, seed 1", "perturbed, seed 2"}
    assert {culprits for _, culprits, _ in found.values()} == {("m",)}


def test_signals_that_are_declared_from_a_clock_are_told(configuration: Callable[..., Path]) -> None:
    found = hermes.verify(configuration("Declared"))
    layouts = {
        run.way: run.difference.layout for run in found.runs if run.difference is not None and run.difference.layout
    }
    assert list(layouts) == WAYS[2:]
    assert all(re.fullmatch(r"m\.z: its initial is [0-9.]+ and [0-9.]+", line) for (line,) in layouts.values())


def test_a_run_that_fails_is_told_and_the_others_go_on(configuration: Callable[..., Path]) -> None:
    found = hermes.verify(configuration("FailsAgain"))
    assert not found.equal
    assert [run.way for run in found.runs if not run.equal] == ["after a reset"]
    assert "after a reset: module m raised in frame 11: ValueError: worn out" in str(found)
    assert found.verdict == "not equal: of 5 runs 1 failed"


def test_what_cannot_be_verified_is_refused(configuration: Callable[..., Path]) -> None:
    path = configuration("Random")
    with pytest.raises(BadParams, match="runs takes a whole number from 5 to 1000, found 4"):
        hermes.verify(path, runs=4)
    with pytest.raises(ConfigurationError, match=r"execution\.end_time"):
        hermes.verify(path, end_time=0)
    path.write_text(path.read_text().replace("src: m.y", "src: m.why"))
    with pytest.raises(ConfigurationError, match=r"case\.yaml:4:16: no signal matches 'm\.why'"):
        hermes.verify(path)


def command(*arguments: object) -> tuple[int, str, str]:
    """Run ``hermes verify`` to its end; return exit status, standard output and standard error."""
    line = [sys.executable, "-m", "hermes", "verify", *map(str, arguments)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE, check=False)
    return done.returncode, done.stdout, done.stderr


RATE = r" +[\d,]+ frames/s   fingerprint ([0-9a-f]{32})\n"


def test_the_command_says_how_each_run_ended_and_that_all_are_equal(configuration: Callable[..., Path]) -> None:
    status, out, errors = command(configuration("Random"), "--end-time", "0.2", "--runs", "6")
    assert (status, errors) == (0, "case: 6 runs to 0.2 s (frame 20), the last one in real time\n")
    names = [*WAYS[:4], "perturbed, seed 2", WAYS[4]]
    lines = re.fullmatch(
        "".join(f"{name:<22}       20 frames{RATE}" for name in names) + "equal: 6 runs of 20 frames, bit for bit\n",
        out,
    )
    assert lines, out
    assert len(set(lines.groups())) == 1


def test_the_command_names_what_differs_and_ends_with_status_1(configuration: Callable[..., Path]) -> None:
    status, out, _ = command(configuration("Forgets"))
    assert status == 1
    assert re.fullmatch(
        f"as fast as possible          30 frames{RATE}"
        "after a reset         different from frame 1 on\n"
        f"stepped by hand              30 frames{RATE}"
        f"perturbed, seed 1            30 frames{RATE}"
        f"in real time                 30 frames{RATE}"
        r"""
after a reset: from frame 1 \(0\.01 s\) on \(first run, this run\)
  begun by m, given the same until then:
    m\.y  1\.0  31\.0
  followed by:
    f\.u  1\.0  31\.0

not equal: of 5 runs 1 differs from the first
""",
        out,
    ), out


def test_a_failure_is_told_in_full_with_status_1(configuration: Callable[..., Path]) -> None:
    status, out, _ = command(configuration("Fails"))
    assert status == 1
    assert out.startswith(
        "as fast as possible   failed\n\nas fast as possible: module m raised in frame 12: ValueError: too late\n"
    )
    assert out.endswith("\nnothing to compare: the first run, as fast as possible, failed\n")


def test_wrong_usage_and_configuration_are_status_2(configuration: Callable[..., Path]) -> None:
    path = configuration("Random")
    assert command(path, "--runs", "4")[0] == 2
    path.write_text(path.read_text().replace("dst: f.u", "dst: f.why"))
    status, out, errors = command(path)
    assert (status, out) == (2, "")
    assert "case.yaml:4:26: no signal matches 'f.why'" in errors


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_ends_everything(configuration: Callable[..., Path], number: int, status: int) -> None:
    line = [sys.executable, "-m", "hermes", "verify", str(configuration("Random")), "--end-time", "60"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("as fast as possible        6000 frames")
        process.send_signal(number)
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == status
    assert ("hermes: interrupted\n" in errors) == (number is signal.SIGINT)
    assert "Traceback" not in errors
