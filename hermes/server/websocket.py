"""The WebSocket server: the thin shell around `protocol`, `access`, `flow` and `telemetry` on one asyncio loop.

It hands commands to its dispatcher and sends what the dispatcher answers; it decides nothing about the simulation.
Telemetry goes out against absolute deadlines, one encoded frame per distinct subscription, and never waits for a
client.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Any, Protocol

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from hermes.backplane.ring import Snapshot
from hermes.backplane.shm import SharedMemoryManager
from hermes.commands import VIEWING, Command
from hermes.errors import HermesError, PortInUse
from hermes.server import access
from hermes.server.client import ACCEPTS_PER_TURN, Client, ClientStatus, Connection, lengthen_queue
from hermes.server.flow import CHECK_SECONDS, STALL_SECONDS
from hermes.server.messages import Schema, make_event
from hermes.server.protocol import MESSAGE_LIMIT, ClientProtocol
from hermes.server.streams import Streams
from hermes.system import attempt, refused

log = logging.getLogger("hermes.server")

CLIENT_LIMIT = 64
HALF_OPEN_LIMIT = 512
HANDSHAKE_SECONDS = 5.0
CLOSE_SECONDS = 0.5
REFUSAL_LOG_SECONDS = 60.0

_library_log = logging.getLogger("hermes.server.library")
_library_log.setLevel(logging.CRITICAL + 1)  # it logs a traceback for every port scan; what matters we log ourselves


class Reply(Protocol):
    """How a dispatcher answers: with the fields of an ack, or with the error; called once, on the server's loop."""

    def __call__(self, outcome: Mapping[str, Any] | HermesError) -> None:
        """Take the outcome."""


class Dispatcher(Protocol):
    """What the server needs of a session."""

    def submit(self, command: Command, origin: str, reply: Reply) -> None:
        """Issue a checked command, answered in order; raises HermesError where it is refused at once.

        A command of `VIEWING` asks for no more than an answer at the next frame boundary; its outcome's `sequence` is
        the frame that was committed there, which later commands of the same client have not changed yet.
        """

    def describe(self) -> Mapping[str, Any]:
        """Return what the schema says of the session: its name, state, frame, time and rates."""

    def status(self) -> Mapping[str, Any]:
        """Return how the session is doing, as JSON values."""

    def notice(self, event: str, fields: Mapping[str, Any]) -> None:
        """Take note of an event that the server itself has told its clients."""

    @property
    def wiring(self) -> Sequence[Mapping[str, Any]]:
        """The wires, as src, dst, gain, offset."""


