"""Whatever the operating system refuses, and in whichever process, is a sentence or goes unnoticed; nothing is left."""

from __future__ import annotations

import errno
import itertools
import os
import random
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest
from faults import Rude
from refusing import ROLES, Refusal, refusing

import hermes
from hermes.connectionfile import sweep
from hermes.errors import HermesError

ERRNOS = (errno.ENOSPC, errno.ENOMEM, errno.EMFILE, errno.EACCES, errno.EINTR)

CONFIGURATION = """
name: refused
modules:
  a: {type: script, script: ./counter.py}
  b: {type: script, script: ./counter.py, worker: shared}
  c: {type: script, script: ./counter.py, worker: shared}
wiring:
  - {src: a.ramp, dst: b.push, gain: 0.5}
execution: {rate_hz: 100, start_timeout: 60}
server: {port: 0}
"""

FEWEST_CALLS = {"session": 28, "engine": 44, "a": 10, "b": 18}
"""Less than this the loop over all calls of a process cannot have looked at."""


def flown(configuration: Path) -> str:
    """Start, step, set and close a session that a client watches; return the error that ends it, or ""."""
    try:
        with hermes.Session.from_yaml(configuration) as session:
            with Rude(session.url) as viewer:
                assert viewer.command("status")["type"] == "ack"
            assert session.step(3) == 3
            session["a.push"] = 1.0
            assert session.step() == 1
            assert (session["a.count"], session["a.push"], session["c.count"]) == (4, 1.0, 4)
    except HermesError as error:
        return str(error)
    return ""


@pytest.fixture
def configuration(write: Callable[[str, str], Path], counters: Path) -> Path:
    """Return the path of a configuration with three small modules in two processes, and a server."""
    return write("refused.yaml", CONFIGURATION)


@pytest.fixture
def refuse(
    configuration: Path, no_trace: Callable[[], AbstractContextManager[None]], caplog: pytest.LogCaptureFixture
) -> Callable[[str, int, int], str]:
    """Return what refuses one call of one process with an errno, and sees that it is told and leaves no trace.

    It returns the name of the call, "" where so many were never made.
    """

    def _refuse(role: str, number: int, code: int) -> str:
        refusal = Refusal(role, number, code, configuration.with_name(f"{role}-{number}-{code}"))
        with no_trace():
            with refusing(refusal):
                told = flown(configuration)
            sweep()
        where = f"call {number} in {role}, {refusal.refused or 'none'}, refused with {errno.errorcode[code]}: {told}"
        assert [line for line in caplog.messages if "xception" in line] == [], where
        assert refusal.refused or not told, where
        assert not told or (code != errno.EINTR or refusal.refused == "Thread.start"), where
        assert not told or re.match(r"(module \w raised during start: )?cannot \w+ ", told), where
        assert not told or os.strerror(code) in told or refusal.refused == "Thread.start", where
        assert "Traceback" not in told, where
        return refusal.refused

    return _refuse


@pytest.mark.parametrize("role", ROLES)
def test_a_refused_call_is_told_and_leaves_no_trace(role: str, refuse: Callable[[str, int, int], str]) -> None:
    """Look at some of the calls of each process; the long version below looks at all of them."""
    chance = random.Random(role)
    numbers = chance.sample(range(1, FEWEST_CALLS[role]), FEWEST_CALLS[role] // 4)
    for turn, number in enumerate(numbers):
        assert refuse(role, number, ERRNOS[turn % len(ERRNOS)])


@pytest.mark.soak
@pytest.mark.parametrize("code", ERRNOS, ids=errno.errorcode.get)
@pytest.mark.parametrize("role", ROLES)
def test_every_refused_call_is_told_and_leaves_no_trace(
    role: str, code: int, refuse: Callable[[str, int, int], str]
) -> None:
    refused = list(iter(map(partial(refuse, role, code=code), itertools.count(1)).__next__, ""))
    assert len(refused) >= FEWEST_CALLS[role]
