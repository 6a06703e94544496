"""The WebSocket server: a thin shell around `protocol`, `access` and `telemetry` on one asyncio loop.

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
from http import HTTPStatus
from typing import Any, Protocol

from websockets.asyncio.server import Server, ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from hermes.backplane.ring import Snapshot
from hermes.backplane.shm import SharedMemoryManager
from hermes.backplane.signals import expand_patterns
from hermes.commands import Action, Command, checked
from hermes.errors import CommandError, HermesError, PortInUse, TooMany
from hermes.server import access, protocol
from hermes.server.client import Client
from hermes.server.telemetry import TelemetryEncoder

log = logging.getLogger("hermes.server")

CLIENT_LIMIT = 64
HANDSHAKE_SECONDS = 5.0
CLOSE_SECONDS = 0.5

_library_log = logging.getLogger("hermes.server.library")
_library_log.setLevel(logging.CRITICAL + 1)  # it logs a traceback for every port scan; what matters we log ourselves


class Reply(Protocol):
    """How a dispatcher answers: with the fields of an ack, or with the error; called once, on the server's loop."""

    def __call__(self, outcome: Mapping[str, Any] | HermesError) -> None:
        """Take the outcome."""


class Dispatcher(Protocol):
    """What the server needs of a session."""

    def submit(self, command: Command, origin: str, reply: Reply) -> None:
        """Issue a checked command; raises HermesError where it is refused at once."""

    def describe(self) -> Mapping[str, Any]:
        """Return what the schema says of the session: its name, state, frame, time and rates."""

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
    ) -> None:
        """Prepare; `port` 0 takes a free one when started."""
        self._shm = shm
        self._dispatcher = dispatcher
        self._host = host
        self.port = port
        self.telemetry_hz = telemetry_hz
        self._allowed_origins = tuple(allowed_origins)
        self._allowed_hosts = tuple(allowed_hosts)
        self._clients: set[Client] = set()
        self._encoders: dict[tuple[str, ...], TelemetryEncoder] = {}
        self._server: Server | None = None
        self._telemetry: asyncio.Task[None] | None = None
        self._wanted = asyncio.Event()

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
    def clients(self) -> int:
        """How many clients are connected."""
        return len(self._clients)

    async def start(self) -> None:
        """Bind and begin to serve; raises PortInUse."""
        try:
            self._server = await serve(
                self._handle,
                "127.0.0.1" if self._host == "localhost" else self._host,  # else port 0 would be two ports
                self.port,
                process_request=self._admit,
                compression=None,
                open_timeout=HANDSHAKE_SECONDS,
                ping_interval=None,
                close_timeout=CLOSE_SECONDS,
                max_size=protocol.MESSAGE_LIMIT,
                logger=_library_log,
            )
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                raise PortInUse(self._host, self.port) from None
            raise HermesError(message=f"cannot serve on {self._host}:{self.port}: {error}") from error
        self.port = next(iter(self._server.sockets)).getsockname()[1]
        self._telemetry = asyncio.create_task(self._telemetry_loop(), name="hermes-telemetry")
        log.info("serving on %s", self.url)

    async def close(self) -> None:
        """Tell every client, close each with 1001, cut off those that do not answer, and stop listening."""
        server, self._server = self._server, None
        if server is None:
            return
        if self._telemetry is not None:
            self._telemetry.cancel()
            with suppress(asyncio.CancelledError):
                await self._telemetry
        server.close(close_connections=False)
        self.tell("closing", self._dispatcher.describe())
        await asyncio.gather(*(client.dismiss(CLOSE_SECONDS) for client in set(self._clients)))
        with suppress(TimeoutError):
            await asyncio.wait_for(server.wait_closed(), CLOSE_SECONDS)

    def tell(self, event: str, fields: Mapping[str, Any]) -> None:
        """Send an event to every client, in order with its replies; before `finished`, the last frame."""
        if event == "finished":
            self.send_telemetry()
        text = protocol.make_event(event, fields)
        for client in self._clients:
            client.post(text)

    # -- connections

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """Refuse whom the rules refuse, before any byte of the schema."""
        hosts, origins = request.headers.get_all("Host"), request.headers.get_all("Origin")
        refused = access.refusal(hosts, origins, self._allowed_hosts, self._allowed_origins)
        if refused is None and len(self._clients) >= CLIENT_LIMIT:
            refused = (503, f"{CLIENT_LIMIT} clients are connected already")
        if refused is None:
            return None
        log.warning("client refused: %s (Host %r, Origin %r)", refused[1], hosts[:2], origins[:2])
        return connection.respond(HTTPStatus(refused[0]), refused[1] + "\n")

    async def _handle(self, connection: ServerConnection) -> None:
        first = protocol.make_schema(self._shm.registry, self._dispatcher.describe(), self._dispatcher.wiring)
        client = Client(connection, first)
        self._clients.add(client)
        log.info("client connected", extra={"remote": client.name, "clients": len(self._clients)})
        writer = asyncio.create_task(client.write(self._begin_telemetry), name="hermes-client-writer")
        try:
            async for message in connection:
                self._take(client, message)
        except ConnectionClosed:
            return
        finally:
            self._clients.discard(client)
            self._forget_unused()
            writer.cancel()
            fields = {"remote": client.name, "clients": len(self._clients), "skipped_frames": client.skipped}
            log.info("client disconnected", extra=fields)

    # -- commands

    def _take(self, client: Client, message: str | bytes) -> None:
        """Answer one message: at once, or when the dispatcher does."""
        command = None
        try:
            command = checked(Command.from_json(message))
            if command.action == Action.SUBSCRIBE:
                self._subscribe(client, command)
            elif client.pending >= protocol.PENDING_LIMIT:
                raise TooMany("commands waiting for their reply", protocol.PENDING_LIMIT)
            else:
                self._submit(client, command)
        except HermesError as error:
            client.post(protocol.make_error(error, command or _named(message)))

    def _submit(self, client: Client, command: Command) -> None:
        def reply(outcome: Mapping[str, Any] | HermesError) -> None:
            client.pending -= 1
            if isinstance(outcome, HermesError):
                client.post(protocol.make_error(outcome, command))
            else:
                client.post(protocol.make_ack(command, outcome))

        self._dispatcher.submit(command, f"client {client.name}", reply)
        client.pending += 1

    def _subscribe(self, client: Client, command: Command) -> None:
        names = tuple(expand_patterns(command.params["signals"], self._shm.registry))
        encoder = self._encoders.get(names)
        if encoder is None:
            encoder = self._encoders[names] = TelemetryEncoder(self._shm, names)
        newest = self._shm.snapshot()
        fields = {"count": len(names), "signals": names, "frame": newest.frame, "time": newest.time}
        client.post(protocol.make_ack(command, fields), encoder)

    # -- telemetry

    def _begin_telemetry(self, client: Client) -> None:
        """Send a new subscriber its first frame at once."""
        self._wanted.set()
        self._forget_unused()
        self._send_frames(self._shm.snapshot(), {client})

    def send_telemetry(self) -> None:
        """Send the newest committed frame to every subscriber that can take it."""
        subscribers = {client for client in self._clients if client.encoder is not None}
        if subscribers:
            self._send_frames(self._shm.snapshot(), subscribers)

    def _send_frames(self, newest: Snapshot, clients: set[Client]) -> None:
        by_encoder: dict[TelemetryEncoder, list[ServerConnection]] = {}
        for client in clients:
            if client.encoder is not None and client.ready(self.telemetry_hz):
                by_encoder.setdefault(client.encoder, []).append(client.connection)
        for encoder, connections in by_encoder.items():
            broadcast(connections, encoder.encode_snapshot(newest))

    async def _telemetry_loop(self) -> None:
        """Send at `telemetry_hz` against absolute deadlines; a late tick is skipped, never sent in a burst."""
        loop = asyncio.get_running_loop()
        while True:
            await self._wanted.wait()
            begin, tick = loop.time(), 0
            while any(client.encoder is not None for client in self._clients):
                tick = max(tick, int((loop.time() - begin) * self.telemetry_hz)) + 1
                await asyncio.sleep(begin + tick / self.telemetry_hz - loop.time())
                self.send_telemetry()
            self._wanted.clear()

    def _forget_unused(self) -> None:
        used = {client.encoder for client in self._clients}
        self._encoders = {names: encoder for names, encoder in self._encoders.items() if encoder in used}


def _named(message: str | bytes) -> Command | None:
    """Return the command that a refused message names, so that the error can repeat its action and id."""
    try:
        return Command.from_json(message)
    except CommandError:
        return None
