r"""The control channel between the engine and one module: text records over a SEQPACKET socket.

A record is one packet of UTF-8: a verb and its fields, separated by tabs; within a field, backslash, tab, newline and
carriage return are written ``\\``, ``\t``, ``\n``, ``\r``. `docs/backplane.md` lists the records. Descriptors travel
beside a record. What a module sends is input: a record that does not parse is an error of that module.
"""

from __future__ import annotations

import array
import os
import re
import socket
from collections.abc import Sequence
from typing import NamedTuple

from hermes.system import attempt, obtain, refused

RECORD_LIMIT = 60_000
"""Bytes of a record; longer texts are cut by the sender."""

PROTOCOL = "1"
"""Version of the records, sent in hello and layout."""

_ESCAPES = {"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"}
_PLAIN = {escape: char for char, escape in _ESCAPES.items()}
_MAXIMUM_FDS = 4


class Record(NamedTuple):
    """One record: its verb, its fields, and the descriptors that came with it (now the receiver's)."""

    verb: str
    fields: tuple[str, ...]
    fds: tuple[int, ...] = ()


def encode_record(verb: str, *fields: str) -> bytes:
    """Return a record's bytes, cut to the limit at a character's boundary."""
    escaped = [re.sub(r"[\\\t\n\r]", lambda found: _ESCAPES[found[0]], field) for field in fields]
    data = "\t".join([verb, *escaped]).encode("utf-8", "backslashreplace")
    return data if len(data) <= RECORD_LIMIT else data[:RECORD_LIMIT].decode("utf-8", "ignore").encode()


def decode_record(data: bytes) -> Record:
    """Return the record in these bytes; bytes that are no UTF-8 are replaced."""
    verb, *fields = data.decode("utf-8", "replace").split("\t")
    return Record(verb, tuple(re.sub(r"\\[\\tnr]", lambda found: _PLAIN[found[0]], field) for field in fields))


def receive_with_fds(sock: socket.socket, size: int, flags: int = 0) -> tuple[bytes, list[int]]:
    """Receive up to `size` bytes and the descriptors beside them, not inherited by later children.

    Descriptors beyond this process's limit are dropped by the kernel: count what you need. Raises OSError.
    `socket.recv_fds` is no alternative: it ignores its flags.
    """
    room, flags = socket.CMSG_SPACE(4 * _MAXIMUM_FDS), flags | socket.MSG_CMSG_CLOEXEC
    data, ancillary, _, _ = attempt(sock.recvmsg, size, room, flags)
    fds = array.array("i")
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
    return data, list(fds)


class Channel:
    """One end of a control channel."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    @classmethod
    def pair(cls) -> tuple[Channel, socket.socket]:
        """Return the engine's end and the socket for the module to inherit; raises SystemRefused."""
        ours, theirs = obtain(
            "make a control channel for a module", socket.socketpair, socket.AF_UNIX, socket.SOCK_SEQPACKET
        )
        return cls(ours), theirs

    def fileno(self) -> int:
        """Return the descriptor, for polling."""
        return self._socket.fileno()

    def send(self, verb: str, *fields: str, fds: Sequence[int] = ()) -> None:
        """Send one record, blocking; raises ConnectionError when the other end is gone, and SystemRefused."""
        try:
            attempt(socket.send_fds, self._socket, [encode_record(verb, *fields)], fds)
        except ConnectionError:
            raise
        except OSError as error:
            raise refused(f"send the record {verb!r}", error) from error

    def receive(self, *, wait: bool = True) -> Record | None:
        """Return the next record; None at the end of the channel, or where none is there and `wait` is false.

        A reset by a dying peer reads as the end. Raises OSError where the kernel has no memory for the record, which
        then still waits, and only if `wait` is true: who does not wait polls, and comes back.
        """
        try:
            data, fds = receive_with_fds(self._socket, RECORD_LIMIT, 0 if wait else socket.MSG_DONTWAIT)
        except ConnectionResetError:
            return None
        except OSError:
            if wait:
                raise
            return None
        if not data:
            for fd in fds:
                os.close(fd)
            return None
        return decode_record(data)._replace(fds=tuple(fds))

    def close(self) -> None:
        """Close this end."""
        self._socket.close()
