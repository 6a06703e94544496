from __future__ import annotations

from collections import deque
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from hermes.notebook.gate import DEPTH, FORGOTTEN, TIMEOUT, Gate, Leave

TICK = 0.04


def test_nothing_leaves_before_a_page_has_spoken_or_when_it_shows_nothing_any_more() -> None:
    gate = Gate()
    assert gate.leave(0.0) is Leave.NONE
    gate.hear("a", ["plot"], 0, 0.0)
    assert gate.leave(0.0) is Leave.NEXT
    gate.hear("a", [], 0, 0.1)
    assert len(gate) == 0
    assert gate.leave(9.0) is Leave.NONE


def test_what_a_page_shows_for_the_first_time_is_told() -> None:
    gate = Gate()
    assert gate.hear("a", ["one"], 0, 0.0) == {"one"}
    assert gate.hear("a", ["one", "two"], 0, 0.1) == {"two"}
    assert gate.hear("b", ["two", "three"], 0, 0.2) == {"two", "three"}
    assert gate.shown == {"one", "two", "three"}
    gate.hear("a", ["two"], 0, 0.3)
    assert gate.shown == {"two", "three"}


def test_at_most_so_many_are_on_their_way() -> None:
    gate = Gate()
    gate.hear("a", ["plot"], 0, 0.0)
    numbers = []
    while gate.leave(0.0) is Leave.NEXT:
        numbers.append(gate.sent(0.0))
    assert numbers == [1, 2]
    gate.hear("a", ["plot"], 1, 0.1)
    assert gate.leave(0.1) is Leave.NEXT
    gate.sent(0.1)
    assert gate.leave(0.1) is Leave.NONE


def test_an_answer_to_what_was_never_sent_opens_nothing() -> None:
    gate = Gate()
    gate.hear("a", ["plot"], 0, 0.0)
    gate.hear("a", ["plot"], 1_000_000, 0.0)
    for _ in range(DEPTH):
        assert gate.leave(0.0) is Leave.NEXT
        gate.sent(0.0)
    gate.hear("a", ["plot"], -5, 0.0)
    assert gate.leave(0.0) is Leave.NONE


def test_where_nobody_answers_everything_is_tried_again_once_per_timeout_until_the_page_is_taken_for_gone() -> None:
    gate = Gate()
    gate.hear("a", ["plot"], 0, 0.0)
    now, sent = 0.0, []
    while len(gate):
        leave = gate.leave(now)
        if leave is not Leave.NONE:
            gate.sent(now)
            sent.append((leave, now))
        now += TICK
    assert [leave for leave, _ in sent] == [Leave.NEXT] * DEPTH + [Leave.AGAIN] * (len(sent) - DEPTH)
    again = [at for leave, at in sent if leave is Leave.AGAIN]
    assert all(later - earlier >= TIMEOUT for earlier, later in pairwise(again))
    assert FORGOTTEN / TIMEOUT - 2 <= len(again) <= FORGOTTEN / TIMEOUT
    assert gate.hear("a", ["plot"], 2, now) == {"plot"}, "who speaks again is back, and gets everything"
    assert gate.leave(now) is Leave.NEXT


def test_a_page_that_only_says_that_it_is_there_is_not_forgotten() -> None:
    gate = Gate()
    gate.hear("a", ["plot"], 0, 0.0)
    gate.sent(0.0)
    for second in range(1, 40):
        gate.hear("a", ["plot"], 0, float(second))
        assert gate.leave(float(second)) is Leave.AGAIN
        gate.sent(float(second))


def test_a_closed_page_holds_another_back_no_longer_than_the_timeout() -> None:
    gate = Gate()
    gate.hear("closed", ["plot"], 0, 0.0)
    gate.hear("open", ["plot"], 0, 0.0)
    now, sent = 0.0, []
    while now < 3.0:
        if gate.leave(now) is not Leave.NONE:
            gate.hear("open", ["plot"], gate.sent(now), now + TICK / 2)
            sent.append(now)
        now += TICK
    assert max(later - earlier for earlier, later in pairwise(sent)) <= TIMEOUT + 2 * TICK
    assert len([at for at in sent if at > TIMEOUT + 2 * TICK]) > 40


@given(draw_seconds=st.floats(0.001, 3.0), ticks=st.integers(10, 400))
def test_a_slow_page_is_never_far_behind(draw_seconds: float, ticks: int) -> None:
    """It draws one message after the other; what waits for it stays bounded, however slow it is."""
    gate = Gate()
    gate.hear("a", ["plot"], 0, 0.0)
    waiting: deque[tuple[int, float]] = deque()
    busy_until, drawing, worst = 0.0, 0, 0.0
    for tick in range(ticks):
        now = tick * TICK
        while busy_until <= now and (drawing or waiting):
            if drawing:
                gate.hear("a", ["plot"], drawing, busy_until)
            drawing, sent_at = waiting.popleft() if waiting else (0, 0.0)
            if drawing:
                busy_until = max(busy_until, sent_at) + draw_seconds
                worst = max(worst, busy_until - sent_at)
        if gate.leave(now) is not Leave.NONE:
            waiting.append((gate.sent(now), now))
    assert worst <= (DEPTH + draw_seconds / TIMEOUT + 1) * draw_seconds + TICK * DEPTH
