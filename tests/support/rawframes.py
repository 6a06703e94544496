"""WebSocket bytes without a library: what a client sends, and a reader that cuts a server's stream into messages.

No sockets here: `loadclients` feeds it. It expects a server as Hermes is, and raises ValueError on anything else:
no fragmented messages, no compression, nothing masked.
"""

from __future__ import annotations

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA

_SERVER_HEADS = {0x80 | opcode for opcode in (TEXT, BINARY, CLOSE, PING, PONG)}


def client_frame(opcode: int, payload: bytes) -> bytes:
    """Return a client's frame; its mask is zero, which masks nothing and is still one (RFC 6455, 5.3)."""
    size = len(payload)
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 65536:
        length = bytes([0x80 | 126]) + size.to_bytes(2, "big")
    else:
        length = bytes([0x80 | 127]) + size.to_bytes(8, "big")
    return bytes([0x80 | opcode]) + length + bytes(4) + payload


def upgrade_request(host: str, port: int, path: str = "/") -> bytes:
    """Return the request that opens a WebSocket, as a native client sends it: no Origin, no extensions."""
    return (
        f"GET {path or '/'} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


class FrameReader:
    """Cuts what a server sends into messages, wherever its pieces end: the answer to the upgrade, then frames.

    `status` is the HTTP status once the answer is complete; frames are read only behind a 101.
    """

    def __init__(self) -> None:
        self.status: int | None = None
        self._kept = bytearray()
        self._needed = 0

    def feed(self, piece: bytes) -> list[tuple[int, bytes]]:
        """Return the messages that `piece` completes, as opcode and payload."""
        if self._kept:
            self._kept += piece
            if len(self._kept) < self._needed:
                return []
            piece = bytes(self._kept)
            self._kept.clear()
        if self.status is None:
            piece = self._answer(piece)
        return self._frames(piece) if self.status == 101 else []

    def _answer(self, piece: bytes) -> bytes:
        """Take the status from a complete answer and return what follows it."""
        head, end, rest = piece.partition(b"\r\n\r\n")
        if not end:
            self._kept += piece
            self._needed = 0
            return b""
        self.status = int(head.split(b" ", 2)[1])
        return rest

    def _frames(self, data: bytes) -> list[tuple[int, bytes]]:
        messages = []
        at, size = 0, len(data)
        while at < size:
            head = data[at]
            if head not in _SERVER_HEADS:
                raise ValueError(f"frame begins with {head:#04x}: no whole, uncompressed message")
            start, end = _extent(data, at)
            if end > size:
                self._kept += data[at:]
                self._needed = end - at
                break
            messages.append((head & 0x0F, data[start:end]))
            at = end
        return messages


def _extent(data: bytes, at: int) -> tuple[int, int]:
    """Return where the payload of the frame at `at` begins and ends; while its header is cut, where the header ends."""
    size = len(data)
    if size < at + 2:
        return at + 2, at + 2
    length = data[at + 1]
    if length < 126:
        return at + 2, at + 2 + length
    if length > 127:
        raise ValueError("a server's frame is masked")
    start = at + (4 if length == 126 else 10)
    if size < start:
        return start, start
    return start, start + int.from_bytes(data[at + 2 : start], "big")
