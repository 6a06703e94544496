"""Pickles a class by value, with what it uses, and says what cannot be pickled by its name in the user's code.

Code is sent under the name by which its author knows its file (``Cell In[3]``, ``flight.py``), never a path of this
machine, together with the text, which the worker's tracebacks show.
"""

from __future__ import annotations

import dis
import io
import linecache
import os
import sys
from collections import ChainMap
from collections.abc import Iterator
from contextlib import contextmanager
from functools import _lru_cache_wrapper, cached_property
from types import CodeType, FunctionType
from typing import Any

import cloudpickle

import hermes.loading
from hermes.modulesource import is_installed, unwrapped

_SENT_BY_NAME = (sys.stdin, sys.stdout, sys.stderr)


class Unsendable(Exception):
    """A class cannot be pickled; the text names the class, what hinders, and what to do."""


def pickled(cls: type) -> tuple[bytes, list[list[str]]]:
    """Return a class for `hermes.loading` to unpickle, and the names and texts of its source files.

    Raises Unsendable.
    """
    pickler = _Pickler(cls.__module__)
    try:
        pickler.dump((cls, hermes.loading.declared_order(cls)))
    except Exception as error:  # noqa: BLE001 - told to the user: any object may refuse in its own way
        raise Unsendable(_hindrance(cls, error)) from None
    return pickler.stream.getvalue(), [list(file) for file in pickler.files.values()]


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Takes one module's code by value, and what is in `__main__` anyway."""

    def __init__(self, home: str) -> None:
        self.stream = io.BytesIO()
        self.files: dict[str, tuple[str, str]] = {}
        self._home = home
        own = {CodeType: self._code, cached_property: _property, _lru_cache_wrapper: self._cached}
        files = dict.fromkeys((io.TextIOWrapper, io.BufferedReader, io.BufferedWriter, io.FileIO), _file)
        self.dispatch_table = ChainMap(own | files, cloudpickle.Pickler.dispatch_table)  # read by the next line
        super().__init__(self.stream)

    def dump(self, value: Any) -> None:
        with _by_value(self._home):
            super().dump(value)

    def _code(self, code: CodeType) -> Any:
        if code.co_filename not in self.files:
            names = {name for name, _ in self.files.values()}
            text = "".join(linecache.getlines(code.co_filename))
            self.files[code.co_filename] = (_known_as(code.co_filename, names), text)
        renamed = code.replace(co_filename=self.files[code.co_filename][0])
        return cloudpickle.Pickler.dispatch_table[CodeType](renamed)

    def _cached(self, function: Any) -> Any:
        if function.__module__ not in (self._home, "__main__"):
            return function.__reduce__()
        return hermes.loading.cached, (function.__wrapped__, function.cache_parameters())


def _property(value: cached_property[Any]) -> Any:
    return hermes.loading.cached_property, (value.func, value.attrname)


def _file(value: Any) -> Any:
    if value in _SENT_BY_NAME:
        return cloudpickle.Pickler.dispatch_table[io.TextIOWrapper](value)
    raise TypeError("an open file belongs to one process")  # cloudpickle would silently send a copy of its content


@contextmanager
def _by_value(name: str) -> Iterator[None]:
    """Let what a module defines be pickled by value, unless it is installed and so can be imported."""
    home = sys.modules.get(name)
    listed = cloudpickle.list_registry_pickle_by_value()
    if home is None or name == "__main__" or name in listed or is_installed(home):
        yield
        return
    cloudpickle.register_pickle_by_value(home)
    try:
        yield
    finally:
        cloudpickle.unregister_pickle_by_value(home)


def _known_as(filename: str, taken: set[str]) -> str:
    """Return the name by which the author of some code knows its file, other than those `taken`."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is not None and (cell := shell.compile.format_code_name(filename)):
        return " ".join(cell)
    folder, name = os.path.split(filename)
    while name in taken and folder not in ("", "/"):
        folder, above = os.path.split(folder)
        name = f"{above}/{name}"
    return name


# -- what hinders


def _hindrance(cls: type, error: Exception) -> str:
    found = next(_culprits(cls, cls.__module__, cls.__qualname__, set()), None)
    if found is None:
        return f"class {cls.__qualname__} cannot be sent to another process: {error}"
    what, value, reason = found
    return (
        f"class {cls.__qualname__} uses {what}, of type {type(value).__qualname__}, which cannot be sent to another "
        f"process ({reason}); make it where the module runs, in __init__ or reset()"
    )


def _culprits(value: Any, home: str, words: str, seen: set[int]) -> Iterator[tuple[str, Any, Exception]]:
    """Yield what cannot be pickled below `value`: in words, the object, and how it refuses."""
    reason = _refusal(value, home)
    if reason is None or id(value) in seen:
        return
    seen.add(id(value))
    below = [found for name, part in _parts(value) for found in _culprits(part, home, name, seen)]
    yield from below or [(words, value, reason)]


def _refusal(value: Any, home: str) -> Exception | None:
    try:
        _Pickler(home).dump(value)
    except Exception as error:  # noqa: BLE001 - any object may refuse in its own way
        return error
    return None


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield what a class or function is made of, in words."""
    function = unwrapped(value)
    if isinstance(value, type):
        yield from _parts_of_class(value)
    elif isinstance(function, FunctionType):
        yield from _parts_of_function(function)


def _parts_of_class(cls: type) -> Iterator[tuple[str, Any]]:
    for base in cls.__mro__[1:-1]:
        yield f"the base class {base.__qualname__}", base
    for name, one in vars(cls).items():
        if not name.startswith("__") or isinstance(unwrapped(one), FunctionType):
            yield f"the attribute {cls.__qualname__}.{name}", one


def _parts_of_function(function: FunctionType) -> Iterator[tuple[str, Any]]:
    where = f"(in {function.__qualname__})"
    for name in _globals_of(function.__code__):
        if name in function.__globals__:
            yield f"the variable {name} {where}", function.__globals__[name]
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        if name != "__class__":
            yield f"the variable {name} {where}", cell.cell_contents
    for one in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
        yield f"a default value of {function.__qualname__}", one


def _globals_of(code: CodeType) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _globals_of(constant)
