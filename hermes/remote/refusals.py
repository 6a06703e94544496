"""Errors as a client receives them: each becomes the exception that the session itself would raise.

An error's text is the server's own, whatever its class: where rebuilding would change a word, because server and client
are not of one version, the error is a `Refused`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from hermes.errors import CommandError, EngineDied, HermesError, ModuleDied, ModuleFailed, ModuleHung, all_kinds


class Refused(CommandError):
    """A command was refused for a reason that this version does not know; `code` is the server's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code=code, message=message)

    @property
    def code(self) -> str:  # type: ignore[override]
        """The code in the server's reply."""
        return str(self.fields["code"])


def refusal(reply: Mapping[str, Any]) -> HermesError:
    """Return the error in an error message of the server, whose `code` and `message` are strings."""
    code, message = reply["code"], reply["message"]
    for error in _candidates(code, reply):
        if error is not None and _text(error) == message:
            return error
    return Refused(code, message)


def _candidates(code: str, reply: Mapping[str, Any]) -> Iterator[HermesError | None]:
    if code == HermesError.code:
        yield HermesError(message=reply["message"])
    for kind in _KINDS.get(code, ()):
        yield _rebuilt(kind, reply)
    if code == ModuleFailed.code:
        yield _module_failed(reply)


def _rebuilt(kind: type[HermesError], reply: Mapping[str, Any]) -> HermesError | None:
    """Return an error of this kind from the reply's fields; None where they do not fit."""
    names = inspect.signature(kind).parameters
    try:
        return kind(**{name: reply[name] for name in names if name in reply})
    except (TypeError, ValueError):
        return None


def _module_failed(reply: Mapping[str, Any]) -> HermesError | None:
    """Return what a module raised; message and traceback are only in the reply's text, after where it happened."""
    where = _rebuilt(ModuleFailed, {**reply, "message": "", "traceback": ""})
    prefix = None if where is None else _text(where)
    if prefix is None:
        return None
    message, _, traceback = reply["message"].removeprefix(prefix).partition("\n")
    return _rebuilt(ModuleFailed, {**reply, "message": message, "traceback": traceback})


def _text(error: HermesError) -> str | None:
    """Return the error's text; None where fields of unexpected types make none."""
    try:
        return str(error)
    except (TypeError, ValueError, KeyError, AttributeError):
        return None


_KINDS: dict[str, tuple[type[HermesError], ...]] = {
    **{
        kind.code: (kind,)
        for kind in all_kinds().values()
        if kind is not Refused and issubclass(kind, CommandError | EngineDied)
    },
    ModuleFailed.code: (ModuleHung, ModuleDied),
}
"""The kinds that a code may stand for; `CommandError` itself is of code ``internal``, which is rebuilt by its text."""
