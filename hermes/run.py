"""One run from start to close: its engine, its memory, its server, all on one loop.

Every command, whoever issues it (Python, a widget, the command line, a client of the server), goes through `submit`,
and from there to the engine, which applies it at a frame boundary. Nothing here blocks and nothing here is public:
`AsyncSession` is what users hold. All methods belong to the loop; what is read from memory may be read anywhere.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from hermes.backplane.ring import Snapshot
from hermes.backplane.setting import settable_cell
from hermes.backplane.shm import SharedMemoryManager
from hermes.backplane.signals import decode_cell
from hermes.commands import VIEWING, Action, Command
from hermes.config import HermesConfig
from hermes.connectionfile import ConnectionFile, sweep
from hermes.engineclient import EngineClient, Outcome
from hermes.errors import (
    EngineDied,
    HermesError,
    InvalidState,
    NotReady,
    SessionClosed,
    from_wire,
)
from hermes.frametime import FrameClock, exact_seconds
from hermes.history.feed import Feed, Patterns
from hermes.history.lossless import record_lossless
from hermes.history.recording import Recording
from hermes.hosting import stall_hint
from hermes.lifecycle import State, Verb
from hermes.loopwatch import TOLD_SECONDS, LoopWatch
from hermes.mirror import Mirror, failure_fields
from hermes.planning import located, plan_for
from hermes.server.access import refuse_exposure, session_token
from hermes.server.websocket import HermesServer
from hermes.status import Status, real_time_factor
from hermes.system import refused
from hermes.timing import Timing

log = logging.getLogger("hermes.session")

_PAUSE_SECONDS = 0.5

Observer = Callable[[str, Mapping[str, Any]], None]
"""Gets an event's name and fields.

