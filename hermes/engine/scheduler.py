"""One frame: release the modules, wait for all of them, route the wires, commit. It never sleeps to keep time.

Every module has its own go and done, so nobody takes another's token and nobody is ever a frame ahead. The wait ends
at once when a module dies (its pidfd is in the same poll) and is bounded by `step_timeout`.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterable, Mapping

from hermes.backplane.layout import KICKS
from hermes.backplane.signals import SignalKind, encode_cell
from hermes.backplane.sync import EngineGate, Opcode, clear_event, fence, float_bits, readable
from hermes.engine.journal import Fingerprint
from hermes.engine.plan import Plan
from hermes.engine.process import ProcessManager
from hermes.engine.wiring import Router
from hermes.frametime import FrameClock

_SAFETY_MS = 5
"""How long the engine sleeps before it re-reads the done words and kicks those that still owe one."""

_SPIN_NS = 50_000
"""How long either side spins before it sleeps, where nothing is paced."""


class OwnerGoneError(Exception):
    """The process that owns the session has disappeared."""


class Scheduler:
    """Advances the modules of a started `ProcessManager`. `frame` counts completed frames since the last reset."""

    def __init__(self, manager: ProcessManager, plan: Plan, watched: Mapping[int, int] | None = None) -> None:
        """Compile the wires (raises ConfigurationError); a poll event of a `watched` descriptor ends every wait."""
        self._manager = manager
        self._plan = plan
        self._watched = dict(watched or {})
        self.clock = FrameClock(*plan.rate)
        self._dt = float_bits(self.clock.dt)
        self._shm = manager.shm
        self._router = Router(plan.wires, self._shm)
        self._fingerprint = Fingerprint(self._shm.registry, plan.rate, plan.seed)
        self.frame = 0
        self.epoch = -1
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
        self._do(Opcode.RESET, "reset", self._plan.start_timeout, spin_ns=0)
        self._router.route()
        self.frame = 0
        self.epoch += 1
        self._fingerprint.restart()
        self._commit()

    def step(self, *, paced: bool) -> int:
        """Compute one frame and commit it; return how long that took, in nanoseconds.

        `paced` says that the caller will wait for real time, so nobody spins. Raises ModuleError; the frame then has
        not been committed.
        """
        begin = time.monotonic_ns()
        self._do(Opcode.STEP, "step", self._plan.step_timeout, spin_ns=0 if paced else _SPIN_NS)
        self._router.route()
        self.frame += 1
        self._commit()
        return time.monotonic_ns() - begin

    def set_cells(self, cells: Iterable[tuple[int, int]]) -> None:
        """Write inputs and parameters at a boundary, and publish the same frame again: who reads next sees them."""
        for index, cell in cells:
            self._shm.write_cell(index, cell)
            self._fingerprint.note_set(index, cell)
        self._shm.stage()
        self._publish(self._fingerprint.digest)

    def slowest(self) -> tuple[str, int]:
        """Return the module whose last step took longest, and its nanoseconds."""
        name, gate = max(self._manager.gates.items(), key=lambda item: item[1].step_ns)
        return name, gate.step_ns

    def release(self) -> None:
        """Give up every view of the memory."""
        self._router.release()

    def _commit(self) -> None:
        self._publish(self._fingerprint.take(self._shm.stage()))

    def _publish(self, digest: bytes) -> None:
        self._shm.publish(self.epoch, self.frame, self.time, digest, time.monotonic_ns())

    def _watch(self) -> None:
        """Register what ends a wait: every done event, every module's pidfd, the owner's hang-up."""
        self._poll = select.poll()
        for fd, events in self._watched.items():
            self._poll.register(fd, events)
        for gate in self._manager.gates.values():
            self._poll.register(gate.done_event, select.POLLIN)
        self._pidfds = {process.pidfd: name for name, process in self._manager.processes.items()}
        for pidfd in self._pidfds:
            self._poll.register(pidfd, select.POLLIN)
        self._done_events = {gate.done_event for gate in self._manager.gates.values()}

    def _do(self, opcode: Opcode, phase: str, timeout: float, spin_ns: int) -> None:
        start = float_bits(self.clock.time(self.frame))
        gates = list(self._manager.gates.values())
        for gate in gates:
            gate.release(opcode, self.frame + 1, start, self._dt, spin_ns)
        waiting = self._spin(gates, spin_ns)
        if waiting:
            self._sleep(waiting, phase, timeout)

    def _spin(self, waiting: list[EngineGate], spin_ns: int) -> list[EngineGate]:
        limit = time.perf_counter_ns() + spin_ns
        while waiting := [gate for gate in waiting if not gate.finished]:
            if time.perf_counter_ns() >= limit:
                break
            os.sched_yield()
        return waiting

    def _sleep(self, waiting: list[EngineGate], phase: str, timeout: float) -> None:
        """Block until every gate is finished; raises ModuleError for one that died or hangs."""
        limit = time.monotonic() + timeout if timeout else float("inf")
        for gate in waiting:
            gate.sleep(True)
        fence()
        try:
            while waiting := [gate for gate in waiting if not gate.finished]:
                events = self._poll.poll(_SAFETY_MS)
                for fd, _ in events:
                    self._heed(fd, phase)
                if not events:
                    self._check(waiting, phase, limit, timeout)
        finally:
            for gate in self._manager.gates.values():
                gate.sleep(False)

    def _heed(self, fd: int, phase: str) -> None:
        if fd in self._done_events:
            clear_event(fd)
        elif fd in self._pidfds:
            raise self._manager.failure(self._pidfds[fd], self.frame + 1 if phase == "step" else 0, phase)
        else:
            raise OwnerGoneError

    def _check(self, waiting: list[EngineGate], phase: str, limit: float, timeout: float) -> None:
        """Nothing happened for a while: count a lost wake-up, kick, and see whether somebody hangs."""
        for gate in waiting:
            if gate.finished:
                self._shm.count(KICKS)
            gate.kick()
        if time.monotonic() > limit:
            hung = [name for name, gate in self._manager.gates.items() if gate in waiting]
            raise self._manager.kill_hung(hung[0], self.frame + 1 if phase == "step" else 0, phase, timeout)

    def _settle(self) -> None:
        """Let modules that are still in a frame that failed finish it; end those that do not."""
        timeout = self._plan.step_timeout or self._plan.start_timeout
        limit = time.monotonic() + timeout
        for name, process in self._manager.processes.items():
            gate = self._manager.gates[name]
            gate.sleep(True)
            fence()
            while not gate.finished and not process.exited:
                if time.monotonic() > limit:
                    self._manager.kill_hung(name, self.frame, "reset", timeout)
                readable([gate.done_event, process.pidfd], _SAFETY_MS / 1000)
                clear_event(gate.done_event)
            gate.sleep(False)
