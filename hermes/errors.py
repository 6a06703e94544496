"""Every error Hermes raises on purpose, named by whose fault it is and what to do next.

::

    HermesError
    +-- ConfigurationError       the YAML file, the wiring or a declaration is wrong; lists every problem
    +-- CommandError             a command was refused; nothing changed
    |   +-- BadJson              a message is not strict JSON
    |   +-- BadMessage           a message is not a command
    |   +-- UnknownAction        no command has this name
    |   +-- BadParams            its parameters have the wrong form
    |   +-- UnknownSignal        a name or pattern that matches nothing
    |   +-- ReadOnlySignal       an output was to be set
    |   +-- WiredSignal          an input that a wire drives was to be set
    |   +-- BadValue             the value does not fit the signal's type or limits
    |   +-- InvalidState         the verb is not legal in this state
    |   +-- TooMany              more than Hermes accepts at once
    |   +-- Forbidden            the session only lets its clients watch
    |   +-- NotReady             the session has not started yet
    |   +-- SessionClosed        the session has ended
    +-- ModuleError              a module failed; says which, in which frame, and why
    |   +-- ModuleFailed         it raised an exception
    |   +-- ModuleDied           its process ended
    |   +-- ModuleHung           it did not answer in time
    +-- EngineDied               the engine process ended without being asked to
    +-- SystemRefused            the operating system has no more memory, descriptors, ...; says what for
    +-- PortInUse                the server's port is taken
    +-- ServerExposed            the server would listen to other machines without a token
    +-- NoSession                no running session, or several, where one was meant
    +-- ConnectionFailed         a client cannot reach its server, or no longer does
    +-- NotExported              a run cannot be written down as a configuration, or not there
    +-- NotReplaced              a module cannot be replaced by another while the session runs
    +-- LoopError                a synchronous call where only an asynchronous one can work

Errors carry fields and build their text in ``__str__``, so that the same object is the exception in a cell, the reply
on the wire (`code`, `fields`) and the last words of the command line (`exit_status`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, NamedTuple

from hermes.wording import own_lines, portable, printable, shown

_LISTED = 5
"""Names that a text lists; the error's fields have them all."""


class HermesError(Exception):
    """Anything Hermes raises on purpose."""

    code: ClassVar[str] = "internal"
    exit_status: ClassVar[int] = 1
    text: ClassVar[str] = "{message}"

    def __init__(self, message: str | None = None, **fields: Any) -> None:
        self.fields = fields if message is None else {"message": message, **fields}
        super().__init__(self.fields)

    def __str__(self) -> str:
        return self.text.format_map({"message": self.code, **self.fields})

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self).__name__, self.fields)

    def _render_traceback_(self) -> list[str]:
        """Return what a notebook shows instead of a traceback: the sentence, and the user's own line, not our inside.

        IPython asks for this method by its name.
        """
        return [f"{type(self).__name__}: {portable(str(self))}", *own_lines(self.__traceback__)]


class Problem(NamedTuple):
    """One thing wrong with a configuration.

    `where` is ``file:line:column`` (or the key path where there is no file), `message` one sentence that names the
    key, what was found and what is accepted.
    """

    where: str
    message: str

    def __str__(self) -> str:
        return self.message if self.message.startswith(self.where) else f"{self.where}: {self.message}"


class ConfigurationError(HermesError):
    """The configuration is wrong; `problems` lists everything found, in file order."""

    code = "bad_configuration"
    exit_status = 2

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(problems=[[problem.where, problem.message] for problem in self.problems])

    def __str__(self) -> str:
        count = len(self.problems)
        head = "" if count == 1 else f"{count} problems:\n"
        return head + "\n".join(str(problem) for problem in self.problems)


class CommandError(HermesError):
    """A command was refused; nothing changed."""


class BadJson(CommandError):
    """A message is not strict JSON; `reason` says why."""

    code = "bad_json"
    text = "not strict JSON: {reason}"

    def __init__(self, reason: str) -> None:
        super().__init__(reason=reason)


class BadMessage(CommandError):
    """A message is JSON but not a command: `message` says what was found and what is accepted."""

    code = "bad_message"


class UnknownAction(CommandError):
    """No command has this name; `accepted` lists those there are."""

    code = "unknown_action"

    def __init__(self, action: str, accepted: Sequence[str], near: Sequence[str] = ()) -> None:
        super().__init__(action=action, accepted=list(accepted), near=list(near))

    def __str__(self) -> str:
        near = self.fields["near"]
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        return f"no action {shown(self.fields['action'])}; there are {', '.join(self.fields['accepted'])}{hint}"


class BadParams(CommandError):
    """A command's parameters have the wrong form: `message` says which, what was found, what is accepted."""

    code = "bad_params"
    exit_status = 2


class UnknownSignal(CommandError):
    """No signal has this name, or no signal matches this pattern; `near` lists the nearest names."""

    code = "unknown_signal"
    exit_status = 2

    def __init__(self, signals: Sequence[str], near: Sequence[str] = ()) -> None:
        super().__init__(signals=list(signals), near=list(near))

    def __str__(self) -> str:
        signals = self.fields["signals"]
        names = ", ".join(shown(name) for name in signals[:_LISTED])
        names += f" and {len(signals) - _LISTED} more" if len(signals) > _LISTED else ""
        near = self.fields["near"]
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        return f"no signal matches {names}{hint}"


