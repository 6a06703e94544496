"""Where in its Python code a process hangs: asked by a signal, told by `faulthandler`, read back and trimmed.

All processes of a run inherit one memory file. Who is asked writes the stacks of its threads there, from within the
signal's handler: it needs neither the interpreter's lock nor an interpreter that still gets anywhere. What it writes is
input from a process that is not well: it is read up to a bound, and only lines of the known form count.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Sequence
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from hermes.backplane.handshake import STACK_SIGNAL
from hermes.backplane.sync import readable
from hermes.system import obtain

LOOKS = 180
"""Looks for an answer, a millisecond apart. They are counted, and not the time: where the machine stands still, the
process that is asked does too."""

_LIMIT = 16 * 1024
"""Bytes of an answer that are read."""

_HEADER = re.compile(r"(Current thread|Thread) (0x[0-9a-f]+)")
_FRAME = re.compile(r'  File "(.*)", line (\S+) in (.*)')
_CELL = re.compile(r"Cell In\[\d+\]")
_ESCAPED = re.compile(r"\\x([0-9a-f]{2})|\\u((?!d[89a-f])[0-9a-f]{4})|\\U([0-9a-f]{8})")

_PACKAGE = Path(__file__).parents[1]
_OWN = (_PACKAGE, _PACKAGE / "backplane")
"""Folders of the runtime, whose frames are no part of a module's stack; modules that come with Hermes are."""

_MAIN = str(_PACKAGE / "worker.py")
_LIBRARY = str(Path(os.__file__).parent)


class Frame(NamedTuple):
    """One line of a stack."""

    file: str
    line: str
    function: str

    @property
    def own(self) -> bool:
        """Whether it is no part of what Hermes does to run a module."""
        runs = self.file.startswith("<frozen ") and ("importlib" in self.file or "runpy" in self.file)
        return not (runs or Path(self.file).parent in _OWN or "cloudpickle" in self.file)

    def __str__(self) -> str:
        where = self.file if _CELL.fullmatch(self.file) else f'File "{self.file}"'
        return f"  {where}, line {self.line}, in {self.function}"


class StackFile:
    """The file into which processes write their stacks when they are asked."""

    def __init__(self) -> None:
        self._fd = -1

    @property
    def fd(self) -> int:
        """The descriptor that processes inherit; raises SystemRefused where it cannot be made."""
        if self._fd < 0:
            self._fd = obtain("make a file for the stacks of modules that hang", os.memfd_create, "hermes-stacks")
        return self._fd

    def ask(self, pidfd: int, looks: int = LOOKS) -> str:
        """Return the stack of a process that is to be killed, as text; "" where it does not answer.

        A process that does not know the signal is killed by it.
        """
        os.ftruncate(self.fd, 0)
        os.lseek(self.fd, 0, os.SEEK_SET)
        with suppress(OSError):
            for _ in range(2):  # the second answer begins when the first one is complete
                signal.pidfd_send_signal(pidfd, STACK_SIGNAL)
        for _ in range(looks):
            if _parsed(self._read())[1] or readable([pidfd], 0.001):
                break
        return as_text(self._read())

    def _read(self) -> str:
        return os.pread(self.fd, _LIMIT, 0).decode("ascii", "replace")

    def close(self) -> None:
        """Give it up."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def as_text(dump: str) -> str:
    """Return what `faulthandler` wrote as stacks with the newest line last, the main thread's first.

    Of other threads only those are shown that run more than the standard library; "" where nothing is left to show.
    """
    threads, _ = _parsed(dump)
    main = next((one for one in threads if any(frame.file == _MAIN for frame in one)), threads[0] if threads else [])
    others = [one for one in threads if one is not main and not all(_from_library(frame) for frame in one)]
    titled = [("Stack", main), *(("Stack of another thread", one) for one in others)]
    return "".join(_titled(title, [frame for frame in stack if frame.own]) for title, stack in titled)


def _titled(title: str, frames: Sequence[Frame]) -> str:
    lines = [f"{title} (most recent call last):", *map(str, reversed(frames))]
    return "".join(f"{line}\n" for line in lines) if frames else ""


def _from_library(frame: Frame) -> bool:
    return frame.file.startswith(_LIBRARY) and "site-packages" not in frame.file


def _parsed(dump: str) -> tuple[list[list[Frame]], bool]:
    """Return the threads of the first answer, the one that was asked first of all, and whether the answer is complete.

    It is where a thread comes again: that is the second answer.
    """
    found: dict[str, list[Frame]] = {}
    current: list[str] = []
    for line in takewhile(lambda line: line.endswith("\n"), dump.splitlines(keepends=True)):
        if header := _HEADER.match(line):
            if header[2] in found:
                return _ordered(found, current), True
            found[header[2]] = []
            current += [header[2]] if header[1].startswith("Current") else []
        elif found and (frame := _FRAME.fullmatch(line.rstrip("\n"))):
            next(reversed(found.values())).append(Frame(_unescaped(frame[1]), frame[2], _unescaped(frame[3])))
    return _ordered(found, current), False


def _ordered(threads: dict[str, list[Frame]], first: Sequence[str]) -> list[list[Frame]]:
    return [threads[name] for name in sorted(threads, key=lambda name: name not in first)]


def _unescaped(text: str) -> str:
    """Return a name as it is: `faulthandler` escapes all that is not ASCII."""
    return _ESCAPED.sub(lambda found: chr(int(found[1] or found[2] or found[3], 16)), text)
