"""Where a session's loop runs, and how synchronous and asynchronous callers reach it from anywhere.

In a notebook that is the kernel's own loop: a synchronous call re-enters it, so that server, telemetry and widgets go
on meanwhile. Elsewhere, and with ``loop="thread"``, it is a private loop on a thread. An interrupt cancels the call
that waits, never a background task.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Protocol, TypeVar

import nest_asyncio2

from hermes.crossing import CLOSE_SECONDS, Crossing, abandon, call_across, interrupts_held
from hermes.errors import LoopError, SystemRefused
from hermes.loopwatch import Stalls
from hermes.switching import QUICK_SWITCHES
from hermes.system import obtain, start_thread

T = TypeVar("T")


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

    def __init__(self, name: str, *, quick: bool = False) -> None:
        """Start the thread; `quick` is for a process whose main thread computes meanwhile (see `QuickSwitches`).

        Raises SystemRefused.
        """
        self._quick = quick
        self.loop = obtain("make an event loop for the session", asyncio.new_event_loop)
        self._thread = threading.Thread(target=self._run, name=f"hermes-session-{name}", daemon=True)
        try:
            start_thread("start the thread of the session", self._thread)
        except SystemRefused:
            self.loop.close()
            raise

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        if self._quick:
            QUICK_SWITCHES.begin()
        try:
            self.loop.run_forever()
        finally:
            if self._quick:
                QUICK_SWITCHES.end()
        abandon(self.loop)
        self.loop.run_until_complete(_settle(self.loop))
        self.loop.close()

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop; an interrupt cancels it, waits for it to end, and is raised here."""
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise LoopError("a synchronous call on its own loop's thread waits for itself; await the asynchronous one")
        return call_across(coroutine, self.loop)

    def end(self, closing: Callable[[], Coroutine[Any, Any, None]], kill: Callable[[], None]) -> None:
        """Run `closing` on the loop, stop it, and join the thread (on which itself this only stops)."""
        if not self._thread.is_alive():
            return
        if threading.current_thread() is self._thread:
            self.loop.create_task(closing()).add_done_callback(lambda _task: self.loop.stop())
            return
        with interrupts_held(lambda: None):
            try:
                Crossing(closing(), self.loop).outcome.result(CLOSE_SECONDS)
            except Exception:  # noqa: BLE001 - whatever stopped the orderly way, nothing may be left running
                kill()
            with suppress(RuntimeError):  # another thread was quicker, and the loop is closed
                self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join(CLOSE_SECONDS)


class KernelHost:
    """The loop of the notebook's kernel, which runs between cells and is re-entered within them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._thread = threading.get_ident()

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop, re-entering it on its own thread; an interrupt cancels it and is raised here."""
        if threading.get_ident() != self._thread:
            return call_across(coroutine, self.loop)
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
        """Run nested; an interrupt that came too late to cancel anything is raised all the same."""
        tasks: list[asyncio.Task[T]] = []

        def cancel() -> None:
            for task in tasks:
                self.loop.call_soon_threadsafe(task.cancel)

        with interrupts_held(cancel):
            tasks.append(self.loop.create_task(coroutine))
            return self.loop.run_until_complete(tasks[0])

    def end(self, closing: Callable[[], Coroutine[Any, Any, None]], kill: Callable[[], None]) -> None:
        """Run `closing` as a task of the loop; where the loop has stopped (the kernel is ending), run it to its end."""
        if self.loop.is_running():
            self.loop.call_soon_threadsafe(lambda: self.loop.create_task(closing()))
            return
        try:
            self._finish(self.loop.create_task(asyncio.wait_for(closing(), CLOSE_SECONDS)))
        except Exception:  # noqa: BLE001 - whatever stopped the orderly way, nothing may be left running
            kill()

    def _finish(self, task: asyncio.Task[None]) -> None:
        """Run the loop until the task is done; a stop that was asked of the loop earlier may end a run too soon.

        By `run_forever`, which forgets that stop: `run_until_complete` of a loop that has been re-entered keeps it.
        """
        task.add_done_callback(lambda _task: self.loop.stop())
        for _ in range(3):
            if not task.done():
                self.loop.run_forever()
        task.result()


def choose_host(name: str, loop: str | None) -> Callable[[], Host]:
    """Return what makes the host of a synchronous session: `loop` None decides by where we are, "thread" is explicit.

    Raises LoopError under a running loop that is not a notebook's, and for another `loop`.
    """
    if loop not in (None, "thread"):
        raise LoopError(f'loop is None or "thread"; found {loop!r}')
    if loop == "thread":
        return lambda: ThreadHost(name, quick=in_notebook())
    try:
        running = asyncio.get_running_loop()
    except RuntimeError:
        return lambda: ThreadHost(name)
    if not in_notebook():
        raise LoopError(
            "a synchronous Session under a running event loop would block it; use hermes.AsyncSession and await it"
        )
    if threading.current_thread() is not threading.main_thread():
        return lambda: ThreadHost(name, quick=True)  # a subshell: its loop does not live as long as the kernel
    return lambda: KernelHost(running)


def in_notebook() -> bool:
    """Return whether this process is a Jupyter kernel."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


async def _settle(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel what a loop still has to do, and let it end."""
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    if rest:
        await asyncio.wait(rest, timeout=CLOSE_SECONDS)
    await loop.shutdown_asyncgens()


def stall_hint(stalls: Stalls, *, private: bool) -> str:
    """Return in words what kept a session's loop, on a thread of its own or not, from running, and what helps."""
    if private:
        return stalls.hint("something held up the whole process; telemetry paused meanwhile")
    if not in_notebook():
        return stalls.hint("the program blocked its event loop; telemetry paused meanwhile")
    return stalls.hint(
        "a cell blocked the notebook's loop; telemetry paused meanwhile. "
        'Session.from_yaml(..., loop="thread") keeps it flowing'
    )
