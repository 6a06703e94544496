"""Where a module hangs is read from what its process wrote, cut down to its own lines."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from bounds import PATIENCE
from faults import until

from hermes import loading
from hermes.backplane.handshake import STACK_SIGNAL
from hermes.backplane.sync import Opcode
from hermes.engine.plan import ModulePlan, Plan
from hermes.engine.process import ProcessManager
from hermes.engine.stacks import as_text

HERMES = Path(loading.__file__).parent
LIBRARY = Path(os.__file__).parent

RUNTIME = f"""\
  File "{HERMES}/worker.py", line 155 in run
  File "{HERMES}/backplane/sync.py", line 205 in serve
  File "{HERMES}/worker.py", line 232 in <module>
  File "<frozen runpy>", line 88 in _run_code
"""

MAIN = f"""\
Current thread 0x00007f57f0e2cb80 (most recent call first):
  File "{LIBRARY}/threading.py", line 327 in wait
  File "/home/m\\xfcller/plant.py", line 11 in relax
  File "Cell In[3]", line 5 in step
{RUNTIME}"""

OTHER = f"""\
Thread 0x00007f57f0000001 (most recent call first):
  File "/home/plant.py", line 23 in listen
  File "{LIBRARY}/threading.py", line 982 in run

"""

IDLE = f"""\
Thread 0x00007f57f0000002 (most recent call first):
  File "{LIBRARY}/concurrent/futures/thread.py", line 81 in _worker

"""

SHOWN = f"""\
Stack (most recent call last):
  Cell In[3], line 5, in step
  File "/home/müller/plant.py", line 11, in relax
  File "{LIBRARY}/threading.py", line 327, in wait
"""

SHOWN_OTHER = f"""\
Stack of another thread (most recent call last):
  File "{LIBRARY}/threading.py", line 982, in run
  File "/home/plant.py", line 23, in listen
"""

DUMPS = {
    "one thread": (MAIN, SHOWN),
    "answered twice": (MAIN + MAIN, SHOWN),
    "a second thread, and one that rests": (OTHER + IDLE + MAIN + OTHER, SHOWN + SHOWN_OTHER),
    "asked on another thread": (
        OTHER.replace("Thread", "Current thread") + MAIN.replace("Current thread", "Thread"),
        SHOWN + SHOWN_OTHER,
    ),
    "cut in the middle of a line": (MAIN[: MAIN.index("Cell")], SHOWN.replace("  Cell In[3], line 5, in step\n", "")),
    "the runtime alone": (f"Current thread 0x1 (most recent call first):\n{RUNTIME}", ""),
    "no Python code": ("Current thread 0x1 (most recent call first):\n  <no Python frame>\n", ""),
    "something else": ('  File "/home/plant.py", line 3 in step\nno stack\x00\n', ""),
    "nothing": ("", ""),
    "a module that comes with Hermes": (
        f'Current thread 0x1 (most recent call first):\n  File "{HERMES}/modules/jsbsim.py", line 3 in step\n',
        f'Stack (most recent call last):\n  File "{HERMES}/modules/jsbsim.py", line 3, in step\n',
    ),
    "what is no character": (
        'Current thread 0x1 (most recent call first):\n  File "/a/\\udc80\\u6f22.py", line 3 in step\n',
        'Stack (most recent call last):\n  File "/a/\\udc80漢.py", line 3, in step\n',
    ),
}


@pytest.mark.parametrize(("dump", "text"), DUMPS.values(), ids=DUMPS)
def test_a_stack_is_shown_without_the_runtime_and_the_newest_line_last(dump: str, text: str) -> None:
    assert as_text(dump) == text


MODULE = """
import os, signal, threading, time
import hermes

class Stuck(hermes.Module):
    there = hermes.Output()

    def __init__(self, act):
        self.act = act
        self.lock = threading.Lock()

    def reset(self):
        getattr(self, self.act)()

    def sleeps(self):
        time.sleep(1000)  # here

    def spins(self):
        while True: pass  # here

    def waits_for_itself(self):
        self.lock.acquire()
        self.lock.acquire()  # here

    def keeps_the_interpreter(self):
        sum(range(10**15))  # here

    def takes_other_signals(self):
        for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGRTMIN, signal.SIGRTMAX):
            signal.signal(number, lambda number, _: setattr(self, "there", self.there + 1))
            os.kill(os.getpid(), number)
        assert self.there == 4
        time.sleep(1000)  # here

    def waits_for_a_thread(self):
        thread = threading.Thread(target=lambda: time.sleep(1000), daemon=True)
        thread.start()
        thread.join()  # here

    def closes_its_descriptors(self):
        os.closerange(3, 256)
        self.there = 1.0
        time.sleep(1000)

    def hears_no_signal(self):
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
        self.there = 1.0
        time.sleep(1000)

    def is_stopped(self):
        self.there = 1.0
        os.kill(os.getpid(), signal.SIGSTOP)
