"""Frames: release the workers that are due, wait for all, route the wires, commit. It never sleeps to keep time.

Every worker has its own go and done, so nobody takes another's token and nobody is ever a frame ahead. The wait ends
at once when a worker dies (its pidfd is in the same poll) and is bounded by `step_timeout`.

What a frame does is laid out beforehand (`hermes.engine.legs`), so that the loop over frames does nothing per signal
and looks nothing up.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from hermes.backplane.layout import CELL, NOW_FRAME, NOW_TIME
from hermes.backplane.signals import Signal, SignalKind, encode_cell
from hermes.backplane.sync import (
    DONE,
    DUE,
    GO,
    ORDERED_STORES,
    WORKER_SLEEPS,
    Opcode,
    fence,
    signal_event,
)
from hermes.engine.handover import Handover
from hermes.engine.journal import Fingerprint
from hermes.engine.legs import Legs
from hermes.engine.metering import Meter
from hermes.engine.perturbation import Perturbation
from hermes.engine.plan import Plan
from hermes.engine.process import ProcessManager
from hermes.engine.rendezvous import Rendezvous
from hermes.engine.succession import Succession
from hermes.engine.wiring import Router
from hermes.errors import ModuleError
from hermes.frametime import FrameClock

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
        restarted: Callable[[ModuleError, int], None] = lambda _error, _times: None,
        redeclared: Callable[[Sequence[Signal]], None] = lambda _signals: None,
    ) -> None:
        """Compile the wires; raises ConfigurationError.

        A poll event of a `watched` descriptor ends every wait; `waits` is called while a frame takes milliseconds.
        For `restarted` and `redeclared` see `Succession`.
        """
        self._manager = manager
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
        self._handover = Handover()
        self._legs = Legs(plan, manager.gates, self._router)
        self._rendezvous = Rendezvous(manager, plan, lambda: self.frame, watched or {}, waits)
        self.succession = Succession(manager, self._rendezvous, self._fingerprint, restarted, redeclared)

    @property
    def time(self) -> float:
        """Simulation time of the newest committed frame, in seconds."""
        return self.clock.time(self.frame)

    def reset(self) -> None:
        """Put every module and every signal back to its initial conditions and commit frame 0 of a new epoch.

        Modules that have ended are started anew. Raises ModuleError; frame and epoch then stand as they were.
        """
        self._rendezvous.settle()
        self.succession.revive()
        for index, signal in enumerate(self._shm.registry):
            if signal.kind is not SignalKind.OUTPUT:
                self._shm.write_cell(index, encode_cell(signal, signal.initial))
        self._rendezvous.let(tuple(self._manager.gates.values()), Opcode.RESET)
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
        meeting = self._rendezvous
        meeting.arm(spin_ns)
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
                meeting.stamp = stamp = meeting.stamp + 1
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
                            meeting.wait(gates, spin_ns)
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
        self._rendezvous.close()
        self._router.release()
        self.meter.release()
        self._words.release()
        self._floats.release()
