"""A module given as a class instead of a path: what is sent to its worker, and what a case file has of it.

A class of an installed package is sent by name, any other by value: with `cloudpickle`, together with the functions,
constants and classes of its notebook that it uses, and with their source text for tracebacks. What is sent is fixed
when the session starts, so that a cell that is run again later changes neither the run nor its export.
"""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from typing import Any

from hermes.casemodule import case_module
from hermes.errors import ConfigurationError, NotExported, Problem
from hermes.module import Module
from hermes.modulesource import is_installed


class ModuleClass:
    """A class in the place of a module's script; `spec` and `case_text` are as of the first use of either."""

    def __init__(self, name: str, cls: type[Module]) -> None:
        """Take the class of the module `name`.

        A class that its notebook defines again before the session starts is replaced by the new one, unless it was an
        older one already.
        """
        self.name = name
        self._given = cls
        self._follows = _defined_now(cls) is cls
        self._taken: tuple[dict[str, Any], str | NotExported] | None = None

    @property
    def spec(self) -> dict[str, Any]:
        """What tells a worker the class; raises ConfigurationError that names what cannot be sent."""
        return self._fixed()[0]

    @property
    def case_text(self) -> str:
        """The source text of a Python file that defines the class; raises NotExported."""
        text = self._fixed()[1]
        if isinstance(text, NotExported):
            raise NotExported(f"module {self.name}: {text}")
        return text

    def _fixed(self) -> tuple[dict[str, Any], str | NotExported]:
        if self._taken is None:
            now = _defined_now(self._given)
            if self._follows and now is not None:
                self._given = now
            self._taken = class_spec(self.name, self._given), _case_text(self._given)
        return self._taken


def class_spec(name: str, cls: type[Module]) -> dict[str, Any]:
    """Return what tells a worker a class (see `hermes.loading.load_class`), for the module `name`.

    Raises ConfigurationError that names what cannot be sent to another process.
    """
    if is_importable(cls):
        return {"file": None, "module": cls.__module__, "class": cls.__qualname__}
    from hermes.byvalue import Unsendable, pickled  # noqa: PLC0415 - most sessions have paths only

    try:
        content, sources = pickled(cls)
    except Unsendable as error:
        raise ConfigurationError([Problem(f"modules.{name}", str(error))]) from None
    path = [str(Path(entry).absolute()) for entry in sys.path]
    by_value = {"pickled": base64.b64encode(content).decode(), "sources": sources, "path": path}
    return {"file": None, "module": None, "class": cls.__name__, **by_value}


def is_importable(cls: type) -> bool:
    """Return whether a worker can import a class by its name: it is a top-level one of an installed package."""
    home = sys.modules.get(cls.__module__)
    return home is not None and is_installed(home) and getattr(home, cls.__qualname__, None) is cls


def _case_text(cls: type[Module]) -> str | NotExported:
    if is_importable(cls):
        return ""
    try:
        return case_module(cls)
    except NotExported as refusal:
        return refusal


def _defined_now(cls: type[Module]) -> type[Module] | None:
    """Return the module class that the notebook or script has by the name of `cls` at this moment."""
    value: Any = sys.modules.get(cls.__module__) if cls.__module__ == "__main__" else None
    for part in cls.__qualname__.split("."):
        value = getattr(value, part, None)
    return value if isinstance(value, type) and issubclass(value, Module) else None
