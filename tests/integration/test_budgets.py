"""What starting and idling may cost, with generous bounds: figures belong to benchmarks, collapses to tests."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event

from bounds import promised

import hermes
from hermes.lifecycle import State

IDLE_SECONDS = 2.0

IMPORT_COST = """
import time, numpy
begin = time.process_time()
import hermes.worker
print(time.process_time() - begin)
unwanted = {"asyncio", "websockets", "pydantic", "yaml", "ipywidgets", "click", "rich"} & set(__import__("sys").modules)
assert not unwanted, unwanted
"""


def test_a_module_process_pays_little_to_import_hermes_and_no_event_loop() -> None:
    costs = [float(subprocess.check_output([sys.executable, "-c", IMPORT_COST])) for _ in range(5)]
    assert min(costs) < promised(0.12)  # the goal is 0.06 s on a quiet machine


def test_a_session_of_three_modules_starts_quickly(counters: Path, write: Callable[[str, str], Path]) -> None:
    text = counters.read_text().replace("wiring:", "  c: {type: script, script: ./counter.py}\nwiring:")
    config = write("three.yaml", text)
    with hermes.Session.from_yaml(config) as warm:
        warm.step()
    spans = []
    for _ in range(3):
        session = hermes.Session.from_yaml(config)
        begin = time.monotonic()
        session.start()
        session.step()
        spans.append(time.monotonic() - begin)
        session.close()
    assert min(spans) < promised(3.0)  # the goal is 1.5 s


def test_a_paused_session_without_clients_is_idle(counters: Path) -> None:
    with hermes.Session.from_yaml(counters) as session:
        session.step(10)
        engine = session.aio._run._engine
        assert engine is not None
        assert engine.pid is not None
        before = cpu(engine.pid) + cpu(os.getpid())
        Event().wait(IDLE_SECONDS)  # nothing is awaited: this is the time over which idling is measured
        used = cpu(engine.pid) + cpu(os.getpid()) - before
        assert session.state is State.PAUSED
        assert used / IDLE_SECONDS < promised(0.05)  # the goal is 0.01


def cpu(pid: int) -> float:
    """Return the processor time that a process has used, in seconds."""
    fields = (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
