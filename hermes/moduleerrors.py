"""The errors that say which module failed, in which frame, and why; see `hermes.errors`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hermes.errorkind import HermesError
from hermes.wording import printable

_LISTED = 5
"""Names that a text lists; the error's fields have them all."""


class ModuleError(HermesError):
    """A module failed: `module`, `frame`, `phase` (start, reset, step, idle) and the reason are its fields."""

    code = "module_failed"

    @property
    def module(self) -> str:
        """The module's name."""
        return str(self.fields["module"])

    @property
    def frame(self) -> int:
        """The frame that was being computed; 0 at start and reset."""
        return int(self.fields["frame"])

    def _at(self) -> str:
        phase = self.fields["phase"]
        where = {"step": f"in frame {self.frame}", "idle": f"between frames, after frame {self.frame}"}
        return f"{self._who()} {{}} {where.get(phase, f'during {phase}')}"

    def _who(self) -> str:
        if "worker" not in self.fields:
            return f"module {self.module}"
        return f"worker {self.fields['worker']} (modules {_listed(self.fields['modules'])})"

    def _stderr(self) -> str:
        return "".join(f"\n  {self.module}| {printable(line)}" for line in self.fields.get("stderr") or [])


class ModuleFailed(ModuleError):
    """A module raised; `traceback` is the text of the remote traceback, `message` its last line."""

    def __init__(self, module: str, frame: int, phase: str, message: str, traceback: str) -> None:
        super().__init__(module=module, frame=frame, phase=phase, message=message, traceback=traceback)

    def __str__(self) -> str:
        traceback = self.fields["traceback"].rstrip()
        tail = "\n" + traceback if traceback else ""
        return self._at().format("raised") + printable(f": {self.fields['message']}{tail}")


class ModuleDied(ModuleError):
    """A module's process ended; `reason` is its exit code or the signal's name, `stderr` its last lines.

    `worker` and `modules` are there only where nothing says at which of its modules the process was: `module` is then
    the first of them.
    """

    def __init__(
        self,
        module: str,
        frame: int,
        phase: str,
        reason: str,
        stderr: Sequence[str] = (),
        worker: str = "",
        modules: Sequence[str] = (),
    ) -> None:
        shared = _shared(worker, modules)
        super().__init__(module=module, frame=frame, phase=phase, reason=reason, stderr=list(stderr), **shared)

    def __str__(self) -> str:
        return self._at().format("died") + f": {self.fields['reason']}{self._stderr()}"


class ModuleHung(ModuleError):
    """A module did not answer within `timeout` seconds and was ended.

    `stack` is the text of where in its Python code it hung, "" where it could not tell; `waiting_for` names all modules
    that had not finished, this one first. `worker` and `modules` are as in `ModuleDied`.
    """

    def __init__(
        self,
        module: str,
        frame: int,
        phase: str,
        timeout: float,
        stderr: Sequence[str] = (),
        stack: str = "",
        waiting_for: Sequence[str] = (),
        worker: str = "",
        modules: Sequence[str] = (),
    ) -> None:
        reason: dict[str, Any] = {"timeout": timeout, "stderr": list(stderr), "stack": stack}
        waiting = {"waiting_for": list(waiting_for) or [module], **_shared(worker, modules)}
        super().__init__(module=module, frame=frame, phase=phase, **reason, **waiting)

    def __str__(self) -> str:
        limit = "step_timeout" if self.fields["phase"] == "step" else "start_timeout"
        found = self._at().format("did not answer") + f" within {self.fields['timeout']:g} s (execution.{limit})"
        others = [name for name in self.fields["waiting_for"] if name != self.module]
        found += f"; nor did {_listed(others)}" if others else ""
        stack = self.fields["stack"].rstrip()
        return found + printable("\n" + stack if stack else "") + self._stderr()


class EngineDied(HermesError):
    """The engine process ended without being asked to."""

    code = "engine_died"

    def __init__(self, reason: str, stderr: Sequence[str] = ()) -> None:
        super().__init__(reason=reason, stderr=list(stderr))

    def __str__(self) -> str:
        lines = "".join(f"\n  engine| {printable(line)}" for line in self.fields["stderr"])
        return f"the engine process ended: {self.fields['reason']}{lines}"


def _shared(worker: str, modules: Sequence[str]) -> dict[str, Any]:
    """Return the fields by which an error names a process instead of one of its modules; none without a worker."""
    return {"worker": worker, "modules": list(modules)} if worker else {}


def _listed(names: Sequence[str]) -> str:
    rest = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + rest
