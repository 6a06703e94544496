"""Go and done: how the engine releases a worker and learns that it is finished, one pair per worker process.

Each side has a cache line of 64-bit words that only it writes (see `docs/backplane.md`) and an eventfd that only the
other side writes. The waiting side sets its sleep flag, fences, re-reads the other's word and only then blocks; the
waking side stores its word, fences, and writes the eventfd only where the flag is set. Without the fence on both
sides a store may be overtaken by the load behind it, and a wake-up is lost. One counting semaphore for all workers is
not an alternative: a fast worker takes a slow one's token.
"""

from __future__ import annotations

import math
import os
import platform
import select
import struct
import threading
import time
from collections.abc import Callable, Iterable
from enum import IntEnum

from hermes.errors import SystemRefused
from hermes.system import obtain

GO, OPCODE, DUE, DT, SPIN_NS, ENGINE_SLEEPS = range(6)
"""Words of the line that the engine writes; DUE is a bit per module of the worker, DT an f64 (s), SPIN_NS how long the
worker may spin for a go."""

DONE, WORKER_SLEEPS, STEP_NS, AT = range(4)
"""Words of the line that the worker writes; STEP_NS is how long the module's last step took, AT which of its modules
a worker is at (counted from 1; 0 at none)."""

ORDERED_STORES = platform.machine() in ("x86_64", "AMD64", "i686")
"""Stores become visible in program order, and only a load may overtake them. Elsewhere memory order is weaker than
fences in Python can promise, so there is a fence more and the eventfd is always written."""

_YIELDS = range(32)
"""Yields between two looks at the clock, while spinning."""

_lock = threading.Lock()


class Opcode(IntEnum):
    """What a go asks for."""

    STEP = 1  # also written as a number, where frames wait for it
    RESET = 2
    STOP = 3


def fence(acquire: Callable[[], bool] = _lock.acquire, release: Callable[[], None] = _lock.release) -> None:
    """Order this thread's earlier stores before its later loads: taking a free lock is a full barrier."""
    acquire()
    release()


def float_bits(value: float) -> int:
    """Return a float as the 64-bit word that carries it."""
    return int.from_bytes(struct.pack("<d", value), "little")


def bits_float(bits: int) -> float:
    """Return the float that a 64-bit word carries."""
    number: float = struct.unpack("<d", bits.to_bytes(8, "little"))[0]
    return number


def new_event(name: str = "a module") -> int:
    """Return a new eventfd, not inherited; reading it waits until it is readable. Raises SystemRefused for `name`."""
    return obtain(f"make the events of {name}", os.eventfd, 0, os.EFD_CLOEXEC)


def new_events(worker: str) -> tuple[int, int]:
    """Return two new eventfds, a worker's go and done; both, or raises SystemRefused."""
    go_event = new_event(worker)
    try:
        return go_event, new_event(worker)
    except SystemRefused:
        os.close(go_event)
        raise


def signal_event(fd: int) -> None:
    """Make an eventfd readable."""
    os.eventfd_write(fd, 1)


def clear_event(fd: int) -> None:
    """Make an eventfd unreadable, if nobody else reads it; harmless where it was."""
    if readable([fd], 0):
        os.eventfd_read(fd)


def readable(fds: Iterable[int], timeout: float | None = None) -> set[int]:
    """Wait until a descriptor is readable or hung up, at most `timeout` seconds, and return those that are."""
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    return {fd for fd, _ in poll.poll(None if timeout is None else max(0, math.ceil(timeout * 1000)))}


