"""One connected client: what is written to it, what it has not taken, and when it is cut off.

Everything goes straight into the transport, in order, and never waits: telemetry is skipped where the client does not
keep up (see `flow`), text never is, and a client behind which too much text waits is cut off. Belongs to the server's
loop.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import socket
import struct
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from websockets.asyncio.server import ServerConnection, broadcast
from websockets.frames import DATA_OPCODES, CloseCode, Frame
from websockets.protocol import Event, State

from hermes.errors import HermesError
from hermes.server.flow import Backlog, TokenBucket
from hermes.server.protocol import COMMAND_BURST, COMMAND_RATE, ClientProtocol

log = logging.getLogger("hermes.server")

SEND_BUFFER = 128 * 1024
"""Bytes of the kernel's send buffer per client: more would hide for seconds that a client has stopped reading."""

TEXT_CAP = 1024 * 1024
"""Unsent bytes behind which no further text message may wait: one more cuts the client off."""

LOST_MILLISECONDS = 10_000
"""A client whose machine or network has vanished is given up after so long, by the kernel."""

LISTEN_BACKLOG = 128
"""Connections that the kernel keeps until they are accepted."""

ACCEPTS_PER_TURN = 8
"""Connections accepted per turn of the loop, at 0.4 ms each: asyncio would take the whole backlog before telemetry."""

READ_BYTES = 2048
"""Bytes that are read of a client per turn of the loop: 300 of the smallest frames, which take 10 ms to parse. The
256 KiB that asyncio would read take a second and a half, in which nobody else gets telemetry."""

ENDING_SECONDS = 2.0
"""How long a client may hold its end of a connection that is over: until then it takes one of the places."""

_FRAME_HEADERS = ((125, 2), (65_535, 4))
"""Payload sizes up to which a WebSocket frame's header has so many bytes (RFC 6455, 5.2); beyond, it has 10."""


class ClientStatus(NamedTuple):
    """How one client of a session is doing.

    `signals` and `telemetry_hz` (Hz) are its subscription's; `sent` and `skipped` count telemetry frames, `commands`
    the messages that it has sent.
    """

    name: str
    signals: int
    telemetry_hz: float
    sent: int
    skipped: int
    commands: int


