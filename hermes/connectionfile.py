"""How another process of the same user finds a session: a small file that is locked for as long as the session lives.

The owner holds an exclusive `flock` on its file, which the kernel drops however the owner ends. So a file that can be
locked is a dead session's and may be removed, and one that cannot is a live session's: process ids, which are used
again and differ between containers, decide nothing. A file gets its name ``*.json`` only when it is locked and
complete.

The file may hold the session's token: it has mode 0600, in a directory that only this user may write. Whoever reads
from there trusts what it finds, so readers refuse a directory that others could have filled, too.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import stat
import weakref
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import UnionType
from typing import NamedTuple

from hermes.connectiondirectory import files_in_directories, made_directory
from hermes.errors import HermesError, NoSession
from hermes.strictjson import decode, encode
from hermes.system import attempt
from hermes.wording import shown

_ATTEMPTS = 32
"""An attempt fails only where a sweeper comes within the microseconds between a file's creation and its lock."""

_KINDS: dict[str, type | UnionType] = {"session": str, "url": str, "token": str | None, "pid": int, "memory": str}
"""What a file holds; further keys are left to later versions."""


class Connection(NamedTuple):
    """A live session as its file describes it; `memory` can be opened read-only by processes of the same user."""

    session: str
    url: str
    token: str | None
    pid: int
    memory: str
    path: Path


class Address(NamedTuple):
    """Where to connect, and the token to bring, if one is known."""

    url: str
    token: str | None


class ConnectionFile:
    """The file of a session in this process, from `create` until `remove`.

    Keep the object for as long as the session can be reached: the file goes with it, and at the interpreter's exit.
    A forked child has no part in it: it neither keeps the session alive nor can remove its file.
    """

    def __init__(self, path: Path, fd: int) -> None:
        """Take over a complete file by its locked descriptor; use `create`."""
        self.path = path
        self._fd = fd
        self._end = weakref.finalize(self, _unlink_and_close, path, fd)
        _owned.add(self)

    @classmethod
    def create(cls, *, session: str, url: str, token: str | None, memory: str) -> ConnectionFile:
        """Write the file of a session in this process, and its directory where there is none.

        Raises HermesError, and leaves nothing, where the directory is not safe or the file cannot be written.
        """
        directory = made_directory()
        fields = {"session": session, "url": url, "token": token, "pid": os.getpid(), "memory": memory}
        content = encode(fields).encode() + b"\n"
        readable = re.sub(r"[^A-Za-z0-9_-]", "_", session)[:64]
        for _ in range(_ATTEMPTS):
            path = directory / f"{readable}-{secrets.token_hex(4)}.json"
            try:
                return cls(path, _written(path, content))
            except (FileExistsError, BlockingIOError):
                continue
            except OSError as error:
                raise HermesError(message=f"cannot write the connection file {path}: {error.strerror}") from None
        raise HermesError(message=f"cannot write a connection file in {directory}: {_ATTEMPTS} were taken away at once")

    def remove(self) -> None:
        """Remove the file; the session is no longer found. Again does nothing; from any thread."""
        self._end()


def find(session: str | None = None) -> list[Connection]:
    """Return the live sessions, or those of one name, newest first.

    Files of the dead and files that cannot be read or understood are passed over. Raises HermesError where others
    may write the directory.
    """
    found = []
    for path in files_in_directories(".json"):
        with suppress(HermesError):
            found.append(_live(path))
    found.sort(reverse=True, key=lambda entry: entry[0])
    return [connection for _, connection in found if session in (None, connection.session)]


def resolve(target: str | None = None) -> Address:
    """Return the address of the session that `target` names; raises HermesError that lists what there is.

    A target is a URL (its token is that of a live session with this URL, if any), the path of a connection file, a
    session's name, or None for the only session there is.
    """
    if target is not None and target.startswith(("ws://", "wss://")):
        tokens = [connection.token for connection in find() if connection.url.rstrip("/") == target.rstrip("/")]
        return Address(target, tokens[0] if tokens else None)
    if target is not None and (os.sep in target or target.endswith(".json")):
        _, connection = _live(Path(target))
    else:
        connection = _only(target)
    return Address(connection.url, connection.token)


def sweep() -> int:
    """Remove the files whose owners have died; return how many.

    A file that somebody else looks at in this very moment may stay until the next sweep.
    """
    return sum(_swept(path) for path in files_in_directories(".json", ".tmp"))


