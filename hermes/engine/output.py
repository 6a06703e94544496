"""What modules print: drained by one thread with a bound, kept as last lines, handed on with module and frame.

A module that prints faster than this reads blocks on its own pipe: its own loss. The thread touches nothing of the
frame loop; `handed_on` must be quick and may drop. Lines stay bytes until somebody wants to read them: of what a noisy
module prints nearly all is dropped, and the frame loop shares its interpreter with this thread.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from hermes.errors import SystemRefused
from hermes.system import obtain, start_thread

LINE_LIMIT = 2_000
"""Bytes of a line that are kept; a longer line is cut into several."""

T = TypeVar("T")

_KEPT_LINES = 20
_CHUNK = 1 << 16


class _Stream:
    """One pipe of one module, kept under a key; lines are complete ones, the rest waits for its end."""

    def __init__(self, module: str, name: str, key: str = "") -> None:
        self.module = module
        self.key = key
        self.name = name
        self.last: deque[bytes] = deque(maxlen=_KEPT_LINES)
        self._rest = b""

    def take(self, data: bytes, *, final: bool = False) -> list[bytes]:
        whole = self._rest + data
        *pieces, self._rest = whole.split(b"\n")
        while len(self._rest) > LINE_LIMIT or (final and self._rest):
            pieces.append(self._rest[:LINE_LIMIT])
            self._rest = self._rest[LINE_LIMIT:]
        if pieces and max(map(len, pieces)) > LINE_LIMIT:
            pieces = [
                piece[at : at + LINE_LIMIT] for piece in pieces for at in range(0, max(len(piece), 1), LINE_LIMIT)
            ]
        self.last.extend(pieces[-_KEPT_LINES:])
        return pieces


def text(line: bytes) -> str:
    """Return a line as text; bytes that are no UTF-8 are replaced."""
    return line.decode("utf-8", "replace").rstrip("\r")


class OutputDrain:
    """Reads the pipes of all modules until `stop`."""

    def __init__(self, handed_on: Callable[[str, str, list[bytes]], None]) -> None:
        """Start the thread; `handed_on` gets module, stream (stdout, stderr) and lines, from that thread or another.

        Raises SystemRefused.
        """
        self._handed_on = handed_on
        self._streams: dict[int, _Stream] = {}
        self._lock = threading.Lock()
        self._wake_read, self._wake_write = obtain("make a pipe for what modules print", os.pipe)
        os.set_blocking(self._wake_read, False)
        self._poll = select.poll()
        self._poll.register(self._wake_read, select.POLLIN)
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="hermes-output", daemon=True)
        try:
            start_thread("start the thread that reads what modules print", self._thread)
        except SystemRefused:
            os.close(self._wake_read)
            os.close(self._wake_write)
            raise

    def add(self, module: str, stdout: int, stderr: int, key: str | None = None) -> None:
        """Take over two read ends; `key` is their name for the other methods, the module's as a rule."""
        with self._lock:
            for fd, name in ((stdout, "stdout"), (stderr, "stderr")):
                os.set_blocking(fd, False)
                self._streams[fd] = _Stream(module, name, module if key is None else key)
                self._poll.register(fd, select.POLLIN)
        self._wake()

    def rename(self, before: str, after: str) -> None:
        """Keep pipes under another key from now on."""
        with self._lock:
            for stream in self._streams.values():
                if stream.key == before:
                    stream.key = after

    def last_lines(self, key: str) -> list[str]:
        """Read what a module that has ended left behind and return its last stderr lines (stdout if there are none)."""
        with self._lock:
            mine = [(fd, stream) for fd, stream in self._streams.items() if stream.key == key]
            for fd, stream in mine:
                self._read(fd, stream, chunks=64)
        by_name = {stream.name: [text(line) for line in stream.last] for _, stream in mine}
        return by_name.get("stderr") or by_name.get("stdout") or []

    def remove(self, key: str) -> None:
        """Close a module's pipes."""
        with self._lock:
            for fd in [fd for fd, stream in self._streams.items() if stream.key == key]:
                self._read(fd, self._streams[fd], chunks=64, final=True)
                self._forget(fd)

    def stop(self) -> None:
        """End the thread and close everything."""
        self._stopping = True
        self._wake()
        self._thread.join()
        for fd in [*self._streams, self._wake_read, self._wake_write]:
            os.close(fd)

    def _wake(self) -> None:
        os.write(self._wake_write, b"x")

    def _run(self) -> None:
        while not self._stopping:
            for fd, _ in self._poll.poll():
                if fd == self._wake_read:
                    with suppress(BlockingIOError):
                        os.read(fd, _CHUNK)
                    continue
                with self._lock:
                    stream = self._streams.get(fd)
                    if stream is not None and not self._read(fd, stream):
                        self._poll.unregister(fd)

    def _read(self, fd: int, stream: _Stream, chunks: int = 1, *, final: bool = False) -> bool:
        """Read up to `chunks` pieces; return whether more may come."""
        more = True
        for _ in range(chunks):
            try:
                data = os.read(fd, _CHUNK)
            except BlockingIOError:
                break
            more = bool(data)
            self._take(stream, data, final=not data)
            if not data:
                break
        if final:
            self._take(stream, b"", final=True)
        return more

    def _take(self, stream: _Stream, data: bytes, *, final: bool) -> None:
        lines = stream.take(data, final=final)
        if lines:
            self._handed_on(stream.module, stream.name, lines)

    def _forget(self, fd: int) -> None:
        with suppress(KeyError):
            self._poll.unregister(fd)
        del self._streams[fd]
        os.close(fd)


class LineBudget:
    """How much output is handed on: at most `LINES_PER_SECOND`, the rest is counted and said with the next line."""

    LINES_PER_SECOND = 1_000

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._second = 0
        self._taken = 0
        self._dropped = 0

    def take(self, lines: list[T], *, room: bool) -> tuple[list[T], int]:
        """Return the lines to hand on now and how many were dropped before them; none where there is no `room`."""
        second = int(self._clock())
        if second != self._second:
            self._second, self._taken = second, 0
        allowed = lines[: self.LINES_PER_SECOND - self._taken] if room else []
        self._taken += len(allowed)
        dropped, self._dropped = (self._dropped, 0) if allowed else (0, self._dropped)
        self._dropped += len(lines) - len(allowed)
        return allowed, dropped