class ReadOnlySignal(CommandError):
    """Outputs belong to their module and cannot be set."""

    code = "read_only"
    text = "{signal} is an output and is written by its module only; set an input or a parameter"

    def __init__(self, signal: str) -> None:
        super().__init__(signal=signal)


class WiredSignal(CommandError):
    """An input that a wire drives cannot be set; `source` is what to set instead."""

    code = "wired"
    text = "{signal} is driven by a wire from {source}; set that, or remove the wire"

    def __init__(self, signal: str, source: str) -> None:
        super().__init__(signal=signal, source=source)


class BadValue(CommandError):
    """A value that the signal's type or limits cannot hold exactly."""

    code = "bad_value"
    text = "{signal} cannot be {found}; it takes {accepted}"

    def __init__(self, signal: str, found: str, accepted: str) -> None:
        super().__init__(signal=signal, found=found, accepted=accepted)


class InvalidState(CommandError):
    """The verb is not legal in this state; `ways_out` says what is."""

    code = "invalid_state"
    text = "cannot {verb} while {state}; {ways_out}"

    def __init__(self, verb: str, state: str, ways_out: str) -> None:
        super().__init__(verb=verb, state=state, ways_out=ways_out)


class TooMany(CommandError):
    """More of something than Hermes accepts at once."""

    code = "too_many"
    text = "too many {what}: at most {limit} are accepted"

    def __init__(self, what: str, limit: int) -> None:
        super().__init__(what=what, limit=limit)


class Forbidden(CommandError):
    """The session lets its clients watch only."""

    code = "forbidden"
    text = "{action} is refused: this session lets its clients watch only (server.control: observe)"

    def __init__(self, action: str) -> None:
        super().__init__(action=action)


class NotReady(CommandError):
    """The session has not started yet."""

    code = "not_ready"
    text = "{what} needs a started session; call start() first, or use 'with session:'"

    def __init__(self, what: str) -> None:
        super().__init__(what=what)


class SessionClosed(CommandError):
    """The session has ended."""

    code = "closed"
    text = "session {session} is closed; make a new one with Session.from_yaml(...)"

    def __init__(self, session: str) -> None:
        super().__init__(session=session)


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


class SystemRefused(HermesError):
    """The operating system refused what a session needs, for want of memory, descriptors, processes or permission."""

    code = "system_refused"
    text = "cannot {needed}: {reason}"

    def __init__(self, needed: str, reason: str) -> None:
        super().__init__(needed=needed, reason=reason)


class PortInUse(HermesError):
    """Another program listens on the server's port."""

    code = "port_in_use"
    text = "port {port} on {host} is taken; choose another, or port=0 for a free one (server.port in YAML)"

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host=host, port=port)


class ServerExposed(HermesError):
    """The server would listen on an address that other machines reach, and anybody could take command."""

    code = "server_exposed"
    exit_status = 2
    text = (
        "host {host} is reachable from other machines, and the server has no token: either give it one "
        "(server.token: auto, or a text of your own), or listen on 127.0.0.1 and reach it through an SSH tunnel"
    )

    def __init__(self, host: str) -> None:
        super().__init__(host=host)


class NoSession(HermesError):
    """No running session fits, or several do; `message` says what was looked for and what there is."""

    code = "no_session"
    exit_status = 2


class ConnectionFailed(HermesError):
    """A client cannot reach the server at `url`, or the connection has ended; `reason` says why."""

    code = "connection_failed"
    text = "{url}: {reason}"

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(url=url, reason=reason)


class NotExported(HermesError):
    """A run cannot be written down as a configuration, or not at that path; `message` says why."""

    code = "not_exported"


class NotReplaced(HermesError):
    """A module cannot be replaced while the session runs; `reason` says why."""

    code = "not_replaced"
    text = "module {module} cannot be replaced: {reason}"

    def __init__(self, module: str, reason: str) -> None:
        super().__init__(module=module, reason=reason)


class LoopError(HermesError):
    """A synchronous call where only an asynchronous one can work; the message names the one to use."""


def _shared(worker: str, modules: Sequence[str]) -> dict[str, Any]:
    """Return the fields by which an error names a process instead of one of its modules; none without a worker."""
    return {"worker": worker, "modules": list(modules)} if worker else {}


def _listed(names: Sequence[str]) -> str:
    rest = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + rest


def to_wire(error: HermesError) -> dict[str, Any]:
    """Return the error as plain JSON values that `from_wire` rebuilds, for crossing a process boundary."""
    return {"error": type(error).__name__, "fields": error.fields}


def from_wire(record: dict[str, Any]) -> HermesError:
    """Rebuild an error that `to_wire` flattened."""
    return _rebuild(record["error"], record["fields"])


def _rebuild(name: str, fields: dict[str, Any]) -> HermesError:
    kind = all_kinds()[name]
    if kind is ConfigurationError:
        return ConfigurationError(Problem(where, message) for where, message in fields["problems"])
    return kind(**fields)


def all_kinds() -> dict[str, type[HermesError]]:
    """Return every kind of error there is, by its name."""
    kinds, waiting = {}, [HermesError]
    while waiting:
        kind = waiting.pop()
        kinds[kind.__name__] = kind
        waiting.extend(kind.__subclasses__())
    return kinds
