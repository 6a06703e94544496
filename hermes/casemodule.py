"""Writes a class of a notebook as a Python file of its own, which defines the same class again.

The file holds, in an order in which it runs, the imports, constants, functions and classes that the class uses: found
by name in its source, by value in the variables around it. What cannot be written so that it is the same again is
refused by name.
"""

from __future__ import annotations
import __future__

import ast
import builtins
import symtable
import sys
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

import numpy as np

from hermes.errors import NotExported
from hermes.literals import literal
from hermes.modulesource import class_source, enclosing_names, function_source, is_installed, made_by, methods

_LONGEST = 1 << 20
_COMPREHENSIONS = (
    "listcomp",
    "setcomp",
    "dictcomp",
    "genexpr",
)  # before Python 3.12 scopes, which run where they stand


class Used(NamedTuple):
    """The names from outside that a definition uses: while it is made (`now`), and in the functions in it."""

    now: list[str]
    later: list[str]


def case_module(cls: type) -> str:
    """Return the text of a Python file that defines `cls` and what it uses; raises NotExported."""
    writer = _Writer(cls)
    writer.add(cls.__name__, cls, f"class {cls.__qualname__}")
    text = writer.text()
    if len(text) > _LONGEST:
        raise NotExported(f"class {cls.__qualname__} and the constants that it uses take more than 1 MiB")
    return text


def used_names(text: str) -> Used:
    """Return the names that a definition takes from outside, in order; builtins and what it defines left out."""
    now: dict[str, None] = {}
    later: dict[str, None] = {}
    _scan(symtable.symtable(text, "case", "exec"), now, later, in_function=False)
    own = {name for node in ast.parse(text).body for name in _bound(node)}
    return Used([name for name in now if name not in own], [name for name in later if name not in now])


