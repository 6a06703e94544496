"""Go and done: how the engine releases a module and learns that it is finished, one pair per module.

Each side has a cache line of 64-bit words that only it writes (see `docs/backplane.md`) and an eventfd that only the
other side writes. The waiting side sets its sleep flag, fences, re-reads the other's word and only then blocks; the
waking side stores its word, fences, and writes the eventfd only where the flag is set. Without the fence on both
sides a store may be overtaken by the load behind it, and a wake-up is lost. One counting semaphore for all modules is
not an alternative: a fast module takes a slow one's token.
"""

from __future__ import annotations

import math
import os
import platform
import select
import struct
import threading
import time
from collections.abc import Iterable
from enum import IntEnum

GO, OPCODE, FRAME, TIME, DT, SPIN_NS, ENGINE_SLEEPS = range(7)
"""Words of the line that the engine writes; TIME and DT are f64, SPIN_NS how long the module may spin for a go."""

DONE, MODULE_SLEEPS, STEP_NS = range(3)
"""Words of the line that the module writes; STEP_NS is how long its last step took."""

_STORES_PASS_LOADS_ONLY = platform.machine() in ("x86_64", "AMD64", "i686")
"""Elsewhere memory order is weaker than two fences in Python can promise, so the eventfd is always written."""

_BACKSTOP_MS = 1000
"""A module re-reads its go word at least this often; the engine itself kicks after 5 ms, so nobody waits for this."""

_lock = threading.Lock()


class Opcode(IntEnum):
    """What a go asks for."""

    STEP = 1
    RESET = 2
    STOP = 3


def fence() -> None:
    """Order this thread's earlier stores before its later loads: taking a free lock is a full barrier."""
    _lock.acquire()
    _lock.release()


def float_bits(value: float) -> int:
    """Return a float as the 64-bit word that carries it."""
    return int.from_bytes(struct.pack("<d", value), "little")


def bits_float(bits: int) -> float:
    """Return the float that a 64-bit word carries."""
    number: float = struct.unpack("<d", bits.to_bytes(8, "little"))[0]
    return number


def new_event() -> int:
    """Return a new eventfd, non-blocking and not inherited."""
    return os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)


def signal_event(fd: int) -> None:
    """Make an eventfd readable."""
    os.eventfd_write(fd, 1)


def clear_event(fd: int) -> None:
    """Make an eventfd unreadable; harmless where it was."""
    try:
        os.eventfd_read(fd)
    except BlockingIOError:
        return


def readable(fds: Iterable[int], timeout: float | None = None) -> set[int]:
    """Wait until a descriptor is readable or hung up, at most `timeout` seconds, and return those that are."""
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    return {fd for fd, _ in poll.poll(None if timeout is None else max(0, math.ceil(timeout * 1000)))}


class EngineGate:
    """The engine's side of one module's pair. `go` and `done` are the lines as words; used by one thread only."""

    def __init__(self, go: memoryview, done: memoryview, go_event: int, done_event: int) -> None:
        self._go = go
        self._done = done
        self.go_event = go_event
        self.done_event = done_event
        self.sequence = int(go[GO])

    def release(self, opcode: Opcode, frame: int, time_bits: int, dt_bits: int, spin_ns: int) -> None:
        """Let the module do one thing; `time_bits` and `dt_bits` are floats as words."""
        go = self._go
        go[OPCODE] = opcode
        go[FRAME] = frame
        go[TIME] = time_bits
        go[DT] = dt_bits
        go[SPIN_NS] = spin_ns
        self.sequence += 1
        fence()
        go[GO] = self.sequence
        fence()
        if self._done[MODULE_SLEEPS] or not _STORES_PASS_LOADS_ONLY:
            signal_event(self.go_event)

    @property
    def finished(self) -> bool:
        """Whether the module has done what it was released for."""
        return bool(self._done[DONE] == self.sequence)

    @property
    def step_ns(self) -> int:
        """How long the module says its last step took, in nanoseconds."""
        return int(self._done[STEP_NS])

    def sleep(self, asleep: bool) -> None:
        """Say whether the engine needs to be woken; a caller that goes to sleep fences and re-reads `finished`."""
        self._go[ENGINE_SLEEPS] = asleep

    def kick(self) -> None:
        """Wake the module once more, whatever its flag says: the net under a lost wake-up."""
        signal_event(self.go_event)

    def renew(self) -> None:
        """Forget stale wake-ups, before a new process takes the module's place; it takes up the current sequence."""
        clear_event(self.go_event)
        clear_event(self.done_event)

    def detach(self) -> None:
        """Give up the views of the memory and close both events."""
        self._go.release()
        self._done.release()
        os.close(self.go_event)
        os.close(self.done_event)


class ModuleGate:
    """The module's side of its pair."""

    def __init__(self, go: memoryview, done: memoryview, go_event: int, done_event: int) -> None:
        self._go = go
        self._done = done
        self._go_event = go_event
        self._done_event = done_event
        self._sequence = int(go[GO])
        done[DONE] = self._sequence
        self._poll = select.poll()
        self._poll.register(go_event, select.POLLIN)

    def wait(self) -> tuple[Opcode, int, float, float]:
        """Block until released and return what to do, the frame to compute, its start time and its dt in seconds."""
        go = self._go
        if go[GO] == self._sequence and not self._spin():
            self._sleep()
        self._sequence += 1
        return Opcode(go[OPCODE]), int(go[FRAME]), bits_float(go[TIME]), bits_float(go[DT])

    def _spin(self) -> bool:
        go, sequence, spin_ns = self._go, self._sequence, self._go[SPIN_NS]
        if not spin_ns:
            return False
        limit = time.perf_counter_ns() + spin_ns
        while time.perf_counter_ns() < limit:
            if go[GO] != sequence:
                return True
            os.sched_yield()
        return False

    def _sleep(self) -> None:
        done = self._done
        done[MODULE_SLEEPS] = 1
        fence()
        while self._go[GO] == self._sequence:
            if self._poll.poll(_BACKSTOP_MS):
                clear_event(self._go_event)
        done[MODULE_SLEEPS] = 0

    def finish(self, step_ns: int) -> None:
        """Say that the work is done and took `step_ns` nanoseconds."""
        self._done[STEP_NS] = step_ns
        fence()
        self._done[DONE] = self._sequence
        fence()
        if self._go[ENGINE_SLEEPS] or not _STORES_PASS_LOADS_ONLY:
            signal_event(self._done_event)
