"""One connection of a client: the thin shell around `hermes.remote`, on one asyncio loop.

One task reads all the time, whatever the client's user does, so that this client never becomes a slow one. Of
telemetry only the newest frame is kept; a reply goes to whoever asked; an event goes out at once. When the connection
ends, whoever waits is told why.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidProxy, InvalidStatus, InvalidURI
from websockets.uri import parse_uri

from hermes.errors import BadParams, ConnectionFailed, HermesError, SessionClosed
from hermes.remote.reading import Broken
from hermes.remote.session import Answer, Event, RemoteSession, Telemetry
from hermes.server.access import is_loopback
from hermes.wording import shown

SCHEMA_SECONDS = 30.0
"""The schema of a large session over a slow network may take so long."""

OPEN_SECONDS = 10.0
CLOSE_SECONDS = 0.5

LOST_MILLISECONDS = 10_000
"""A server whose machine or network has vanished is given up after so long, by the kernel."""

_CATCH_UP_TURNS = 4
_CATCH_UP_LIMIT = 64

Notice = Callable[[str, Mapping[str, Any]], None]
"""Gets an event's name and fields."""


class Link:
    """A connection that has its schema; use `open`."""

    def __init__(self, url: str, connection: ClientConnection, remote: RemoteSession, notice: Notice) -> None:
        """Begin to read; `notice` is called for every event, in a callback of its own."""
        self.url = url
        self.remote = remote
        self._connection = connection
        self._notice = notice
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._newest: Telemetry | None = None
        self._arrivals = 0
        self._arrived = asyncio.Event()
        self._over: str | None = None
        self._left = False
        self._reader = asyncio.create_task(self._read(), name="hermes-client")

    @classmethod
    async def open(cls, url: str, token: str | None, notice: Notice) -> Link:
        """Connect; raises ConnectionFailed."""
        address = url.partition("?")[0]  # a token may stand after it
        connection = await _connected(url, address, token)
        try:
            async with asyncio.timeout(SCHEMA_SECONDS):
                remote = RemoteSession(await connection.recv())
            return cls(address, connection, remote, notice)
        except BaseException as error:
            await _hang_up(connection, 1002)
            if isinstance(error, Broken):
                raise ConnectionFailed(address, f"the server broke the protocol: {error}") from None
            if isinstance(error, ConnectionClosed):
                raise ConnectionFailed(address, _goodbye(connection)) from None
            if isinstance(error, TimeoutError):
                raise ConnectionFailed(address, f"the server sent no schema within {SCHEMA_SECONDS:g} s") from None
            raise

    @property
    def is_over(self) -> bool:
        """Whether the connection has ended."""
        return self._over is not None

    async def request(self, action: str, params: Mapping[str, Any]) -> Any:
        """Send a command and return what it returns; raises its refusal, or why the connection has ended."""
        if self._over is not None:
            raise self._ending()
        number, text = self.remote.ask(action, params)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        with suppress(ConnectionClosed):  # the reader finds out why, and tells all that wait
            await self._connection.send(text)
        return await answer

    async def newer(self, seen: int) -> tuple[int, Telemetry] | None:
        """Return the newest frame and its number among all that came, once that is above `seen`; None at the end.

        Raises ConnectionFailed where the end was not one that the session or this client announced.
        """
        await self._catch_up()
        while self._newest is None or self._arrivals <= seen or not self.remote.is_current(self._newest):
            if self._over is not None:
                if self.remote.closing or self._left:
                    return None
                raise self._ending()
            await self._arrived.wait()
        return self._arrivals, self._newest

    async def close(self) -> None:
        """End the connection; whoever waits gets ConnectionFailed."""
        self._left = True
        await _hang_up(self._connection, 1000)
        await asyncio.wait([self._reader])

    # -- inside

    async def _catch_up(self) -> None:
        """Let the reader take what has arrived while another task kept the loop from running.

        Once round the loop, the socket is read; twice, the library's queue; and what was too much for it, then again.
        """
        before = -1
        for _ in range(_CATCH_UP_LIMIT):
            if self._arrivals == before:
                return
            before = self._arrivals
            for _ in range(_CATCH_UP_TURNS):
                await asyncio.sleep(0)

    async def _read(self) -> None:
        broken = None
        try:
            while True:
                self._take(await self._connection.recv())
        except Broken as error:
            broken = f"the server broke the protocol: {error}"
        except ConnectionClosed:
            pass
        finally:
            self._end(broken or ("this client has closed it" if self._left else _goodbye(self._connection)))
            await _hang_up(self._connection, 1002)

    def _take(self, message: str | bytes) -> None:
        match self.remote.take(message):
            case Telemetry() as frame:
                self._newest = frame
                self._arrivals += 1
                self._arrived.set()
                self._arrived.clear()
            case Event(name, fields):
                if name == "reset":
                    self._newest = None
                asyncio.get_running_loop().call_soon(self._notice, name, fields)
            case Answer(number, outcome):
                _settle(self._answers.pop(number), outcome)

    def _end(self, why: str) -> None:
        self._over = why
        self._arrived.set()
        for answer in self._answers.values():
            _settle(answer, self._ending())

    def _ending(self) -> HermesError:
        """Return the error that says why the connection has ended, a new one for everybody who asks."""
        if self.remote.closing:
            return SessionClosed(self.remote.name)
        return ConnectionFailed(self.url, self._over or "")


