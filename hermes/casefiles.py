"""Writes the files of a case: all of them, or none."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

from hermes.errors import NotExported


def module_files(case: Path, names: Collection[str]) -> dict[str, Path]:
    """Return the file beside `case` for each module that Python gave as a class: ``case_modules/NAME.py``.

    A name that an installed module has gets an ending, because a script's folder comes first where Python imports.
    """
    folder = case.parent / f"{case.stem}_modules"
    return {name: folder / f"{name}{'_module' if _is_taken(name) else ''}.py" for name in names}


def _is_taken(name: str) -> bool:
    return name in sys.builtin_module_names or name in sys.modules or importlib.util.find_spec(name) is not None


def write_case(path: Path, text: str, *, overwrite: bool, modules: Mapping[Path, str] | None = None) -> None:
    """Write a case and the files of its modules, whole or not at all.

    Raises NotExported where one cannot be written, or is there and may not be replaced.
    """
    writing = _Writing(overwrite)
    try:
        for target, content in {**(modules or {}), path: text}.items():
            writing.stage(target, content)
        writing.put()
    except BaseException:
        writing.undo()
        raise
    finally:
        writing.tidy()


class _Writing:
    """Files that are first written beside their places, then moved there; `undo` restores what was."""

    def __init__(self, overwrite: bool) -> None:
        self._overwrite = overwrite
        self._staged: dict[Path, Path] = {}
        self._kept: dict[Path, Path] = {}
        self._placed: list[Path] = []
        self._folders: list[Path] = []

    def stage(self, target: Path, content: str) -> None:
        beside = _beside(target, "tmp")
        try:
            if target.parent.name.endswith("_modules") and not target.parent.exists():
                target.parent.mkdir()
                self._folders.append(target.parent)
            self._staged[target] = beside
            beside.write_text(content, encoding="utf-8")
        except OSError as error:
            raise _refusal(target, error) from None

    def put(self) -> None:
        for target, beside in self._staged.items():
            try:
                self._put(target, beside)
            except OSError as error:
                raise _refusal(target, error) from None
            self._placed.append(target)

    def _put(self, target: Path, beside: Path) -> None:
        if not self._overwrite:
            try:
                target.hardlink_to(beside)  # never replaces a file, not even one that has come this very moment
                return
            except OSError:  # there is one, or the file system has no links
                if target.exists() or target.is_symlink():
                    raise NotExported(f"{target} exists already; choose another path, or overwrite=True") from None
        if target.is_file():
            kept = _beside(target, "old")
            with suppress(OSError):  # no links here: then the old one cannot come back
                kept.hardlink_to(target)
                self._kept[target] = kept
        beside.replace(target)

    def undo(self) -> None:
        for target in self._placed:
            with suppress(OSError):
                if target in self._kept:
                    self._kept[target].replace(target)
                else:
                    target.unlink()

    def tidy(self) -> None:
        for leftover in (*self._staged.values(), *self._kept.values()):
            with suppress(OSError):
                leftover.unlink()
        for folder in self._folders:
            with suppress(OSError):  # it is in use
                folder.rmdir()


def _beside(target: Path, ending: str) -> Path:
    return target.with_name(f".{target.name}.{os.getpid()}.{ending}")


def _refusal(target: Path, error: OSError) -> NotExported:
    return NotExported(f"{target} cannot be written: {error.strerror or error}")
