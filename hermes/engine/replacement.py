"""A replacement on its way: a new process for a module, which starts while the run goes on with the present one.

Only when it has declared the same signals does it take the other's place, between two frames. Until then it can fail
as it likes: the command is refused with what it said, and nothing else happens.
"""

from __future__ import annotations

import time
from typing import Any

from hermes.engine.plan import ModulePlan
from hermes.engine.process import ProcessManager
from hermes.engine.reporting import Reporter
from hermes.engine.scheduler import Scheduler
from hermes.errors import HermesError, NotReplaced, SystemRefused


class Replacement:
    """One `replace` command; raises NotReplaced where the module cannot be replaced at all."""

    def __init__(self, manager: ProcessManager, command: dict[str, Any]) -> None:
        """Start the new process."""
        self.command = command
        self.source: str = command["source"]
        self._manager = manager
        name = command["module"]
        present = manager.plan.module(name)
        if present is None:
            names = ", ".join(module.name for module in manager.plan.modules)
            raise NotReplaced(name, f"there is no such module; there are {names}")
        worker = manager.plan.worker_of(name)
        others = [module.name for module in manager.plan.workers[worker] if module.name != name]
        if others:
            raise NotReplaced(name, f"it shares the process of worker {worker} with {', '.join(others)}")
        self.module: ModulePlan = present._replace(spec=command["spec"])
        self._limit = time.monotonic() + manager.plan.start_timeout
        try:
            self.process = manager.spawn_beside(self.module)
        except SystemRefused as error:
            raise NotReplaced(name, str(error)) from None

    @property
    def fds(self) -> tuple[int, int]:
        """What becomes readable when there is news: the new process's channel and its pidfd."""
        return self.process.channel.fileno(), self.process.pidfd

    def declared(self) -> bool:
        """Return whether the new process has declared its signals; raises ModuleError where it never will."""
        self.process.read_records()
        if self.process.declared:
            return True
        if self.process.exited:
            raise self._manager.failure_beside(self.process)
        if time.monotonic() > self._limit:
            raise self._manager.hung_beside(self.process)
        return False

    @property
    def taken(self) -> bool:
        """Whether the new process has taken the other's place."""
        return self._manager.processes.get(self.process.name) is self.process

    def discard(self) -> None:
        """End the new process, unless it has taken the other's place."""
        if not self.taken:
            self._manager.discard_beside(self.process)


class Replacements:
    """The `replace` commands of a run, one after the other: `current` is the one on its way."""

    def __init__(self, manager: ProcessManager, tell: Reporter) -> None:
        self.current: Replacement | None = None
        self._manager = manager
        self._tell = tell

    def begin(self, command: dict[str, Any]) -> None:
        """Start the new process that a command asks for; raises NotReplaced."""
        self.current = Replacement(self._manager, command)

    def proceed(self, frames: Scheduler, *, failed: bool) -> bool:
        """Between two frames: let a replacement that is ready take its module's place; return whether one did.

        One that cannot is refused. In a `failed` run it only becomes what the next reset starts. Raises HermesError
        where the module that was there has ended and the new one cannot go on in its place.
        """
        replacement = self.current
        if replacement is None:
            return False
        command, name = replacement.command, replacement.module.name
        try:
            if not replacement.declared():
                return False
            if failed:
                self._manager.exchange(replacement.process, replacement.module)
            else:
                frames.succession.replace(replacement.process, replacement.module, replacement.source)
        except HermesError as error:
            if replacement.taken:
                self.current = None
                raise
            self.end()
            self._tell.refuse(command["id"], error)
            return False
        self.end()
        self._tell.note(command, frames.frame, module=name, by=command["by"])
        self._tell.event("replaced", module=name, by=command["by"])
        self._tell.reply(command["id"])
        return True

    def end(self) -> None:
        """End a new process that has not taken the other's place."""
        if self.current is not None:
            self.current.discard()
            self.current = None
