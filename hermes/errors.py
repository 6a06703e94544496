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
from typing import Any, NamedTuple

from hermes.errorkind import HermesError as HermesError
from hermes.moduleerrors import EngineDied as EngineDied
from hermes.moduleerrors import ModuleDied as ModuleDied
from hermes.moduleerrors import ModuleError as ModuleError
from hermes.moduleerrors import ModuleFailed as ModuleFailed
from hermes.moduleerrors import ModuleHung as ModuleHung
from hermes.wording import shown

_LISTED = 5
"""Names that a text lists; the error's fields have them all."""


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

    @classmethod
    def rebuilt(cls, fields: dict[str, Any]) -> ConfigurationError:
        """Return the error with these problems."""
        return cls(Problem(where, message) for where, message in fields["problems"])

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


def to_wire(error: HermesError) -> dict[str, Any]:
    """Return the error as plain JSON values that `from_wire` rebuilds, for crossing a process boundary."""
    return {"error": type(error).__name__, "fields": error.fields}


def from_wire(record: dict[str, Any]) -> HermesError:
    """Rebuild an error that `to_wire` flattened."""
    return all_kinds()[record["error"]].rebuilt(record["fields"])


def all_kinds() -> dict[str, type[HermesError]]:
    """Return every kind of error there is, by its name."""
    kinds: dict[str, type[HermesError]] = {}
    waiting = [HermesError]
    while waiting:
        kind = waiting.pop()
        kinds[kind.__name__] = kind
        waiting.extend(kind.__subclasses__())
    return kinds
