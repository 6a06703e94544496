"""Ctrl-Z on `hermes run`: the simulation pauses at a frame boundary, the process stops, and ``fg`` goes on with both.

The engine lives in a process session of its own, which the terminal does not stop, so it is told to.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from hermes.asyncsession import AsyncSession
from hermes.errors import HermesError
from hermes.lifecycle import State, Verb

PAUSE_SECONDS = 1.0
"""How long a frame may take until the process stops all the same; the pause then follows at the end of the frame."""

_MOVERS = (Verb.RESUME, Verb.RUN, Verb.STEP)


@contextmanager
def suspension_heeded(session: AsyncSession) -> Iterator[None]:
    """Let SIGTSTP pause a session before it stops the process, and SIGCONT resume what was paused."""
    loop = asyncio.get_running_loop()
    stops: set[asyncio.Task[None]] = set()

    def suspend() -> None:
        if not stops:
            task = loop.create_task(_suspend(session))
            stops.add(task)
            task.add_done_callback(rearm)

    def rearm(task: asyncio.Task[None]) -> None:
        stops.discard(task)
        loop.add_signal_handler(signal.SIGTSTP, suspend)

    loop.add_signal_handler(signal.SIGTSTP, suspend)
    try:
        yield
    finally:
        for task in list(stops):
            task.remove_done_callback(rearm)
            task.cancel()
        loop.remove_signal_handler(signal.SIGTSTP)


async def _suspend(session: AsyncSession) -> None:
    """Pause, stop, and after that resume; a step or run that the pause has ended is not begun again."""
    resumes = session.state is State.RUNNING and _last_move(session) == Verb.RESUME
    if session.state is State.RUNNING:
        with suppress(HermesError, TimeoutError):
            await asyncio.wait_for(session.pause(), PAUSE_SECONDS)
    asyncio.get_running_loop().remove_signal_handler(signal.SIGTSTP)
    os.kill(os.getpid(), signal.SIGTSTP)  # as the terminal would have done: here the process stops
    if resumes:
        with suppress(HermesError):  # it has ended meanwhile, or somebody else has resumed it
            await session.resume()


def _last_move(session: AsyncSession) -> str | None:
    return next((entry["verb"] for entry in reversed(session.journal) if entry["verb"] in _MOVERS), None)
