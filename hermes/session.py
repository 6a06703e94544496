"""`Session`: the synchronous face of an `AsyncSession`, for notebook cells and scripts.

Every method does what its asynchronous twin under `session.aio` does, and waits. In a notebook both work on the
kernel's own loop, so that server, telemetry and widgets go on while a cell waits.
"""

from __future__ import annotations

import asyncio
import html
import weakref
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from hermes.asyncsession import AsyncSession
from hermes.backplane.signals import SignalRegistry, Value
from hermes.config import HermesConfig
from hermes.errors import HermesError, LoopError, SessionClosed, SystemRefused
from hermes.history.feed import Patterns
from hermes.history.recording import Recording
from hermes.history.table import History
from hermes.hosting import Host, choose_host
from hermes.lifecycle import State
from hermes.mirror import Journal
from hermes.module import Module
from hermes.run import Observer
from hermes.sessionparts import Parts, configured
from hermes.status import Status
from hermes.timing import Timing

if TYPE_CHECKING:
    from hermes.notebook.controls import Controls
    from hermes.notebook.plot import Plot
    from hermes.notebook.table import SignalTable

T = TypeVar("T")


class Session:
    """A simulation session. Nothing starts before `start` (or ``with``), which leaves it paused at frame 0.

    ``session["vehicle.x"]`` reads a signal, ``session["inputs.thrust"] = 2.0`` sets one. `aio` is the same session for
    ``await``: ``await session.aio.run(5)``.
    """

    def __init__(
        self,
        config: HermesConfig | None = None,
        *,
        modules: Mapping[str, object] | None = None,
        loop: str | None = None,
        port: int | None = None,
        serve: bool | None = None,
        **parts: Unpack[Parts],
    ) -> None:
        """Prepare a run of `config`, or of `modules` and the other `parts`: name, wiring, execution, server...

        Each part is what YAML has under its name. A module is a subclass of `hermes.Module`, defined anywhere, a
        notebook's cell included; or a mapping as in YAML, with ``module: Class`` in the place of type and script; or
        text as `script` takes it. Beside `config`, `modules` take the place of its modules of the same names.

        `loop` "thread" hosts the session on a thread of its own, so that telemetry flows while a cell blocks; scripts
        get that by themselves. `port` and `serve` take the place of server.port and server.enabled. Raises
        ConfigurationError that lists every problem, and LoopError under a running loop that is not a notebook's.
        """
        config = configured(config, modules, parts)
        self._host: Host | None = None
        self._finalizer: weakref.finalize[..., Session] | None = None
        self._make_host = choose_host(config.name, loop)
        self.aio = AsyncSession(config, port=port, serve=serve, home=self._home())

    @classmethod
    def from_yaml(
        cls,
        path: str | Path,
        *,
        modules: Mapping[str, object] | None = None,
        loop: str | None = None,
        port: int | None = None,
        serve: bool | None = None,
        name: str | None = None,
    ) -> Session:
        """Read a configuration file and prepare its run; raises ConfigurationError that lists every problem.

        `modules` take the place of the file's of the same names: ``modules={"controller": Controller}``.
        """
        config = HermesConfig.from_yaml(path, modules)
        renamed = config if name is None else config.model_copy(update={"name": name})
        return cls(renamed, loop=loop, port=port, serve=serve)

    def __enter__(self) -> Session:
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    # -- what it is (see AsyncSession for each)

    @property
    def name(self) -> str:
        """The session's name."""
        return self.aio.name

    @property
    def state(self) -> State:
        """What the session is doing."""
        return self.aio.state

    @property
    def failure(self) -> HermesError | None:
        """Why the session is `failed`, or None."""
        return self.aio.failure

    @property
    def frame(self) -> int:
        """The number of the newest committed frame; raises NotReady before start."""
        return self.aio.frame

    @property
    def time(self) -> float:
        """The simulation time of the newest committed frame, in seconds; raises NotReady before start."""
        return self.aio.time

    @property
    def fingerprint(self) -> str:
        """32 hexadecimal digits that identify the run up to its newest frame: equal for equal runs, bit for bit."""
        return self.aio.fingerprint

    @property
    def journal(self) -> Journal:
        """Every command that took effect: its frame, verb, origin and parameters, in order."""
        return self.aio.journal

    @property
    def signals(self) -> SignalRegistry:
        """The session's signals."""
        return self.aio.signals

    @property
    def wiring(self) -> Sequence[Mapping[str, Any]]:
        """The wires in the order in which they are routed, each with `src`, `dst`, `gain` and `offset`."""
        return self.aio.wiring

    @property
    def url(self) -> str:
        """The address at which viewers connect; raises NotReady where no server runs."""
        return self.aio.url

    @property
    def status(self) -> Status:
        """How the session is doing now."""
        return self.aio.status

    @property
    def connection_file(self) -> Path:
        """The file, readable by this user only, by which other processes find the session, with its token."""
        return self.aio.connection_file

    def __getitem__(self, name: str) -> Value:
        """Return a signal's committed value; raises UnknownSignal, with the nearest names."""
        return self.aio[name]

    def get(self, names: Sequence[str]) -> dict[str, Value]:
        """Return the values of several signals, by name or pattern, of one and the same frame."""
        return self.aio.get(names)

    def history(self, patterns: Patterns = ("*",), last: float | None = None) -> History:
        """Return the frames of the current epoch that are kept of some signals; `last` limits them to so many seconds.

        Raises NotReady, UnknownSignal or BadParams.
        """
        return self.aio.history(patterns, last)

    def plot(self, *axes: Patterns, window: float = 30.0) -> Plot:
        """Return a live plot over the newest `window` seconds of simulation time; each argument is one axes.

        ``session.plot("plane.altitude", ("plane.pitch", "autopilot.pitch_target"))`` has two axes, the second with two
        signals; patterns are allowed. It needs ``hermes-sim[notebook]``. Raises NotReady, UnknownSignal or BadParams.
        """
        return self.aio.plot(*axes, window=window)

    def table(self, patterns: Patterns = ("*",)) -> SignalTable:
        """Return a live table of the newest values of some signals, by name or pattern.

        It needs ``hermes-sim[notebook]``. Raises NotReady or UnknownSignal.
        """
        return self.aio.table(patterns)

    def observe(self, observer: Observer) -> None:
        """Call `observer(event, fields)` for every event, on the session's loop, in a callback of its own."""
        self.aio.observe(observer)

    def controls(self) -> Controls:
        """Return a panel for a notebook: buttons, state, fields for every writable signal, a console.

        It follows what anybody does. Raises NotReady, SessionClosed, and HermesError, naming what to install, where
        ipywidgets is missing.
        """
        return self.aio.controls()

    def timing(self) -> Timing:
        """Return how long modules and frames have taken since the last reset, and the rate they could hold."""
        return self._call(self.aio.timing())

    # -- the verbs

    def start(self) -> None:
        """Start engine, modules and server, and leave the session paused at frame 0.

        In a notebook, an open session of the same name is closed first. Raises ModuleFailed, ModuleDied, ModuleHung,
        ConfigurationError, PortInUse or SystemRefused; nothing is then left running.
        """
        try:
            self._call(self.aio.start())
        finally:
            if self.state is State.CLOSED:
                self._end_host()

    def resume(self) -> None:
        """Run until paused; does nothing while running."""
        self._call(self.aio.resume())

    def pause(self) -> None:
        """Stop at the next frame boundary; does nothing while paused."""
        self._call(self.aio.pause())

    def reset(self) -> None:
        """Put every module back to its initial conditions, frame and time to 0; revives a failed session."""
        self._call(self.aio.reset())

    def step(self, count: int = 1) -> int:
        """Compute `count` frames as fast as possible; return how many were (fewer where somebody paused)."""
        return self._call(self.aio.step(count))

    def run(self, seconds: float) -> int:
        """Run `seconds` of simulated time, to the exact frame, and pause; return how many frames that were.

        In real time that takes as long. It ends early where somebody pauses, and at the end of the run.
        """
        return self._call(self.aio.run(seconds))

    def __setitem__(self, name: str, value: object) -> None:
        """Set an input or a parameter; raises UnknownSignal, ReadOnlySignal, WiredSignal or BadValue."""
        self.set({name: value})

    def set(self, values: Mapping[str, object]) -> None:
        """Set several inputs or parameters before the same frame, all or none."""
        self._call(self.aio.set(values))

    def replace(self, module: str, code: type[Module] | str, *, params: Mapping[str, object] | None = None) -> None:
        """Let another class, or what `script` would say, compute a module from the next frame on.

        See `AsyncSession.replace`. Raises ConfigurationError, ModuleError and NotReplaced; nothing has changed then.
        """
        self._call(self.aio.replace(module, code, params=params))

    def record(self, patterns: Patterns = ("*",), lossless: bool = False) -> Recording:
        """Keep every frame of some signals until the recording is stopped: ``with session.record("a.*") as seen: ...``.

        `lossless` makes the engine wait where frames would be missed (``execution.mode: afap`` only). Raises NotReady,
        UnknownSignal or ConfigurationError.
        """
        return self._call(self.aio.record(patterns, lossless))

    def export(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write a configuration that ``hermes run`` computes to the same fingerprint; return its absolute path.

        See `AsyncSession.export`. Raises NotExported, also where `path` exists and `overwrite` is not given.
        """
        return self._call(self.aio.export(path, overwrite=overwrite))

    def close(self) -> None:
        """End everything: clients get `closing` and 1001, modules end, memory is freed. Idempotent."""
        if self._finalizer is None:
            return
        try:
            with suppress(SessionClosed):
                self._call(self.aio.close())
        except LoopError:
            raise
        except BaseException:
            self._finalizer()
            raise
        self._finalizer()

    def _repr_html_(self) -> str:
        return summary_html(self.aio)

    # -- the loop

    def _home(self) -> Callable[[], asyncio.AbstractEventLoop]:
        """Return what gives the session's loop, made when first needed; it holds no reference to the session."""
        reference = weakref.ref(self)

        def home() -> asyncio.AbstractEventLoop:
            session = reference()
            assert session is not None
            return session._opened().loop

        return home

    def _opened(self) -> Host:
        if self._host is None:
            self._host = self._make_host()
            self._finalizer = weakref.finalize(self, self._host.end, self.aio.close, self.aio.kill)
        return self._host

    def _end_host(self) -> None:
        if self._finalizer is not None:
            self._finalizer()

    def _call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        try:
            if not self._closed():
                return self._opened().call(coroutine)
        except SystemRefused:
            coroutine.close()
            raise
        except LoopError:
            if not self._closed():  # else another thread has closed it meanwhile
                raise
        coroutine.close()
        raise SessionClosed(self.name)

    def _closed(self) -> bool:
        return self.state is State.CLOSED


def summary_html(session: AsyncSession) -> str:
    """Return state, time, modules and address as a small table; every text is escaped."""
    rows = {"state": str(session.state), "modules": ", ".join(session.config.modules)}
    with suppress(HermesError):
        rows["time"] = f"{session.time:.3f} s (frame {session.frame})"
        rows["address"] = session.url
        rows["clients"] = str(len(session.status.clients))
        if session.needs_token:
            rows["token"] = f"in {session.connection_file}"
        if hint := session.stall_hint:
            rows["loop stalls"] = hint
    if session.failure is not None:
        rows["failure"] = str(session.failure)
    cells = "".join(
        f"<tr><th style='text-align:left'>{html.escape(key)}</th>"
        f"<td style='text-align:left;white-space:pre-wrap'>{html.escape(text)}</td></tr>"
        for key, text in rows.items()
    )
    return f"<table><caption>Hermes session <b>{html.escape(session.name)}</b></caption>{cells}</table>"
