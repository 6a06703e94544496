"""A session inside a real Jupyter kernel: queued cells, interrupts, cells run again, and a kernel that is killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from bounds import PATIENCE, promised
from faults import until
from kernels import Notebook


def test_ten_cells_queued_behind_a_synchronous_call_all_answer_in_order(opened: Notebook) -> None:
    cells = ["order = []", "session.run(0.5)", *(f"order.append({number})" for number in range(8))]
    replies = [opened.answer(message) for message in opened.queue(*cells)]
    assert [reply["status"] for reply in replies] == ["ok"] * 10
    assert opened.value("order") == "[0, 1, 2, 3, 4, 5, 6, 7]"
    assert opened.value("session.frame") == "50"


@pytest.mark.parametrize("call", ["session.run(1000)", "await session.aio.run(1000)"])
def test_an_interrupt_raises_in_the_cell_and_leaves_the_session_paused_and_usable(
    opened: Notebook, tmp_path: Path, call: str
) -> None:
    opened.run(f"touched = session.observe(lambda event, fields: open({str(tmp_path)!r} + '/' + event, 'w').close())")
    message = opened.queue(call)[0]
    opened.interrupt_when(str(tmp_path / "running"))
    begin = time.monotonic()
    reply = opened.answer(message)
    assert time.monotonic() - begin < promised(2)
    assert reply["status"] == "error"
    assert reply["ename"] in ("KeyboardInterrupt", "CancelledError")
    assert opened.value("str(session.state), session.journal[-1]['origin']") == "('paused', 'interrupt')"
    assert opened.value("session.step(3)") == "3"


def test_a_cell_that_is_run_again_replaces_its_session(opened: Notebook, counters: Path) -> None:
    opened.run("old = session")
    cell = f"session = hermes.Session.from_yaml({str(counters)!r})\nsession.start()"
    assert opened.run(cell)["status"] == "ok"
    assert opened.value("str(old.state), str(session.state)") == "('closed', 'paused')"
    assert opened.value("session.run(0.1)") == "10"


def test_a_thread_hosted_session_works_while_a_cell_blocks(opened: Notebook, counters: Path) -> None:
    cell = f"threaded = hermes.Session.from_yaml({str(counters)!r}, loop='thread', name='threaded')\nthreaded.start()"
    assert opened.run(cell)["status"] == "ok"
    assert opened.run("threaded.resume(); import time; time.sleep(0.5); threaded.pause()")["status"] == "ok"
    assert int(opened.value("threaded.frame")) > promised(30, slack=0.25)
    assert opened.run("await threaded.aio.run(0.1)")["status"] == "ok"
    assert opened.run("threaded.close(); session.close()")["status"] == "ok"


def test_the_archived_nest_asyncio_is_named_where_it_would_lose_messages(opened: Notebook) -> None:
    reply = opened.run("import asyncio; asyncio._nest_patched = True; del asyncio._nest_asyncio2\nsession.run(0.1)")
    assert reply["ename"] == "LoopError"
    assert "await session.aio" in reply["evalue"]
    assert opened.run("await session.aio.run(0.1)")["status"] == "ok"


def test_a_session_works_without_autoawait_in_async_with_and_from_a_subshell(opened: Notebook, counters: Path) -> None:
    cell = f"async with hermes.AsyncSession.from_yaml({str(counters)!r}, name='third') as third: await third.run(0.1)"
    assert opened.run(cell)["status"] == "ok"
    assert opened.value("str(third.state), third.frame") == "('closed', 10)"
    assert opened.run("%autoawait off")["status"] == "ok"
    assert opened.run("session.run(0.1)")["status"] == "ok"
    assert opened.run_in_subshell("session.step(5); session['a.push'] = 1.0")["status"] == "ok"
    assert opened.value("session.frame, session['a.push']") == "(15, 1.0)"
    cell = f"import hermes; other = hermes.Session.from_yaml({str(counters)!r}, name='other'); other.start()"
    assert opened.run_in_subshell(cell)["status"] == "ok"
    assert opened.value("other.step(4)") == "4"
    assert opened.run("session.close(); other.close()")["status"] == "ok"


@pytest.mark.parametrize(
    ("number", "group"), [(signal.SIGKILL, False), (signal.SIGKILL, True), (signal.SIGTERM, False)]
)
def test_a_killed_kernel_leaves_nothing(
    opened: Notebook, hermes_pids: Callable[[], set[int]], number: int, group: bool
) -> None:
    assert opened.run("session.resume()")["status"] == "ok"
    running = hermes_pids() - {opened.pid}
    assert len(running) == 3
    (os.killpg if group else os.kill)(opened.pid, number)
    until(lambda: not hermes_pids() & running, promised(2.5))


CELLS = [
    "import hermes\nimport numpy as np\nGAIN = 3.0",
    "def law(x):\n    return float(np.tanh(GAIN * x))",
    """class Plant(hermes.Module):
    x = hermes.Output(1.0)
    limit = hermes.Parameter(5.0)
    def step(self, time, dt):
        self.x += law(self.x) * dt
        if self.x > self.limit:
            raise ValueError("off the rail")""",
    """def make():
    return hermes.Session(modules={"plant": Plant}, execution={"mode": "afap"}, name="cells", serve=False)
