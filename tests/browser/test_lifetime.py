"""What becomes of a session when its page is loaded anew, and when its kernel is restarted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from bounds import PATIENCE
from lab import Lab
from outside import outside

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(900)]

SWING = """
import hermes
session = hermes.Session.from_yaml(hermes.examples.path("pendulum"), port=0)
session.start()
session.resume()
print(session.url)
"""


async def eventually(condition: Callable[[], object]) -> bool:
    """Wait until a condition holds while the loop goes on; return whether it did."""
    limit = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > limit:
            return False
        await asyncio.sleep(0.02)
    return True


def engines(pids: set[int]) -> set[int]:
    """Return which of these processes are engines or host modules."""
    found = set()
    for pid in pids:
        try:
            words = (Path("/proc") / str(pid) / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"hermes.engine" in words or b"hermes.worker" in words:
            found.add(pid)
    return found


async def test_a_session_and_what_shows_it_outlive_their_page(lab: Lab) -> None:
    lab.server.write("swing.ipynb", SWING, "session.controls()", 'session.plot("pendulum.angle")')
    notebook = await lab.open("swing.ipynb")
    await notebook.run("code-0", "code-1", "code-2")
    plot = lab.page.locator(".hermes-plot[data-drawn]")
    await plot.wait_for()
    await notebook.save()
    async with outside(await notebook.text("code-0")) as viewer:
        await viewer.until(lambda: viewer.times and viewer.times[-1] > 0)
        notebook = await lab.reload()
        before = viewer.times[-1]
        await viewer.until(lambda: viewer.times[-1] > before)
        await plot.wait_for()
        await lab.page.wait_for_function(
            "before => Number(document.querySelector('.hermes-plot').dataset.time) > before", arg=before
        )
        await notebook.cell("code-1").locator(".hermes-badge", has_text="running").wait_for()
        await lab.screenshot("reloaded")
        assert await lab.page.get_by_text("Error displaying widget").count() == 0
        assert await notebook.execute("print(session.state)") == "running"
        assert [event["event"] for event in viewer.events if event["event"] != "overrun"] == []


async def test_a_restarted_kernel_leaves_no_session(lab: Lab, hermes_pids: Callable[[], set[int]]) -> None:
    lab.server.write("swing.ipynb", SWING)
    notebook = await lab.open("swing.ipynb")
    await notebook.run("code-0")
    running = engines(hermes_pids())
    assert len(running) == 2
    await notebook.restart()
    assert await eventually(lambda: not running & hermes_pids())
    assert await notebook.execute("'session' in globals()") == "False"
    await notebook.run("code-0")
    assert await notebook.execute("print(session.state)") == "running"
