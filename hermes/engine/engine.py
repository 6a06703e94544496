"""The engine: it applies commands at frame boundaries, advances the frames, keeps time, and tells its owner.

One thread, one owner. Commands arrive over the link as JSON objects and are applied in arrival order between two
frames; each is answered exactly once. Everything the owner learns (events, replies, journal, output) goes back over
the same link in the order in which it happened, so an event always precedes the answer to the command that caused it.
"""

from __future__ import annotations

import gc
import select
import time
from collections.abc import Sequence
from typing import Any

from hermes.backplane.layout import LATE_WAKEUPS, OVERRUNS
from hermes.backplane.link import Link
from hermes.engine.job import Job
from hermes.engine.owner import Closing, Owner, OwnerGoneError
from hermes.engine.pacing import Pacer
from hermes.engine.plan import Plan
from hermes.engine.process import ProcessManager
from hermes.engine.replacement import Replacement, Replacements
from hermes.engine.reporting import Reporter
from hermes.engine.scheduler import Scheduler
from hermes.engine.timed import Due, timed_commands
from hermes.errors import CommandError, HermesError, ModuleError, NotReplaced, SessionClosed, SystemRefused, to_wire
from hermes.lifecycle import State, Verb, following
from hermes.system import refused

_OVERRUN_EVENT_NS = 1_000_000_000
"""At most one overrun event in this time; all of them are counted."""

_POLLED_NS = 2_000_000
"""Time before a deadline up to which the engine listens while it waits; poll counts in milliseconds."""

_SPUN_NS = 50_000
"""Time before a deadline from which on it spins: what a sleep is late by, as a rule."""

_BURST_NS = 200_000
"""Time between two looks for commands, where nothing is paced."""

_REPLACEMENT_MS = 100
"""Time after which the engine looks whether a replacement has taken too long."""

_MOST_FRAMES = 1 << 20
"""Frames between two looks for commands, at most."""