class HermesServer:
    """Serves one session's signals and commands; used from one loop."""

    def __init__(
        self,
        shm: SharedMemoryManager,
        dispatcher: Dispatcher,
        *,
        host: str = "127.0.0.1",
        port: int = 8765,
        telemetry_hz: float = 60.0,
        allowed_origins: Sequence[str] = (),
        allowed_hosts: Sequence[str] = (),
        token: str | None = None,
        observe: bool = False,
        client_limit: int = CLIENT_LIMIT,
    ) -> None:
        """Prepare; `port` 0 takes a free one when started, `observe` lets clients watch only."""
        self._shm = shm
        self._dispatcher = dispatcher
        self._host = host
        self.port = port
        self._telemetry_hz = telemetry_hz
        self._observe = observe
        self._client_limit = client_limit
        self._token = token
        self._admission = access.Admission([host, *allowed_hosts], allowed_origins, token)
        self._refusals = access.Throttle(REFUSAL_LOG_SECONDS)
        self._schema = Schema(shm.registry, dispatcher.wiring)
        self._streams = Streams(shm)
        self._closing = False
        self._open: set[Connection] = set()
        self._admitted: set[ServerConnection] = set()
        self._clients: dict[Connection, Client] = {}
        self._server: Server | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> HermesServer:
        await self.start()
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.close()

    @property
    def url(self) -> str:
        """The address that clients connect to."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"ws://{host}:{self.port}"

    @property
    def clients(self) -> list[ClientStatus]:
        """How each connected client is doing; may be read on any thread."""
        return [client.status for client in list(self._clients.values())]

    async def start(self) -> None:
        """Bind and begin to serve; raises PortInUse, SystemRefused, and ServerExposed where a token is missing."""
        access.refuse_exposure(self._host, self._token)
        try:
            server = await attempt(
                serve,
                self._handle,
                "127.0.0.1" if self._host == "localhost" else self._host,  # else port 0 would be two ports
                self.port,
                process_request=self._admit,
                create_connection=partial(Connection, self._made, self._lost),  # type: ignore[arg-type]
                compression=None,
                open_timeout=HANDSHAKE_SECONDS,
                ping_interval=None,
                close_timeout=CLOSE_SECONDS,
                max_size=MESSAGE_LIMIT,
                backlog=ACCEPTS_PER_TURN,
                logger=_library_log,
            )
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortInUse(self._host, self.port) from None
            raise refused(f"serve on {self._host}:{self.port}", error) from error
        self._server = server
        listening = next(iter(server.sockets))
        with suppress(OSError):  # it serves without, only fewer at once
            attempt(lengthen_queue, listening.fileno())
        self.port = listening.getsockname()[1]
        self._tasks = [
            asyncio.create_task(self._streams.run(), name="hermes-telemetry"),
            asyncio.create_task(self._watch(), name="hermes-clients"),
        ]
        log.info("serving on %s", self.url)

    async def close(self) -> None:
        """Tell every client, close each with 1001, cut off those that do not answer, and stop listening."""
        server, self._server = self._server, None
        if server is None:
            return
        self._closing = True
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        server.close(close_connections=False)
        self.tell("closing", self._dispatcher.describe())
        await asyncio.gather(*(client.dismiss(CLOSE_SECONDS) for client in list(self._clients.values())))
        for connection in self._open:
            connection.transport.abort()
        with suppress(TimeoutError):
            await asyncio.wait_for(server.wait_closed(), CLOSE_SECONDS)

    def tell(self, event: str, fields: Mapping[str, Any], *, but: Client | None = None) -> None:
        """Send an event to every client (`but` one), in order with its replies; before `finished`, the last frame."""
        if event == "finished":
            self._streams.send()
        text = make_event(event, fields)
        for client in self._clients.values():
            if client is not but:
                client.post(text)

    # -- connections

    def _made(self, connection: Connection) -> None:
        self._open.add(connection)
        if self._closing or len(self._open) > self._client_limit + HALF_OPEN_LIMIT:
            connection.transport.abort()

    def _lost(self, connection: Connection) -> None:
        self._open.discard(connection)
        self._admitted.discard(connection)

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """Refuse whom the rules refuse, before any byte of the schema."""
        headers = request.headers
        hosts, origins = headers.get_all("Host"), headers.get_all("Origin")
        asked = access.Handshake(request.path, hosts, origins, headers.get_all("Authorization"))
        refused = self._admission.refusal(asked)
        if refused is None and len(self._admitted) >= self._client_limit:
            refused = access.Refusal(503, f"{self._client_limit} clients are connected already")
        if refused is None:
            self._admitted.update(self._open & {connection})  # it may be lost already, and is lost but once
            return None
        if self._refusals.passes(f"{refused.status} {origins[:1]}", asyncio.get_running_loop().time()):
            log.warning("client refused: %s (Host %.100r, Origin %.100r)", refused.reason, hosts[:1], origins[:1])
        return connection.respond(HTTPStatus(refused.status), refused.reason + "\n")

    async def _handle(self, connection: ServerConnection) -> None:
        assert isinstance(connection, Connection)
        loop = asyncio.get_running_loop()
        rules = ClientProtocol(
            self._shm.registry, telemetry_hz=self._telemetry_hz, observe=self._observe, now=loop.time()
        )
        client = self._clients[connection] = Client(connection, rules)
        log.info("client connected", extra={"remote": client.name, "clients": len(self._clients)})
        try:
            client.post(self._schema.text(self._dispatcher.describe()))
            async for message in connection:
                self._take(client, message)
                await client.breathe(loop.time())
        except ConnectionClosed:
            return
        finally:
            del self._clients[connection]
            self._streams.follow(client, None)
            counts = {"sent_frames": client.sent, "skipped_frames": client.backlog.skipped}
            fields = {"clients": len(self._clients), **counts}
            log.info("client disconnected", extra={"remote": client.name, **fields})

    async def _watch(self) -> None:
        """Look after the clients: cut off who has stalled, and say who has become slow.

        However late a check is because this loop stood still, it counts as one.
        """
        loop = asyncio.get_running_loop()
        before = loop.time()
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            before, elapsed = loop.time(), loop.time() - before
            for client in list(self._clients.values()):
                client.backlog.check(client.unsent(), elapsed)
                if client.backlog.stalled:
                    client.abort(f"it has taken nothing for {STALL_SECONDS:g} s")
                elif client.backlog.slow and not client.announced_slow:
                    self._announce_slow(client)

    def _announce_slow(self, client: Client) -> None:
        client.announced_slow = True
        now = self._dispatcher.describe()
        at = {key: now[key] for key in ("state", "frame", "time")}
        fields = {**at, "client": client.name, "skipped": client.backlog.skipped}
        log.warning("client %s does not keep up with its telemetry; frames to it are skipped", client.name)
        self.tell("client_slow", fields, but=client)
        self._dispatcher.notice("client_slow", fields)

    # -- commands

    def _take(self, client: Client, message: str | bytes) -> None:
        """Answer one message: at once, or when the dispatcher does.

        Who only looks is answered from the newest committed frame, but not before what the same client asked earlier.
        """
        command = client.protocol.receive(message)
        if isinstance(command, str):
            client.post(command)
            return

        def reply(outcome: Mapping[str, Any] | HermesError) -> None:
            if command.action in VIEWING and not isinstance(outcome, HermesError):
                self._look(client, command, self._shm.read(outcome.get("sequence", 0)) or self._shm.snapshot())
            else:
                client.post(client.protocol.settle(command, outcome))

        if command.action in VIEWING and client.protocol.pending == 1:
            self._look(client, command, self._shm.snapshot())
            return
        try:
            with client.told_of_mistakes(command.action):
                self._dispatcher.submit(command, f"client {client.name}", reply)
        except HermesError as error:
            reply(error)

    def _look(self, client: Client, command: Command, seen: Snapshot) -> None:
        def status() -> dict[str, Any]:
            with client.told_of_mistakes(command.action):
                return {**self._dispatcher.status(), "sent": client.sent, "skipped": client.backlog.skipped}

        before = client.protocol.subscription
        client.post(client.protocol.look(command, seen, status))
        if client.protocol.subscription is not before and client.connection in self._clients:
            self._streams.follow(client, client.protocol.subscription)
