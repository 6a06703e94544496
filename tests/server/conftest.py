"""What the server's tests share: a server over a backplane in memory, a dispatcher with a script, and clients."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from hermes.backplane.shm import SharedMemoryManager
from hermes.backplane.signals import Signal, SignalKind, SignalRegistry, SignalType
from hermes.commands import Command
from hermes.errors import HermesError
from hermes.server.telemetry import decode_telemetry
from hermes.server.websocket import HermesServer, Reply

DEADLINE = 10.0
EVENTS = {"pause": "paused", "resume": "running", "reset": "reset"}


class ScriptedDispatcher:
    """Stands where a session would: records every command, and answers or refuses it as the test has said.

    An event precedes its ack, and both come in a later turn of the loop, as with a real session. While `holds`,
    answers wait for `release`.
    """

    def __init__(self, shm: SharedMemoryManager) -> None:
        self._shm = shm
        self.commands: list[Command] = []
        self.origins: list[str] = []
        self.refusals: dict[str, HermesError] = {}
        self.failures: dict[str, HermesError] = {}
        self.holds = False
        self.tell: Callable[[str, Mapping[str, Any]], None]
        self.wiring: list[Mapping[str, Any]] = []
        self._held: list[tuple[Command, Reply]] = []

    def describe(self) -> dict[str, Any]:
        return {"session": "scripted", **self.now(), "rate_hz": 100.0, "telemetry_hz": 60.0}

    def now(self) -> dict[str, Any]:
        newest = self._shm.snapshot()
        return {"state": "paused", "frame": newest.frame, "time": newest.time}

    def submit(self, command: Command, origin: str, reply: Reply) -> None:
        self.commands.append(command)
        self.origins.append(origin)
        if command.action in self.refusals:
            raise self.refusals[command.action]
        self._held.append((command, reply))
        if not self.holds:
            asyncio.get_running_loop().call_soon(self.release)

    def release(self) -> None:
        held, self._held = self._held, []
        for command, reply in held:
            if command.action in self.failures:
                reply(self.failures[command.action])
                continue
            if command.action in EVENTS:
                self.tell(EVENTS[command.action], self.now())
            done = {"completed": command.params["count"]} if command.action == "step" else {}
            at = self.now()
            reply({"frame": at["frame"], "time": at["time"], **done})


class Rig:
    """A server that serves, and what it stands on."""

    def __init__(self, shm: SharedMemoryManager, **options: Any) -> None:
        self.shm = shm
        self.dispatcher = ScriptedDispatcher(shm)
        self.server = HermesServer(shm, self.dispatcher, **{"port": 0, **options})
        self.dispatcher.tell = self.server.tell
        self.frame = 0

    def commit(self) -> None:
        self.frame += 1
        self.shm.commit(0, self.frame, self.frame / 100)

    async def keep_committing(self) -> None:
        while True:
            self.commit()
            await asyncio.sleep(0.001)


class Viewer:
    """A client that keeps every message in order and reads telemetry by the layout of its last ack."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.frames: list[tuple[int, float, list[float]]] = []
        self.events: list[dict[str, Any]] = []
        self.messages: list[str | int] = []
        self.layout: int | None = None

    async def receive(self) -> dict[str, Any] | None:
        """Return the next message, or None where it is telemetry."""
        async with asyncio.timeout(DEADLINE):
            message = await self.connection.recv()
        if isinstance(message, bytes):
            frame, time, values = decode_telemetry(message)
            assert len(values) == self.layout, "telemetry in another layout than the last ack's"
            self.frames.append((frame, time, values.tolist()))
            self.messages.append(frame)
            return None
        text: dict[str, Any] = json.loads(message)
        self.messages.append(message)
        if text["type"] == "event":
            self.events.append(text)
        if text["type"] == "ack" and text["action"] == "subscribe":
            self.layout = text["count"]
        return text

    async def reply(self) -> dict[str, Any]:
        """Return the next ack or error."""
        while (text := await self.receive()) is None or text["type"] not in ("ack", "error"):
            pass
        return text

    async def ask(self, message: str | bytes | Mapping[str, Any]) -> dict[str, Any]:
        """Send a message and return its reply."""
        await self.connection.send(json.dumps(message) if isinstance(message, Mapping) else message)
        return await self.reply()

    async def subscribe(self, *signals: str) -> dict[str, Any]:
        return await self.ask({"action": "subscribe", "params": {"signals": signals}})

    async def until(self, condition: Callable[[], object]) -> None:
        """Receive until a condition holds."""
        async with asyncio.timeout(DEADLINE):
            while not condition():
                await self.receive()


Serve = Callable[..., AbstractAsyncContextManager[Rig]]
Connect = Callable[..., AbstractAsyncContextManager[Viewer]]


@asynccontextmanager
async def serving(signals: int = 3, ticking: bool = False, **options: Any) -> AsyncIterator[Rig]:
    first = [Signal("plant", "armed", SignalKind.INPUT, SignalType.BOOL, initial=True)]
    others = [Signal("plant", f"x{number}", unit="m", initial=float(number)) for number in range(signals - 1)]
    shm = SharedMemoryManager.create(SignalRegistry([*others, *first]), history=16)
    rig = Rig(shm, **options)
    rig.commit()
    ticker = asyncio.create_task(rig.keep_committing()) if ticking else None
    try:
        async with rig.server:
            yield rig
    finally:
        if ticker is not None:
            ticker.cancel()
            with suppress(asyncio.CancelledError):
                await ticker
        shm.close()


@asynccontextmanager
async def viewing(rig: Rig, late: bool = False) -> AsyncIterator[Viewer]:
    """Connect a viewer; a `late` one has next to no buffers of its own: what it does not take waits in the server's."""
    options: dict[str, Any] = {"compression": None, "max_size": None, "max_queue": None}
    if late:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", rig.server.port))
        options |= {"sock": sock, "max_queue": 2, "close_timeout": 0.1}
    async with connect(rig.server.url, **options) as connection:
        viewer = Viewer(connection)
        schema = await viewer.receive()
        assert schema is not None
        assert schema["type"] == "schema"
        yield viewer


@pytest.fixture
def serve() -> Serve:
    """Return what serves signals plant.x0, x1, ... and the bool plant.armed, at frame 1."""
    return serving


@pytest.fixture
def view() -> Connect:
    """Return what connects a viewer and takes its schema."""
    return viewing


@pytest.fixture
def deaf() -> Callable[[Rig], AbstractAsyncContextManager[socket.socket]]:
    """Return what connects a client that subscribes to everything and never reads a byte of the answer."""

    @asynccontextmanager
    async def _deaf(rig: Rig) -> AsyncIterator[socket.socket]:
        command = b'{"action":"subscribe","params":{"signals":["*"]}}'
        upgrade = (
            f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{rig.server.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect(("127.0.0.1", rig.server.port))
            sock.sendall(upgrade.encode() + bytes([0x81, 0x80 | len(command), 0, 0, 0, 0]) + command)
            yield sock

    return _deaf
