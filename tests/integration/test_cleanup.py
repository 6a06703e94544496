"""Nothing is left behind, whatever ends: the owner by any signal, the script without close, the interpreter."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from select import select

import pytest
from bounds import PATIENCE, promised

SCRIPT = """
import os, sys
import hermes
session = hermes.Session.from_yaml(sys.argv[1])
session.start()
session.resume()
print("running", os.getpid(), flush=True)
"""


def started(counters: Path, end: str) -> subprocess.Popen[str]:
    """Start a script that runs a session and then does `end`; return it when the session runs."""
    command = [sys.executable, "-c", SCRIPT + end, str(counters)]
    script = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0)
    assert script.stdout is not None
    line = script.stdout.readline()
    assert line.startswith("running"), line
    return script


def gone(pids: set[int], seconds: float) -> bool:
    """Wait on pidfds until every process has ended; return whether they did in time."""
    limit = time.monotonic() + seconds
    for pid in pids:
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        with os.fdopen(pidfd) as ended:
            if not select([ended], [], [], max(0, limit - time.monotonic()))[0]:
                return False
    return True


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("group", [False, True])
def test_a_killed_owner_leaves_nothing(
    counters: Path, hermes_pids: Callable[[], set[int]], number: int, group: bool
) -> None:
    script = started(counters, "import time; time.sleep(60)")
    running = hermes_pids() - {script.pid}
    assert len(running) == 3  # engine and two modules
    (os.killpg if group else os.kill)(script.pid, number)
    assert gone(running, promised(2.5))
    script.communicate(timeout=PATIENCE)
    assert script.returncode == -number


@pytest.mark.parametrize(
    ("end", "status"),
    [("", 0), ("sys.exit(7)", 7), ("raise SystemError", 1), ("del session", 0), ("os._exit(5)", 5)],
)
def test_a_script_that_ends_without_close_leaves_nothing_and_keeps_its_exit_code(
    counters: Path, hermes_pids: Callable[[], set[int]], end: str, status: int
) -> None:
    script = started(counters, end)
    running = hermes_pids() - {script.pid}
    _, errors = script.communicate(timeout=PATIENCE)
    assert script.returncode == status
    assert ("SystemError" in errors) == (end == "raise SystemError")
    assert gone(running, promised(2.5))


def test_an_interrupt_raises_in_the_script_within_a_second_and_leaves_the_session_paused(counters: Path) -> None:
    end = """
session.pause()
session.observe(lambda event, fields: event == 'overrun' or print(event, flush=True))
try:
    session.run(1000)
except KeyboardInterrupt:
    print(session.state, session.journal[-1]["origin"], session.step(3), flush=True)
"""
    script = started(counters, end)
    assert script.stdout is not None
    while script.stdout.readline() != "running\n":
        assert script.poll() is None
    begin = time.monotonic()
    os.killpg(script.pid, signal.SIGINT)
    out, errors = script.communicate(timeout=PATIENCE)
    assert time.monotonic() - begin < promised(3)
    assert (out, errors, script.returncode) == ("paused\npaused interrupt 3\n", "", 0)


def test_an_interrupt_during_start_leaves_nothing(
    write: Callable[[str, str], Path], hermes_pids: Callable[[], set[int]]
) -> None:
    write("slow.py", "import time\nprint('importing', flush=True)\ntime.sleep(60)\n")
    config = write("slow.yaml", "modules: {slow: {type: script, script: ./slow.py}}\nserver: {enabled: false}\n")
    source = (
        "import logging, sys, hermes\nlogging.basicConfig(level=logging.INFO)\n"
        "session = hermes.Session.from_yaml(sys.argv[1])\nsession.start()\n"
    )
    command = [sys.executable, "-c", source, str(config)]
    script = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, process_group=0)
    assert script.stderr is not None
    assert "importing" in script.stderr.readline()
    running = hermes_pids() - {script.pid}
    os.kill(script.pid, signal.SIGINT)
    _, errors = script.communicate(timeout=PATIENCE)
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert script.returncode == -signal.SIGINT
    assert gone(running, promised(2.5))
