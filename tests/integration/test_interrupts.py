"""An interrupt at any instant of any call of a session raises in its cell and leaves a session that works.

The instants are random, with a fixed seed. Every cell ends in a wait, so that an interrupt which comes after the call
still strikes the cell, and not what Jupyter does behind it.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from bounds import promised
from faults import held, until
from kernels import Notebook
from loadclients import Client, run

CALLS = {
    "run": "session.run(1000)",
    "await run": "await session.aio.run(1000)",
    "step": "session.step(10**9)",
    "await step": "await session.aio.step(10**9)",
    "set": "while True: session['a.push'] = 1.0",
    "await set": "while True: await session.aio.set({'a.push': 1.0})",
    "start": "other = made()\nopened()\nother.start()\ntime.sleep(1000)",
    "await start": "other = made()\nopened()\nawait other.aio.start()\nawait asyncio.sleep(1000)",
    "close": "opened()\nother.close()\ntime.sleep(1000)",
    "await close": "opened()\nawait other.aio.close()\nawait asyncio.sleep(1000)",
}

PREPARATION = """
import asyncio, os, time
from pathlib import Path
import hermes

def made(name="other"):
    return hermes.Session.from_yaml({config!r}, loop={loop!r}, name=name)

def opened():
    Path({sign!r}).touch()

session = made("session")
session.start()
begin = time.monotonic()
other = made()
other.start()
started = time.monotonic()
other.close()
spans = started - begin, time.monotonic() - started
"""


class Victim:
    """A kernel with a session whose calls are interrupted, one after the other."""

    def __init__(self, notebook: Notebook, config: Path, loop: str | None, pids: Callable[[], set[int]]) -> None:
        self._notebook = notebook
        self._sign = config.with_name("sign")
        self._pids = pids
        cell = PREPARATION.format(config=str(config), loop=loop, sign=str(self._sign))
        assert notebook.run(cell)["status"] == "ok"
        begun, ended = notebook.value("spans").strip("()").split(",")
        self._spans = {"start": float(begun), "close": float(ended)}
        self._url = notebook.value("session.url").strip("'")
        self._running = pids()

    def interrupt(self, name: str, share: float) -> None:
        """Interrupt a call after a share of its time, and see what is left."""
        kind = name.rsplit(maxsplit=1)[-1]
        if kind == "close":
            assert self._notebook.run("other = made()\nother.start()")["status"] == "ok"
        self._sign.unlink(missing_ok=True)
        call = CALLS[name] if kind in self._spans else "opened()\n" + CALLS[name]
        message = self._notebook.queue(call)[0]
        until(self._sign.exists)
        threading.Event().wait(share * self._spans.get(kind, 0.3))
        begin = time.monotonic()
        self._notebook.manager.interrupt_kernel()
        reply = self._notebook.answer(message)
        assert time.monotonic() - begin < promised(1, slack=30), name
        assert reply["status"] == "error", name
        assert reply["ename"] in ("KeyboardInterrupt", "CancelledError"), reply
        if kind in self._spans:
            self._see_gone(kind)
        self._see_working(name)

    def _see_gone(self, kind: str) -> None:
        """The other session is closed, or closes, or works and can be closed; then nothing of it is left."""
        reply = self._notebook.run(
            f"{kind == 'start'} and str(other.state) == 'paused' and other.step(1)\nother.close()"
        )
        assert reply["status"] == "ok", (kind, reply)
        assert self._notebook.value("str(other.state)") == "'closed'"
        until(lambda: self._pids() <= self._running, promised(2.5))

    def _see_working(self, name: str) -> None:
        """The session is paused, obeys, and still serves whoever comes."""
        assert self._notebook.value("str(session.state), session.step(3)") == "('paused', 3)", name
        viewer = Client(self._url)
        with held([viewer]):
            run([viewer], promised(2.5, slack=20), lambda: len(viewer.arrivals) >= 3)
            assert len(viewer.arrivals) >= 3, name

    def see_watched(self) -> None:
        """The watch of the loop still beats."""
        beat = "session.aio._run._watch._next.when()"
        before = float(self._notebook.value(beat))
        until(lambda: float(self._notebook.value(beat)) > before)


def interrupt_all(victim: Victim, names: Sequence[str], seed: int) -> None:
    shares = random.Random(seed)
    for name in names:
        victim.interrupt(name, shares.random())
    victim.see_watched()


@pytest.mark.parametrize("loop", [None, "thread"])
def test_interrupts_at_random_instants_leave_a_session_that_works(
    notebook: Notebook, counters: Path, hermes_pids: Callable[[], set[int]], loop: str | None
) -> None:
    names = [*CALLS, "start", "close"]
    random.Random(7).shuffle(names)
    interrupt_all(Victim(notebook, counters, loop, hermes_pids), names, 11)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("loop", [None, "thread"])
@pytest.mark.parametrize("kind", ["run", "step", "start", "close"])
def test_fifty_interrupts_of_each_call(
    notebook: Notebook, counters: Path, hermes_pids: Callable[[], set[int]], loop: str | None, kind: str
) -> None:
    interrupt_all(Victim(notebook, counters, loop, hermes_pids), [kind, f"await {kind}"] * 25, 13)
