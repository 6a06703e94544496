"""The command line as a user meets it: what it says, how it ends, and with which status."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bounds import PATIENCE, promised

from hermes import examples


def hermes(*arguments: object, cwd: Path | None = None) -> tuple[int, str, str]:
    """Run the command line to its end; return exit status, standard output and standard error."""
    command = [sys.executable, "-m", "hermes", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, cwd=cwd, check=False)
    return done.returncode, done.stdout, done.stderr


def test_a_run_with_an_end_finishes_and_two_such_runs_have_one_fingerprint(counters: Path) -> None:
    runs = [
        hermes("run", counters, "--no-server", "--mode", mode, "--end-time", "0.5") for mode in ("afap", "realtime")
    ]
    assert runs[0] == runs[1]
    status, out, errors = runs[0]
    assert (status, errors) == (0, "counters: a, b\n")
    assert out.startswith("finished at 0.5 s, frame 50, fingerprint ")
    assert len(out.split()[-1]) == 32


@pytest.mark.parametrize(("number", "status", "word"), [(signal.SIGINT, 130, "interrupted"), (15, 143, "terminated")])
def test_an_interrupt_ends_everything_within_two_seconds(
    hermes_run: Callable[..., Any], counters: Path, number: int, status: int, word: str
) -> None:
    running = hermes_run(counters)
    begin = time.monotonic()
    assert running.end(number) == (status, f"hermes: {word}\n")
    assert time.monotonic() - begin < promised(2)


def test_an_interrupt_during_start_ends_everything(write: Callable[[str, str], Path]) -> None:
    write("slow.py", "import time\nprint('importing', flush=True)\ntime.sleep(60)\n")
    config = write("slow.yaml", "modules: {slow: {type: script, script: ./slow.py}}\n")
    command = [sys.executable, "-m", "hermes", "-v", "run", str(config)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "importing" in process.stderr.readline()
        begin = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)
        assert time.monotonic() - begin < promised(2.5)
        assert process.returncode == 130


def test_a_failure_is_the_last_word_and_status_1(write: Callable[[str, str], Path]) -> None:
    source = "import hermes\nclass M(hermes.Module):\n    y = hermes.Output()\n    def step(self, time, dt): 1 / 0\n"
    write("m.py", source)
    config = write("m.yaml", "modules: {m: {type: script, script: ./m.py}}\nserver: {enabled: false}\n")
    status, out, errors = hermes("run", config)
    assert (status, out) == (1, "")
    assert "module m raised in frame 1: ZeroDivisionError: division by zero" in errors
    assert f'File "{config.parent}/m.py", line 4, in step' in errors
    assert errors.count("ZeroDivisionError") == 2


def test_a_taken_port_is_status_1_and_says_how_to_go_on(counters: Path, hermes_run: Callable[..., Any]) -> None:
    port = hermes_run(counters).url.rpartition(":")[2]
    status, _, errors = hermes("run", counters, "--port", port)
    assert status == 1
    assert errors == (
        f"hermes: port {port} on 127.0.0.1 is taken; choose another, or port=0 for a free one (server.port in YAML)\n"
    )


def test_a_wrong_configuration_is_status_2_with_every_problem_and_its_place(write: Callable[[str, str], Path]) -> None:
    config = write("bad.yaml", "modules:\n  a: {type: script, script: ./no.py, what: 1}\nexecution: {mode: fast}\n")
    for arguments in (["run", config], ["validate", config], ["validate", "--static", config]):
        status, out, errors = hermes(*arguments)
        assert (status, out) == (2, "")
        assert errors.startswith("hermes: 3 problems:\n")
        assert f"{config}:2:29: modules.a.script is './no.py'; there is no such file" in errors
        assert f"{config}:2:38: modules.a.what is not a known key" in errors
        assert f"{config}:3:19: execution.mode is 'fast'" in errors


def test_validate_starts_the_modules_to_check_the_wires(counters: Path, write: Callable[[str, str], Path]) -> None:
    wire = "  a.ramp -> b.push   1 frame\n"
    assert hermes("validate", counters) == (0, f"{counters}: valid: 2 modules, 8 signals, 1 wire\n{wire}", "")
    assert hermes("validate", "--static", counters) == (0, f"{counters}: valid: 2 modules, 1 wire\n{wire}", "")
    wrong = write("wrong.yaml", counters.read_text().replace("src: a.ramp", "src: a.rump").replace("b.push", "b.ramp"))
    status, _, errors = hermes("validate", wrong)
    assert status == 2
    assert errors == (
        f"hermes: 2 problems:\n{wrong}:7:11: no signal matches 'a.rump'; did you mean a.ramp, b.ramp?\n"
        f"{wrong}:7:24: b.ramp is an output; a wire drives an input\n"
    )
    assert hermes("validate", "--static", wrong)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["run", "none.yaml"], "none.yaml: the configuration file cannot be read: No such file or directory"),
        (["run"], "Missing argument 'CONFIG'"),
        (["run", "--mode", "fast", "x.yaml"], "'fast' is not one of 'realtime', 'afap', 'single_frame'"),
        (["run", "--no-server", "--paused", examples.path("pendulum")], "without a server nobody can resume or step"),
        (["run", "--end-time", "0", "x.yaml"], "0.0 is not in the range x>0"),
        (["fly"], "No such command 'fly'"),
    ],
)
def test_wrong_usage_is_status_2(arguments: list[object], text: str) -> None:
    status, _, errors = hermes(*arguments)
    assert status == 2
    assert text in errors


def test_the_demonstration_shows_what_an_outside_viewer_received(tmp_path: Path) -> None:
    status, out, errors = hermes("demo", "--seconds", "2", cwd=tmp_path)
    assert status == 0, errors
    received = re.search(r"An outside viewer received (\d+) frames", out)
    assert received
    assert promised(100, slack=0.1) <= int(received[1]) < 200
    assert "plane.altitude" in out
    assert "Fingerprint" in out
    assert (tmp_path / "hermes-demo.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["hermes-demo.png"]
