"""Refuses the n-th call to the operating system, in this process or in one that a session starts.

A process that is to be refused something is started through this file instead of ``-m hermes.engine`` or ``-m
hermes.worker``, so that nothing of the product knows that it can be refused on purpose. What to refuse stands in the
environment, which nobody else reads.
"""

from __future__ import annotations

import os
import runpy
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

VARIABLE = "HERMES_TEST_REFUSAL"

ROLES = ("session", "engine", "a", "b")
"""The processes: the session's, its engine, and the workers by the name of their first module."""


MOST_ALIKE = 3
"""Messages are received again and again: after so many, none counts any more. All other calls do."""


class Refusal(NamedTuple):
    """In the process of a role, the call of this number, counted from 1, ends with an errno.

    What was refused is then written to the file `report`. With `only`, calls of that name alone count.
    """

    role: str
    number: int
    errno: int
    report: Path
    only: str = ""

    @property
    def refused(self) -> str:
        """The name of the call that was refused, "" where so many calls were never made."""
        return self.report.read_text() if self.report.exists() else ""


class Refusing:
    """Stands in for `hermes.system.perform` and refuses one call."""

    def __init__(self, refusal: Refusal) -> None:
        self._refusal = refusal
        self._made: Counter[str] = Counter()

    def __call__(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        name = getattr(function, "__qualname__", repr(function))
        if self._counts(name):
            self._made[name] += 1
            if self._made.total() == self._refusal.number:
                self._refuse(name)
        return function(*args, **kwargs)

    def _counts(self, name: str) -> bool:
        if self._refusal.only:
            return name == self._refusal.only
        return name != "socket.recvmsg" or self._made[name] < MOST_ALIKE

    def _refuse(self, name: str) -> None:
        self._refusal.report.write_text(name)
        if name == "Thread.start":
            raise RuntimeError("can't start new thread")  # whatever the reason, Python says no more
        raise OSError(self._refusal.errno, os.strerror(self._refusal.errno))


@contextmanager
def refusing(refusal: Refusal) -> Iterator[None]:
    """Let sessions of this process meet a refusal, here or in the processes that they start."""
    environment = {VARIABLE: "\t".join(map(str, refusal))}
    with mock.patch.dict(os.environ, environment), mock.patch("hermes.engineclient.ENGINE", (__file__, "engine")):
        if refusal.role != "session":
            yield
            return
        with mock.patch("hermes.system.perform", Refusing(refusal)):
            yield


def _main(kind: str) -> None:
    """Be the engine or a worker, refused what the environment says."""
    role, number, errno, report, only = os.environ[VARIABLE].split("\t")
    refusal = Refusal(role, int(number), int(errno), Path(report), only)
    if role == (kind if kind == "engine" else sys.argv[1]):
        mock.patch("hermes.system.perform", Refusing(refusal)).start()
    if kind == "engine":
        mock.patch("hermes.engine.moduleprocess.WORKER", (__file__, "worker")).start()
    runpy.run_module(f"hermes.{kind}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main(sys.argv.pop(1))
