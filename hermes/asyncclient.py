"""`AsyncClient`: the verbs of an `AsyncSession` for a session that runs in another process.

It keeps no copy of the simulation but what the server has said last. One client is used on one loop, the one on which
it connected; any number of its tasks may use it at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hermes.backplane.signals import SignalRegistry, Value
from hermes.commands import Action
from hermes.connectionfile import resolve
from hermes.errors import ConnectionFailed, HermesError
from hermes.lifecycle import State
from hermes.remote.link import Link
from hermes.remote.session import RemoteStatus, Telemetry

Observer = Callable[[str, Mapping[str, Any]], None]
"""Gets an event's name and fields."""

_PAUSE_SECONDS = 1.0


class AsyncClient:
    """A client of a running session for asynchronous code; `Client` is its synchronous face.

    Everything but `observe` needs a connection (`connect`, or ``async with``) and raises ConnectionFailed where there
    is none, or SessionClosed where the session has ended. What was heard last stays readable after the end.
    """

    def __init__(self, target: str | Path | None = None, *, token: str | None = None) -> None:
        """Prepare to connect to `target`: a URL, a session's name, the path of a connection file, or None.

        None is the only session of this user that runs. `token` takes the place of the one in a connection file.
        """
        self._target = str(target.absolute()) if isinstance(target, Path) else target
        self._token = token
        self._link: Link | None = None
        self._connecting = asyncio.Lock()
        self._observers: list[Observer] = []

    async def __aenter__(self) -> AsyncClient:
        await self.connect()
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.close()

    async def connect(self) -> None:
        """Connect; does nothing while connected, and connects anew after an end.

        Raises NoSession where `target` names none, and ConnectionFailed.
        """
        async with self._connecting:
            if self._link is None or self._link.is_over:
                address = resolve(self._target)
                token = address.token if self._token is None else self._token
                self._link = await Link.open(address.url, token, self._notice)

    async def close(self) -> None:
        """End the connection; the session goes on. Idempotent."""
        if self._link is not None:
            await self._link.close()

    # -- what it is

    @property
    def url(self) -> str:
        """The address of the session's server, without what may be secret in it."""
        return self._opened.url

    @property
    def name(self) -> str:
        """The session's name."""
        return self._opened.remote.name

    @property
    def state(self) -> State:
        """What the session was doing when it last said so."""
        return self._opened.remote.state

    @property
    def frame(self) -> int:
        """The newest frame of which this client has heard: by telemetry, an event, or the reply to a command."""
        return self._opened.remote.frame

    @property
    def time(self) -> float:
        """The simulation time of that frame, in seconds."""
        return self._opened.remote.time

    @property
    def signals(self) -> SignalRegistry:
        """The session's signals."""
        return self._opened.remote.signals

    @property
    def wiring(self) -> Sequence[Mapping[str, Any]]:
        """The session's wires, each with `src`, `dst`, `gain` and `offset`."""
        return self._opened.remote.wiring

    @property
    def rate_hz(self) -> float:
        """Frames per second of simulated time."""
        return self._opened.remote.rate_hz

    @property
    def telemetry_hz(self) -> float:
        """The session's rate of telemetry, and the highest that `subscribe` takes, in Hz."""
        return self._opened.remote.telemetry_hz

    # -- the verbs

    async def resume(self) -> None:
        """Run until paused; does nothing while running."""
        await self._ask(Action.RESUME)

    async def pause(self) -> None:
        """Stop at the next frame boundary; does nothing while paused."""
        await self._ask(Action.PAUSE)

    async def reset(self) -> None:
        """Put every module back to its initial conditions, frame and time to 0; revives a failed session."""
        await self._ask(Action.RESET)

    async def step(self, count: int = 1) -> int:
        """Compute `count` frames as fast as possible; return how many were (fewer where somebody paused).

        Cancelled, it pauses the session, as does `run`.
        """
        return await self._advance(Action.STEP, count=count)

    async def run(self, seconds: float) -> int:
        """Run `seconds` of simulated time, to the exact frame, and pause; return how many frames that were.

        In real time that takes as long. It ends early where somebody pauses, and at the end of the run.
        """
        return await self._advance(Action.RUN, seconds=seconds)

    async def set(self, values: Mapping[str, object]) -> None:
        """Set several inputs or parameters before the same frame, all or none.

        Raises UnknownSignal, ReadOnlySignal, WiredSignal or BadValue.
        """
        await self._ask(Action.SET, values=values)

    async def get(self, names: Sequence[str]) -> dict[str, Value]:
        """Return the exact values of several signals, by name or pattern, of one and the same frame."""
        values: dict[str, Value] = await self._ask(Action.GET, signals=_listed(names))
        return values

    async def status(self) -> RemoteStatus:
        """Return how the session is doing now."""
        status: RemoteStatus = await self._ask(Action.STATUS)
        return status

    async def subscribe(self, patterns: Sequence[str], telemetry_hz: float | None = None) -> tuple[str, ...]:
        """Choose the signals of `telemetry` in place of those before, by name or pattern; return their names in order.

        `telemetry_hz` is how many frames to be sent per second, at most and by default the session's own.
        """
        rate = {} if telemetry_hz is None else {"telemetry_hz": telemetry_hz}
        names: tuple[str, ...] = await self._ask(Action.SUBSCRIBE, signals=_listed(patterns), **rate)
        return names

    async def unsubscribe(self, patterns: Sequence[str] | None = None) -> tuple[str, ...]:
        """Leave some signals out of `telemetry`, or end it; return the names that remain."""
        fewer = {} if patterns is None else {"signals": _listed(patterns)}
        names: tuple[str, ...] = await self._ask(Action.UNSUBSCRIBE, **fewer)
        return names

    # -- what it sends by itself

    def observe(self, observer: Observer) -> None:
        """Call `observer(event, fields)` for every event, on the client's loop, in a callback of its own."""
        self._observers.append(observer)

    def telemetry(self) -> AsyncIterator[Telemetry]:
        """Iterate over the frames that come, beginning with the newest; ends when the session or the client closes.

        Each step gives the newest frame and waits only where that was given already: whoever is slow misses frames
        and never gets an old one. Raises ConnectionFailed where the connection is lost.
        """
        return _Frames(self._opened)

    def unconnected(self) -> ConnectionFailed:
        """Return the error that says that there is no connection yet, or none any more."""
        what = "the running session" if self._target is None else self._target.partition("?")[0]
        return ConnectionFailed(what, "not connected; call connect() first, or use 'with'")

    # -- inside

    @property
    def _opened(self) -> Link:
        if self._link is None:
            raise self.unconnected()
        return self._link

    async def _ask(self, action: Action, **params: Any) -> Any:
        return await self._opened.request(action, params)

    async def _advance(self, action: Action, **params: Any) -> int:
        try:
            completed: int = await self._ask(action, **params)
        except asyncio.CancelledError:
            with suppress(HermesError, TimeoutError):
                async with asyncio.timeout(_PAUSE_SECONDS):
                    await self._ask(Action.PAUSE)
            raise
        return completed

    def _notice(self, event: str, fields: Mapping[str, Any]) -> None:
        for observer in self._observers:
            observer(event, fields)


class _Frames:
    """The frames of one connection, each the newest when it is asked for."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._seen = 0

    def __aiter__(self) -> AsyncIterator[Telemetry]:
        return self

    async def __anext__(self) -> Telemetry:
        newer = await self._link.newer(self._seen)
        if newer is None:
            raise StopAsyncIteration
        self._seen, frame = newer
        return frame


def _listed(names: Sequence[str]) -> Any:
    """Return names as the list that a command takes; a text stays one, and is refused."""
    return names if isinstance(names, str) else list(names)