class Engine:
    """Runs one plan for the owner at the other end of `link`; `owner_pidfd` becomes readable when the owner ends."""

    def __init__(self, link: Link, plan: Plan, owner_pidfd: int) -> None:
        self._link = link
        self._plan = plan
        self._owner_pidfd = owner_pidfd
        self._state = State.STARTING
        self._owner = Owner(link)
        self._tell = Reporter(link, self._now)
        self._job: Job | None = None
        self._overrun_event_ns = 0
        self._moved = False
        self._untold = False
        self._manager = ProcessManager(plan, self._tell.output, (link.fileno(), owner_pidfd), self._owner.read)
        self._scheduler: Scheduler | None = None
        self._replacements = Replacements(self._manager, self._tell)

    def run(self) -> None:
        """Start the modules, serve until closed or orphaned, and leave nothing running."""
        try:
            self._start()
            while True:
                self._serve()
                if self._state is State.RUNNING:
                    self._advance()
                else:
                    self._wait_for_news(None)
        except Closing:
            if self._replacements.current is not None:
                self._owner.waiting.append(self._replacements.current.command)
            self._answer_waiting(SessionClosed(self._plan.name))
        except OwnerGoneError:
            self._owner.execute_will()
        finally:
            self._replacements.end()
            if self._scheduler is not None:
                self._scheduler.release()
            self._manager.stop()
            self._link.flush()

    @property
    def _frames(self) -> Scheduler:
        assert self._scheduler is not None
        return self._scheduler

    def _start(self) -> None:
        try:
            self._manager.start()
            watched = {self._link.fileno(): select.POLLRDHUP, self._owner_pidfd: select.POLLIN}
            self._owner.slots = self._manager.shm.layout.slots
            self._timed = timed_commands(self._plan, self._manager.shm.registry)
            told = (self._tell_state, self._tell.restarted, self._tell.redeclared)
            self._scheduler = Scheduler(self._manager, self._plan, watched, *told)
            self._scheduler.reset()
        except (HermesError, OSError, MemoryError) as error:
            raise self._start_failed(error) from None
        self._pacer = Pacer(self._frames.clock)
        self._period_ns = self._frames.clock.time_ns(1)
        gc.collect()
        gc.freeze()
        self._state = following(self._state, Verb.STARTED)
        self._act_in_time()
        try:
            self._link.send({"type": "started", **self._now()}, fds=[self._manager.shm.fd])
        except SystemRefused as error:
            raise self._start_failed(error) from None

    def _start_failed(self, error: HermesError | OSError | MemoryError) -> Closing:
        """Tell the owner why nothing has started, and return what ends the engine."""
        told = error if isinstance(error, HermesError) else refused("start the modules", error)
        self._link.send({"type": "start_failed", **to_wire(told)})
        return Closing()

    # -- commands

    def _serve(self) -> None:
        """Apply every command that may act at this boundary, in arrival order."""
        self._owner.read()
        if self._replacements.current is not None:
            self._replace(self._replacements.current)
        if self._owner.waiting:
            with self._link.corked(lambda: self._untold):
                self._apply_waiting()

    def _apply_waiting(self) -> None:
        while (command := self._next_command()) is not None:
            self._owner.waiting.remove(command)
            try:
                self._apply(command, Verb(command["verb"]))
            except (CommandError, NotReplaced) as error:
                self._tell.refuse(command["id"], error)
            except HermesError as error:
                self._fail(error, [command["id"]])

    def _next_command(self) -> dict[str, Any] | None:
        """Return the first command that the step or run in progress does not come before."""
        job = self._job
        ready = (one for one in self._owner.waiting if job is None or not job.comes_before(Verb(one["verb"])))
        command = next(ready, None)
        if command is None or (command["verb"] in (Verb.SET, Verb.RESET) and not self._has_room()):
            return None
        return None if command["verb"] == Verb.REPLACE and self._replacements.current is not None else command

    def _has_room(self) -> bool:
        return self._owner.room(self._manager.shm.committed) != 0

    def _apply(self, command: dict[str, Any], verb: Verb) -> None:
        before = self._state
        after = following(before, verb, single_frame=self._plan.single_frame)
        match verb:
            case Verb.SET:
                cells = [(index, cell) for index, cell in command["cells"]]
                self._frames.set_cells(cells)
                self._frames.republish()
                self._tell.note(command, self._frames.frame, values=command["values"])
            case Verb.RESET:
                self._reset(command, after)
            case Verb.STEP | Verb.RUN:
                self._begin(command, verb, before)
                return
            case Verb.REPLACE:
                self._replacements.begin(command)
                return
            case Verb.LOOK:
                timing = {"timing": self._frames.meter.report()} if command.get("timing") else {}
                self._tell.reply(command["id"], sequence=self._manager.shm.committed, **timing)
                return
            case _:
                self._switch(command, verb, after)
        self._tell.reply(command["id"])

    def _switch(self, command: dict[str, Any], verb: Verb, after: State) -> None:
        """Resume or pause; either changes nothing where the state is that already."""
        stepping = self._job is not None and self._job.verb is Verb.STEP
        if after is self._state:
            return
        self._tell.note(command, self._frames.frame)
        self._enter(after)
        if not stepping:
            self._tell.event("running" if verb is Verb.RESUME else "paused")
        if verb is Verb.PAUSE:
            self._end_job()

    def _reset(self, command: dict[str, Any], after: State) -> None:
        at = self._frames.frame
        self._frames.reset()
        self._tell.note(command, at)
        self._enter(after)
        self._tell.event("reset")
        self._timed.rearm()
        self._act_in_time()

    def _begin(self, command: dict[str, Any], verb: Verb, before: State) -> None:
        count = command["count"]
        self._tell.note(command, self._frames.frame, count=count)
        self._job = Job(verb, command["id"], count)
        if before is State.PAUSED:
            self._enter(State.RUNNING)
            if verb is Verb.RUN:
                self._tell.event("running")
            else:
                self._untold = True  # most steps end before anybody could look

    def _enter(self, state: State) -> None:
        self._state = state
        self._moved = True
        self._untold = False
        self._pacer.anchor(time.monotonic_ns())

    def _replace(self, replacement: Replacement) -> None:
        try:
            if not self._replacements.proceed(self._frames, failed=self._state is State.FAILED):
                return
        except HermesError as error:
            self._fail(error, [replacement.command["id"]])
            return
        self._moved = True
        self._pacer.anchor(time.monotonic_ns())

    # -- frames

    def _advance(self) -> None:
        """Compute one frame and wait for its deadline, or several where nothing is paced; see what ends with it."""
        if self._frames.frame == self._plan.end_frame:  # somebody paused while the last one waited for its deadline
            self._conclude()
            return
        if not self._has_room():
            self._wait_for_news(None)
            return
        stepping = self._job is not None and self._job.verb is Verb.STEP
        paced = self._plan.mode == "realtime" and not stepping
        try:
            if paced:
                work_ns = self._frames.step(paced=True)
                completed = 1
            else:
                completed = self._frames.advance(self._frames_ahead(), _BURST_NS)
        except HermesError as error:
            self._fail(error, [])
            return
        if self._job is not None:
            self._job = self._job.advanced(completed)
        self._moved = False
        if self._frames.frame == self._timed.next_frame:
            self._act_in_time()
        if paced:
            self._pace(work_ns)
        if self._state is State.RUNNING:
            self._conclude()
            self._tell_state()

    def _tell_state(self) -> None:
        """Tell that a step is running, which is no event, once it turns out to take longer than a moment."""
        if self._untold and self._state is State.RUNNING:
            self._tell.state()
        self._untold = False

    def _frames_ahead(self) -> int:
        """Return how many frames may follow before something ends or acts."""
        ahead = [_MOST_FRAMES]
        if self._plan.end_frame is not None:
            ahead.append(self._plan.end_frame - self._frames.frame)
        if self._job is not None:
            ahead.append(self._job.remaining)
        if self._timed.next_frame > self._frames.frame:
            ahead.append(self._timed.next_frame - self._frames.frame)
        if (room := self._owner.room(self._manager.shm.committed)) is not None:
            ahead.append(room)
        return min(ahead)

    def _act_in_time(self) -> None:
        """Apply the timed commands of this frame, if any; at the last one the end comes before a pause.

        Who learns of one of them finds all of them done.
        """
        if self._frames.frame != self._timed.next_frame:
            return
        with self._link.corked():
            entries = self._timed.take()
            for due in entries:
                self._act(due)
            if any(due.cells for due in entries):
                self._frames.republish()

    def _act(self, due: Due) -> None:
        command = {"verb": Verb.SET if due.cells else Verb.PAUSE, "origin": "configuration"}
        if due.cells:
            self._frames.set_cells(due.cells)
            self._tell.note(command, self._frames.frame, values=due.values)
        elif self._state is State.RUNNING and self._frames.frame != self._plan.end_frame:
            self._switch(command, Verb.PAUSE, following(self._state, Verb.PAUSE))

    def _conclude(self) -> None:
        """End the run at its last frame, or the step or run in progress at its own."""
        end = self._plan.end_frame
        if end is not None and self._frames.frame >= end:
            self._enter(following(self._state, Verb.FINISH))
            self._tell.event("finished")
            self._end_job()
        elif self._job is not None and self._job.remaining == 0:
            verb = self._job.verb
            self._enter(following(self._state, Verb.PAUSE))
            if verb is Verb.RUN:
                self._tell.event("paused")
            self._end_job()

    def _end_job(self) -> None:
        if self._job is not None:
            job, self._job = self._job, None
            self._tell.reply(job.id, completed=job.completed)

    def _pace(self, work_ns: int) -> None:
        now = time.monotonic_ns()
        deadline = self._pacer.next_deadline(now)
        period = self._period_ns
        if work_ns > period:
            self._manager.shm.count(OVERRUNS)
            self._tell_overrun(now, work_ns)
        if deadline > now:
            self._sleep_until(deadline)
            late = time.monotonic_ns() - deadline
            if not self._moved:
                self._frames.meter.late(late)
                if late > period:
                    self._manager.shm.count(LATE_WAKEUPS)

    def _sleep_until(self, deadline: int) -> None:
        """Serve commands until shortly before the deadline, then sleep, then spin; return early after a command."""
        while not self._moved and (left := deadline - time.monotonic_ns()) > 0:
            if left >= _POLLED_NS:
                self._wait_for_news((left - _POLLED_NS) // 1_000_000 + 1)
                self._serve()
            elif left > _SPUN_NS:
                time.sleep((left - _SPUN_NS) / 1e9)

    def _tell_overrun(self, now: int, work_ns: int) -> None:
        module, step_ns = self._frames.meter.overran()
        if now - self._overrun_event_ns < _OVERRUN_EVENT_NS:
            return
        self._overrun_event_ns = now
        count = self._manager.shm.counters["overruns"]
        self._tell.event("overrun", module=module, step_ms=step_ns / 1e6, work_ms=work_ns / 1e6, overruns=count)

    def _wait_for_news(self, timeout_ms: int | None) -> None:
        """Sleep until the owner says something, a module dies, a replacement has news or the time is up."""
        poll = select.poll()
        poll.register(self._link.fileno(), select.POLLIN | (select.POLLOUT if self._link.backlog else 0))
        poll.register(self._owner_pidfd, select.POLLIN)
        modules = {process.pidfd: name for name, process in self._manager.processes.items()}
        if self._state is not State.FAILED:
            for pidfd in modules:
                poll.register(pidfd, select.POLLIN)
        if self._replacements.current is not None:
            for fd in self._replacements.current.fds:
                poll.register(fd, select.POLLIN)
            timeout_ms = _REPLACEMENT_MS if timeout_ms is None else min(timeout_ms, _REPLACEMENT_MS)
        for fd, events in poll.poll(timeout_ms):
            if fd == self._owner_pidfd:
                raise OwnerGoneError
            if fd in modules:
                self._recover(self._manager.failure(modules[fd], self._frames.frame, "idle"))
                return
            if events & select.POLLOUT:
                self._link.flush()

    # -- what the owner learns

    def _recover(self, error: ModuleError) -> None:
        try:
            self._frames.succession.recover(error)
        except HermesError as cause:
            self._fail(cause, [])

    def _fail(self, error: HermesError, ids: Sequence[int]) -> None:
        """Enter `failed`, tell why, and answer every command that waits."""
        self._enter(following(self._state, Verb.FAIL))
        self._tell.event("failed", **to_wire(error), message=str(error))
        self._answer_waiting(error, ids)

    def _answer_waiting(self, error: HermesError, ids: Sequence[int] = ()) -> None:
        waiting, self._owner.waiting = self._owner.waiting, []
        job, self._job = self._job, None
        for identity in (*([job.id] if job else []), *ids, *(command["id"] for command in waiting)):
            self._tell.refuse(identity, error)

    def _now(self) -> dict[str, Any]:
        frames = self._scheduler
        at = {"frame": frames.frame, "time": frames.time} if frames is not None else {"frame": 0, "time": 0.0}
        return {"state": self._state, **at}
