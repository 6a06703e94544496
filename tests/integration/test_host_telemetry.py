"""Telemetry of a notebook's session reaches an outside client while cells wait, print, compute and block."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from faults import tick_ok_during
from kernels import Notebook

SECONDS = 3.0

BUSY = "end = time.monotonic() + 3\nwhile time.monotonic() < end: sum(range(1000))"
NUMPY = "end = time.monotonic() + 3\nwhile time.monotonic() < end: square @ square"
PRINTING = "for number in range(20): print(str(number) * 1000)"


def started(notebook: Notebook, counters: Path, loop: str | None) -> str:
    """Start a session and let it run; return its address."""
    cell = f"""
import asyncio, sys, time
import numpy
import hermes
square = numpy.ones((300, 300))
session = hermes.Session.from_yaml({str(counters)!r}, loop={loop!r})
session.start()
session.step(1)
"""
    assert notebook.run(cell)["status"] == "ok"
    return notebook.value("session.url").strip("'")


@pytest.mark.parametrize("cell", ["time.sleep(3)", BUSY, NUMPY], ids=["sleep", "python", "numpy"])
def test_on_a_thread_of_its_own_it_flows_through_cells_that_block(
    notebook: Notebook, counters: Path, cell: str
) -> None:
    url = started(notebook, counters, "thread")
    assert notebook.value("sys.getswitchinterval() < 0.0015") == "True"
    assert notebook.run("session.resume()")["status"] == "ok"
    reply, _ = tick_ok_during(url, lambda: notebook.run(cell))
    assert reply["status"] == "ok"
    assert notebook.run("session.close()")["status"] == "ok"
    assert notebook.value("sys.getswitchinterval() > 0.004") == "True"


def test_on_the_kernel_s_loop_it_flows_through_cells_that_give_way_and_a_blocking_one_is_told(
    notebook: Notebook, counters: Path
) -> None:
    url = started(notebook, counters, None)

    def cells(*of_these: str) -> None:
        limit = time.monotonic() + SECONDS
        while time.monotonic() < limit:
            for cell in of_these:
                assert notebook.run(cell)["status"] == "ok"

    assert notebook.run("session.resume()")["status"] == "ok"
    tick_ok_during(url, lambda: cells("await asyncio.sleep(0.5)", "1 + 1", PRINTING))
    assert notebook.run("session.pause()")["status"] == "ok"
    tick_ok_during(url, lambda: cells("session.run(0.5)"))
    assert notebook.run("before = session.status; time.sleep(3)")["status"] == "ok"
    assert notebook.run("while session.status.longest_stall < 2.9: await asyncio.sleep(0.01)")["status"] == "ok"
    assert notebook.value("session.status.loop_stalls > before.loop_stalls") == "True"
    assert "a cell blocked the notebook&#x27;s loop" in notebook.value("session._repr_html_()")
