from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest
from refusing import Refusal, refusing

from hermes import system
from hermes.errors import SystemRefused


def failing(*errors: BaseException) -> Callable[..., str]:
    """Return what raises each of some errors once, and then returns what it is given."""
    left = list(errors)

    def call(given: str = "") -> str:
        if left:
            raise left.pop(0)
        return given

    return call


def test_an_interrupted_call_is_made_again() -> None:
    assert system.attempt(failing(InterruptedError(), InterruptedError()), "done") == "done"
    assert system.obtain("do it", failing(InterruptedError()), "done") == "done"


def test_an_attempt_raises_what_the_call_raises() -> None:
    with pytest.raises(FileExistsError):
        system.attempt(failing(FileExistsError(errno.EEXIST, "there")), "")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "cannot do it: No space left on device"),
        (
            OSError(errno.EMFILE, os.strerror(errno.EMFILE)),
            "cannot do it: Too many open files (see the limit of open files: ulimit -n)",
        ),
        (
            BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)),
            "cannot do it: Resource temporarily unavailable (see the limit of processes and threads: ulimit -u)",
        ),
        (OSError("no number"), "cannot do it: no number"),
        (MemoryError(), "cannot do it: Cannot allocate memory"),
    ],
)
def test_a_refusal_says_what_was_needed_why_not_and_where_to_look(error: BaseException, told: str) -> None:
    with pytest.raises(SystemRefused) as caught:
        system.obtain("do it", failing(error), "")
    assert str(caught.value) == told
    assert caught.value.__cause__ is error


def test_a_thread_that_cannot_be_started_is_a_refusal() -> None:
    thread = threading.Thread(target=int)
    with (
        mock.patch.object(thread, "start", failing(RuntimeError("can't start new thread"))),
        pytest.raises(SystemRefused, match=r"^cannot listen: Resource temporarily unavailable \(.*ulimit -u\)$"),
    ):
        system.start_thread("listen", thread)


def test_only_the_call_that_a_test_names_is_refused(tmp_path: Path) -> None:
    refusal = Refusal("session", 2, errno.ENOMEM, tmp_path / "report")
    with refusing(refusal):
        assert system.obtain("look", os.stat, tmp_path)
        with pytest.raises(SystemRefused, match=r"^cannot look: Cannot allocate memory$"):
            system.obtain("look", os.stat, tmp_path)
        assert system.obtain("look", os.stat, tmp_path)
    assert refusal.refused == "stat"
    assert system.obtain("look", os.stat, tmp_path)
