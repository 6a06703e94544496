"""How names and values appear in a message: quoted, escaped, cut, and with the names that may have been meant."""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Iterable
from contextlib import suppress
from itertools import islice
from types import TracebackType

_INSIDE = (os.path.dirname(__file__), sys.prefix, sys.base_prefix)
"""Where code lies that is not the user's."""

_PACKAGES = os.path.dirname(_INSIDE[0])
"""Where this package lies, and usually all others."""


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Return up to `count` of the `known` names that look most like `name`, best first."""
    import difflib  # noqa: PLC0415 - a module process imports this file at its start and seldom needs this

    by_folded = {candidate.lower(): candidate for candidate in known}
    found = difflib.get_close_matches(name[:256].lower(), by_folded, n=count, cutoff=0.6)
    return [by_folded[folded] for folded in found]


def shown(value: object, limit: int = 60) -> str:
    """Return `value` as it may be shown: strings quoted and escaped, and all cut to about `limit` characters."""
    if isinstance(value, str):
        cut = value[:limit] + ("..." if len(value) > limit else "")
        return "'" + "".join(char if char.isprintable() else ascii(char)[1:-1] for char in cut) + "'"
    if isinstance(value, int) and value.bit_length() > 1024:
        return f"an integer of {value.bit_length()} bits"
    try:
        text = ascii(_head(value, limit + 1))
    except ValueError:  # an integer of more digits than Python converts is inside
        text = f"a {type(value).__name__} with a huge integer"
    return text if len(text) <= limit else text[:limit] + "..."


def printable(text: str) -> str:
    """Return text of somebody else's with all escaped that does not print, and could steer a terminal; lines stay."""
    if text.isprintable():
        return text
    lines = (line.expandtabs() for line in text.split("\n"))
    return "\n".join("".join(char if char.isprintable() else ascii(char)[1:-1] for char in line) for line in lines)


def own_lines(trace: TracebackType | None) -> list[str]:
    """Return the user's own lines of a traceback, each as a line of text."""
    own = [entry for entry in traceback.extract_tb(trace) if not entry.filename.startswith(_INSIDE)]
    return [f"  line {entry.lineno}: {entry.line}" for entry in own if entry.line]


def portable(text: str) -> str:
    """Return a text whose paths do not say where on this machine the working directory and the packages are."""
    folders = [_PACKAGES]
    with suppress(OSError):  # the working directory may be gone
        folders.insert(0, os.getcwd())
    for folder in folders:
        if folder != "/":
            place = rf"(?<![\w./-]){re.escape(folder)}(/|(?![\w.-]))"
            text = re.sub(place, lambda end: "" if end[1] else ".", text)
    return text


def _head(value: object, count: int) -> object:
    """Return the beginning of what a client may have made very long."""
    if isinstance(value, list):
        return [_head(item, count) for item in value[:count]]
    if isinstance(value, dict):
        return {_head(key, count): _head(item, count) for key, item in islice(value.items(), count)}
    return value[:count] if isinstance(value, str) else value
