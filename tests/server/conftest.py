"""What the server's tests share: a server over a backplane in memory, a dispatcher with a script, and clients."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

import pytest
from bounds import PATIENCE
from rawframes import TEXT, client_frame
from websockets.asyncio.client import ClientConnection, connect

from hermes.backplane.shm import SharedMemoryManager
from hermes.backplane.signals import Signal, SignalKind, SignalRegistry, SignalType
from hermes.commands import Command
from hermes.errors import HermesError
from hermes.server.client import Client
from hermes.server.telemetry import decode_telemetry
from hermes.server.websocket import HermesServer, Reply

EVENTS = {"pause": "paused", "resume": "running", "reset": "reset"}


class ScriptedDispatcher:
    """Stands where a session would: records every command, and answers or refuses it as the test has said.

    An event precedes its ack, and both come in a later turn of the loop, as with a real session. While `holds`,
    answers wait for `release`. `refusals` and `mistakes` are raised at once (the mistake ``to look`` by `status`),
    `failures` come as the answer.
    """

    def __init__(self, shm: SharedMemoryManager) -> None:
        self._shm = shm
        self.commands: list[Command] = []
        self.origins: list[str] = []
        self.refusals: dict[str, HermesError] = {}
        self.failures: dict[str, HermesError] = {}
        self.mistakes: dict[str, Exception] = {}
        self.noticed: list[tuple[str, Mapping[str, Any]]] = []
        self.holds = False
        self.tell: Callable[[str, Mapping[str, Any]], None]
        self.wiring: list[Mapping[str, Any]] = []
        self._held: list[tuple[Command, Reply]] = []

    def describe(self) -> dict[str, Any]:
        return {"session": "scripted", **self.now(), "rate_hz": 100.0, "telemetry_hz": 60.0}

    def now(self) -> dict[str, Any]:
        newest = self._shm.snapshot()
        return {"state": "paused", "frame": newest.frame, "time": newest.time}

    def status(self) -> dict[str, Any]:
        if "to look" in self.mistakes:
            raise self.mistakes["to look"]
        return {**self.now(), "real_time_factor": 1.5, "overruns": 2, "clients": 1}

    def notice(self, event: str, fields: Mapping[str, Any]) -> None:
        self.noticed.append((event, fields))

    def submit(self, command: Command, origin: str, reply: Reply) -> None:
        self.commands.append(command)
        self.origins.append(origin)
        if command.action in self.refusals:
            raise self.refusals[command.action]
        if command.action in self.mistakes:
            raise self.mistakes[command.action]
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

    @property
    def clients(self) -> int:
        """How many clients are connected."""
        return len(self.server.clients)

    @property
    def inside(self) -> list[Client]:
        """The server's own view of its clients, in the order in which they came."""
        return list(self.server._clients.values())

    async def until(self, condition: Callable[[], object]) -> None:
        """Let the server work until a condition holds."""
        async with asyncio.timeout(PATIENCE):
            while not condition():
                await asyncio.sleep(0.001)

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
        async with asyncio.timeout(PATIENCE):
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
        if text["type"] == "ack" and text["action"] in ("subscribe", "unsubscribe"):
            self.layout = text["count"] if text["action"] == "subscribe" or text["count"] else None
        return text

    async def reply(self) -> dict[str, Any]:
        """Return the next ack or error."""
        while (text := await self.receive()) is None or text["type"] not in ("ack", "error"):
            pass
        return text

    async def send(self, message: str | bytes | Mapping[str, Any]) -> None:
        """Send a message."""
        await self.connection.send(json.dumps(message) if isinstance(message, Mapping) else message)

    async def ask(self, message: str | bytes | Mapping[str, Any]) -> dict[str, Any]:
        """Send a message and return its reply."""
        await self.send(message)
        return await self.reply()

    async def subscribe(self, *signals: str, **params: Any) -> dict[str, Any]:
        return await self.ask({"action": "subscribe", "params": {"signals": signals, **params}})

    async def watch(self, seconds: float) -> int:
        """Receive for some time; return how many frames came."""
        seen, limit = len(self.frames), asyncio.get_running_loop().time() + seconds
        await self.until(lambda: asyncio.get_running_loop().time() >= limit)
        return len(self.frames) - seen

    async def until(self, condition: Callable[[], object]) -> None:
        """Receive until a condition holds."""
        async with asyncio.timeout(PATIENCE):
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


def request(port: int, *headers: str, target: str = "/") -> bytes:
    """Return a handshake, with further headers."""
    lines = [f"GET {target} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Upgrade: websocket", "Connection: Upgrade"]
    lines += ["Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Version: 13", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


@pytest.fixture
def deaf() -> Callable[..., AbstractAsyncContextManager[socket.socket]]:
    """Return what connects a client that sends a text, by default a subscription to all, and never reads a byte."""

    @asynccontextmanager
    async def _deaf(
        rig: Rig, *texts: bytes, headers: Sequence[str] = (), buffer: int = 4096
    ) -> AsyncIterator[socket.socket]:
        sent = texts or (b'{"action":"subscribe","params":{"signals":["*"]}}',)
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            sock.connect(("127.0.0.1", rig.server.port))
            sock.sendall(request(rig.server.port, *headers) + b"".join(client_frame(TEXT, text) for text in sent))
            yield sock

    return _deaf


@pytest.fixture
def handshake() -> Callable[..., bytes]:
    """Return what makes the bytes of a handshake for a port, with further headers and a target."""
    return request
