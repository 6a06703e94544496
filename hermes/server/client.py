"""One connected client: its outgoing messages in order, its subscription, and what it has not taken.

Text messages (replies, events) are queued without loss up to a bound, behind which the client is cut off; telemetry
is never queued: a frame that the client cannot take now is skipped, and the newest one wins. Belongs to the server's
loop.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

if TYPE_CHECKING:
    from hermes.server.telemetry import TelemetryEncoder

log = logging.getLogger("hermes.server")

SEND_BUFFER = 128 * 1024
"""Bytes of the kernel's send buffer per client: more would hide for seconds that a client has stopped reading."""

BUFFER_CAP = 64 * 1024
"""Unsent bytes above which telemetry to a client is skipped, at least; else half a second of its own stream."""

TEXT_LIMIT = 2_048
"""Text messages that may wait for a client; one more cuts it off."""

STALL_SECONDS = 5.0
"""A client that has taken nothing for so many seconds of served ticks is cut off."""


class _Text(NamedTuple):
    text: str
    subscription: TelemetryEncoder | None


class Client:
    """The server's view of one connection."""

    def __init__(self, connection: ServerConnection, first: str) -> None:
        """Begin with the `first` message queued."""
        self.connection = connection
        self.name = _address(connection)
        self.encoder: TelemetryEncoder | None = None
        self.pending = 0
        self.skipped = 0
        self._stalled_ticks = 0
        self._cut_off = False
        self._texts: asyncio.Queue[_Text] = asyncio.Queue()
        sock = connection.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self.post(first)

    def post(self, text: str, subscription: TelemetryEncoder | None = None) -> None:
        """Queue a text message; with `subscription` it is the ack behind which that telemetry begins."""
        if self._texts.qsize() >= TEXT_LIMIT:
            self._abort("it does not read its replies")
            return
        self._texts.put_nowait(_Text(text, subscription))

    async def write(self, subscribed: Callable[[Client], None]) -> None:
        """Send the queued messages in order until the connection ends; `subscribed` gets the first frame out.

        Nothing of the old subscription follows a new one's ack, and nothing of the new precedes it.
        """
        try:
            while True:
                text, subscription = await self._texts.get()
                if subscription is not None:
                    self.encoder = None
                await self.connection.send(text)
                if subscription is not None:
                    self.encoder = subscription
                    subscribed(self)
                self._texts.task_done()
        except ConnectionClosed:
            return

    async def dismiss(self, seconds: float) -> None:
        """Send what is queued, then close with 1001; cut the client off where that takes longer than `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                await self._texts.join()
                await self.connection.close(1001, "the session ends")
        except TimeoutError:
            self.connection.transport.abort()

    def ready(self, telemetry_hz: float) -> bool:
        """Return whether the client can take a frame now; counts a skip and cuts off a client that has stalled."""
        assert self.encoder is not None
        cap = max(BUFFER_CAP, int(0.5 * telemetry_hz * self.encoder.frame_size))
        if self.connection.transport.get_write_buffer_size() <= cap:
            self._stalled_ticks = 0
            return True
        self.skipped += 1
        self._stalled_ticks += 1
        if self._stalled_ticks > STALL_SECONDS * telemetry_hz:
            self._abort(f"it has read nothing for {STALL_SECONDS:g} s")
        return False

    def _abort(self, why: str) -> None:
        if not self._cut_off:
            self._cut_off = True
            log.warning("client %s cut off: %s", self.name, why)
            self.connection.transport.abort()


def _address(connection: ServerConnection) -> str:
    peer = connection.remote_address
    return f"{peer[0]}:{peer[1]}" if peer else "unknown"