def _bound(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    return [getattr(node, "name", "")]


def _scan(table: symtable.SymbolTable, now: dict[str, None], later: dict[str, None], *, in_function: bool) -> None:
    for symbol in table.get_symbols():
        outside = symbol.is_global() or (table.get_type() == "module" and not symbol.is_assigned())
        if outside and symbol.is_referenced():
            (later if in_function else now)[symbol.get_name()] = None
    for child in table.get_children():
        if "annotation" not in child.get_type():  # a scope of theirs is never run
            delayed = child.get_type() == "function" and child.get_name() not in _COMPREHENSIONS
            _scan(child, now, later, in_function=in_function or delayed)


class _Definition(NamedTuple):
    text: str
    used: Used


class _Writer:
    """Collects the imports, constants and definitions of a file."""

    def __init__(self, cls: type) -> None:
        self._home = cls.__module__
        self._values: dict[str, Any] = {}
        self._imports: set[str] = set()
        self._constants: dict[str, str] = {}
        self._definitions: dict[str, _Definition] = {}
        self._future = ""

    def text(self) -> str:
        """Return the file."""
        head = "".join(f"{line}\n" for line in sorted(self._imports))
        definitions = [self._definitions[name].text for name in _ordered(self._definitions)]
        constants = "".join(self._constants.values())
        return "\n\n".join(part for part in (self._future, head, constants, *definitions) if part)

    def add(self, name: str, value: Any, user: str) -> None:
        """Write what gives `name` its value, and what that uses; `user` is who uses it, for a refusal."""
        if name in self._values:
            if self._values[name] is not value:
                raise NotExported(f"{user} uses another {name} than the rest of it")
            return
        self._values[name] = value
        if isinstance(value, ModuleType):
            self._import(name, value, user)
        elif (made := made_by(value)) is not None and made.__module__ == self._home:
            self._define(name, value, made, user)
        elif (line := _import_line(name, value)) is not None:
            self._imports.add(line)
        else:
            self._add_constant(name, value, user)

    def _import(self, name: str, module: ModuleType, user: str) -> None:
        if not is_installed(module):
            raise NotExported(f"{user} uses {name}, a module that is not installed, so that a case would not find it")
        self._imports.add(f"import {module.__name__}" + (f" as {name}" if name != module.__name__ else ""))

    def _add_constant(self, name: str, value: Any, user: str) -> None:
        try:
            text = literal(value)
        except ValueError as error:
            raise NotExported(f"{user} uses {name}, which cannot be written as source: {error}") from None
        if "numpy." in text:
            self.add("numpy", np, user)
        self._constants[name] = f"{name} = {text}\n"

    def _define(self, name: str, value: Any, made: FunctionType | type, user: str) -> None:
        text = class_source(made) if isinstance(made, type) else function_source(made)
        if value is not made and not text.startswith("@"):
            raise NotExported(
                f"{user} uses {name}, which wraps {made.__qualname__} in a way that its source does not say"
            )
        if any(function.__code__.co_flags & __future__.annotations.compiler_flag for function in methods(made)):
            self._future = "from __future__ import annotations\n"
        used = used_names(self._future + text)
        kind = f"{'class' if isinstance(made, type) else 'function'} {made.__name__}"
        if enclosed := sorted(enclosing_names(made) & {*used.now, *used.later}):
            raise NotExported(f"{kind} uses {enclosed[0]}, a variable of the function in which it is defined")
        self._definitions[name] = _Definition(text, used)
        for one in (*used.now, *used.later):
            self._use(one, made, kind)
        self._import_submodules(text)
        if made.__name__ != name and not text.startswith(f"{name} ="):
            self._definitions[name] = _Definition(f"{name} = {made.__name__}\n", Used([made.__name__], []))
            self.add(made.__name__, value, user)

    def _use(self, name: str, made: FunctionType | type, user: str) -> None:
        variables = _variables(made)
        if name in variables:
            self.add(name, variables[name], user)
        elif not hasattr(builtins, name):
            raise NotExported(f"{user} uses {name}, which is not defined")

    def _import_submodules(self, text: str) -> None:
        """Import ``scipy.linalg`` where a text says that and the variable is ``scipy``."""
        for node in ast.walk(ast.parse(text)):
            names: list[str] = []
            inner: ast.AST = node
            while isinstance(inner, ast.Attribute):
                names.insert(0, inner.attr)
                inner = inner.value
            module = self._values.get(inner.id) if isinstance(inner, ast.Name) else None
            for name in names:
                if isinstance(module, ModuleType) and isinstance(inside := getattr(module, name, None), ModuleType):
                    if sys.modules.get(f"{module.__name__}.{name}") is inside:
                        self._imports.add(f"import {inside.__name__}")
                    module = inside
                else:
                    break


def _variables(made: FunctionType | type) -> dict[str, Any]:
    """Return the variables around a function or class."""
    inside = [one for one in methods(made) if one.__module__ == made.__module__]
    return inside[0].__globals__ if inside else vars(sys.modules[made.__module__])


def _import_line(name: str, value: Any) -> str | None:
    """Return the line that imports a function, class or other object of an installed package, if one does."""
    called = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    for place in (getattr(value, "__module__", None), type(value).__module__):
        home = sys.modules.get(place) if isinstance(place, str) else None
        if home is not None and isinstance(called, str) and getattr(home, called, None) is value and is_installed(home):
            return f"from {place} import {called}" + (f" as {name}" if name != called else "")
    return None


def _ordered(definitions: dict[str, _Definition]) -> list[str]:
    """Return the names in an order that runs: what each uses before it, or where they use each other, what it must."""
    order = _depth_first(definitions, lambda used: ([*used.now, *used.later], []))
    at = {name: number for number, name in enumerate(order)}
    if all(at.get(one, -1) < at[name] for name in order for one in definitions[name].used.now):
        return order
    return _depth_first(definitions, lambda used: (used.now, used.later))


def _depth_first(
    definitions: dict[str, _Definition], split: Callable[[Used], tuple[list[str], list[str]]]
) -> list[str]:
    order: dict[str, None] = {}
    entered: set[str] = set()

    def visit(name: str) -> None:
        if name in definitions and name not in entered:
            entered.add(name)
            before, after = split(definitions[name].used)
            for one in before:
                visit(one)
            order[name] = None
            for one in after:
                visit(one)

    for name in definitions:
        visit(name)
    return list(order)
