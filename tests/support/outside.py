"""An outside viewer in the test's own process: a plain WebSocket client that notes what it hears, and when."""

from __future__ import annotations

import asyncio
import json
import time
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from bounds import PATIENCE
from websockets.asyncio.client import ClientConnection, connect

from hermes.server.telemetry import decode_telemetry

STATES = {"running", "paused", "finished", "failed"}
"""Events that are named as the state to which they lead."""


class Outside:
    """A client of a session. Instants are seconds since the epoch, the clock that a browser's `Date.now` also reads."""

    def __init__(self, connection: ClientConnection, schema: dict[str, Any]) -> None:
        self._connection = connection
        self._heard = asyncio.Condition()
        self.state: str = schema["state"]
        self.events: list[dict[str, Any]] = []
        self.replies: list[dict[str, Any]] = []
        self.instants: list[float] = []
        self.times: list[float] = []
        """Beside each of `instants`, the simulation time of the telemetry that came then."""

    async def command(self, action: str, **params: Any) -> dict[str, Any]:
        """Send a command and return its ack; one that is refused fails the test."""
        before = len(self.replies)
        await self._connection.send(json.dumps({"action": action, "params": params}))
        await self.until(lambda: len(self.replies) > before)
        assert self.replies[-1]["type"] == "ack", self.replies[-1]
        return self.replies[-1]

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until a condition over what was heard holds."""
        async with self._heard:
            await asyncio.wait_for(self._heard.wait_for(condition), PATIENCE)

    async def reaches(self, state: str) -> None:
        """Wait until the session was heard to be in a state."""
        await self.until(lambda: self.state == state)

    def time_at(self, instant: float) -> float:
        """Return the simulation time that was the newest at an instant, as far as telemetry tells."""
        return self.times[max(bisect_right(self.instants, instant) - 1, 0)]

    async def listen(self) -> None:
        """Note everything that comes."""
        async for message in self._connection:
            async with self._heard:
                self._note(message)
                self._heard.notify_all()

    def _note(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            self.instants.append(time.time())
            self.times.append(decode_telemetry(message)[1])
            return
        text = json.loads(message)
        if text["type"] != "event":
            self.replies.append(text)
            return
        self.events.append(text)
        if text["event"] in STATES:
            self.state = text["event"]


@asynccontextmanager
async def outside(url: str) -> AsyncIterator[Outside]:
    """Connect to a session and subscribe to everything."""
    async with connect(url, compression=None, max_size=None) as connection:
        viewer = Outside(connection, json.loads(await asyncio.wait_for(connection.recv(), PATIENCE)))
        listening = asyncio.create_task(viewer.listen())
        try:
            await viewer.command("subscribe", signals=["*"])
            yield viewer
        finally:
            listening.cancel()
            await asyncio.wait([listening])