"""

TELL = [name for name in re.findall(r"def (\w+)\(self\)", MODULE.partition("def closes")[0]) if name != "reset"]
TELL_NOTHING = ["closes_its_descriptors", "hears_no_signal", "is_stopped"]


@pytest.fixture
def started(tmp_path: Path) -> Callable[[str], AbstractContextManager[ProcessManager]]:
    """Return what starts a module that does not come back from its reset, and releases it for that."""

    @contextmanager
    def start(act: str) -> Iterator[ProcessManager]:
        (tmp_path / "stuck.py").write_text(MODULE)
        spec = {"file": str(tmp_path / "stuck.py"), "class": "Stuck", "params": {"act": act}}
        plan = Plan("stuck", (ModulePlan("stuck", spec, {}),), start_timeout=PATIENCE)
        with ProcessManager(plan) as manager:
            manager.gates["stuck"].release(Opcode.RESET)
            yield manager

    return start


def shown(manager: ProcessManager, line: str) -> str:
    """Return what a module, which may still be on its way, says where it is, if it has a line; "" otherwise."""
    text = manager._stacks.ask(manager.processes["stuck"].pidfd, looks=1000)
    return text if line in text else ""


@pytest.mark.parametrize("act", TELL)
def test_a_module_that_hangs_says_at_which_line(
    started: Callable[[str], AbstractContextManager[ProcessManager]], tmp_path: Path, act: str
) -> None:
    lines = MODULE.split("\n")
    first = lines.index(f"    def {act}(self):")
    number = next(at for at, line in enumerate(lines, 1) if at > first and "# here" in line)
    with started(act) as manager:
        text = until(lambda: shown(manager, f'  File "{tmp_path}/stuck.py", line {number}, in {act}'))
    assert text.startswith(f'Stack (most recent call last):\n  File "{tmp_path}/stuck.py", line 13, in reset\n')
    assert str(HERMES) not in text
    assert ("in <lambda>" in text) == (act == "waits_for_a_thread")


@pytest.mark.parametrize("act", TELL_NOTHING)
def test_a_module_that_cannot_say_where_it_is_is_ended_all_the_same(
    started: Callable[[str], AbstractContextManager[ProcessManager]], act: str
) -> None:
    with started(act) as manager:
        with manager.shm.live_cells(0, "d") as cells:
            until(lambda: cells[0] == 1.0)
        if act == "is_stopped":
            state = Path(f"/proc/{manager.processes['stuck'].pid}/stat")
            until(lambda: state.read_text().rpartition(")")[2].split()[0] == "T")
        told = manager.kill_hung(["stuck"], 0, "reset", 1.0)
        assert manager.processes["stuck"].exited
    assert (told.module, told.fields["stack"], told.fields["waiting_for"]) == ("stuck", "", ["stuck"])


def test_a_process_that_does_not_know_the_question_is_ended_by_it(
    started: Callable[[str], AbstractContextManager[ProcessManager]],
) -> None:
    with (
        started("sleeps") as manager,
        subprocess.Popen(["sleep", "600"], stdin=subprocess.DEVNULL) as other,
    ):
        pidfd = os.pidfd_open(other.pid)
        try:
            assert manager._stacks.ask(pidfd, looks=int(1000 * PATIENCE)) == ""
        finally:
            os.close(pidfd)
        assert other.wait() == -STACK_SIGNAL


def test_what_is_read_of_an_answer_is_bounded(started: Callable[[str], AbstractContextManager[ProcessManager]]) -> None:
    with started("sleeps") as manager:
        until(lambda: shown(manager, "in sleeps"))
        os.pwrite(manager._stacks.fd, b"x" * 100_000, 0)
        assert len(manager._stacks._read()) == 16 * 1024
        until(lambda: shown(manager, "in sleeps"))


def test_a_replacement_that_hangs_at_its_start_says_at_which_line(
    started: Callable[[str], AbstractContextManager[ProcessManager]], tmp_path: Path
) -> None:
    (tmp_path / "slow.py").write_text(
        f"import pathlib, time\npathlib.Path('{tmp_path}/there').touch()\ntime.sleep(1000)\n"
    )
    with started("sleeps") as manager:
        process = manager.spawn_beside(ModulePlan("stuck", {"file": str(tmp_path / "slow.py")}, {}))
        try:
            until((tmp_path / "there").exists)
            until(lambda: "line 3" in manager.hung_beside(process).fields["stack"])
            told = until(lambda: (found := manager.hung_beside(process)).fields["stack"] and found)
        finally:
            manager.discard_beside(process)
    assert told.fields["stack"] == (
        f'Stack (most recent call last):\n  File "{tmp_path}/slow.py", line 3, in <module>\n'
    )
    assert str(told).startswith(
        "module stuck did not answer during start within 120 s (execution.start_timeout)\nStack"
    )
