"""One raw WebSocket client on a non-blocking socket: what it sends, what it has received and when.

It never waits: `loadloop` tells it what its socket allows and what time has come. Instants are those of
`time.perf_counter`.
"""

from __future__ import annotations

import json
import math
import select
import socket
import time
from array import array
from collections import deque
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from bounds import PATIENCE
from loadwindows import Window
from rawframes import BINARY, CLOSE, PING, PONG, TEXT, FrameReader, client_frame, upgrade_request

ABNORMAL = 1006
"""The close code of a connection that ended without one."""

READ = 64 * 1024


class Client:
    """Connects, reads the schema, subscribes, and keeps the instant and simulation frame of every telemetry frame.

    This is the measuring one: it reads everything as it comes, and `window` says how it came. The others derive.
    `ready` once the subscription is acknowledged (without patterns: once the schema is there). `closed` says how the
    connection ended: a close code, or the HTTP status of a refusal.
    """

    receive_buffer: int | None = None

    def __init__(self, url: str, patterns: Sequence[str] = ("*",), *, resume: bool = False) -> None:
        """Prepare; `resume` sends that command behind the ack, as the existing viewer does."""
        self.target = urlsplit(url)
        self.patterns = list(patterns)
        self.resumes = resume
        self.ready = False
        self.closed: int | None = None
        self.due = math.inf
        self.schema = b""
        self.arrivals = array("d")
        self.frames = array("Q")
        self.text_count = 0
        self.texts: deque[bytes] = deque(maxlen=256)
        self.sock: socket.socket | None = None
        self._reader = FrameReader()
        self._unsent = b""

    @property
    def host(self) -> str:
        return self.target.hostname or "127.0.0.1"

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The newest text messages behind the ack, parsed only here."""
        return [json.loads(text) for text in self.texts]

    def window(self, begin: float, end: float) -> Window:
        """Return what arrived between two instants."""
        chosen = [place for place, instant in enumerate(self.arrivals) if begin <= instant < end]
        return Window([self.arrivals[place] for place in chosen], [self.frames[place] for place in chosen])

    # -- what `run` calls

    def open(self) -> None:
        """Connect (over loopback, the kernel does that at once) and ask for the upgrade."""
        self.sock = socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET)
        if self.receive_buffer is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.receive_buffer)
        self.sock.settimeout(PATIENCE)
        self.sock.connect((self.host, self.target.port))
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.begin()

    def begin(self) -> None:
        """Send the first bytes."""
        self.send(upgrade_request(self.host, self.target.port or 80, self.target.path))

    @property
    def wants(self) -> int:
        """The epoll events that the client is to be told."""
        return select.EPOLLIN | select.EPOLLOUT if self._unsent else select.EPOLLIN

    def on_event(self, events: int) -> None:
        """Write and read what the socket allows."""
        if events & select.EPOLLOUT:
            self.flush()
        if events & ~select.EPOLLOUT:
            self.read(READ)

    def on_due(self, now: float) -> None:
        """Act on time; called when `due` has come."""

    def close(self, code: int = ABNORMAL) -> None:
        """Give the connection up, without a word."""
        if self.closed is None:
            self.closed = code
        if self.sock is not None:
            self.sock.close()

    # -- bytes

    def command(self, action: str, **params: Any) -> None:
        """Send a command."""
        self.send(client_frame(TEXT, json.dumps({"action": action, "params": params}).encode()))

    def send(self, data: bytes) -> None:
        """Send, now or when the socket takes it."""
        self._unsent += data
        self.flush()

    def flush(self) -> None:
        """Send what waits, as much as the socket takes."""
        if not self._unsent or self.sock is None:
            return
        try:
            self._unsent = self._unsent[self.sock.send(self._unsent) :]
        except BlockingIOError:
            return
        except OSError:
            self.close()

    def read(self, limit: int) -> int:
        """Read once, at most `limit` bytes, and take the messages; return how many bytes came."""
        assert self.sock is not None
        try:
            piece = self.sock.recv(limit)
        except BlockingIOError:
            return 0
        except OSError:
            piece = b""
        if not piece:
            self.close()
            return 0
        self.take(piece)
        return len(piece)

    def take(self, piece: bytes) -> None:
        """Take what the server sent."""
        for opcode, payload in self._reader.feed(piece):
            if opcode == BINARY:
                self.arrivals.append(time.perf_counter())
                self.frames.append(int.from_bytes(payload[4:12], "little"))
            elif opcode == TEXT:
                self._on_text(payload)
            elif opcode == PING:
                self.send(client_frame(PONG, payload))
            elif opcode == CLOSE:
                self.close(int.from_bytes(payload[:2], "big") if payload else ABNORMAL)
        if self._reader.status not in (None, 101):
            self.close(self._reader.status or ABNORMAL)

    # -- messages

    def _on_text(self, text: bytes) -> None:
        if self.ready:
            self.text_count += 1
            self.texts.append(text)
            self.on_text(text)
        elif not self.schema:
            self._greeted(text)
        else:
            self._answered(json.loads(text))

    def on_text(self, text: bytes) -> None:
        """Take a text message behind the ack; it is counted and kept already."""

    def _greeted(self, text: bytes) -> None:
        if b'"schema"' not in text[:32]:
            raise ValueError(f"the first message is no schema: {text[:80]!r}")
        self.schema = text
        if self.patterns:
            self.command("subscribe", signals=self.patterns)
        else:
            self._is_ready()

    def _answered(self, message: dict[str, Any]) -> None:
        if message["type"] == "error":
            raise ValueError(f"the subscription was refused: {message['message']}")
        if message["type"] == "ack":
            self._is_ready()

    def _is_ready(self) -> None:
        self.ready = True
        if self.resumes:
            self.command("resume")
        self.on_ready()

    def on_ready(self) -> None:
        """Begin what this kind of client is for."""
