"""The link between a session and its engine: JSON objects, one a line, over a stream socket that never blocks.

Either side appends to its outgoing buffer and sends what the socket takes; what is left goes out when the socket is
writable again. The link itself drops nothing: what may be dropped (output of modules) is the sender's decision, by
`backlog`. Sending is safe from several threads, receiving belongs to one.
"""

from __future__ import annotations

import json
import select
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hermes.backplane.channel import receive_with_fds
from hermes.system import attempt, refused

_CHUNK = 1 << 18

WILL = "will"
"""The `verb` of what is no command: the session names the `path` of a file to be removed should it die suddenly."""

DRAINED = "drained"
"""The `verb` of what is no command: the session has drained the ring up to `sequence`, and the engine is to keep what
comes after; None when nobody asks it to any more."""

UNDRAINED = "undrained"
"""The `type` of the record by which the engine asks for a `DRAINED`, because slots wait to be drained."""


class Link:
    """One end of the link."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._lock = threading.Lock()
        self._outgoing = bytearray()
        self._incoming = bytearray()
        self._corked = False
        self.received_fds: list[int] = []
        self.ended = False

    def fileno(self) -> int:
        """Return the descriptor, for polling."""
        return self._socket.fileno()

    @property
    def backlog(self) -> int:
        """Bytes that wait for the socket to take them."""
        return len(self._outgoing)

    def send(self, record: dict[str, Any], fds: Sequence[int] = ()) -> None:
        """Queue one object and send what the socket takes; with `fds`, wait until they can travel with it.

        Raises SystemRefused where `fds` cannot travel; the object then has not been sent.
        """
        line = _line(record)
        with self._lock:
            while fds and self._outgoing:
                self._await_room()
                self._flush()
            if fds:
                line = line[self._send_with_fds(line, fds) :]
            self._outgoing += line
            if not self._corked:
                self._flush()

    @contextmanager
    def corked(self, more: Callable[[], bool] = lambda: False) -> Iterator[None]:
        """Send what is queued meanwhile in one go at the (outermost) end: every send wakes the other process.

        Where `more` then says that more follows in a moment, it is left to the next send.
        """
        before, self._corked = self._corked, True
        try:
            yield
        finally:
            self._corked = before
            if not before and not more():
                self.flush()

    def queue(self, record: dict[str, Any]) -> None:
        """Queue one object without sending it; the caller flushes."""
        with self._lock:
            self._outgoing += _line(record)

    def _send_with_fds(self, line: bytes, fds: Sequence[int]) -> int:
        while True:
            try:
                return attempt(socket.send_fds, self._socket, [line], fds)
            except BlockingIOError:
                self._await_room()
            except ConnectionError:  # the other end is gone: its reader learns that from the end of file
                return len(line)
            except OSError as error:
                raise refused("hand descriptors over to another process", error) from error

    def _await_room(self) -> None:
        poll = select.poll()
        poll.register(self._socket, select.POLLOUT)
        poll.poll()

    def flush(self) -> None:
        """Send what the socket takes of the backlog."""
        with self._lock:
            self._flush()

    def _flush(self) -> None:
        while self._outgoing:
            try:
                sent = attempt(self._socket.send, self._outgoing[:_CHUNK])
            except ConnectionError:  # the other end is gone: its reader learns that from the end of file
                self._outgoing.clear()
                return
            except OSError:  # no room, or no memory at the moment: a poll says when to try again
                return
            del self._outgoing[:sent]

    def receive(self) -> list[dict[str, Any]]:
        """Return every object that has arrived whole; sets `ended` at the end of file."""
        while not self.ended:
            try:
                data, fds = receive_with_fds(self._socket, _CHUNK)
            except ConnectionError:
                data, fds = b"", []
            except OSError:  # nothing there, or no memory at the moment: a poll says when to try again
                break
            self.received_fds += fds
            self.ended = not data
            self._incoming += data
            if len(data) < _CHUNK:
                break
        *lines, rest = self._incoming.split(b"\n")
        self._incoming = bytearray(rest)
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        """Close this end."""
        self._socket.close()


def _line(record: dict[str, Any]) -> bytes:
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"
