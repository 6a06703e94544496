"""A module that does not start is named at once, with its last words, however it ends; nothing is left behind."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from bounds import promised

import hermes
from hermes.errors import HermesError, ModuleDied, ModuleFailed, ModuleHung

NoTrace = Callable[[], AbstractContextManager[None]]

GOOD = "import hermes\nclass Good(hermes.Module):\n    y = hermes.Output()\n    def step(self, time, dt): self.y += 1\n"
BAD = "import hermes, os, sys, signal\nclass Bad(hermes.Module):\n    y = hermes.Output()\n"
LAST_WORDS = "import sys; print('last words', file=sys.stderr)\n"

STARTS: dict[str, tuple[str, type[HermesError], str]] = {
    "sys.exit(0) at import": (
        LAST_WORDS + "sys.exit(0)\n",
        ModuleDied,
        "module bad died during start: exit code 0\n  bad| last words",
    ),
    "sys.exit with a text at import": (
        "import sys; sys.exit('no licence')\n",
        ModuleDied,
        "module bad died during start: exit code 1\n  bad| no licence",
    ),
    "os._exit(0) at import": (
        LAST_WORDS + "import os; os._exit(0)\n",
        ModuleDied,
        "module bad died during start: exit code 0\n  bad| last words",
    ),
    "os._exit(0) once declared": (
        BAD + "    def reset(self):\n        print('last words', file=sys.stderr); os._exit(0)\n",
        ModuleDied,
        "module bad died during reset: exit code 0\n  bad| last words",
    ),
    "SIGSEGV at import": (
        "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)\n",
        ModuleDied,
        "module bad died during start: signal SIGSEGV\n  bad| Fatal Python error: Segmentation fault",
    ),
    "SIGTERM at import": (
        LAST_WORDS + "import os, signal; os.kill(os.getpid(), signal.SIGTERM)\n",
        ModuleDied,
        "module bad died during start: signal SIGTERM\n  bad| last words",
    ),
    "a real-time signal at import": (
        "import os; os.kill(os.getpid(), 40)\n",
        ModuleDied,
        "module bad died during start: signal 40",
    ),
    "raises in __init__": (
        BAD + "    def __init__(self): raise OSError('no joystick')\n",
        ModuleFailed,
        "module bad raised during start: OSError: no joystick\nTraceback (most recent call last):",
    ),
    "raises in declare": (
        BAD + "    def declare(self): raise KeyError('table')\n",
        ModuleFailed,
        "module bad raised during start: KeyError: 'table'\nTraceback (most recent call last):",
    ),
    "declares nonsense": (
        BAD + "    def declare(self): return 7\n",
        ModuleFailed,
        "module bad raised during start: TypeError: ",
    ),
    "raises in reset": (
        BAD + "    def reset(self): raise ValueError('no trim')\n",
        ModuleFailed,
        "module bad raised during reset: ValueError: no trim\nTraceback (most recent call last):",
    ),
    "leaves through sys.exit in reset": (
        BAD + "    def reset(self): sys.exit(4)\n",
        ModuleDied,
        "module bad died during reset: exit code 4",
    ),
    "closes every descriptor at import": (
        "import os; os.closerange(0, 256)\n",
        ModuleDied,
        "module bad died during start: exit code 1",
    ),
    "a missing package": (
        "import hermes.no_such_thing\n",
        ModuleFailed,
        "module bad raised during start: ModuleNotFoundError: No module named 'hermes.no_such_thing'",
    ),
    "a file that is no text": (
        "x = 1\x00\n",
        ModuleFailed,
        "module bad raised during start: ",
    ),
}


@pytest.fixture
def session(write: Callable[[str, str], Path]) -> Callable[..., hermes.Session]:
    """Return what makes a session of two good modules and, between them, one with the given source."""

    def make(source: str, execution: str = "mode: afap") -> hermes.Session:
        write("good.py", GOOD)
        write("bad.py", source)
        names = (("good1", "good"), ("bad", "bad"), ("good2", "good"))
        modules = "".join(f"  {name}: {{type: script, script: ./{file}.py}}\n" for name, file in names)
        path = write("starts.yaml", f"modules:\n{modules}execution: {{{execution}}}\nserver: {{port: 0}}\n")
        return hermes.Session.from_yaml(path)

    return make


@pytest.mark.parametrize(("source", "kind", "text"), STARTS.values(), ids=STARTS)
def test_a_module_that_does_not_start_is_named(
    session: Callable[..., hermes.Session],
    no_trace: NoTrace,
    source: str,
    kind: type[HermesError],
    text: str,
) -> None:
    with no_trace():
        faulty = session(source, "start_timeout: 60")
        begin = time.monotonic()
        with pytest.raises(kind) as caught:
            faulty.start()
        assert time.monotonic() - begin < promised(1 + 1.5, 8)  # three interpreters start first
        assert str(caught.value).startswith(text)
        assert kind is not ModuleFailed or "hermes/worker.py" not in str(caught.value)
        assert faulty.state == "closed"


def test_a_file_that_is_missing_is_named(
    session: Callable[..., hermes.Session], no_trace: NoTrace, tmp_path: Path
) -> None:
    faulty = session("", "start_timeout: 60")
    (tmp_path / "bad.py").unlink()
    with (
        no_trace(),
        pytest.raises(ModuleFailed, match=r"^module bad raised during start: FileNotFoundError: .*bad\.py"),
    ):
        faulty.start()


@pytest.mark.parametrize("sleep", ["time.sleep(600)", "os.kill(os.getpid(), signal.SIGSTOP)"])
def test_a_module_that_hangs_at_import_is_ended_with_its_grandchild_though_it_ignores_sigterm(
    session: Callable[..., hermes.Session], no_trace: NoTrace, sleep: str
) -> None:
    source = (
        "import os, signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print('looking for the network', file=sys.stderr, flush=True)\n"
        f"{sleep}\n"
    )
    with no_trace():
        begin = time.monotonic()
        with pytest.raises(ModuleHung) as caught:
            session(source, "start_timeout: 3").start()
        assert 3 <= time.monotonic() - begin < promised(3 + 2)
        # on a machine that is busy enough, another one has not come to its declarations either
        assert re.match(
            r"module \w+ did not answer during start within 3 s \(execution.start_timeout\)", str(caught.value)
        )


def test_a_module_that_prints_much_before_it_is_ready_starts_all_the_same(
    session: Callable[..., hermes.Session], no_trace: NoTrace
) -> None:
    source = (
        BAD.replace("class", "line = b'chatter ' * 15 + b'\\n'\nfor _ in range(300):\n"
        "    os.write(1, line * 8192)\nprint('done', file=sys.stderr)\nclass")
        + "    def step(self, time, dt): self.y += 1; assert self.y < 3, 'enough'\n"
    )  # fmt: skip
    with no_trace(), session(source, "start_timeout: 120") as faulty:
        assert faulty.step(2) == 2
        with pytest.raises(ModuleFailed, match="module bad raised in frame 3: AssertionError: enough"):
            faulty.step()
