"""Turns what a worker is told about a module into its class and an instance, and its errors into text.

A module comes as a file, as the name of a package's module, or as a class that another process has pickled, with the
source text that its tracebacks then show. This is part of every module's start: what only the pickled ones need is
imported for those only.
"""

from __future__ import annotations

import base64
import functools
import importlib
import importlib.util
import inspect
import linecache
import os
import pickle
import re
import sys
import traceback
from collections.abc import Callable
from types import ModuleType
from typing import Any

from hermes.backplane.signals import SignalKind
from hermes.errors import SystemRefused
from hermes.module import Declaration, Module
from hermes.wording import nearest

_OWN = (__file__, *(os.path.join(os.path.dirname(__file__), *at) for at in (["worker.py"], ["backplane", "sync.py"])))
"""Files whose lines are no part of a module's traceback."""

Order = list[tuple[type, list[str]]]
"""The names of the declarations of classes, in order of definition."""


def load_class(spec: dict[str, Any]) -> type[Module]:
    """Return the class that `spec` holds ``pickled``, or names: ``file`` or ``module``, and ``class`` unless only one.

    Raises ImportError that lists the Module subclasses found, and whatever importing raises.
    """
    if "pickled" in spec:
        return _unpickled(spec)
    source = _load_file(spec["file"]) if spec.get("file") else importlib.import_module(spec["module"])
    classes = {
        value.__name__: value
        for value in vars(source).values()
        if isinstance(value, type) and issubclass(value, Module) and value.__module__ == source.__name__
    }
    where = spec.get("file") or spec["module"]
    wanted = spec.get("class")
    found = ", ".join(classes) or "none"
    if wanted is None:
        if len(classes) != 1:
            raise ImportError(f"{where} holds {len(classes)} Module subclasses ({found}); name one: '{where}:NAME'")
        return next(iter(classes.values()))
    named = getattr(source, wanted, None)
    if not (isinstance(named, type) and issubclass(named, Module)):
        raise ImportError(f"{where} has no Module subclass {wanted!r}; it holds: {found}")
    return named


def _load_file(path: str) -> ModuleType:
    folder, file = os.path.split(path)
    name = os.path.splitext(file)[0]
    sys.path.insert(0, folder)
    found = importlib.util.spec_from_file_location(name, path)
    if found is None or found.loader is None:
        raise ImportError(f"{path} is not a Python file")
    source = importlib.util.module_from_spec(found)
    sys.modules[name] = source
    found.loader.exec_module(source)
    return source


def build(cls: type[Module], params: dict[str, Any]) -> Module:
    """Construct the module: `params` fills parameters and constructor keywords.

    Raises TypeError that lists what is accepted for a name that is neither.
    """
    probe = Module.__new__(cls)
    parameters = {name for name, d in probe._declared.items() if d.kind is SignalKind.PARAMETER}
    keywords = _keywords(cls)
    unknown = [name for name in params if name not in parameters and name not in keywords]
    if unknown:
        accepted = sorted(parameters | keywords)
        near = nearest(unknown[0], accepted)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        raise TypeError(f"params: {', '.join(unknown)}: {cls.__name__} accepts {', '.join(accepted) or 'none'}{hint}")
    module = cls(**{name: value for name, value in params.items() if name in keywords})
    for name in parameters & params.keys():
        module.set_initial(name, params[name])
    return module


def _keywords(cls: type[Module]) -> set[str]:
    if cls.__init__ is object.__init__:
        return set()
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    found = [p for p in inspect.signature(cls.__init__).parameters.values() if p.kind in kinds]
    return {parameter.name for parameter in found[1:]}


def _unpickled(spec: dict[str, Any]) -> type[Module]:
    """Return the pickled class; its source goes where tracebacks look for it."""
    sys.path += [entry for entry in spec["path"] if entry not in sys.path]
    for name, text in spec["sources"]:
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    cls, order = pickle.loads(base64.b64decode(spec["pickled"]))
    _restore_order(order)
    found: type[Module] = cls
    return found


def declared_order(cls: type) -> Order:
    """Return the order of the declarations of a class and its bases: pickling a class sorts its attributes."""
    names = [
        (base, [key for key, value in vars(base).items() if isinstance(value, Declaration)]) for base in cls.__mro__
    ]
    return [(base, keys) for base, keys in names if keys]


def _restore_order(order: Order) -> None:
    for cls, names in order:
        if [key for key, value in vars(cls).items() if isinstance(value, Declaration)] != names:
            for name in names:
                value = vars(cls)[name]
                delattr(cls, name)
                setattr(cls, name, value)


def cached(function: Callable[..., Any], settings: dict[str, Any]) -> Callable[..., Any]:
    """Rebuild a function that `functools.lru_cache` wraps, with an empty cache."""
    wrapped: Callable[..., Any] = functools.lru_cache(**settings)(function)
    return wrapped


def cached_property(function: Callable[..., Any], name: str) -> functools.cached_property[Any]:
    """Rebuild a `functools.cached_property`; before Python 3.12 it holds a lock, which no process can send."""
    rebuilt = functools.cached_property(function)
    rebuilt.__set_name__(Module, name)
    return rebuilt


def last_line(error: BaseException) -> str:
    """Return the last line of an error's traceback."""
    if isinstance(error, SystemRefused):
        return str(error)
    return traceback.format_exception_only(error)[-1].strip()


def trimmed_traceback(error: BaseException) -> str:
    """Return the traceback from the module's own code on; "" where there is none, as for a wrong `params`."""
    if isinstance(error, SystemRefused):
        return ""
    entries = traceback.extract_tb(error.__traceback__)
    own = [entry for entry in entries if not _inside(entry.filename)]
    if not own and not isinstance(error, SyntaxError):
        return ""
    lines = map(_as_a_notebook_has_it, traceback.format_list(own))
    return "".join(["Traceback (most recent call last):\n", *lines, *traceback.format_exception_only(error)])


def _inside(filename: str) -> bool:
    return filename in _OWN or "importlib" in filename or "cloudpickle" in filename


def _as_a_notebook_has_it(line: str) -> str:
    return re.sub(r'^  File "(Cell In\[\d+\])"', r"  \1", line)
