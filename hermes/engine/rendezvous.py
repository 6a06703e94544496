"""Where the engine and its workers meet: it releases them, waits until they are done, and notices who will never be.

A wait spins for a bounded time, then sleeps. It ends at once when a worker dies (its pidfd is in the same poll), is
bounded by a timeout, and re-reads the done words now and then: a lost wake-up is mended and counted.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Mapping, Sequence

from hermes.backplane.layout import KICKS
from hermes.backplane.sync import (
    DONE,
    GO,
    OPCODE,
    ORDERED_STORES,
    SPIN_NS,
    EngineGate,
    Opcode,
    clear_event,
    fence,
    readable,
)
from hermes.engine.owner import OwnerGoneError
from hermes.engine.plan import Plan
from hermes.engine.process import ProcessManager
from hermes.errors import ModuleError
from hermes.system import obtain

_SAFETY_SECONDS = 0.005
"""How long the engine sleeps before it re-reads the done words and kicks those that still owe one."""

_LOST_SECONDS = 0.25
"""How long a worker that is done, or was released, may take to act on it, before its wake-up counts as lost."""

_YIELDS = range(64)
"""Yields between two looks at the clock, while spinning."""


class Rendezvous:
    """The engine's side of all gates. `stamp` is what the newest release stored into the go words.

    `watching` says whether every worker is watched: the last `watch` may have been refused.

    `frame` gives the number of the newest committed frame; `recover` takes the error of a worker that failed at a step
    and the gates that are waited for, and either brings it back or raises.
    """

    def __init__(
        self,
        manager: ProcessManager,
        plan: Plan,
        frame: Callable[[], int],
        watched: Mapping[int, int],
        waits: Callable[[], None],
    ) -> None:
        self._manager = manager
        self._plan = plan
        self._frame = frame
        self._watched = dict(watched)
        self._waits = waits
        self.recover: Callable[[ModuleError, Sequence[EngineGate]], None] = _raise
        self.stamp = 0
        self._spin_ns = -1
        self._epoll = obtain("wait for modules", select.epoll)
        self.watching = False
        self.watch()

    def close(self) -> None:
        """Give up the poll."""
        self._epoll.close()

    def arm(self, spin_ns: int) -> None:
        """Tell every worker that the next releases ask for steps, and how long it may spin for them."""
        if spin_ns != self._spin_ns:
            self._spin_ns = spin_ns
            for gate in self._manager.gates.values():
                gate.go[OPCODE] = Opcode.STEP
                gate.go[SPIN_NS] = spin_ns

    def watch(self) -> None:
        """Register what ends a wait: every done event, every worker's pidfd, the owner's hang-up.

        A done event needs no reading: edge-triggered, each of its writes ends one wait. Raises SystemRefused.
        """
        self.watching = False
        self._epoll.close()
        self._epoll = obtain("wait for modules", select.epoll)
        self._pidfds = {process.pidfd: name for name, process in self._manager.processes.items()}
        self._done_events = {gate.done_event for gate in self._manager.gates.values()}
        done = dict.fromkeys(self._done_events, select.EPOLLIN | select.EPOLLET)
        for fd, events in {**self._watched, **done, **dict.fromkeys(self._pidfds, select.EPOLLIN)}.items():
            obtain("wait for modules", self._epoll.register, fd, events)
        self.watching = True

    def let(self, gates: Sequence[EngineGate], opcode: Opcode) -> None:
        """Let workers do one thing and sleep until all have."""
        self.release(gates, opcode)
        self._sleep(gates, opcode.name.lower(), self._plan.start_timeout)

    def release(self, gates: Sequence[EngineGate], opcode: Opcode) -> None:
        """Release workers for one thing, which others, perhaps still at work, must not mistake for theirs."""
        self.stamp += 1
        self._spin_ns = -1
        for gate in gates:
            gate.go[OPCODE], gate.go[SPIN_NS] = opcode, 0
        if not ORDERED_STORES:
            fence()
        for gate in gates:
            gate.go[GO] = self.stamp
        fence()
        for gate in gates:
            gate.wake()

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
            except ModuleError as error:
                if phase != "step":
                    raise
                self.recover(error, gates)
                self._sleep(gates, phase, timeout)
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
        return self._frame() + 1 if phase == "step" else 0

    def _check(
        self, gates: Sequence[EngineGate], awaited: EngineGate, phase: str, limit: float, timeout: float
    ) -> None:
        """Nothing happened for a while: mend and count a lost wake-up, and see whether somebody hangs."""
        self._waits()
        if awaited.finished and awaited.done_event not in self._await(_LOST_SECONDS, phase):
            self._manager.shm.count(KICKS)
        waiting = [gate for gate in gates if not gate.finished]
        for gate in waiting:
            if gate.overslept() and not gate.stirs(_LOST_SECONDS):
                self._manager.shm.count(KICKS)
                gate.kick()
        if waiting and time.monotonic() > limit:
            hung = [name for name, gate in self._manager.gates.items() if gate in waiting]
            raise self._manager.kill_hung(hung, self._frame_of(phase), phase, timeout)

    def settle(self) -> None:
        """Let workers that are still in a frame that failed finish it; end those that do not."""
        timeout = self._plan.step_timeout or self._plan.start_timeout
        limit = time.monotonic() + timeout
        for name, process in self._manager.processes.items():
            gate = self._manager.gates[name]
            gate.sleep(True)
            fence()
            while process.ready and not gate.finished and not process.exited:
                if time.monotonic() > limit:
                    self._manager.kill_hung([name], self._frame(), "reset", timeout)
                readable([gate.done_event, process.pidfd], _SAFETY_SECONDS)
                clear_event(gate.done_event)
            gate.sleep(False)

    def wait(self, gates: Sequence[EngineGate], spin_ns: int) -> None:
        """Go on spinning, then sleep, until every gate is finished."""
        for gate in gates:
            if not gate.finished and not self._spin(gate.done, self.stamp, spin_ns):
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


def _raise(error: ModuleError, _gates: Sequence[EngineGate]) -> None:
    raise error