session = make()
session.start()
session.step(60)""",
]


@pytest.fixture
def cells(notebook: Notebook) -> Notebook:
    """Return a kernel whose cells have defined a module, with what it uses, and started its session."""
    for cell in CELLS:
        reply = notebook.run(cell)
        assert reply["status"] == "ok", reply
    return notebook


def test_a_class_of_a_cell_runs_with_what_it_uses_and_is_exported(cells: Notebook, tmp_path: Path) -> None:
    case = tmp_path / "case.yaml"
    assert cells.run(f"session.export({str(case)!r})")["status"] == "ok"
    fingerprint = cells.value("session.fingerprint").strip("'")
    text = (tmp_path / "case_modules" / "plant.py").read_text()
    parts = ["import hermes\nimport numpy as np", "GAIN = 3.0", CELLS[1], CELLS[2]]
    assert text == "\n\n\n".join(parts) + "\n"
    command = [sys.executable, "-m", "hermes", "run", str(case), "--no-server"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    assert fingerprint in done.stdout


def test_a_cell_s_module_that_raises_shows_the_cell_s_line_and_no_path(cells: Notebook) -> None:
    reply = cells.run("session['plant.limit'] = 1.0\nsession.step(5)")
    shown = "\n".join(reply["traceback"])
    assert reply["ename"] == "ModuleFailed"
    assert re.search(r'  Cell In\[\d+\], line 7, in step\n    raise ValueError\("off the rail"\)\n', shown)
    assert "/" not in shown


def test_a_cell_run_again_changes_what_starts_next_and_nothing_that_has_started(
    cells: Notebook, tmp_path: Path
) -> None:
    before = cells.value("session['plant.x']")
    cells.run("early = make()")
    cells.run(CELLS[2].replace("Output(1.0)", "Output(-1.0)"))
    cells.run("GAIN = 5.0")
    assert cells.run(f"session.export({str(tmp_path / 'old.yaml')!r})")["status"] == "ok"
    old = (tmp_path / "old_modules" / "plant.py").read_text()
    assert ("GAIN = 3.0" in old, "Output(1.0)" in old) == (True, True)
    assert cells.run("early.start()")["status"] == "ok"
    assert cells.value("early['plant.x']") == "-1.0"
    assert cells.run(f"early.step(2)\nearly.export({str(tmp_path / 'new.yaml')!r})\nearly.close()")["status"] == "ok"
    assert "GAIN = 5.0" in (tmp_path / "new_modules" / "plant.py").read_text()
    assert float(before) > 1.0


@pytest.mark.parametrize("made", ["import threading; guard = threading.Lock()", "guard = open('/dev/null')"])
def test_a_cell_s_class_that_cannot_be_sent_says_which_variable_hinders(notebook: Notebook, made: str) -> None:
    notebook.run(f"import hermes\n{made}\ndef helper():\n    return guard.__doc__")
    notebook.run("class Plant(hermes.Module):\n    x = hermes.Output()\n    def step(self, time, dt): helper()")
    reply = notebook.run("hermes.Session(modules={'plant': Plant}, serve=False).start()")
    assert reply["ename"] == "ConfigurationError"
    assert "modules.plant: class Plant uses the variable guard (in helper), of type" in "\n".join(reply["traceback"])
