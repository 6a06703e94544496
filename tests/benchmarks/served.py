"""A server to put load on, in a process of its own: `HermesServer` over a backplane of f64 signals, without an engine.

Prints its address when it serves; commits a frame 100 times a second; ends when its standard input does, so that it
never outlives who started it. With `--reference` it is what Hermes is compared with: the bare `websockets.broadcast`
of one constant frame of the same size to the same clients.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import struct
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed

from hermes.backplane.shm import SharedMemoryManager
from hermes.backplane.signals import Signal, SignalRegistry
from hermes.commands import Command
from hermes.server.telemetry import TelemetryEncoder
from hermes.server.websocket import HermesServer, Reply

COMMIT_HZ = 100.0
TELEMETRY_HZ = 60.0


class Acknowledging:
    """Stands where a session would: acknowledges every command in a later turn of the loop, and does nothing."""

    wiring: Sequence[Mapping[str, Any]] = ()

    def __init__(self, shm: SharedMemoryManager) -> None:
        self._shm = shm

    def describe(self) -> dict[str, Any]:
        rates = {"rate_hz": COMMIT_HZ, "telemetry_hz": TELEMETRY_HZ}
        return {"session": "load", "state": "running", **self._now(), **rates}

    def status(self) -> dict[str, Any]:
        return self.describe()

    def notice(self, event: str, fields: Mapping[str, Any]) -> None:
        pass

    def submit(self, _command: Command, _origin: str, reply: Reply) -> None:
        asyncio.get_running_loop().call_soon(reply, self._now())

    def _now(self) -> dict[str, Any]:
        newest = self._shm.snapshot()
        return {"frame": newest.frame, "time": newest.time}


async def at_rate(hertz: float, act: Callable[[int], None]) -> None:
    """Call `act` with 1, 2, ... so many times a second, against absolute deadlines."""
    loop = asyncio.get_running_loop()
    begin, tick = loop.time(), 0
    while True:
        tick = max(tick, int((loop.time() - begin) * hertz)) + 1
        await asyncio.sleep(begin + tick / hertz - loop.time())
        act(tick)


async def serve_hermes(signals: int, limit: int) -> None:
    """Serve so many signals to at most so many clients."""
    shm = SharedMemoryManager.create(SignalRegistry([Signal("load", f"x{number}") for number in range(signals)]))
    shm.commit(0, 0, 0.0)
    async with HermesServer(shm, Acknowledging(shm), port=0, telemetry_hz=TELEMETRY_HZ, client_limit=limit) as server:
        print(server.url, flush=True)
        committing = asyncio.create_task(at_rate(COMMIT_HZ, lambda tick: shm.commit(0, tick, tick / COMMIT_HZ)))
        await asyncio.to_thread(sys.stdin.read)
        await ended(committing)
    shm.close()


async def serve_reference(signals: int) -> None:
    """Broadcast one constant frame; a client takes part from its first message on."""
    subscribed: set[ServerConnection] = set()
    frame = struct.pack("<IQdI", TelemetryEncoder.MAGIC, 0, 0.0, signals) + bytes(8 * signals)

    async def handle(connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            await connection.send(json.dumps({"type": "schema", "modules": {}}))
            async for _ in connection:
                await connection.send(json.dumps({"type": "ack", "action": "subscribe"}))
                subscribed.add(connection)
        subscribed.discard(connection)

    async with serve(handle, "127.0.0.1", 0, compression=None, ping_interval=None, close_timeout=0.5) as server:
        print(f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}", flush=True)
        sending = asyncio.create_task(at_rate(TELEMETRY_HZ, lambda _: broadcast(subscribed, frame)))
        await asyncio.to_thread(sys.stdin.read)
        await ended(sending)


async def ended(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait for its end; what it failed with is raised here."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def main() -> None:
    """Serve as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--signals", type=int, default=100)
    parser.add_argument("--limit", type=int, default=2_000, help="clients")
    parser.add_argument("--reference", action="store_true", help="the bare library instead of Hermes")
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    serving = serve_reference(options.signals) if options.reference else serve_hermes(options.signals, options.limit)
    asyncio.run(serving)


if __name__ == "__main__":
    main()
