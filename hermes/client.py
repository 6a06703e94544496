"""`Client`: the synchronous face of an `AsyncClient`, for notebook cells and scripts.

Its connection lives on a thread of its own, so that telemetry is read and events arrive while a cell computes.
"""

from __future__ import annotations

import weakref
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from hermes.asyncclient import AsyncClient, Observer
from hermes.backplane.signals import SignalRegistry, Value
from hermes.hosting import ThreadHost
from hermes.lifecycle import State
from hermes.remote.session import RemoteStatus, Telemetry

T = TypeVar("T")


class Client:
    """A client of a session that runs in another process; `connect` (or ``with``) attaches it.

    ``client["vehicle.x"]`` reads a signal, ``client["inputs.thrust"] = 2.0`` sets one. Closing it leaves the session
    as it is. For every method and property see `AsyncClient`, which is also the one to use in a notebook that hosts the
    session on its kernel's own loop: there a call that waits would keep the session from answering.
    """

    def __init__(self, target: str | Path | None = None, *, token: str | None = None) -> None:
        """Prepare to connect to `target`: a URL, a session's name, the path of a connection file, or None.

        None is the only session of this user that runs. `token` takes the place of the one in a connection file.
        """
        self._aio = AsyncClient(target, token=token)
        self._host: ThreadHost | None = None

    def __enter__(self) -> Client:
        self.connect()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def connect(self) -> None:
        """Connect; raises NoSession where `target` names none, and ConnectionFailed."""
        if self._host is None:
            self._host = ThreadHost("client")
            self._finalizer = weakref.finalize(self, self._host.end, self._aio.close, _leave)
        try:
            self._call(self._aio.connect())
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the connection; the session goes on. Idempotent."""
        if self._host is not None:
            self._host = None
            self._finalizer()

    # -- what it is

    @property
    def url(self) -> str:
        """The address of the session's server, without what may be secret in it."""
        return self._aio.url

    @property
    def name(self) -> str:
        """The session's name."""
        return self._aio.name

    @property
    def state(self) -> State:
        """What the session was doing when it last said so."""
        return self._aio.state

    @property
    def frame(self) -> int:
        """The newest frame of which this client has heard."""
        return self._aio.frame

    @property
    def time(self) -> float:
        """The simulation time of that frame, in seconds."""
        return self._aio.time

    @property
    def signals(self) -> SignalRegistry:
        """The session's signals."""
        return self._aio.signals

    @property
    def wiring(self) -> Sequence[Mapping[str, Any]]:
        """The session's wires, each with `src`, `dst`, `gain` and `offset`."""
        return self._aio.wiring

    @property
    def rate_hz(self) -> float:
        """Frames per second of simulated time."""
        return self._aio.rate_hz

    @property
    def telemetry_hz(self) -> float:
        """The session's rate of telemetry, and the highest that `subscribe` takes, in Hz."""
        return self._aio.telemetry_hz

    @property
    def status(self) -> RemoteStatus:
        """How the session is doing now."""
        return self._call(self._aio.status())

    def __getitem__(self, name: str) -> Value:
        """Return a signal's committed value; raises UnknownSignal, with the nearest names."""
        self.signals.index(name)
        return self.get([name])[name]

    def get(self, names: Sequence[str]) -> dict[str, Value]:
        """Return the exact values of several signals, by name or pattern, of one and the same frame."""
        return self._call(self._aio.get(names))

    # -- the verbs

    def resume(self) -> None:
        """Run until paused; does nothing while running."""
        self._call(self._aio.resume())

    def pause(self) -> None:
        """Stop at the next frame boundary; does nothing while paused."""
        self._call(self._aio.pause())

    def reset(self) -> None:
        """Put every module back to its initial conditions, frame and time to 0; revives a failed session."""
        self._call(self._aio.reset())

    def step(self, count: int = 1) -> int:
        """Compute `count` frames as fast as possible; return how many were. An interrupt pauses the session."""
        return self._call(self._aio.step(count))

    def run(self, seconds: float) -> int:
        """Run `seconds` of simulated time, to the exact frame, and pause; return how many frames that were."""
        return self._call(self._aio.run(seconds))

    def __setitem__(self, name: str, value: object) -> None:
        """Set an input or a parameter; raises UnknownSignal, ReadOnlySignal, WiredSignal or BadValue."""
        self.set({name: value})

    def set(self, values: Mapping[str, object]) -> None:
        """Set several inputs or parameters before the same frame, all or none."""
        self._call(self._aio.set(values))

    def subscribe(self, patterns: Sequence[str], telemetry_hz: float | None = None) -> tuple[str, ...]:
        """Choose the signals of `telemetry` in place of those before; return their names in order."""
        return self._call(self._aio.subscribe(patterns, telemetry_hz))

    def unsubscribe(self, patterns: Sequence[str] | None = None) -> tuple[str, ...]:
        """Leave some signals out of `telemetry`, or end it; return the names that remain."""
        return self._call(self._aio.unsubscribe(patterns))

    # -- what it sends by itself

    def observe(self, observer: Observer) -> None:
        """Call `observer(event, fields)` for every event, on the client's own thread."""
        self._aio.observe(observer)

    def telemetry(self) -> Iterator[Telemetry]:
        """Iterate over the frames that come, each the newest when it is asked for; see `AsyncClient.telemetry`."""
        frames = self._aio.telemetry()

        async def following() -> Telemetry | None:
            return await anext(frames, None)

        while self._host is not None and (frame := self._call(following())) is not None:
            yield frame

    # -- the loop

    def _call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        if self._host is not None:
            return self._host.call(coroutine)
        coroutine.close()
        raise self._aio.unconnected()


def _leave() -> None:
    """Do nothing where the loop cannot close the connection: its thread and socket end with the process."""
