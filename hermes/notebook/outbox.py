"""The way of a widget's commands to the session: from any thread, without waiting, in order.

A widget's callback runs on whichever thread Jupyter likes, so it only leaves a command here; the session's loop hands
it to the run's dispatcher. Values for one signal wait here while one of them is under way, and only the newest is then
sent: a dragged slider never gets ahead of the engine.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from hermes.commands import Action, Command, checked
from hermes.engineclient import Outcome
from hermes.errors import HermesError
from hermes.run import Run

ORIGIN = "widget"
"""Who issued a command, in the journal."""


class Outbox:
    """Commands on their way; `settled` is called on the loop with each answer, and the signal where it was a set."""

    def __init__(
        self, run: Run, loop: asyncio.AbstractEventLoop, settled: Callable[[Outcome, str | None], None]
    ) -> None:
        self._run: Run | None = run
        self._loop = loop
        self._settled = settled
        self._lock = threading.Lock()
        self._waiting: dict[str, object] = {}
        self._under_way: dict[str, int] = {}

    def holds(self, name: str) -> bool:
        """Return whether a value for a signal is still on its way; on the loop."""
        return name in self._waiting or name in self._under_way

    def command(self, action: Action, **params: Any) -> None:
        """Issue a command after all that was left here before; from any thread."""
        self._post(self._issue, Command(action, params))

    def set(self, name: str, value: object) -> None:
        """Set a signal, to the newest of the values that were left here for it; from any thread."""
        with self._lock:
            self._waiting[name] = value
        self._post(self._send, name)

    def refuse(self, error: HermesError, name: str | None = None) -> None:
        """Answer what is no command to begin with; from any thread."""
        self._post(self._settled, error, name)

    def close(self) -> None:
        """Let go of the run, which is closed; what still comes finds nobody."""
        self._run = None

    def _post(self, callback: Callable[..., None], *given: Any) -> None:
        with suppress(RuntimeError):  # the loop has ended with its session, which its widgets say already
            self._loop.call_soon_threadsafe(callback, *given)

    def _issue(self, command: Command) -> None:
        for name in list(self._waiting):
            self._send(name, at_once=True)
        self._submit(command, None)

    def _send(self, name: str, *, at_once: bool = False) -> None:
        if name in self._under_way and not at_once:
            return
        with self._lock:
            if name not in self._waiting:
                return
            value = self._waiting.pop(name)
        self._under_way[name] = self._under_way.get(name, 0) + 1
        self._submit(Command(Action.SET, {"signal": name, "value": value}), name)

    def _submit(self, command: Command, name: str | None) -> None:
        if self._run is None:
            return
        reply = partial(self._answered, name)
        try:
            self._run.submit(checked(command), ORIGIN, reply)
        except HermesError as error:
            reply(error)

    def _answered(self, name: str | None, outcome: Outcome) -> None:
        if name is not None:
            self._under_way[name] -= 1
            if not self._under_way[name]:
                del self._under_way[name]
                self._send(name)
        self._settled(outcome, name)
