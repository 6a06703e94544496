"""An outside viewer: a client in a process of its own that follows one run and reports what it received.

    python -m hermes.examples.viewer ws://127.0.0.1:8765 --keep plane.altitude --keep plane.pitch

It subscribes, says ``subscribed`` on standard output, measures from the event `running` to the frame at which `paused`
(or `finished`, or the end of the connection) says that the run stopped, and prints its report as one line of JSON. It
knows nothing of the session but its address, as any viewer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from hermes.server.telemetry import decode_telemetry
from hermes.strictjson import decode

_LINE_LIMIT = 1 << 26
"""Bytes that a report may have."""

_ENDS = ("paused", "finished", "failed", "closing")


class Report:
    """What was received while the simulation ran; instants in seconds of this process's own clock."""

    def __init__(self, names: list[str], kept: list[str]) -> None:
        self._names = names
        self._places = {name: names.index(name) for name in kept}
        self._instants: list[float] = []
        self._frames: list[int] = []
        self._times: list[float] = []
        self._kept: list[list[float]] = []
        self._last: list[float] = []

    def take(self, message: bytes) -> None:
        """Take one telemetry message; raises ValueError where it is none or has the wrong number of values."""
        frame, at, values = decode_telemetry(message)
        if len(values) != len(self._names):
            raise ValueError(f"{len(values)} values for {len(self._names)} subscribed signals")
        self._instants.append(time.perf_counter())
        self._frames.append(frame)
        self._times.append(at)
        self._kept.append([float(values[place]) for place in self._places.values()])
        self._last = values.tolist()

    def has(self, frame: int) -> bool:
        """Return whether a frame, or a later one, was received."""
        return bool(self._frames) and self._frames[-1] >= frame

    def summary(self) -> dict[str, Any]:
        """Return the report as JSON values: rates in Hz, gaps in milliseconds, series by signal."""
        gaps = np.diff(self._instants) * 1e3
        span = self._instants[-1] - self._instants[0] if len(self._instants) > 1 else 0.0
        series = {name: [row[place] for row in self._kept] for place, name in enumerate(self._places)}
        return {
            "frames": len(self._frames),
            "rate_hz": (len(self._frames) - 1) / span if span else 0.0,
            "gap_ms": {name: float(np.percentile(gaps, at)) for name, at in (("p50", 50), ("p99", 99)) if len(gaps)},
            "decreasing": int(np.sum(np.diff(self._frames) < 0)),
            "last_frame": self._frames[-1] if self._frames else None,
            "last": dict(zip(self._names, self._last, strict=False)),
            "time": self._times,
            "series": series,
        }


class Viewer:
    """A viewer that runs in a process of its own; use `start`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, url: str, keep: Sequence[str] = ()) -> Viewer:
        """Start a viewer of `url` that keeps the values of some signals; return when it has subscribed.

        Raises RuntimeError where it cannot; it says why on standard error.
        """
        keeps = [argument for name in keep for argument in ("--keep", name)]
        command = [sys.executable, "-m", "hermes.examples.viewer", url, *keeps]
        viewer = cls(await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, limit=_LINE_LIMIT))
        await viewer._line()
        return viewer

    async def report(self) -> dict[str, Any]:
        """Wait for the end of the run that it follows and return what it received (see `Report.summary`).

        Raises RuntimeError where the viewer failed.
        """
        report: dict[str, Any] = json.loads(await self._line())
        await self._process.wait()
        return report

    async def stop(self) -> None:
        """End the viewer, whatever it is doing."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    async def _line(self) -> bytes:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the viewer ended with exit code {await self._process.wait()}")
        return line


async def follow(url: str, patterns: list[str], kept: list[str]) -> dict[str, Any]:
    """Follow one run at `url` and return the report.

    Raises RuntimeError where the server refuses the subscription or a `kept` signal is not in it.
    """
    async with connect(url, compression=None, max_size=None) as server:
        first = await server.recv()
        schema = decode(first, containers=len(first))
        await server.send(json.dumps({"action": "subscribe", "params": {"signals": patterns}}))
        reply = await _reply(server)
        if reply.get("type") != "ack":
            raise RuntimeError(f"the server refused to subscribe: {reply.get('message')}")
        missing = [name for name in kept if name not in reply["signals"]]
        if missing:
            raise RuntimeError(f"not subscribed: {', '.join(missing)}")
        print("subscribed", flush=True)  # noqa: T201 - the caller waits for this line
        report = Report(reply["signals"], kept)
        await _receive(server, report, running=schema["state"] == "running")
        return {"url": url, "signals": reply["count"], **report.summary()}


async def _reply(server: ClientConnection) -> dict[str, Any]:
    """Return the first ack or error; events may come before it."""
    while True:
        message = await server.recv()
        found: dict[str, Any] = decode(message) if isinstance(message, str) else {}
        if found.get("type") in ("ack", "error"):
            return found


async def _receive(server: ClientConnection, report: Report, *, running: bool) -> None:
    """Take telemetry while the simulation runs, and on until the frame at which it stopped: that follows the event."""
    end: int | None = None
    try:
        while end is None or not report.has(end):
            message = await server.recv()
            if isinstance(message, bytes):
                if running:
                    report.take(message)
                continue
            told = decode(message)
            if end is not None and told.get("event") == "reset":
                return
            running = running or told.get("event") == "running"
            if running and told.get("event") in _ENDS:
                end = told["frame"]
    except ConnectionClosed:
        return


def main(arguments: list[str] | None = None) -> int:
    """Follow a run and print the report; return the exit status."""
    parser = argparse.ArgumentParser(description="Follow one run of a Hermes session and report what was received.")
    parser.add_argument("url")
    parser.add_argument("--subscribe", action="append", help="a signal or pattern; default '*'; may be repeated")
    parser.add_argument("--keep", action="append", default=[], help="a signal whose values go into the report")
    given = parser.parse_args(arguments)
    try:
        report = asyncio.run(follow(given.url, given.subscribe or ["*"], given.keep))
    except (OSError, RuntimeError, ValueError) as error:
        sys.stderr.write(f"viewer: {error}\n")
        return 1
    print(json.dumps(report))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
