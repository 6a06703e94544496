"""Errors on the wire and back: class, text and fields survive, whatever the code."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest

from hermes import errors
from hermes.errors import CommandError, HermesError
from hermes.remote.refusals import Refused, refusal
from hermes.server.messages import make_error

TRACEBACK = 'Traceback (most recent call last):\n  File "m.py", line 3, in step\n    1 / 0\nZeroDivisionError: no'

ERRORS = [
    errors.BadJson("NaN is not JSON"),
    errors.BadMessage("a message is an object with an action; found 3"),
    errors.UnknownAction("fly", ["pause", "resume"], ["pause"]),
    errors.BadParams("step takes a count of frames; found 0"),
    errors.UnknownSignal(["a.rump", "b.*"], ["a.ramp"]),
    errors.ReadOnlySignal("a.ramp"),
    errors.WiredSignal("b.push", "a.ramp"),
    errors.BadValue("a.gain", "'fast'", "a number (f64)"),
    errors.InvalidState("step", "running", "legal now: pause"),
    errors.TooMany("signals in one set", 4096),
    errors.Forbidden("pause"),
    errors.NotReady("status"),
    errors.SessionClosed("counters"),
    errors.ModuleFailed("a", 7, "step", "ZeroDivisionError: no", TRACEBACK),
    errors.ModuleFailed("a", 0, "reset", "ValueError: ", ""),
    errors.ModuleDied("a", 7, "idle", "signal SIGSEGV", ["one", "two"]),
    errors.ModuleHung("a", 7, "step", 2.5, ["still thinking"]),
    errors.ModuleHung("a", 7, "step", 2.5, [], "Stack:\n  Cell In[3], line 5, in step\n", ["a", "b"]),
    errors.ModuleDied("a", 7, "idle", "exit code 3", ["one"], "group", ["a", "b"]),
    errors.EngineDied("exit code 1", ["oh"]),
    HermesError(message="a mistake in Hermes"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_comes_back_as_it_was(error: HermesError) -> None:
    action = error.fields.get("action", "set")
    found = refusal(json.loads(make_error(error, {"action": action, "id": 1})))
    assert (type(found), str(found), found.fields) == (type(error), str(error), error.fields)


def test_every_refusal_of_a_command_is_among_them() -> None:
    refusals = set(CommandError.__subclasses__()) - {Refused}
    assert refusals <= {type(error) for error in ERRORS}


@pytest.mark.parametrize(
    "reply",
    [
        {"code": "too_hot", "message": "the room is too hot", "limit": 30},
        {"code": "bad_value", "message": "words of a later version", "signal": "a.x", "found": "1", "accepted": "2"},
        {"code": "bad_value", "message": "without its fields"},
        {"code": "unknown_signal", "message": "no signal", "signals": 5, "near": None},
        {"code": "unknown_signal", "message": "no signal", "signals": [1], "near": [2]},
        {"code": "module_failed", "message": "a failed", "module": "a", "frame": "x", "phase": "step", "timeout": "no"},
        {"code": "module_failed", "message": "a failed", "module": "a", "frame": 1, "phase": "step", "reason": []},
        {"code": "module_failed", "message": "of no module"},
    ],
    ids=lambda reply: reply["message"],
)
def test_what_this_version_does_not_know_keeps_code_and_text(reply: dict[str, Any]) -> None:
    found = refusal({"type": "error", "id": 1, **reply})
    assert isinstance(found, CommandError | errors.ModuleError)
    assert (found.code, str(found)) == (reply["code"], reply["message"])


def test_a_refusal_of_unknown_kind_can_be_pickled() -> None:
    found = pickle.loads(pickle.dumps(Refused("too_hot", "the room is too hot")))
    assert (type(found), found.code, str(found)) == (Refused, "too_hot", "the room is too hot")
