"""Who gets which telemetry when: one stream per distinct subscription, its frame encoded once for all its clients.

Every stream has absolute deadlines of its own rate, counted from one origin, so that streams of one rate share their
ticks and a late tick is skipped, never sent in a burst. Belongs to the server's loop.
"""

from __future__ import annotations

import asyncio

from websockets.frames import Frame, Opcode

from hermes.backplane.ring import Snapshot
from hermes.backplane.shm import SharedMemoryManager
from hermes.server.client import Client
from hermes.server.flow import Ticker
from hermes.server.protocol import Subscription
from hermes.server.telemetry import TelemetryEncoder


class _Stream:
    def __init__(self, encoder: TelemetryEncoder, ticker: Ticker) -> None:
        self.encoder = encoder
        self.ticker = ticker
        self.clients: set[Client] = set()

    def send(self, newest: Snapshot, clients: set[Client]) -> None:
        """Send a frame to those of its clients that can take it.

        What a server sends is not masked, so the same bytes go to all of them. Through the library's `broadcast`, which
        makes them anew for every client, 100 clients cost half as much again.
        """
        message = Frame(Opcode.BINARY, self.encoder.encode_snapshot(newest)).serialize(mask=False)
        for client in clients:
            client.send_frame(message)


class Streams:
    """The telemetry of one server."""

    def __init__(self, shm: SharedMemoryManager) -> None:
        self._shm = shm
        self._streams: dict[Subscription, _Stream] = {}
        self._of: dict[Client, Subscription] = {}
        self._origin = 0.0
        self._changed = asyncio.Event()

    def follow(self, client: Client, subscription: Subscription | None) -> None:
        """Send a client the telemetry of `subscription` from now on, its first frame at once, or none at all."""
        before = self._of.pop(client, None)
        if before is not None:
            self._streams[before].clients.discard(client)
            if not self._streams[before].clients:
                del self._streams[before]
        if subscription is not None:
            self._of[client] = subscription
            stream = self._streams.get(subscription) or self._new(subscription)
            stream.clients.add(client)
            stream.send(self._shm.snapshot(), {client})

    def send(self) -> None:
        """Send the newest committed frame to every subscriber now."""
        if self._streams:
            newest = self._shm.snapshot()
            for stream in self._streams.values():
                stream.send(newest, stream.clients)

    async def run(self) -> None:
        """Send every stream at its rate until cancelled; sleeps while there is none."""
        loop = asyncio.get_running_loop()
        self._origin = loop.time()
        while True:
            self._changed.clear()
            due = min((stream.ticker.deadline for stream in self._streams.values()), default=None)
            try:
                async with asyncio.timeout_at(due):
                    await self._changed.wait()
            except TimeoutError:
                self._tick(loop.time())

    def _tick(self, now: float) -> None:
        due = [stream for stream in self._streams.values() if stream.ticker.deadline <= now]
        if due:  # else a client has left, or the clock is a whisker early
            newest = self._shm.snapshot()
            for stream in due:
                stream.ticker.advance(now)
                stream.send(newest, stream.clients)

    def _new(self, subscription: Subscription) -> _Stream:
        same = (known.encoder for of, known in self._streams.items() if of.signals == subscription.signals)
        encoder = next(same, None) or TelemetryEncoder(self._shm, subscription.signals)
        now = asyncio.get_running_loop().time()
        stream = self._streams[subscription] = _Stream(encoder, Ticker(subscription.telemetry_hz, self._origin, now))
        self._changed.set()
        return stream
