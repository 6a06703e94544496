"""Configurations and modules that ship with Hermes, to run, to read and to copy from."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent


def names() -> list[str]:
    """Return the names of the configurations, sorted."""
    return sorted(file.stem for file in _FOLDER.glob("*.yaml"))


def path(name: str) -> Path:
    """Return the file of a configuration, such as ``"c172x"``; raises ValueError that lists the names there are."""
    if name not in names():
        raise ValueError(f"there is no example {name!r}; there are: {', '.join(names())}")
    return _FOLDER / f"{name}.yaml"
