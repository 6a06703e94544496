"""What integration tests share: small modules, a strict client, and `hermes run` in a process of its own."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from bounds import PATIENCE
from jupyter_core.utils import run_sync
from kernels import Notebook
from websockets.asyncio.client import ClientConnection, connect

from hermes.server.telemetry import decode_telemetry
from hermes.strictjson import decode

pytest.register_assert_rewrite("wirechecks", "wireclient", "wiremodel", "wirereplies", "wireworld")

COUNTER = """
import hermes

class Counter(hermes.Module):
    '''Counts its steps and integrates a ramp.'''
    gain = hermes.Parameter(1.0, limits=(-10, 10))
    push = hermes.Input(unit="N")
    count = hermes.Output(type="i64")
    ramp = hermes.Output(unit="m", initial=0.5)

    def step(self, time, dt):
        self.count += 1
        self.ramp += (self.gain + self.push) * dt
"""

CONFIGURATION = """
name: counters
modules:
  a: {type: script, script: ./counter.py}
  b: {type: script, script: ./counter.py, params: {gain: 2.0}}
wiring:
  - {src: a.ramp, dst: b.push, gain: 0.5}
execution: {rate_hz: 100, start_timeout: 60, step_timeout: 60}
server: {port: 0}
"""


@pytest.fixture
def counters(write: Callable[[str, str], Path]) -> Path:
    """Return the path of a configuration with two small modules and one wire."""
    write("counter.py", COUNTER)
    return write("counters.yaml", CONFIGURATION)


class StrictClient:
    """A client as strict as one in C++: the schema comes first, JSON has no NaN, telemetry has the acked length."""

    def __init__(self, connection: ClientConnection, schema: dict[str, Any]) -> None:
        self.connection = connection
        self.schema = schema
        self.events: list[dict[str, Any]] = []
        self.overruns: list[dict[str, Any]] = []  # events, too, but a busy machine has some at any time
        self.frames: list[tuple[int, float, list[float]]] = []
        self.texts: list[dict[str, Any]] = []
        self.signals: list[str] = []

    async def receive(self) -> dict[str, Any] | None:
        """Take one message: a text message is returned, a telemetry frame is kept."""
        message = await asyncio.wait_for(self.connection.recv(), PATIENCE)
        if isinstance(message, bytes):
            frame, time, values = decode_telemetry(message)
            assert len(values) == len(self.signals)
            self.frames.append((frame, time, values.tolist()))
            return None
        text: dict[str, Any] = decode(message)
        self.texts.append(text)
        if text["type"] == "event":
            assert isinstance(text["event"], str)
            (self.overruns if text["event"] == "overrun" else self.events).append(text)
        return text

    async def until(self, condition: Callable[[], object]) -> None:
        """Receive until a condition holds."""
        while not condition():
            await self.receive()

    async def command(self, action: str, **params: Any) -> dict[str, Any]:
        """Send a command and return its ack or error."""
        await self.connection.send(json.dumps({"action": action, "params": params} if params else {"action": action}))
        while True:
            text = await self.receive()
            if text is not None and text["type"] in ("ack", "error"):
                if text["type"] == "ack" and action == "subscribe":
                    self.signals = text["signals"]
                return text

    async def event(self, name: str) -> dict[str, Any]:
        """Receive until an event of this name is the newest."""
        events = self.overruns if name == "overrun" else self.events
        await self.until(lambda: events and events[-1]["event"] == name)
        return events[-1]


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[StrictClient]:
    """Connect as the existing viewer does: its own target as Origin, no compression."""
    async with connect(url, origin=url, compression=None, max_size=None) as connection:
        first = await asyncio.wait_for(connection.recv(), PATIENCE)
        assert isinstance(first, str)
        yield StrictClient(connection, decode(first, containers=len(first)))


@pytest.fixture
def client() -> Callable[[str], Any]:
    """Return what connects a strict client to a URL, as an asynchronous context manager."""
    return connected


class Running:
    """A `hermes run` in its own process."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = process
        self.url = url

    def end(self, number: int) -> tuple[int, str]:
        """Send a signal and return the exit status and what it wrote to standard error."""
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, errors


@pytest.fixture
def hermes_run() -> Iterator[Callable[..., Running]]:
    """Return what starts `hermes run` with some arguments and returns it when it serves; ended after the test."""
    started: list[subprocess.Popen[str]] = []

    def run(*arguments: object) -> Running:
        command = [sys.executable, "-m", "hermes", "run", *map(str, arguments)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.search(r"ws://\S+", line)
        assert found, line + process.stderr.read()
        if "--paused" in arguments:
            assert "paused" in process.stderr.readline()
        return Running(process, found[0])

    yield run
    for process in started:
        process.terminate()
        process.communicate(timeout=PATIENCE)


@pytest.fixture(scope="session")
def kernel_client_loop() -> None:
    """Let jupyter_client open the event loop that it keeps for the whole process, so that no test seems to leak it."""
    run_sync(asyncio.sleep)(0)


@pytest.fixture
def notebook(kernel_client_loop: None) -> Iterator[Notebook]:
    """Return a fresh kernel, ended after the test."""
    started = Notebook()
    yield started
    started.stop()


@pytest.fixture
def opened(notebook: Notebook, counters: Path) -> Notebook:
    """Return a kernel in which `session` is started."""
    cell = f"import hermes\nsession = hermes.Session.from_yaml({str(counters)!r})\nsession.start()"
    assert notebook.run(cell)["status"] == "ok"
    return notebook
