"""How a caller on any thread or loop waits for a coroutine on a session's loop.

An interrupt or a cancellation is passed on to the call that waits, and its end is awaited; it never strikes a task of
the loop, and no call is left running for which nobody waits.
"""

from __future__ import annotations

import asyncio
import signal
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Generic, TypeVar

from hermes.errors import LoopError

T = TypeVar("T")

TICK_SECONDS = 0.1
"""A waiting cell wakes its loop so often: an idle loop does not notice a notebook's interrupt by itself."""

CLOSE_SECONDS = 2.0
"""How long the end of a session, or of a call that was given up, may take."""


@contextmanager
def interrupts_held(cancel: Callable[[], None]) -> Iterator[None]:
    """Let SIGINT only call `cancel` within, and raise KeyboardInterrupt at the end; on the main thread, else nothing.

    An exception that is raised wherever the interrupt strikes could end any task of a loop, or leave a call running
    for which nobody waits any more.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    interrupts: list[int] = []

    def interrupt(number: int, _frame: FrameType | None) -> None:
        interrupts.append(number)
        cancel()

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    except asyncio.CancelledError:
        if not interrupts:
            raise
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL if before is None else before)
    if interrupts:
        raise KeyboardInterrupt


async def on_loop(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T]) -> T:
    """Await a coroutine on a session's loop from any loop; a cancellation is passed on and waited for."""
    if asyncio.get_running_loop() is loop:
        task = loop.create_task(coroutine)
        return await _awaited(task, task.cancel)
    crossing = Crossing(coroutine, loop)
    return await _awaited(asyncio.wrap_future(crossing.outcome), crossing.cancel)


async def _awaited(future: asyncio.Future[T], cancel: Callable[[], object]) -> T:
    """Wait for a future, with a tick in which a notebook's interrupt is noticed."""
    try:
        while not future.done():
            await asyncio.wait({future}, timeout=TICK_SECONDS)
    except asyncio.CancelledError:
        cancel()
        await asyncio.wait({future}, timeout=CLOSE_SECONDS)
        if future.done() and not future.cancelled():
            future.exception()  # the cancellation is what is raised
        raise
    return future.result()


class Crossing(Generic[T]):
    """A coroutine that runs as a task of `loop` for a caller elsewhere, who learns its real end even when cancelled.

    Where the loop has ended before, or ends first, `outcome` is a LoopError.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> None:
        self.outcome: Future[T] = Future()
        self._loop = loop
        self._coroutine = coroutine
        self._task: asyncio.Task[T] | None = None
        with _crossings_lock:
            ended = loop.is_closed() or loop in _ended
            if not ended:
                _crossings.setdefault(loop, set()).add(self)
                loop.call_soon_threadsafe(self._begin)
        if ended:
            self.abandon()

    def cancel(self) -> None:
        """Cancel the task, from any thread; `outcome` follows when it has ended."""
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._cancel)

    def abandon(self) -> None:
        """Say that the loop has ended."""
        if self._task is None:
            self._coroutine.close()
        if not self.outcome.done():
            self.outcome.set_exception(LoopError("the session has been closed, and its loop has ended"))

    def _begin(self) -> None:
        if self.outcome.done():
            return
        self._task = self._loop.create_task(self._coroutine)
        self._task.add_done_callback(self._end)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _end(self, task: asyncio.Task[T]) -> None:
        with _crossings_lock:
            _crossings.get(self._loop, set()).discard(self)
        if self.outcome.done():
            return
        if task.cancelled():
            self.outcome.set_exception(asyncio.CancelledError())
        elif (error := task.exception()) is not None:
            self.outcome.set_exception(error)
        else:
            self.outcome.set_result(task.result())


_crossings: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, set[Crossing[Any]]] = weakref.WeakKeyDictionary()
_ended: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()
_crossings_lock = threading.Lock()


def abandon(loop: asyncio.AbstractEventLoop) -> None:
    """Let nobody wait for a loop that runs no more."""
    with _crossings_lock:
        _ended.add(loop)
        left = _crossings.pop(loop, set())
    for crossing in left:
        crossing.abandon()


def call_across(coroutine: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> T:
    """Run a coroutine on a loop of another thread and block until it has ended.

    An interrupt, from the call's first moment on, cancels it, waits for it to end, and is raised.
    """
    begun: list[Crossing[T]] = []
    early: list[None] = []

    def cancel() -> None:
        if begun:
            begun[0].cancel()
        else:
            early.append(None)

    with interrupts_held(cancel):
        begun.append(Crossing(coroutine, loop))
        if early:
            begun[0].cancel()
        return begun[0].outcome.result()
