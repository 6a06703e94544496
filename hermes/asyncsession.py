"""`AsyncSession`: one simulation run, its engine, its server, and every verb that acts on it.

The inside is a `hermes.run.Run` on one loop; this is its public face. It keeps no copy of the simulation: state is
what the engine reports, values are read from committed frames. Its asynchronous methods may be awaited on any loop,
its properties read on any thread.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from hermes.backplane.patterns import expand_patterns
from hermes.backplane.signals import SignalRegistry, Value
from hermes.casefiles import module_files, write_case
from hermes.commands import Action, Command, checked
from hermes.config import HermesConfig
from hermes.crossing import on_loop
from hermes.errors import HermesError, NotExported, NotReady, NotReplaced
from hermes.export import case_text, sets_of_epoch
from hermes.frametime import FrameClock
from hermes.history.feed import Patterns
from hermes.history.recording import Recording
from hermes.history.table import History
from hermes.hosting import in_notebook
from hermes.lifecycle import State, Verb
from hermes.mirror import Journal
from hermes.module import Module
from hermes.modulesource import target_source
from hermes.notebook import controls_of
from hermes.notebook.front import Front
from hermes.planning import module_plan, with_code
from hermes.run import Observer, Run
from hermes.sessionparts import Parts, configured
from hermes.status import Status
from hermes.timing import Timing

if TYPE_CHECKING:
    from hermes.notebook.controls import Controls
    from hermes.notebook.plot import Plot
    from hermes.notebook.table import SignalTable

_in_notebook: weakref.WeakValueDictionary[str, AsyncSession] = weakref.WeakValueDictionary()


class AsyncSession:
    """A simulation session for asynchronous code; `Session` is the synchronous face of the same object.

    Nothing starts before `start` (or ``async with``), which leaves the session paused at frame 0.
    """

    def __init__(
        self,
        config: HermesConfig | None = None,
        *,
        modules: Mapping[str, object] | None = None,
        port: int | None = None,
        serve: bool | None = None,
        home: Callable[[], asyncio.AbstractEventLoop] = asyncio.get_running_loop,
        **parts: Unpack[Parts],
    ) -> None:
        """Prepare a run of `config`, or of `modules` and the other `parts` of a configuration, see `Session`.

        `port` and `serve` take the place of server.port and server.enabled, `home` gives the loop to live on when the
        session starts.
        """
        self.config = configured(config, modules, parts)
        self._home = home
        self._run = Run(self.config, port, serve)
        self._front = Front(self.config.name, self._run.feed)
        self._loop: asyncio.AbstractEventLoop | None = None

    @classmethod
    def from_yaml(
        cls,
        path: str | Path,
        *,
        modules: Mapping[str, object] | None = None,
        port: int | None = None,
        serve: bool | None = None,
        name: str | None = None,
    ) -> AsyncSession:
        """Read a configuration file and prepare its run; raises ConfigurationError that lists every problem.

        `port`, `serve` and `name` take the place of server.port, server.enabled and name, `modules` that of the
        modules of the same names, see `Session`.
        """
        config = HermesConfig.from_yaml(path, modules)
        return cls(config if name is None else config.model_copy(update={"name": name}), port=port, serve=serve)

    async def __aenter__(self) -> AsyncSession:
        await self.start()
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.close()

    # -- what it is

    @property
    def name(self) -> str:
        """The session's name."""
        return self.config.name

    @property
    def state(self) -> State:
        """What the session is doing."""
        return self._run.mirror.state

    @property
    def failure(self) -> HermesError | None:
        """Why the session is `failed`, or None."""
        return self._run.mirror.failure

    @property
    def frame(self) -> int:
        """The number of the newest committed frame; raises NotReady before start."""
        return self._run.newest().frame

    @property
    def time(self) -> float:
        """The simulation time of the newest committed frame, in seconds; raises NotReady before start."""
        return self._run.newest().time

    @property
    def fingerprint(self) -> str:
        """32 hexadecimal digits that identify the run up to its newest frame: equal for equal runs, bit for bit."""
        return self._run.newest().fingerprint.hex()

    @property
    def journal(self) -> Journal:
        """Every command that took effect: its frame, verb, origin and parameters, in order."""
        return self._run.mirror.journal

    @property
    def signals(self) -> SignalRegistry:
        """The session's signals."""
        return self._run.memory("signals").registry

    @property
    def wiring(self) -> Sequence[Mapping[str, Any]]:
        """The wires in the order in which they are routed, each with `src`, `dst`, `gain` and `offset`."""
        return self._run.wiring

    @property
    def serves(self) -> bool:
        """Whether a WebSocket server belongs to the session."""
        return self._run.serves

    @property
    def url(self) -> str:
        """The address at which viewers connect; raises NotReady where no server runs."""
        if self._run.server is None:
            raise NotReady("url (with a server)")
        return self._run.server.url

    @property
    def status(self) -> Status:
        """How the session is doing now."""
        return self._run.report()

    @property
    def stall_hint(self) -> str | None:
        """What kept the session's loop from running (see `status`) and what helps, or None where nothing did."""
        return self._run.stall_hint()

    @property
    def needs_token(self) -> bool:
        """Whether clients must show a token; it is in `connection_file`."""
        return self._run.token is not None

    @property
    def connection_file(self) -> Path:
        """The file, readable by this user only, by which other processes find the session, with its token.

        Raises NotReady where no server runs, or where the file could not be written.
        """
        if self._run.file is None:
            raise NotReady("connection_file (with a server)")
        return self._run.file.path

    def __getitem__(self, name: str) -> Value:
        """Return a signal's committed value; raises UnknownSignal, with the nearest names."""
        return self._run.memory(name).get_signal(name)

    def get(self, names: Sequence[str]) -> dict[str, Value]:
        """Return the values of several signals, by name or pattern, of one and the same frame."""
        shm = self._run.memory("get")
        newest = shm.snapshot()
        return {name: shm.registry.value(name, newest.cells) for name in expand_patterns(names, shm.registry)}

    def observe(self, observer: Observer) -> None:
        """Call `observer(event, fields)` for every event, on the session's loop, in a callback of its own."""
        self._run.observers.append(observer)

    def controls(self) -> Controls:
        """Return a panel for a notebook: buttons, state, fields for every writable signal, a console.

        It follows what anybody does. May be called on any thread, and more than once. Raises NotReady, SessionClosed,
        and HermesError, naming what to install, where ipywidgets is missing.
        """
        self._run.memory("controls()")
        assert self._loop is not None
        return controls_of(self._run, self._loop)

    async def timing(self) -> Timing:
        """Return how long modules and frames have taken since the last reset, and the rate they could hold."""
        self._run.memory("timing")
        assert self._loop is not None
        return await on_loop(self._loop, self._run.timing())

    def history(self, patterns: Patterns = ("*",), last: float | None = None) -> History:
        """Return the frames of the current epoch that are kept of some signals, by name or pattern.

        `last` limits them to the newest seconds of simulation time. May be called on any thread, and after `close`.
        Raises NotReady, UnknownSignal or BadParams.
        """
        return self._run.feed.history(patterns, last)

    def plot(self, *axes: Patterns, window: float = 30.0) -> Plot:
        """Return a live plot over the newest `window` seconds of simulation time, to be displayed in a notebook.

        Each argument is one axes: a name or pattern, or several, as in ``plot("plane.altitude", ("plane.pitch",
        "autopilot.pitch_target"))``; without one, all signals share one. It needs ``hermes-sim[notebook]``. Raises
        NotReady before start, UnknownSignal with suggestions, or BadParams.
        """
        registry = self._run.memory("plot").registry
        assert self._loop is not None
        clock = FrameClock(*self.config.execution.rate.as_integer_ratio())
        return self._front.plot(axes, window, registry, clock, self._loop)

    def table(self, patterns: Patterns = ("*",)) -> SignalTable:
        """Return a live table of the newest values of some signals, to be displayed in a notebook.

        It needs ``hermes-sim[notebook]``. Raises NotReady before start, or UnknownSignal with suggestions.
        """
        registry = self._run.memory("table").registry
        assert self._loop is not None
        return self._front.table(patterns, registry, self._loop)

    # -- the verbs

    async def start(self) -> None:
        """Start engine, modules and server, and leave the session paused at frame 0.

        Raises ModuleFailed, ModuleDied, ModuleHung, ConfigurationError, PortInUse or SystemRefused, and then leaves
        nothing running.
        """
        if self._loop is None:
            self._loop = self._home()
        if in_notebook():
            await self._replace()
        await on_loop(self._loop, self._run.start())

    async def resume(self) -> None:
        """Run until paused; does nothing while running."""
        await self._perform(Action.RESUME)

    async def pause(self) -> None:
        """Stop at the next frame boundary; does nothing while paused."""
        await self._perform(Action.PAUSE)

    async def reset(self) -> None:
        """Put every module back to its initial conditions, frame and time to 0; revives a failed session."""
        await self._perform(Action.RESET)

    async def step(self, count: int = 1) -> int:
        """Compute `count` frames as fast as possible; return how many were (fewer where somebody paused)."""
        outcome = await self._perform(Action.STEP, count=count)
        return int(outcome["completed"])

    async def run(self, seconds: float) -> int:
        """Run `seconds` of simulated time, to the exact frame, and pause; return how many frames that were.

        In real time that takes as long. It ends early where somebody pauses, and at the end of the run.
        """
        outcome = await self._perform(Action.RUN, seconds=seconds)
        return int(outcome["completed"])

    async def set(self, values: Mapping[str, object]) -> None:
        """Set several inputs or parameters before the same frame, all or none.

        Raises UnknownSignal, ReadOnlySignal, WiredSignal or BadValue.
        """
        await self._perform(Action.SET, values=values)

    async def replace(
        self, module: str, code: type[Module] | str, *, params: Mapping[str, object] | None = None
    ) -> None:
        """Let another class compute a module from the next frame on; time, memory and all other modules go on.

        `code` is a class, or text as `script` takes it; `params` are the configuration's where left out. It starts
        beside the present one, which goes on until the new one is ready: then its inputs keep their values, its
        parameters and outputs get their initial ones. While the session is failed, it is started by the next `reset`.

        Raises ConfigurationError where it declares other signals than the present one (other initial values and
        descriptions are fine), ModuleError where it cannot start, and NotReplaced where there is no such module, or
        it shares its process with others; nothing has changed then.
        """
        if module not in self.config.modules:
            raise NotReplaced(module, f"there is no such module; there are {', '.join(self.config.modules)}")
        self._run.memory("replace")
        changed = with_code(self.config, module, code, params)
        plan = module_plan(changed, module)
        try:
            source = target_source(code, changed.base)
        except NotExported as error:
            raise NotReplaced(module, str(error)) from None
        by = code.__name__ if isinstance(code, type) else code
        assert self._loop is not None
        request = self._run.request(Verb.REPLACE, module=module, spec=plan.spec, source=source, by=by)
        await on_loop(self._loop, request)
        self.config = self._run.config = changed

    async def record(self, patterns: Patterns = ("*",), lossless: bool = False) -> Recording:
        """Keep every frame of some signals, by name or pattern, from the newest one on until it is stopped.

        Where the session's loop is blocked for longer than the ring lasts, frames are missed, and named in `missed`.
        `lossless` makes the engine wait instead, which only ``execution.mode: afap`` allows. Raises NotReady,
        UnknownSignal or ConfigurationError.
        """
        self._run.memory("record")
        assert self._loop is not None
        return await on_loop(self._loop, self._run.record(patterns, lossless=lossless))

    async def export(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write a configuration that ``hermes run`` computes to the same fingerprint; return its absolute path.

        It holds this configuration, every `set` since the last reset at its frame, and an end at the frame the session
        is at now; at frame 0 the end, and what the configuration itself does later, stay as they were. What pauses,
        steps and real time did shapes no value and is left out; so is the token, which becomes ``auto``. Classes that
        no path names go beside it as ``case_modules/NAME.py`` (``case`` being the file's name), with what they use.

        Raises NotExported, also where `path` exists and `overwrite` is not given, NotReady and SessionClosed.
        """
        at = self._run.memory("export").snapshot()
        assert self._loop is not None
        await on_loop(self._loop, self._run.request(Verb.LOOK))  # behind it, the journal has all that came before
        target = Path(path).absolute()
        sets = sets_of_epoch(self.journal, at.epoch, at.frame)
        files = module_files(target, self.config.classes)
        text = case_text(self.config, target.parent, at.frame, at.fingerprint.hex(), sets, files)
        modules = {file: self.config.classes[name].case_text for name, file in files.items()}
        write_case(target, text, overwrite=overwrite, modules=modules)
        return target

    async def close(self) -> None:
        """End everything: clients get `closing` and 1001, modules end, memory is freed. Idempotent."""
        if self._loop is None:
            self._run.mirror.state = State.CLOSED
        elif self.state is not State.CLOSED:
            await on_loop(self._loop, self._close())

    def kill(self) -> None:
        """End engine and modules at once, without a loop: for the interpreter's last moments only."""
        self._run.kill()

    async def _perform(self, action: Action, **params: Any) -> dict[str, Any]:
        fields = self._run.fields(checked(Command(action, params)))
        self._run.memory(action)
        assert self._loop is not None
        return await on_loop(self._loop, self._run.request(action, **fields))

    async def _close(self) -> None:
        await self._run.close()
        self._front.close()

    async def _replace(self) -> None:
        """Close the notebook's open session of the same name: a cell that is run again must not leak it."""
        before = _in_notebook.get(self.name)
        _in_notebook[self.name] = self
        if before is not None and before is not self:
            await before.close()