_owned: weakref.WeakSet[ConnectionFile] = weakref.WeakSet()


def _disown_all() -> None:
    """Let go of the parent's files: a descriptor that a forked child keeps would keep a dead session's lock."""
    for file in list(_owned):
        if file._end.detach() is not None:
            os.close(file._fd)


os.register_at_fork(after_in_child=_disown_all)


def _only(session: str | None) -> Connection:
    """Return the one live session of this name, or the one live session."""
    matching = find(session)
    if len(matching) == 1:
        return matching[0]
    if matching:
        kind = "running" if session is None else f"named {shown(session)}"
        ways = "its name, its URL or its connection file" if session is None else "its URL or its connection file"
        raise _no_session(f"{len(matching)} sessions are {kind}; choose one by {ways}:", matching)
    what = "no session with a server" if session is None else f"no session {shown(session)}"
    if others := find():
        raise _no_session(f"{what} is running, only:", others)
    raise _no_session(f"{what} is running here; start one with 'hermes run CONFIG', or give a URL (ws://HOST:PORT)")


def _no_session(message: str, listed: Iterable[Connection] = ()) -> NoSession:
    lines = (f"\n  {connection.session}  {connection.url}  {connection.path}" for connection in listed)
    return NoSession(message + "".join(lines))


def _live(path: Path) -> tuple[int, Connection]:
    """Return when a live session wrote its file (wall clock, ns) and what; raises HermesError for any other file."""
    try:
        with _opened(path, os.O_RDONLY) as fd:
            connection, is_held = _parsed(os.read(fd, 65536), path), not _locked(fd, fcntl.LOCK_SH)
            if not (is_held and _leads_to(path, fd)):  # a sweeper, too, holds a file, which it is about to remove
                raise _no_session(f"{path} is no live session's: its session has ended, or it is a copy")
            return os.fstat(fd).st_mtime_ns, connection
    except OSError as error:
        raise _no_session(f"cannot read the connection file {path}: {error.strerror}") from None


def _parsed(content: bytes, path: Path) -> Connection:
    try:
        fields = decode(content.decode())
    except (HermesError, UnicodeDecodeError) as error:
        raise _no_session(f"{path} is not a connection file: {error}") from None
    if not isinstance(fields, dict):
        raise _no_session(f"{path} is not a connection file: it has no object but {shown(fields)}")
    if wrong := [key for key, kinds in _KINDS.items() if not isinstance(fields.get(key, ...), kinds)]:
        raise _no_session(f"{path} is not a connection file: {', '.join(wrong)} missing or not of the right type")
    return Connection(**{key: fields[key] for key in _KINDS}, path=path)


def _swept(path: Path) -> bool:
    with suppress(OSError), _opened(path, os.O_RDWR) as fd:  # an exclusive lock on NFS needs a writable descriptor
        if _locked(fd, fcntl.LOCK_EX) and _leads_to(path, fd):
            path.unlink()
            return True
    return False


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    """Open a regular file, without waiting on a pipe that lies in its place."""
    fd = attempt(os.open, path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(0, "it is not a regular file")
        yield fd
    finally:
        os.close(fd)


def _written(path: Path, content: bytes) -> int:
    """Write a file that no reader sees before it is locked and complete; return its locked descriptor.

    Raises BlockingIOError where a sweeper came between the creation and the lock, and took the file.
    """
    draft = path.with_suffix(".tmp")
    with ExitStack() as undo:
        fd = attempt(os.open, draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        undo.callback(_unlink_and_close, draft, fd)
        if not (_locked(fd, fcntl.LOCK_EX) and _leads_to(draft, fd)):
            raise BlockingIOError
        while content:
            content = content[attempt(os.write, fd, content) :]
        attempt(draft.rename, path)
        undo.pop_all()
    return fd


def _unlink_and_close(path: Path, fd: int) -> None:
    try:
        with suppress(OSError):  # what cannot be removed now is swept later, since nobody holds it any more
            if _leads_to(path, fd):
                attempt(path.unlink)
    finally:
        os.close(fd)


def _locked(fd: int, kind: int) -> bool:
    """Lock a file and return whether that worked; those who only look lock it as shared, to not hinder each other."""
    try:
        attempt(fcntl.flock, fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _leads_to(path: Path, fd: int) -> bool:
    """Return whether the path still is the open file's."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(fd))
    except FileNotFoundError:
        return False
