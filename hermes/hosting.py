"""Where a session's loop runs, and how synchronous and asynchronous callers reach it from anywhere.

In a notebook that is the kernel's own loop: a synchronous call re-enters it, so that server, telemetry and widgets go
on meanwhile. Elsewhere, and with ``loop="thread"``, it is a private loop on a thread. An interrupt cancels the call
that waits, never a background task.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from types import FrameType
from typing import Any, Generic, Protocol, TypeVar

import nest_asyncio2

from hermes.errors import LoopError

T = TypeVar("T")

TICK_SECONDS = 0.1
"""A waiting cell wakes its loop so often: an idle loop does not notice a notebook's interrupt by itself."""

_CLOSE_SECONDS = 2.0


class Host(Protocol):
    """A loop that runs a session."""

    loop: asyncio.AbstractEventLoop

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop from synchronous code on any thread and return its result."""

    def end(self, closing: Callable[[], Coroutine[Any, Any, None]], kill: Callable[[], None]) -> None:
        """Run `closing` and end what the host itself started; `kill` is the way out where the loop cannot run it.

        For garbage collection and interpreter exit: never raises, blocks for at most about 2 s.
        """


class ThreadHost:
    """A private loop on a daemon thread."""

    def __init__(self, name: str) -> None:
        """Start the thread."""
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=f"hermes-session-{name}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop; an interrupt cancels it, waits for it to end, and is raised here."""
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise LoopError("a synchronous call on its own loop's thread waits for itself; await the asynchronous one")
        return Crossing(coroutine, self.loop).wait()

    def end(self, closing: Callable[[], Coroutine[Any, Any, None]], kill: Callable[[], None]) -> None:
        """Run `closing` on the loop, stop it, and join the thread (on which itself this only stops)."""
        if not self._thread.is_alive():
            return
        if threading.current_thread() is self._thread:
            self.loop.create_task(closing()).add_done_callback(lambda _task: self.loop.stop())
            return
        try:
            Crossing(closing(), self.loop).outcome.result(_CLOSE_SECONDS)
        except Exception:  # noqa: BLE001 - whatever stopped the orderly way, nothing may be left running
            kill()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(_CLOSE_SECONDS)


class KernelHost:
    """The loop of the notebook's kernel, which runs between cells and is re-entered within them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._thread = threading.get_ident()

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop, re-entering it on its own thread; an interrupt cancels it and is raised here."""
        if threading.get_ident() != self._thread:
            return Crossing(coroutine, self.loop).wait()
        if hasattr(asyncio, "_nest_patched") and not hasattr(asyncio, "_nest_asyncio2"):
            coroutine.close()
            raise LoopError(
                "nest_asyncio 1.x is active and loses notebook messages in a synchronous call; "
                'use "await session.aio..." or make the session with loop="thread"'
            )
        if self.loop.is_running():
            nest_asyncio2.apply(self.loop)
        return self._reenter(coroutine)

    def _reenter(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run nested; during it SIGINT only cancels the wait, because an exception could strike any task."""
        task = self.loop.create_task(coroutine)
        interrupts: list[int] = []

        def interrupt(number: int, _frame: FrameType | None) -> None:
            interrupts.append(number)
            self.loop.call_soon_threadsafe(task.cancel)

        on_main = threading.current_thread() is threading.main_thread()
        before = signal.signal(signal.SIGINT, interrupt) if on_main else None
        try:
            result = self.loop.run_until_complete(task)
        except asyncio.CancelledError:
            if interrupts:
                raise KeyboardInterrupt from None
            raise
        finally:
            if on_main:
                signal.signal(signal.SIGINT, before)
        if interrupts:  # it came too late to cancel anything, but the cell is to stop all the same
            raise KeyboardInterrupt
        return result

    def end(self, closing: Callable[[], Coroutine[Any, Any, None]], kill: Callable[[], None]) -> None:
        """Run `closing` as a task of the loop; where the loop has stopped (the kernel is ending), run it to its end."""
        if self.loop.is_running():
            self.loop.call_soon_threadsafe(lambda: self.loop.create_task(closing()))
            return
        try:
            self._finish(self.loop.create_task(asyncio.wait_for(closing(), _CLOSE_SECONDS)))
        except Exception:  # noqa: BLE001 - whatever stopped the orderly way, nothing may be left running
            kill()

    def _finish(self, task: asyncio.Task[None]) -> None:
        """Run the loop until the task is done; a stop that was asked of the loop earlier may end a run too soon."""
        for _ in range(3):
            with suppress(RuntimeError):
                self.loop.run_until_complete(task)
            if task.done():
                return


def choose_host(name: str, loop: str | None) -> Callable[[], Host]:
    """Return what makes the host of a synchronous session: `loop` None decides by where we are, "thread" is explicit.

    Raises LoopError under a running loop that is not a notebook's, and for another `loop`.
    """
    if loop not in (None, "thread"):
        raise LoopError(f'loop is None or "thread"; found {loop!r}')
    if loop == "thread":
        return lambda: ThreadHost(name)
    try:
        running = asyncio.get_running_loop()
    except RuntimeError:
        return lambda: ThreadHost(name)
    if not in_notebook():
        raise LoopError(
            "a synchronous Session under a running event loop would block it; use hermes.AsyncSession and await it"
        )
    if threading.current_thread() is not threading.main_thread():
        return lambda: ThreadHost(name)  # a subshell: its loop is not the one that lives as long as the kernel
    return lambda: KernelHost(running)


def in_notebook() -> bool:
    """Return whether this process is a Jupyter kernel."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


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
        await asyncio.wait({future}, timeout=_CLOSE_SECONDS)
        if future.done() and not future.cancelled():
            future.exception()  # the cancellation is what is raised
        raise
    return future.result()


class Crossing(Generic[T]):
    """A coroutine that runs as a task of `loop` for a caller elsewhere, who learns its real end even when cancelled."""

    def __init__(self, coroutine: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> None:
        self.outcome: Future[T] = Future()
        self._loop = loop
        self._task: asyncio.Task[T] | None = None
        loop.call_soon_threadsafe(self._begin, coroutine)

    def cancel(self) -> None:
        """Cancel the task, from any thread; `outcome` follows when it has ended."""
        self._loop.call_soon_threadsafe(self._cancel)

    def wait(self) -> T:
        """Block until the task has ended; an interrupt cancels it, waits for it to end, and is raised."""
        try:
            return self.outcome.result()
        except KeyboardInterrupt:
            self.cancel()
            with suppress(BaseException):  # the interrupt is what is raised; this only waits for the call to end
                self.outcome.result(_CLOSE_SECONDS)
            raise

    def _begin(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._task = self._loop.create_task(coroutine)
        self._task.add_done_callback(self._end)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _end(self, task: asyncio.Task[T]) -> None:
        if self.outcome.cancelled():
            return
        if task.cancelled():
            self.outcome.set_exception(asyncio.CancelledError())
        elif (error := task.exception()) is not None:
            self.outcome.set_exception(error)
        else:
            self.outcome.set_result(task.result())