class Connection(ServerConnection):
    """A connection that says when it is made and lost, before the handshake too, and whether it takes more."""

    def __init__(
        self, made: Callable[[Connection], None], lost: Callable[[Connection], None], *args: Any, **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self.takes_more = asyncio.Event()
        self.takes_more.set()
        self._made = made
        self._lost = lost
        self._ending = False
        self._wordless = TokenBucket(COMMAND_RATE, COMMAND_BURST, self.loop.time())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; called by the loop."""
        super().connection_made(transport)
        with suppress(AttributeError):  # another loop than asyncio's own may not have it
            transport.max_size = READ_BYTES  # type: ignore[attr-defined]
        self._made(self)

    def data_received(self, data: bytes) -> None:
        """Take bytes; called by the transport. Where they end the connection, the client is to end it too, in time."""
        super().data_received(data)
        if self.protocol.close_expected() and not self._ending:
            self._ending = True
            self.loop.call_later(ENDING_SECONDS, self.transport.abort)

    def process_event(self, event: Event) -> None:
        """Take a frame; ends a connection whose frames, other than messages, are more than commands could be.

        Fragments, pings and pongs cost no token of the client's protocol, which never sees them.
        """
        super().process_event(event)
        if isinstance(event, Frame) and not (event.fin and event.opcode in DATA_OPCODES):
            self._wordless.take(1)
            if self._wordless.wait(self.loop.time()):
                self.protocol.fail(CloseCode.MESSAGE_TOO_BIG, "too many frames that are no messages")
                self.send_data()

    def connection_lost(self, exc: Exception | None) -> None:
        """End; called by the loop."""
        self.takes_more.set()
        self._lost(self)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Note that unsent bytes pile up; called by the transport."""
        super().pause_writing()
        self.takes_more.clear()

    def resume_writing(self) -> None:
        """Note that they are gone; called by the transport."""
        super().resume_writing()
        self.takes_more.set()


class Client:
    """The server's view of one connection."""

    def __init__(self, connection: Connection, protocol: ClientProtocol) -> None:
        self.connection = connection
        self.protocol = protocol
        self.backlog = Backlog()
        self.name = _address(connection)
        self.sent = 0
        self.announced_slow = False
        self._cut_off = False
        self._text_cap = TEXT_CAP
        self._socket: socket.socket = connection.transport.get_extra_info("socket")
        for level, option, value in (
            (socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER),
            (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
            (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, LOST_MILLISECONDS // 2000),
            (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, LOST_MILLISECONDS // 4000),
            (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, LOST_MILLISECONDS),
        ):
            self._socket.setsockopt(level, option, value)

    @property
    def status(self) -> ClientStatus:
        """How the client is doing."""
        names, rate = self.protocol.subscription or ((), 0.0)
        return ClientStatus(self.name, len(names), rate, self.sent, self.backlog.skipped, self.protocol.commands)

    def post(self, text: str) -> None:
        """Send a text message; cuts off a client that has left too much text unread."""
        if self._cut_off:
            return
        size = _framed(len(text))
        if self.backlog.given and self.unsent() > self._text_cap:
            self.abort("it does not read its messages")
            return
        self._text_cap = max(self._text_cap, 2 * size)
        self.backlog.give(size)
        broadcast([self.connection], text)

    def send_frame(self, message: bytes) -> None:
        """Send telemetry, as the bytes of a whole WebSocket frame, or skip it where the client does not keep up."""
        if self.connection.state is State.OPEN and self.backlog.take_frame(len(message), self.unsent):
            self.connection.transport.write(message)
            self.sent += 1

    def unsent(self) -> int:
        """Return the bytes that the client has not taken: the transport's and those in the kernel's send queue."""
        queued = self.connection.transport.get_write_buffer_size()
        with suppress(OSError, ValueError):  # the connection may be gone already, its descriptor then is -1
            answer = fcntl.ioctl(self._socket.fileno(), termios.TIOCOUTQ, bytes(4))
            queued += struct.unpack("i", answer)[0]
        return queued

    async def breathe(self, now: float) -> None:
        """Wait until the client may be read again: its tokens are paid and its replies are on their way.

        At least for a turn of the loop: else four clients that spend their bursts at once would stop telemetry for it.
        """
        seconds = self.protocol.wait(now)
        if not seconds:
            await asyncio.sleep(0)
        else:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self.connection.wait_closed()
        await self.connection.takes_more.wait()

    async def dismiss(self, seconds: float) -> None:
        """Close with 1001; cut the client off where that takes longer than `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                await self.connection.close(1001, "the session ends")
        except TimeoutError:
            self.connection.transport.abort()

    @contextmanager
    def told_of_mistakes(self, action: str) -> Iterator[None]:
        """Turn an exception that is a mistake in Hermes into an error for the client; the log gets its traceback."""
        try:
            yield
        except HermesError:
            raise
        except Exception:
            log.exception("command %s of client %s", action, self.name)
            raise HermesError(message=f"{action} met a mistake in Hermes; its log says more") from None

    def abort(self, why: str) -> None:
        """Cut the client off, once."""
        if not self._cut_off:
            self._cut_off = True
            log.warning("client %s cut off: %s", self.name, why)
            self.connection.transport.abort()


def lengthen_queue(listening: int) -> None:
    """Let the kernel keep more connections than asyncio, whose `backlog` is both, accepts per turn of the loop."""
    with socket.socket(fileno=os.dup(listening)) as again:
        again.listen(LISTEN_BACKLOG)


def _framed(size: int) -> int:
    """Return the bytes of a message of `size` bytes with the header of its frame."""
    return size + next((header for limit, header in _FRAME_HEADERS if size <= limit), 10)


def _address(connection: Connection) -> str:
    peer = connection.remote_address
    return f"{peer[0]}:{peer[1]}" if peer else "unknown"
