"""Where memory, descriptors or processes run out, an error names what they were needed for, and nothing is left."""

from __future__ import annotations

import errno
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from bounds import PATIENCE
from refusing import Refusal, refusing

import hermes
from hermes.connectionfile import ConnectionFile, find
from hermes.errors import SystemRefused

NoTrace = Callable[[], AbstractContextManager[None]]

LIMITED = """
import os, resource, sys, threading
import hermes

def limit(kind, value):
    resource.setrlimit(kind, (value, resource.getrlimit(kind)[1]))

hermes.Session.from_yaml(sys.argv[1])  # what is imported only now needs memory, too

for value in VALUES:
    session = hermes.Session.from_yaml(sys.argv[1])
    before = set(os.listdir("/proc/self/fd"))
    unlimited = resource.getrlimit(resource.KIND)[0]
    limit(resource.KIND, value)
    try:
        session.start()
        print("started", session.step(3))
        session.close()
    except hermes.HermesError as error:
        print(error)
    limit(resource.KIND, unlimited)
    left = set(os.listdir("/proc/self/fd")) - before
    left |= {thread.name for thread in threading.enumerate() if thread.name.startswith("hermes-")}
    assert not left, left
"""
"""Starts a session under a limit, once for each value, says what became of it, and looks for what is left."""


def limited(kind: str, values: str, configuration: Path) -> list[str]:
    """Start a session under each of some limits (an expression), in one script; return what became of each."""
    script = LIMITED.replace("VALUES", values).replace("KIND", kind)
    command = [sys.executable, "-c", script, str(configuration)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=4 * PATIENCE, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.fixture
def many(write: Callable[[str, str], Path], counters: Path) -> Callable[..., Path]:
    """Return what writes a configuration with some modules, each in a process of its own."""

    def _many(modules: int, further: str = "") -> Path:
        lines = "".join(f"  m{number}: {{type: script, script: ./counter.py}}\n" for number in range(modules))
        return write("many.yaml", f"modules:\n{lines}execution: {{start_timeout: 60}}\nserver: {{port: 0}}\n{further}")

    return _many


def test_a_session_of_a_few_modules_needs_no_more_than_64_descriptors(
    many: Callable[..., Path], no_trace: NoTrace
) -> None:
    with no_trace():
        assert limited("RLIMIT_NOFILE", "[64]", many(3)) == ["started 3"]


def test_where_descriptors_run_out_in_the_engine_the_module_they_were_for_is_named(
    many: Callable[..., Path], no_trace: NoTrace
) -> None:
    with no_trace():
        spawning, waking = limited("RLIMIT_NOFILE", "[25, 29]", many(4))
    assert re.fullmatch(
        r"cannot .* module m3.*: Too many open files \(see the limit of open files: ulimit -n\)", spawning
    )
    assert re.fullmatch(r"cannot make the events of m\d: Too many open files \(.*\)", waking)


def test_wherever_descriptors_run_out_in_the_session_it_is_told(many: Callable[..., Path], no_trace: NoTrace) -> None:
    spare = range(3, 17)
    with no_trace():
        told = limited("RLIMIT_NOFILE", f"[max(map(int, os.listdir('/proc/self/fd'))) + n for n in {spare}]", many(1))
    assert told[-1] == "started 3"
    assert told[0] != "started 3"
    assert [line for line in told if line != "started 3" and "Too many open files" not in line] == []


def test_a_history_that_memory_does_not_suffice_for_is_told_with_its_size(
    many: Callable[..., Path], no_trace: NoTrace
) -> None:
    huge = many(3, "backplane: {history: 1000000}\n")
    with no_trace():
        (told,) = limited("RLIMIT_FSIZE", "[1 << 24]", huge)
    assert re.fullmatch(r"cannot reserve 671\d{5} bytes of shared memory for 12 signals: File too large \(.*\)", told)


def test_address_space_that_runs_out_is_told_with_the_size_that_was_needed(
    many: Callable[..., Path], no_trace: NoTrace
) -> None:
    used = "int(next(line for line in open('/proc/self/status') if line.startswith('VmSize')).split()[1]) << 10"
    huge = many(1, "backplane: {history: 1000000}\n")
    with no_trace():
        (told,) = limited("RLIMIT_AS", f"[({used}) + (40 << 20)]", huge)
    assert re.fullmatch(r"(.*: )?cannot (reserve|map) 671\d{5} bytes of shared memory.*: Cannot allocate memory", told)


@pytest.mark.parametrize(
    ("role", "number", "process"),
    [("session", 1, "the engine process"), ("engine", 2, "the process of module b")],
)
def test_where_no_more_processes_may_be_started_the_one_is_named(
    counters: Path, no_trace: NoTrace, role: str, number: int, process: str
) -> None:
    refusal = Refusal(role, number, errno.EAGAIN, counters.with_name("refused"), "Popen")
    with no_trace():
        with refusing(refusal), pytest.raises(SystemRefused) as caught:
            hermes.Session.from_yaml(counters).start()
        reason = "Resource temporarily unavailable (see the limit of processes and threads: ulimit -u)"
        assert str(caught.value) == f"cannot start {process}: {reason}"
    assert refusal.refused == "Popen"


def test_a_reset_that_cannot_start_a_module_again_fails_and_a_later_one_works(counters: Path) -> None:
    source = counters.with_name("counter.py")
    source.write_text(source.read_text().replace("self.count += 1", "self.count += 1; 1 / (self.count - 3)"))
    refusal = Refusal("engine", 3, errno.ENOMEM, counters.with_name("refused"), "Popen")
    with refusing(refusal), hermes.Session.from_yaml(counters) as session:
        with pytest.raises(hermes.ModuleFailed):
            session.step(3)
        with pytest.raises(SystemRefused, match=r"^cannot start the process of module [ab]: Cannot allocate memory$"):
            session.reset()
        assert session.state == "failed"
        session.reset()
        assert (session.state, session.step(2)) == ("paused", 2)


def test_what_dead_sessions_left_is_swept_at_the_next_start_and_nothing_alive(
    counters: Path, runtime_directory: Path
) -> None:
    alive = ConnectionFile.create(session="alive", url="ws://127.0.0.1:1", token=None, memory="/proc/1/fd/1")
    dead = [alive.path.with_name(name) for name in ("dead-01234567.json", "dead-89abcdef.tmp")]
    for path in dead:
        path.write_text('{"session": "dead"')
    try:
        with hermes.Session.from_yaml(counters) as session:
            assert [path.exists() for path in dead] == [False, False]
            assert [found.path for found in find()] == [session.connection_file, alive.path]
    finally:
        alive.remove()
    assert list((runtime_directory / "hermes").iterdir()) == []
