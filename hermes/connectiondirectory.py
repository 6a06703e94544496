"""Where connection files lie: a directory that only this user may write, the same for all of the user's processes.

A runtime directory is preferred, but not every process has one (a notebook server that a system service starts, say),
so files are looked for in the state directory as well.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from hermes.errors import HermesError
from hermes.system import attempt


def connection_directory() -> Path:
    """Return where connection files are written, as the environment says now. Does not create it."""
    directories = _directories()
    if not directories:
        message = "no place for connection files: this user has no home; set XDG_RUNTIME_DIR to a directory of your own"
        raise HermesError(message=message)
    return directories[0]


def made_directory() -> Path:
    """Return where connection files are written, made where there is none; raises HermesError where it is not safe."""
    directory = connection_directory()
    try:
        attempt(directory.mkdir, mode=0o700, parents=True, exist_ok=True)
        _check_safe(directory)
    except OSError as error:
        raise HermesError(message=f"cannot make the directory {directory}: {error.strerror}") from None
    return directory


def files_in_directories(*suffixes: str) -> list[Path]:
    """Return the files with these suffixes wherever connection files lie.

    Raises HermesError for a directory that others may write: whoever reads there trusts what it finds.
    """
    return [path for directory in _directories() for path in _files_in(directory) if path.suffix in suffixes]


def _files_in(directory: Path) -> list[Path]:
    try:
        _check_safe(directory)
        return [directory / name for name in attempt(os.listdir, directory)]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise HermesError(message=f"cannot look for sessions in {directory}: {error.strerror}") from None


def _directories() -> list[Path]:
    """Return the user's runtime and state directories, the preferred one first.

    A runtime directory of another user, as `sudo` and containers hand it on, does not count.
    """
    found = []
    runtime = _absolute("XDG_RUNTIME_DIR")
    with suppress(OSError):
        if runtime is not None and runtime.is_dir() and runtime.stat().st_uid == os.geteuid():
            found.append(runtime / "hermes")
    with suppress(RuntimeError):  # a user without a home
        found.append((_absolute("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "hermes")
    return list(dict.fromkeys(found))


def _check_safe(directory: Path) -> None:
    """Refuse a directory in which others could lay or redirect files; raises FileNotFoundError where there is none."""
    found = directory.lstat()
    if stat.S_ISLNK(found.st_mode):
        reason = "it is a symbolic link"
    elif not stat.S_ISDIR(found.st_mode):
        reason = "it is not a directory"
    elif found.st_uid != os.geteuid():
        reason = f"it belongs to user {found.st_uid}"
    elif found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        reason = f"others may write there (mode {stat.S_IMODE(found.st_mode):04o})"
    else:
        return
    remedy = "remove it, or set XDG_RUNTIME_DIR to a directory of your own"
    raise HermesError(message=f"{directory} cannot hold connection files: {reason}; {remedy}")


def _absolute(variable: str) -> Path | None:
    """Return the path in an environment variable; a relative one counts as none (XDG Base Directory Specification)."""
    path = Path(os.environ.get(variable, ""))
    return path if path.is_absolute() else None