def _settle(answer: asyncio.Future[Any], outcome: Any) -> None:
    if answer.done():  # whoever asked was cancelled
        return
    if isinstance(outcome, HermesError):
        answer.set_exception(outcome)
    else:
        answer.set_result(outcome)


async def _connected(url: str, address: str, token: str | None) -> ClientConnection:
    if token is not None and not (token.isascii() and token.isprintable()):
        raise BadParams("a token is printable ASCII text; found other characters")
    try:
        connection = await connect(
            url,
            additional_headers={} if token is None else {"Authorization": f"Bearer {token}"},
            compression=None,
            proxy=None if is_loopback(parse_uri(url).host) else True,
            open_timeout=OPEN_SECONDS,
            ping_interval=None,  # a loop that a notebook cell blocks would take its own silence for the server's
            close_timeout=CLOSE_SECONDS,
            max_size=None,
        )
    except (OSError, InvalidURI, InvalidProxy, InvalidHandshake) as error:
        raise ConnectionFailed(address, _why_not(error)) from None
    _give_up_on_silence(connection)
    return connection


def _why_not(error: Exception) -> str:
    """Say why there is no connection, and what to do."""
    if isinstance(error, InvalidStatus):
        status, body = error.response.status_code, bytes(error.response.body or b"").decode(errors="replace").strip()
        hint = "; give it as token=... (--token), or name the session or its connection file" if status == 401 else ""
        return f"the server refuses with HTTP {status}: {shown(body, 300)[1:-1]}{hint}"
    if isinstance(error, TimeoutError):
        return f"no answer within {OPEN_SECONDS:g} s"
    if isinstance(error, OSError) and (error.errno == errno.ECONNREFUSED or _all_refused(error)):
        return "nothing is listening there; is the session still running?"
    text = shown(error.strerror or str(error) if isinstance(error, OSError) else str(error), 300)[1:-1]
    return f"cannot connect: {text}"


def _all_refused(error: OSError) -> bool:
    """Return whether every address of a host refused; asyncio then joins their messages."""
    return f"[Errno {errno.ECONNREFUSED}]" in str(error)


def _goodbye(connection: ClientConnection) -> str:
    code, reason = connection.close_code, connection.close_reason
    if code in (None, 1006):
        return "the connection was lost"
    return f"the server closed the connection (code {code}{', ' if reason else ''}{shown(reason or '', 200)[1:-1]})"


async def _hang_up(connection: ClientConnection, code: int) -> None:
    """Close in order, but not for longer than a moment."""
    try:
        async with asyncio.timeout(2 * CLOSE_SECONDS):
            await connection.close(code)
    except TimeoutError:
        connection.transport.abort()


def _give_up_on_silence(connection: ClientConnection) -> None:
    """Let the kernel ask whether the server's machine is still there, and end the connection where it is not."""
    peer: socket.socket = connection.transport.get_extra_info("socket")
    for level, option, value in (
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, LOST_MILLISECONDS // 2000),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, LOST_MILLISECONDS // 4000),
        (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, LOST_MILLISECONDS),
    ):
        peer.setsockopt(level, option, value)
