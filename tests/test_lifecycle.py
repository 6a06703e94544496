from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes.errors import InvalidState
from hermes.lifecycle import COMMANDS, FREE_RUNNING, TRANSITIONS, State, Verb, following, legal, ways_out

EVERYTHING = [(state, verb) for state in State for verb in Verb]
ILLEGAL = [pair for pair in EVERYTHING if pair not in TRANSITIONS]


@pytest.mark.parametrize(("state", "verb"), TRANSITIONS)
def test_the_table_decides(state: State, verb: Verb) -> None:
    assert following(state, verb) is TRANSITIONS[state, verb]


@pytest.mark.parametrize(("state", "verb"), ILLEGAL)
def test_an_illegal_verb_names_state_verb_and_ways_out(state: State, verb: Verb) -> None:
    with pytest.raises(InvalidState) as caught:
        following(state, verb)
    assert caught.value.fields == {"verb": verb, "state": state, "ways_out": ways_out(state)}
    assert str(caught.value) == f"cannot {verb} while {state}; {ways_out(state)}"


WAYS_OUT = {
    State.STARTING: "no command is legal now",
    State.PAUSED: "legal now: resume, run, pause, step, reset, set",
    State.RUNNING: "legal now: resume, run, pause, reset, set",
    State.FINISHED: "legal now: reset, set",
    State.FAILED: "legal now: reset",
    State.CLOSED: "no command is legal now",
}


@pytest.mark.parametrize("state", State)
def test_the_ways_out_are_what_the_design_promises(state: State) -> None:
    assert ways_out(state) == WAYS_OUT[state]


def test_only_these_pairs_change_the_state() -> None:
    moves = {(state, verb): after for (state, verb), after in TRANSITIONS.items() if after is not state}
    assert moves == {
        (State.STARTING, Verb.STARTED): State.PAUSED,
        (State.PAUSED, Verb.RESUME): State.RUNNING,
        (State.PAUSED, Verb.RUN): State.RUNNING,
        (State.PAUSED, Verb.STEP): State.RUNNING,
        (State.RUNNING, Verb.PAUSE): State.PAUSED,
        (State.RUNNING, Verb.FINISH): State.FINISHED,
        (State.FINISHED, Verb.RESET): State.PAUSED,
        (State.FAILED, Verb.RESET): State.PAUSED,
        **{(state, Verb.FAIL): State.FAILED for state in State if state not in (State.FAILED, State.CLOSED)},
        **{(state, Verb.CLOSE): State.CLOSED for state in State if state is not State.CLOSED},
    }


def test_looking_is_legal_whenever_there_is_something_to_see_and_changes_nothing() -> None:
    looks = {state: after for (state, verb), after in TRANSITIONS.items() if verb is Verb.LOOK}
    assert looks == {state: state for state in (State.PAUSED, State.RUNNING, State.FINISHED, State.FAILED)}
    assert Verb.LOOK not in COMMANDS
    for state in looks:
        assert following(state, Verb.LOOK, single_frame=True) is state
        assert "look" not in ways_out(state)


def test_every_state_is_reached_and_closed_is_the_end() -> None:
    assert {State.STARTING, *TRANSITIONS.values()} == set(State)
    assert not [state for state, _ in TRANSITIONS if state is State.CLOSED]


@pytest.mark.parametrize("state", State)
def test_single_frame_refuses_free_running_and_nothing_else(state: State) -> None:
    for verb in FREE_RUNNING:
        with pytest.raises(InvalidState, match=rf"^cannot {verb} while in single-frame mode; step advances it$"):
            following(state, verb, single_frame=True)
    assert legal(state, single_frame=True) == [verb for verb in legal(state) if verb not in FREE_RUNNING]


@given(st.sampled_from(State), st.lists(st.sampled_from(COMMANDS), max_size=20), st.booleans())
def test_buttons_agree_with_the_table(state: State, verbs: list[Verb], single_frame: bool) -> None:
    for verb in verbs:
        if verb in legal(state, single_frame=single_frame):
            state = following(state, verb, single_frame=single_frame)
        else:
            with pytest.raises(InvalidState):
                following(state, verb, single_frame=single_frame)