A run's `followers` also get ``journal`` with the entry of a command that took effect, ``state`` where state, frame or
values may have changed without an event, and ``closed`` last of all. They are called at once and only take note.
"""


class Run:
    """The inside of a session."""

    def __init__(
        self, config: HermesConfig, port: int | None, serve: bool | None, perturbation: int | None = None
    ) -> None:
        """Prepare; `perturbation` is the seed of what must change nothing (see `Plan`)."""
        self.config = config
        self.mirror = Mirror()
        self.feed = Feed(config.backplane.history_mib << 20)
        self.observers: list[Observer] = []
        self.followers: list[Observer] = []
        self.server: HermesServer | None = None
        self.file: ConnectionFile | None = None
        self._perturbation = perturbation
        self._port = config.server.port if port is None else port
        self.serves = config.server.enabled if serve is None else serve
        self._engine: EngineClient | None = None
        self._shm: SharedMemoryManager | None = None
        self._last: Snapshot | None = None
        self.token: str | None = None
        self._started: asyncio.Future[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._wired = {wire.dst: wire.src for wire in config.wiring}
        self._watch = LoopWatch(self._stalled)
        self._told_of_stalls = False

    # -- what the server asks of it (see `hermes.server.websocket.Dispatcher`)

    def submit(self, command: Command, origin: str, reply: Callable[[Outcome], None]) -> None:
        """Issue a checked command; `reply` is called once with its outcome.

        Raises CommandError where it is refused at once.
        """
        if command.action in VIEWING:
            self._ready(command.action).submit(Verb.LOOK, origin, reply)
        else:
            self._ready(command.action).submit(command.action, origin, reply, **self.fields(command))

    def describe(self) -> dict[str, Any]:
        """Return name, state, frame, time (s) and rates (Hz) as the schema shows them."""
        newest = self.newest()
        rates = {"rate_hz": float(self.config.execution.rate), "telemetry_hz": self.config.server.telemetry_hz}
        at = {"frame": newest.frame, "time": newest.time}
        return {"session": self.config.name, "state": self.mirror.state, **at, **rates}

    def status(self) -> dict[str, Any]:
        """Return state, time, real-time factor and counts, as a client's `status` has them."""
        now = self.report()._asdict()
        del now["longest_stall"]  # of the loop's own program, which alone can do something about it
        return {**now, "clients": len(now["clients"])}

    def notice(self, event: str, fields: Mapping[str, Any]) -> None:
        """Hand an event of the server's own to the observers."""
        self._follow(event, fields)
        for observer in self.observers:
            asyncio.get_running_loop().call_soon(observer, event, fields)

    @property
    def wiring(self) -> Sequence[Mapping[str, Any]]:
        """The wires, as src, dst, gain, offset."""
        return [wire.model_dump() for wire in self.config.wiring]

    # -- what the session asks of it

    def memory(self, what: str) -> SharedMemoryManager:
        """Return the backplane; raises NotReady or SessionClosed, naming `what` needed it."""
        shm = self._shm
        if shm is None:
            raise SessionClosed(self.config.name) if self.mirror.state is State.CLOSED else NotReady(what)
        return shm

    def newest(self) -> Snapshot:
        """Return the newest committed frame, also after the end of the run; raises NotReady before its start."""
        return self._last if self._last is not None else self.memory("a frame").snapshot()

    def report(self) -> Status:
        """Return how the run is doing."""
        shm = self.memory("status")
        newest, counters, state = shm.snapshot(), shm.counters, self.mirror.state
        clients = self.server.clients if self.server is not None else ()
        rate = real_time_factor(shm, newest) if state is State.RUNNING else 0.0
        counts = (counters["overruns"], counters["late_wakeups"], *self._watch.stalls)
        return Status(state, newest.frame, newest.time, rate, *counts, tuple(clients))

    def fields(self, command: Command) -> dict[str, Any]:
        """Return what the engine needs of a checked command; raises where a signal or a value does not allow a set."""
        if command.action == Action.RUN:
            clock = FrameClock(*self.config.execution.rate.as_integer_ratio())
            return {"count": max(1, clock.frames(exact_seconds(command.params["seconds"])))}
        if command.action != Action.SET:
            return dict(command.params)
        cells = [self._cell(name, value) for name, value in command.params["values"].items()]
        registry = self.memory("set").registry
        values = {registry.at(index).qualified: decode_cell(registry.at(index).type, cell) for index, cell in cells}
        return {"cells": cells, "values": values}

    def stall_hint(self) -> str | None:
        """Return what kept the loop from running and what helps, None where nothing did."""
        watch = self._watch
        return stall_hint(watch.stalls, private=watch.on_thread) if watch.stalls.many else None

    async def timing(self) -> Timing:
        """Return what the engine has measured."""
        outcome = await self._ready("timing").request(Verb.LOOK, "python", timing=True)
        return Timing.from_engine(outcome["timing"], float(self.config.execution.rate))

    async def request(self, verb: str, **fields: Any) -> dict[str, Any]:
        """Send a command and wait for its reply; cancelled during a step or run, pause at a frame boundary first."""
        engine = self._ready(verb)
        try:
            return await engine.request(verb, "python", **fields)
        except asyncio.CancelledError:
            if verb in (Verb.STEP, Verb.RUN) and not engine.ended.done():
                with suppress(HermesError, TimeoutError):  # a module that takes its time shall not hold up who gave up
                    await asyncio.wait_for(engine.request(Verb.PAUSE, "interrupt"), _PAUSE_SECONDS)
            raise

    async def record(self, patterns: Patterns, *, lossless: bool) -> Recording:
        """Begin a recording; for a lossless one the engine waits from then on."""
        if lossless:
            return await record_lossless(self.feed, self.config, patterns, lambda: self.request(Verb.LOOK))
        return self.feed.record(patterns, lossless=False)

    async def start(self) -> None:
        """Start engine, modules and server; on any error, close again and raise it."""
        if self._engine is not None or self.mirror.state is not State.STARTING:
            raise InvalidState("start", self.mirror.state, "a session starts once; make a new one")
        if self.serves:
            self.token = session_token(self.config.server.token, os.environ)
            refuse_exposure(self.config.server.host, self.token)
        self._started = asyncio.get_running_loop().create_future()
        self._engine = EngineClient(plan_for(self.config, self._perturbation), self._on_record, self._on_engine_end)
        try:
            self._engine.start()
            await self._started
            self._refuse_closing()
            if self.serves:
                await self._serve()
        except (OSError, MemoryError) as error:
            await self.close()
            raise refused("start the session", error) from error
        except BaseException as error:
            await self.close()
            if isinstance(error, HermesError):
                raise located(error, self.config) from None
            raise
        self._watch.start()

    async def close(self) -> None:
        """End everything, once; later calls wait for the first."""
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._close(), name="hermes-close")
        await asyncio.shield(self._closing)

    def kill(self) -> None:
        """End engine and modules at once, without a loop: for the interpreter's last moments only."""
        if self._engine is not None:
            self._engine.kill()

    # -- inside

    def _cell(self, name: str, value: object) -> tuple[int, int]:
        """Return index and cell for a value to set; raises where the signal or the value does not allow it."""
        return settable_cell(self.memory("set").registry, self._wired, name, value)

    async def _serve(self) -> None:
        settings, shm = self.config.server, self.memory("server")
        self.server = HermesServer(
            shm,
            self,
            host=settings.host,
            port=self._port,
            telemetry_hz=settings.telemetry_hz,
            allowed_origins=settings.allowed_origins,
            allowed_hosts=settings.allowed_hosts,
            token=self.token,
            observe=settings.control == "observe",
        )
        await self.server.start()
        if self._closing is not None:  # it did not see a server that was still starting
            await self.server.close()
            self._refuse_closing()
        self._announce(self.server.url, f"/proc/{os.getpid()}/fd/{shm.fd}")

    def _announce(self, url: str, memory: str) -> None:
        """Write the file by which other processes of this user find the session."""
        assert self._engine is not None
        try:
            sweep()
            self.file = ConnectionFile.create(session=self.config.name, url=url, token=self.token, memory=memory)
            self._engine.bequeath(self.file.path)
        except HermesError as error:
            if self.token is not None:  # nobody could learn it
                raise
            log.warning("%s; clients need to know the address %s", error, url)

    def _refuse_closing(self) -> None:
        if self._closing is not None:
            raise SessionClosed(self.config.name)

    async def _close(self) -> None:
        """End the engine first: its last answers still go to the clients, which the server then dismisses."""
        self._watch.stop()
        if self.file is not None:
            self.file.remove()
        if self._engine is not None:
            await self._engine.close()
        if self.server is not None:
            await self.server.close()
        self.mirror.state = State.CLOSED
        shm, self._shm = self._shm, None
        if shm is not None:
            self.feed.close()
            self._last = shm.snapshot()
            shm.close()
        self._follow("closed", {})

    def _on_record(self, record: dict[str, Any]) -> None:
        if record["type"] == "started":
            self._join_memory()
        elif record["type"] == "start_failed":
            self._settle_start(from_wire(record))
        elif record["type"] == "redeclared":
            self._redeclare(record["signals"])
        event = self.mirror.take(record)
        self.feed.hear(record)
        if event is not None:
            self._publish(*event)
        elif record["type"] == "journal":
            self._follow("journal", record["entry"])
        elif record["type"] in ("state", "reply"):
            self._follow("state", {})

    def _follow(self, what: str, fields: Mapping[str, Any]) -> None:
        for follower in tuple(self.followers):
            follower(what, fields)

    def _redeclare(self, rows: Iterable[tuple[str, int, str]]) -> None:
        """Take over the initial values (as cells) and descriptions that a module's new process has declared."""
        registry = self.memory("redeclare").registry
        for name, cell, description in rows:
            before = registry[name]
            registry.redeclare(before._replace(initial=decode_cell(before.type, cell), description=description))

    def _join_memory(self) -> None:
        assert self._engine is not None
        try:
            self._shm = SharedMemoryManager.attach(self._engine.take_memory())
        except HermesError as error:
            self._settle_start(error)
            return
        self.feed.open(self._shm, lambda: self.mirror.state is State.RUNNING, self._engine.drained)
        self._settle_start(None)

    def _publish(self, event: str, fields: Mapping[str, Any]) -> None:
        if self.server is not None:
            self.server.tell(event, fields)
        self.notice(event, fields)

    def _on_engine_end(self, death: EngineDied | None) -> None:
        self._settle_start(death or SessionClosed(self.config.name))
        if death is not None and self._shm is not None:
            self.mirror.fail(death)
            self._publish("failed", {**self.describe(), **failure_fields(death)})

    def _settle_start(self, error: HermesError | None) -> None:
        if self._started is None or self._started.done():
            return
        if error is None:
            self._started.set_result(None)
        else:
            self._started.set_exception(error)

    def _stalled(self, seconds: float) -> None:
        """Say it once, and only where it was long and somebody watched: most cells block for a moment."""
        if seconds >= TOLD_SECONDS and not self._told_of_stalls and self.server is not None and self.server.clients:
            self._told_of_stalls = True
            log.warning("session %s: %s", self.config.name, self.stall_hint())

    def _ready(self, verb: str) -> EngineClient:
        self.memory(verb)
        assert self._engine is not None
        self._refuse_closing()
        if self._engine.ended.done():
            raise self.mirror.failure or SessionClosed(self.config.name)
        return self._engine
