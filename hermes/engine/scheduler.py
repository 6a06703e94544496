"""Frames: release the workers that are due, wait for all, route the wires, commit. It never sleeps to keep time.

Every worker has its own go and done, so nobody takes another's token and nobody is ever a frame ahead. The wait ends
at once when a worker dies (its pidfd is in the same poll) and is bounded by `step_timeout`.

What a frame does is laid out beforehand (`hermes.engine.legs`), so that the loop over frames does nothing per signal
and looks nothing up.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from hermes.backplane.layout import CELL, KICKS, NOW_FRAME, NOW_TIME
from hermes.backplane.signals import SignalKind, encode_cell
from hermes.backplane.sync import (
    DONE,
    DUE,
    GO,
    OPCODE,
    ORDERED_STORES,
    SPIN_NS,
    WORKER_SLEEPS,
    EngineGate,
    Opcode,
    clear_event,
    fence,
    readable,
    signal_event,
)
from hermes.engine.handover import Handover
from hermes.engine.journal import Fingerprint
from hermes.engine.legs import Legs
from hermes.engine.metering import Meter
from hermes.engine.owner import OwnerGoneError
from hermes.engine.perturbation import Perturbation
from hermes.engine.plan import Plan
from hermes.engine.process import ProcessManager
from hermes.engine.wiring import Router
from hermes.frametime import FrameClock

_SAFETY_SECONDS = 0.005
"""How long the engine sleeps before it re-reads the done words and kicks those that still owe one."""

_LOST_SECONDS = 0.1
"""How long a worker that is done, or was released, may take to act on it, before its wake-up counts as lost."""

_YIELDS = range(64)
"""Yields between two looks at the clock, while spinning."""


class Scheduler:
    """Advances the modules of a started `ProcessManager`. `frame` counts completed frames since the last reset."""

    def __init__(
        self,
        manager: ProcessManager,
        plan: Plan,
        watched: Mapping[int, int] | None = None,
        waits: Callable[[], None] = lambda: None,
    ) -> None:
        """Compile the wires; raises ConfigurationError.

        A poll event of a `watched` descriptor ends every wait; `waits` is called while a frame takes milliseconds.
        """
        self._manager = manager
        self._plan = plan
        self._watched = dict(watched or {})
        self._waits = waits
        self.clock = FrameClock(*plan.rate)
        self._shm = manager.shm
        self._words = self._shm.words("Q")
        self._floats: Any = self._shm.words("d")
        self._router = Router(plan.wires, self._shm)
        self._fingerprint = Fingerprint(self._shm.registry, plan.rate, plan.seed)
        self.meter = Meter(plan, self._shm)
        self._perturbation = None if plan.perturbation is None else Perturbation(plan.perturbation)
        self.frame = 0
        self.epoch = -1
        self._stamp = 0
        self._handover = Handover()
        self._spin_ns = -1
        self._epoll = select.epoll()
        self._legs = Legs(plan, manager.gates, self._router)
        self._watch()

    @property
    def time(self) -> float:
        """Simulation time of the newest committed frame, in seconds."""
        return self.clock.time(self.frame)

    def reset(self) -> None:
        """Put every module and every signal back to its initial conditions and commit frame 0 of a new epoch.

        Modules that have ended are started anew. Raises ModuleError; frame and epoch then stand as they were.
        """
        self._settle()
        if self._manager.revive():
            self._watch()
        for index, signal in enumerate(self._shm.registry):
            if signal.kind is not SignalKind.OUTPUT:
                self._shm.write_cell(index, encode_cell(signal, signal.initial))
        self._let_all(Opcode.RESET)
        self._router.route()
        self.frame = 0
        self.epoch += 1
        self._fingerprint.restart()
        self.meter.restart()
        writer = self._shm.writer
        digest = self._fingerprint.take(writer.stage())
        writer.publish(self.epoch, 0, 0.0, digest, time.monotonic_ns())

    def step(self, *, paced: bool) -> int:
        """Compute one frame and commit it; return how long that took, in nanoseconds.

        `paced` says that the caller will wait for real time, so nobody spins. Raises ModuleError; the frame then has
        not been committed.
        """
        begin = time.monotonic_ns()
        self._advance(1, 0, spin_ns=0 if paced else self._handover.spin_ns)
        return time.monotonic_ns() - begin

    def advance(self, count: int, budget_ns: int) -> int:
        """Compute and commit up to `count` frames unpaced, stop early after `budget_ns`; return how many they were.

        Raises ModuleError; the frame that failed has not been committed.
        """
        begin = time.monotonic_ns()
        frames = self._advance(count, budget_ns, self._handover.spin_ns)
        self._handover.note(frames, time.monotonic_ns() - begin)
        return frames

    def _advance(self, count: int, budget_ns: int, spin_ns: int) -> int:  # noqa: C901, PLR0912 - see below
        """Compute frames; one loop without calls of its own, because each call or look-up in it costs every frame.

        A frame is staged before the next one is released, and committed while its modules are already at work.
        """
        self._arm(spin_ns)
        words, floats, frame_at, time_at = self._words, self._floats, NOW_FRAME // CELL, NOW_TIME // CELL
        rows, meter, clock, pause = self._legs.rows, self.meter, time.monotonic_ns, os.sched_yield
        num, den, row_of = self.clock.num, self.clock.den, self._legs.row
        stage, publish, take = self._shm.writer.stage, self._shm.writer.publish, self._fingerprint.take
        staged = self._shm.writer.staged
        yields = _YIELDS if spin_ns else range(0)
        measured = spin_ns == 0
        frame = first = self.frame
        start = now = clock()
        last, late = frame + count, start + budget_ns
        while frame < last and now <= late:
            words[frame_at] = frame + 1
            floats[time_at] = frame * den / num
            for gates, gos, dones, dues, route in rows[frame % len(rows)] if rows is not None else row_of(frame):
                self._stamp = stamp = self._stamp + 1
                for go, mask in dues:
                    go[DUE] = mask
                if self._perturbation is not None:
                    self._perturbation.release(gates, stamp)
                else:
                    if not ORDERED_STORES:
                        fence()
                    for go in gos:
                        go[GO] = stamp
                    fence()
                    for done, gate in zip(dones, gates):  # noqa: B905 - equally long
                        if done[WORKER_SLEEPS] or not ORDERED_STORES:
                            signal_event(gate.go_event)
                if frame != self.frame:
                    publish(self.epoch, frame, frame * den / num, take(staged), now)
                    self.frame = frame
                for done in dones:
                    if done[DONE] != stamp:
                        for _ in yields:
                            pause()
                            if done[DONE] == stamp:
                                break
                        else:
                            self._wait(gates, spin_ns)
                            break
                route()
            frame += 1
            stage()
            before, now = now, clock()
            if measured or frame >= meter.next:
                meter.take(frame, now - before)
        if frame != self.frame:
            publish(self.epoch, frame, frame * den / num, take(staged), now)
            self.frame = frame
        return frame - first

    def _wait(self, gates: Sequence[EngineGate], spin_ns: int) -> None:
        """Go on spinning, then sleep, until every gate is finished."""
        for gate in gates:
            if not gate.finished and not self._spin(gate.done, self._stamp, spin_ns):
                self._sleep(gates, "step", self._plan.step_timeout)
                return

    def _spin(self, done: memoryview, stamp: int, spin_ns: int) -> bool:
        limit = time.monotonic_ns() + spin_ns
        while time.monotonic_ns() < limit:
            for _ in _YIELDS:
                os.sched_yield()
                if done[DONE] == stamp:
                    return True
        return False

    def set_cells(self, cells: Iterable[tuple[int, int]]) -> None:
        """Write inputs and parameters at a boundary; modules see them in the next frame."""
        for index, cell in cells:
            self._shm.write_cell(index, cell)
            self._fingerprint.note_set(index, cell)

    def republish(self) -> None:
        """Publish the same frame again, so that who reads next sees what was set."""
        self._shm.writer.stage()
        digest = self._fingerprint.digest
        self._shm.writer.publish(self.epoch, self.frame, self.time, digest, time.monotonic_ns())

    def release(self) -> None:
        """Give up every view of the memory."""
        self._legs.release()
        self._epoll.close()
        self._router.release()
        self.meter.release()
        self._words.release()
        self._floats.release()

    # -- releases

    def _arm(self, spin_ns: int, opcode: Opcode = Opcode.STEP) -> None:
        """Tell every worker what the next releases ask for."""
        if spin_ns != self._spin_ns or opcode is not Opcode.STEP:
            self._spin_ns = spin_ns if opcode is Opcode.STEP else -1
            for gate in self._manager.gates.values():
                gate.go[OPCODE] = opcode
                gate.go[SPIN_NS] = spin_ns

    # -- waits

    def _watch(self) -> None:
        """Register what ends a wait: every done event, every worker's pidfd, the owner's hang-up.

        A done event needs no reading: edge-triggered, each of its writes ends one wait.
        """
        self._epoll.close()
        self._epoll = select.epoll()
        for fd, events in self._watched.items():
            self._epoll.register(fd, events)
        for gate in self._manager.gates.values():
            self._epoll.register(gate.done_event, select.EPOLLIN | select.EPOLLET)
        self._pidfds = {process.pidfd: name for name, process in self._manager.processes.items()}
        for pidfd in self._pidfds:
            self._epoll.register(pidfd, select.EPOLLIN)
        self._done_events = {gate.done_event for gate in self._manager.gates.values()}

    def _let_all(self, opcode: Opcode) -> None:
        """Let every worker do one thing and sleep until all have."""
        gates = tuple(self._manager.gates.values())
        self._arm(0, opcode)
        self._stamp += 1
        if not ORDERED_STORES:
            fence()
        for gate in gates:
            gate.go[GO] = self._stamp
        fence()
        for gate in gates:
            gate.wake()
        self._sleep(gates, opcode.name.lower(), self._plan.start_timeout)

    def _sleep(self, gates: Sequence[EngineGate], phase: str, timeout: float) -> None:
        """Block until every gate is finished; raises ModuleError for a worker that died or hangs.

        Only the gate that is waited for wakes the engine: those that finish meanwhile need no wake-up of their own.
        """
        limit = time.monotonic() + timeout if timeout else float("inf")
        for gate in gates:
            if gate.finished:
                continue
            gate.sleep(True)
            fence()
            try:
                while not gate.finished:
                    if not self._await(_SAFETY_SECONDS, phase):
                        self._check(gates, gate, phase, limit, timeout)
            finally:
                gate.sleep(False)

    def _await(self, seconds: float, phase: str) -> set[int]:
        """Wait for news at most so long, and return the done events; raises where a worker or the owner has ended."""
        events = {fd for fd, _ in self._epoll.poll(seconds)}
        for fd in events - self._done_events:
            if fd not in self._pidfds:
                raise OwnerGoneError
            raise self._manager.failure(self._pidfds[fd], self._frame_of(phase), phase)
        return events

    def _frame_of(self, phase: str) -> int:
        return self.frame + 1 if phase == "step" else 0

    def _check(
        self, gates: Sequence[EngineGate], awaited: EngineGate, phase: str, limit: float, timeout: float
    ) -> None:
        """Nothing happened for a while: mend and count a lost wake-up, and see whether somebody hangs."""
        self._waits()
        if awaited.finished and awaited.done_event not in self._await(_LOST_SECONDS, phase):
            self._shm.count(KICKS)
        waiting = [gate for gate in gates if not gate.finished]
        for gate in waiting:
            if gate.overslept() and not gate.stirs(_LOST_SECONDS):
                self._shm.count(KICKS)
                gate.kick()
        if waiting and time.monotonic() > limit:
            hung = [name for name, gate in self._manager.gates.items() if gate in waiting]
            raise self._manager.kill_hung(hung[0], self._frame_of(phase), phase, timeout)

    def _settle(self) -> None:
        """Let workers that are still in a frame that failed finish it; end those that do not."""
        timeout = self._plan.step_timeout or self._plan.start_timeout
        limit = time.monotonic() + timeout
        for name, process in self._manager.processes.items():
            gate = self._manager.gates[name]
            gate.sleep(True)
            fence()
            while process.ready and not gate.finished and not process.exited:
                if time.monotonic() > limit:
                    self._manager.kill_hung(name, self.frame, "reset", timeout)
                readable([gate.done_event, process.pidfd], _SAFETY_SECONDS)
                clear_event(gate.done_event)
            gate.sleep(False)
