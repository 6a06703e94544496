"""What a module prints, forks or refuses to do is its own affair: memory is bounded, frames go on, close takes 2 s."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from bounds import promised
from faults import MIB, until

import hermes
from hermes.errors import ModuleDied, ModuleHung

NoTrace = Callable[[], AbstractContextManager[None]]

GOOD = "import hermes\nclass Good(hermes.Module):\n    y = hermes.Output()\n    def step(self, time, dt): self.y += 1\n"
NOISY = """
import hermes, os, signal, subprocess, sys, threading, time
class Noisy(hermes.Module):
    y = hermes.Output()
    die = hermes.Parameter(0.0)
    def reset(self):
        {reset}
    def step(self, time, dt):
        self.y += 1
        {step}
"""
BLARE = """
        def blare():
            while True:
                os.write(1, {noise})
        threading.Thread(target=blare, daemon=True).start()
"""


@pytest.fixture
def session(write: Callable[[str, str], Path]) -> Callable[..., AbstractContextManager[hermes.Session]]:
    """Return what starts a session of a good module and one that does something at its reset or in its steps."""

    @contextmanager
    def make(reset: str = "pass", step: str = "pass", execution: str = "mode: afap") -> Iterator[hermes.Session]:
        write("good.py", GOOD)
        write("noisy.py", NOISY.format(reset=reset.strip(), step=step))
        modules = "  good: {type: script, script: ./good.py}\n  noisy: {type: script, script: ./noisy.py}\n"
        path = write("noise.yaml", f"modules:\n{modules}execution: {{{execution}}}\nserver: {{port: 0}}\n")
        with hermes.Session.from_yaml(path) as running:
            yield running

    return make


def memory(pid: int) -> int:
    """Return the bytes of a process that are its own: what it shares, the backplane say, does not count."""
    pages = (Path("/proc") / str(pid) / "statm").read_text().split()
    return (int(pages[1]) - int(pages[2])) * os.sysconf("SC_PAGE_SIZE")


def engine_of(session: hermes.Session) -> int:
    engine = session.aio._run._engine
    assert engine is not None
    assert engine.pid is not None
    return engine.pid


@pytest.mark.parametrize(
    "noise",
    ["b'chatter ' * 8192", "(b'chatter ' * 9 + b'\\n') * 900", "b'\\n' * 65536", "b'\\xff\\xfe\\x00' * 21845"],
    ids=["one endless line", "lines", "empty lines", "no UTF-8"],
)
def test_a_flood_of_output_costs_neither_memory_nor_frames(
    session: Callable[..., AbstractContextManager[hermes.Session]], no_trace: NoTrace, noise: str
) -> None:
    with no_trace(), session(reset=BLARE.format(noise=noise)) as faulty:
        engine = engine_of(faulty)
        assert faulty.step(20) == 20
        before = memory(engine), memory(os.getpid())
        frames, begin = 20, time.monotonic()
        while time.monotonic() < begin + 2:
            frames += faulty.step(20)
        assert faulty["good.y"] == faulty["noisy.y"] == faulty.frame == frames
        assert (memory(engine) - before[0]) // MIB <= 16
        assert (memory(os.getpid()) - before[1]) // MIB <= 64  # the records of 1,000 lines a second that pytest keeps
        assert faulty.status.state == "paused"


def test_a_line_of_a_megabyte_is_cut_and_its_end_is_kept(
    session: Callable[..., AbstractContextManager[hermes.Session]], no_trace: NoTrace
) -> None:
    act = "if self.y == 3: os.write(2, b'begin' + b'x' * 1_000_000 + b'the end\\n'); os._exit(3)"
    with no_trace(), session(step=act) as faulty:
        with pytest.raises(ModuleDied) as caught:
            faulty.step(5)
        text = str(caught.value)
        assert text.startswith("module noisy died in frame 3: exit code 3\n  noisy| xxx")
        assert text.endswith("xthe end")
        assert len(text) < 50_000
        assert faulty["good.y"] == 2.0


def test_what_could_steer_a_terminal_or_a_page_is_shown_escaped(
    session: Callable[..., AbstractContextManager[hermes.Session]], caplog: pytest.LogCaptureFixture
) -> None:
    words = rb"\x1b]0;owned\x07\x1b[2J<script>alert(1)</script>\xff\xfe\r over \x00"
    act = f"if self.y == 2: os.write(2, b'{words.decode()}\\n'); os._exit(3)"
    with caplog.at_level(logging.INFO, "hermes.module"), session(step=act) as faulty:
        with pytest.raises(ModuleDied) as caught:
            faulty.step(5)
        until(lambda: [record for record in caplog.records if record.name == "hermes.module.noisy"])
        assert r"\x1b]0;owned\x07\x1b[2J<script>alert(1)</script>" in str(caught.value)
        shown = faulty._repr_html_()
        told = [str(caught.value), *caught.value._render_traceback_(), *caplog.messages, shown]
    assert any("owned" in text for text in caplog.messages)
    assert "owned" in shown
    assert "<script>" not in shown
    for text in told:
        assert [char for char in text if not (char.isprintable() or char == "\n")] == [], text


STUBBORN = {
    "ignores SIGTERM": "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
    "its grandchild keeps the pipe": "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])",
    "its grandchild keeps the pipe and ignores SIGTERM": (
        "subprocess.Popen(['sh', '-c', 'trap \"\" TERM; while :; do sleep 600; done'])"
    ),
    "its grandchild has a process group of its own": (
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], process_group=0)"
    ),
}


@pytest.mark.parametrize("reset", STUBBORN.values(), ids=STUBBORN)
def test_a_stubborn_module_is_gone_within_two_seconds_of_close(
    session: Callable[..., AbstractContextManager[hermes.Session]], no_trace: NoTrace, reset: str
) -> None:
    with no_trace():
        with session(reset=reset) as faulty:
            assert faulty.step(3) == 3
            begin = time.monotonic()
        assert time.monotonic() - begin < promised(2)


@pytest.mark.parametrize("act", ["clock.sleep(600)", "os.kill(os.getpid(), signal.SIGSTOP)"])
def test_a_module_that_is_stuck_in_its_step_is_gone_within_two_seconds_of_close(
    session: Callable[..., AbstractContextManager[hermes.Session]], no_trace: NoTrace, act: str
) -> None:
    stuck = f"import time as clock; signal.signal(signal.SIGTERM, signal.SIG_IGN); {act}"
    with no_trace():
        with session(step=stuck, execution="rate_hz: 100, step_timeout: 0") as faulty:
            faulty.resume()
            begin = time.monotonic()
        assert time.monotonic() - begin < promised(2)


def test_a_module_that_closes_its_descriptors_and_dies_is_told_and_leaves_no_trace(
    session: Callable[..., AbstractContextManager[hermes.Session]], no_trace: NoTrace
) -> None:
    with no_trace(), session(step="if self.y == 3: os.closerange(0, 256); os._exit(9)") as faulty:
        with pytest.raises(ModuleDied, match="module noisy died in frame 3: exit code 9"):
            faulty.step(5)
        assert faulty["good.y"] == 2.0


def test_a_module_that_closes_its_descriptors_and_lives_is_found_out(
    session: Callable[..., AbstractContextManager[hermes.Session]], no_trace: NoTrace
) -> None:
    """It cannot sleep any more without its events: it dies of that, or is told as hung."""
    with (
        no_trace(),
        session(step="os.closerange(0, 256)", execution="rate_hz: 100, step_timeout: 2") as faulty,
        pytest.raises((ModuleDied, ModuleHung, hermes.ModuleFailed), match=r"^module noisy "),
    ):
        faulty.run(10)
