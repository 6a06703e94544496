"""The source text of classes and functions, as it stands in a notebook's cell or a file, by their code's place there.

`inspect` knows no classes of a notebook, and before Python 3.13 finds one of several of a name by luck.
"""

from __future__ import annotations

import ast
import importlib.util
import linecache
import site
import sys
import sysconfig
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from hermes.errors import NotExported
from hermes.module import Module

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_INSTALLED = tuple(
    f"{folder}/"
    for folder in (
        *(sysconfig.get_path(key) for key in ("stdlib", "platstdlib", "purelib", "platlib")),
        *(site.getsitepackages() if hasattr(site, "getsitepackages") else ()),
        site.getusersitepackages(),
        str(Path(__file__).parent),
    )
)


def is_installed(module: ModuleType) -> bool:
    """Return whether any process of this Python can import a module: it is built in, or in a package directory."""
    if module.__name__ == "__main__" or getattr(module, "__spec__", None) is None:
        return False
    places = [module.__file__] if getattr(module, "__file__", None) else list(getattr(module, "__path__", ()))
    return all(str(place).startswith(_INSTALLED) for place in places)


def unwrapped(value: Any) -> Any:
    """Return the function inside a method, property or decorated function; anything else as it is."""
    while not isinstance(value, FunctionType | type):
        inner = [getattr(value, name, None) for name in ("__func__", "fget", "func", "__wrapped__")]
        if not any(inner):
            break
        value = next(one for one in inner if one)
    while isinstance(value, FunctionType) and hasattr(value, "__wrapped__"):
        value = value.__wrapped__
    return value


def class_source(cls: type) -> str:
    """Return the statement that defines a class, decorators included, without indentation.

    Raises NotExported where there is no source.
    """
    found = {text for file, line in _places(cls) if (text := _class_text(file, line, cls)) is not None}
    if len(found) != 1:
        raise NotExported(
            f"class {cls.__qualname__} has no source text that could be read; define it in a cell or a file"
        )
    return found.pop()


def target_source(target: type[Module] | str, base: Path) -> str:
    """Return the source of a class, given or named as `script` does: ``./file.py:Class``, ``package.module:Class``.

    Relative paths start at `base`. Where no class is named, the file is to define one only. Raises NotExported.
    """
    if isinstance(target, type):
        return class_source(target)
    place, _, name = target.partition(":")
    text = _file_text(place, base)
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise NotExported(f"{target}: {error.msg} in line {error.lineno}") from None
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and name in ("", node.name)]
    if not classes or (not name and len(classes) > 1):
        names = ", ".join(node.name for node in tree.body if isinstance(node, ast.ClassDef)) or "none"
        raise NotExported(f"{target}: the class cannot be told; name one of those it defines: {names}")
    return _segment(text.splitlines(keepends=True), classes[-1])


def _file_text(place: str, base: Path) -> str:
    if "/" not in place and not place.endswith(".py"):
        found = importlib.util.find_spec(place)
        place = (found and found.origin) or place
    try:
        return (base / place).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise NotExported(f"{place} cannot be read: {error}") from None


def function_source(function: FunctionType) -> str:
    """Return the statement that defines a function, decorators included, without indentation; raises NotExported."""
    code = function.__code__
    lines = linecache.getlines(code.co_filename, function.__globals__)
    for node in ast.walk(_tree(lines)):
        if isinstance(node, _SCOPES) and (_first_line(node), node.name) == (code.co_firstlineno, code.co_name):
            return _segment(lines, node)
    if code.co_name == "<lambda>":
        for node in _tree(lines).body:
            if isinstance(node, ast.Assign) and node.lineno <= code.co_firstlineno <= (node.end_lineno or 0):
                return _segment(lines, node)
    raise NotExported(f"function {function.__qualname__} has no source text that could be read")


def _places(cls: type) -> Iterator[tuple[str, int]]:
    """Yield the file of a class and a line in it; without methods of its own, every file that may have it, line 0."""
    codes = [one.__code__ for one in methods(cls) if linecache.getlines(one.__code__.co_filename)]
    if codes:
        yield codes[0].co_filename, codes[0].co_firstlineno
        return
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    if file is not None:
        yield file, 0
    elif cls.__module__ == "__main__":
        yield from [(name, 0) for name, entry in list(linecache.cache.items()) if len(entry) == 4 and entry[1] is None]


def methods(made: type | FunctionType) -> list[FunctionType]:
    """Return the functions that the statement of a class defines, those of properties included; or the function."""
    if isinstance(made, FunctionType):
        return [made]
    found = [unwrapped(value) for value in vars(made).values()]
    own = f"{made.__qualname__}."
    return [one for one in found if isinstance(one, FunctionType) and one.__qualname__.startswith(own)]


def made_by(value: Any) -> type | FunctionType | None:
    """Return the class or function that a value is, or that decorators wrapped into it; None for anything else."""
    while not isinstance(value, type) and hasattr(value, "__wrapped__"):
        value = value.__wrapped__
    return value if isinstance(value, type | FunctionType) else None


def enclosing_names(made: type | FunctionType) -> set[str]:
    """Return the names that the functions around a definition give to their variables; () for a definition in none."""
    if "<locals>" not in made.__qualname__:
        return set()
    if isinstance(made, FunctionType):
        return set(made.__code__.co_freevars)
    file, line = next(_places(made), ("", 0))
    around = [node for node in ast.walk(_tree(linecache.getlines(file))) if isinstance(node, _FUNCTIONS)]
    own = made.__qualname__.split(".")
    return {
        name
        for node in around
        if node.name in own[:-1] and node.lineno <= line <= (node.end_lineno or 0)
        for inner in ast.walk(node)
        if (name := _given_name(inner)) is not None and name != made.__name__
    }


def _given_name(node: ast.AST) -> str | None:
    if isinstance(node, ast.Name):
        return node.id if isinstance(node.ctx, ast.Store) else None
    if isinstance(node, ast.arg):
        return node.arg
    if isinstance(node, ast.alias):
        return (node.asname or node.name).partition(".")[0]
    return None


def _class_text(file: str, line: int, cls: type) -> str | None:
    lines = linecache.getlines(file)
    wanted = cls.__qualname__.replace(".<locals>", "")
    first = vars(cls).get("__firstlineno__", 0)  # known since Python 3.13
    found = None
    for name, node in _classes(_tree(lines), ""):
        if (
            name == wanted
            and first in (0, _first_line(node))
            and (not line or _first_line(node) <= line <= (node.end_lineno or 0))
        ):
            found = _segment(lines, node)
    return found


def _classes(tree: ast.AST, prefix: str) -> Iterator[tuple[str, ast.ClassDef]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, _SCOPES):
            if isinstance(node, ast.ClassDef):
                yield prefix + node.name, node
            yield from _classes(node, f"{prefix}{node.name}.")
        else:
            yield from _classes(node, prefix)


def _tree(lines: list[str]) -> ast.Module:
    try:
        return ast.parse("".join(lines))
    except SyntaxError:
        return ast.Module([], [])


def _first_line(node: Definition) -> int:
    return min([node.lineno, *(one.lineno for one in node.decorator_list)])


def _segment(lines: list[str], node: ast.stmt) -> str:
    first = _first_line(node) if isinstance(node, _SCOPES) else node.lineno
    text = textwrap.dedent("".join(lines[first - 1 : node.end_lineno]))
    return text if text.endswith("\n") else text + "\n"
