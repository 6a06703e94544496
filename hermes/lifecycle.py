"""The states of a session and the one table of legal transitions.

Nothing else decides what is legal: the engine moves through this table, widgets enable their buttons by it, the
documentation draws it and the tests walk it. The table never looks at clocks, modules or clients.
"""

from __future__ import annotations

from enum import StrEnum

from hermes.errors import InvalidState


class State(StrEnum):
    """What a session is doing."""

    STARTING = "starting"
    PAUSED = "paused"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CLOSED = "closed"


class Verb(StrEnum):
    """What can happen to a session: commands, what its owner alone may do, then what the engine itself finds."""

    RESUME = "resume"
    RUN = "run"
    PAUSE = "pause"
    STEP = "step"
    RESET = "reset"
    SET = "set"
    LOOK = "look"
    REPLACE = "replace"
    STARTED = "started"
    FINISH = "finish"
    FAIL = "fail"
    CLOSE = "close"


TRANSITIONS: dict[tuple[State, Verb], State] = {
    (State.STARTING, Verb.STARTED): State.PAUSED,
    (State.STARTING, Verb.FAIL): State.FAILED,
    (State.STARTING, Verb.CLOSE): State.CLOSED,
    (State.PAUSED, Verb.RESUME): State.RUNNING,
    (State.PAUSED, Verb.RUN): State.RUNNING,
    (State.PAUSED, Verb.STEP): State.RUNNING,
    (State.PAUSED, Verb.PAUSE): State.PAUSED,
    (State.PAUSED, Verb.RESET): State.PAUSED,
    (State.PAUSED, Verb.SET): State.PAUSED,
    (State.PAUSED, Verb.LOOK): State.PAUSED,
    (State.PAUSED, Verb.REPLACE): State.PAUSED,
    (State.PAUSED, Verb.FAIL): State.FAILED,
    (State.PAUSED, Verb.CLOSE): State.CLOSED,
    (State.RUNNING, Verb.RESUME): State.RUNNING,
    (State.RUNNING, Verb.RUN): State.RUNNING,
    (State.RUNNING, Verb.PAUSE): State.PAUSED,
    (State.RUNNING, Verb.RESET): State.RUNNING,
    (State.RUNNING, Verb.SET): State.RUNNING,
    (State.RUNNING, Verb.FINISH): State.FINISHED,
    (State.RUNNING, Verb.LOOK): State.RUNNING,
    (State.RUNNING, Verb.REPLACE): State.RUNNING,
    (State.RUNNING, Verb.FAIL): State.FAILED,
    (State.RUNNING, Verb.CLOSE): State.CLOSED,
    (State.FINISHED, Verb.RESET): State.PAUSED,
    (State.FINISHED, Verb.SET): State.FINISHED,
    (State.FINISHED, Verb.LOOK): State.FINISHED,
    (State.FINISHED, Verb.REPLACE): State.FINISHED,
    (State.FINISHED, Verb.FAIL): State.FAILED,
    (State.FINISHED, Verb.CLOSE): State.CLOSED,
    (State.FAILED, Verb.RESET): State.PAUSED,
    (State.FAILED, Verb.LOOK): State.FAILED,
    (State.FAILED, Verb.REPLACE): State.FAILED,
    (State.FAILED, Verb.FAIL): State.FAILED,
    (State.FAILED, Verb.CLOSE): State.CLOSED,
}
"""Every legal ``(state, verb) -> state``; a step reads as running until its last frame is done."""

COMMANDS: tuple[Verb, ...] = (Verb.RESUME, Verb.RUN, Verb.PAUSE, Verb.STEP, Verb.RESET, Verb.SET)
"""The verbs a user may issue."""

FREE_RUNNING: tuple[Verb, ...] = (Verb.RESUME, Verb.RUN)
"""The verbs that single-frame mode refuses."""


def following(state: State, verb: Verb, *, single_frame: bool = False) -> State:
    """Return the state after `verb`.

    Raises InvalidState, which names the state, the verb and the ways out, where the table has no such row or where
    single-frame mode, which advances by steps only, refuses the verb.
    """
    if single_frame and verb in FREE_RUNNING:
        raise InvalidState(verb, "in single-frame mode", "step advances it")
    try:
        return TRANSITIONS[state, verb]
    except KeyError:
        raise InvalidState(verb, state, ways_out(state)) from None


def legal(state: State, *, single_frame: bool = False) -> list[Verb]:
    """Return the commands a user may issue in `state`."""
    refused = FREE_RUNNING if single_frame else ()
    return [verb for verb in COMMANDS if (state, verb) in TRANSITIONS and verb not in refused]


def ways_out(state: State) -> str:
    """Say in words which commands are legal in `state`."""
    verbs = legal(state)
    return f"legal now: {', '.join(verbs)}" if verbs else "no command is legal now"