class EngineGate:
    """The engine's side of one worker's pair, used by one thread only.

    `go` and `done` are the lines as words. Whoever releases stores the new stamp into ``go[GO]``, fences, and wakes
    the worker where ``done[WORKER_SLEEPS]`` says so; it is finished when ``done[DONE]`` is that stamp. The scheduler
    does this for all workers at once, with a single fence.
    """

    def __init__(self, go: memoryview, done: memoryview, go_event: int, done_event: int) -> None:
        self.go = go
        self.done = done
        self.go_event = go_event
        self.done_event = done_event

    def release(self, opcode: Opcode) -> None:
        """Let the worker do one thing."""
        self.go[OPCODE] = opcode
        if not ORDERED_STORES:
            fence()
        self.go[GO] += 1
        fence()
        self.wake()

    def wake(self) -> None:
        """Wake the worker where it sleeps; after a fence."""
        if self.done[WORKER_SLEEPS] or not ORDERED_STORES:
            signal_event(self.go_event)

    @property
    def finished(self) -> bool:
        """Whether the worker has done what it was released for."""
        return bool(self.done[DONE] == self.go[GO])

    def sleep(self, asleep: bool) -> None:
        """Say whether the engine needs to be woken; a caller that goes to sleep fences and re-reads `finished`."""
        self.go[ENGINE_SLEEPS] = asleep

    def overslept(self) -> bool:
        """Whether the worker sleeps although it was released and no wake-up is on its way; or is just waking up."""
        return bool(self.done[WORKER_SLEEPS]) and not self.finished and not readable([self.go_event], 0)

    def stirs(self, seconds: float) -> bool:
        """Wait until a worker that seemed to oversleep turns out to be waking up; at most so long: then it does not.

        One that saw the go with its flag already set may be kept from running before it takes the flag back. So looks
        are counted, a millisecond apart, and not the time: where the whole machine stands still, the worker does too.
        """
        for _ in range(math.ceil(1000 * seconds)):
            if not self.overslept():
                return True
            time.sleep(0.001)
        return not self.overslept()

    def kick(self) -> None:
        """Wake the worker once more, whatever its flag says: the net under a lost wake-up."""
        signal_event(self.go_event)

    def renew(self) -> None:
        """Forget stale wake-ups, before a new process takes the worker's place; it takes up the current stamp."""
        clear_event(self.go_event)
        clear_event(self.done_event)

    def detach(self) -> None:
        """Give up the views of the memory and close both events."""
        self.go.release()
        self.done.release()
        os.close(self.go_event)
        os.close(self.done_event)


class WorkerGate:
    """The worker's side of its pair."""

    def __init__(self, go: memoryview, done: memoryview, go_event: int, done_event: int) -> None:
        self._go = go
        self._done = done
        self._go_event = go_event
        self._done_event = done_event
        self._stamp = int(go[GO])
        done[DONE] = self._stamp

    def serve(self, step: Callable[[], None], reset: Callable[[], None]) -> None:
        """Do what each release asks for until it is a stop; raises ValueError for an opcode that is none.

        This is the frame path, all of it in one loop: a call or a look-up saved here is saved in every frame.
        """
        go, done, before = self._go, self._done, self._stamp
        acquire, release, pause = _lock.acquire, _lock.release, os.sched_yield
        while True:
            stamp = go[GO]
            if stamp == before:
                if go[SPIN_NS]:
                    for _ in _YIELDS:
                        pause()
                        stamp = go[GO]
                        if stamp != before:
                            break
                    else:
                        stamp = self._await(before)
                else:
                    stamp = self._sleep(before)
            opcode = go[OPCODE]
            if opcode == 1:
                step()
            elif Opcode(opcode) is Opcode.RESET:
                reset()
            else:
                return
            if not ORDERED_STORES:
                fence()
            done[DONE] = before = stamp
            acquire()
            release()
            if go[ENGINE_SLEEPS] or not ORDERED_STORES:
                os.eventfd_write(self._done_event, 1)

    def _await(self, before: int) -> int:
        """Go on spinning, then sleep, until released."""
        limit = time.perf_counter_ns() + self._go[SPIN_NS]
        while time.perf_counter_ns() < limit:
            for _ in _YIELDS:
                os.sched_yield()
                if (stamp := self._go[GO]) != before:
                    return int(stamp)
        return self._sleep(before)

    def _sleep(self, before: int) -> int:
        go, done = self._go, self._done
        done[WORKER_SLEEPS] = 1
        fence()
        while go[GO] == before:
            os.eventfd_read(self._go_event)
        done[WORKER_SLEEPS] = 0
        return int(go[GO])
