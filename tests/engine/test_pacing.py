from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes.engine.pacing import CATCH_UP, Pacer
from hermes.frametime import FrameClock

START = 123_456_789
RATES = [(60, 1), (60000, 1001), (1000, 1), (3, 1), (1, 7)]


def pacer(rate: tuple[int, int], now: int = START) -> tuple[Pacer, FrameClock]:
    clock = FrameClock(*rate)
    made = Pacer(clock)
    made.anchor(now)
    return made, clock


@pytest.mark.parametrize("rate", RATES)
def test_deadlines_never_drift(rate: tuple[int, int]) -> None:
    made, clock = pacer(rate)
    now = START
    for _ in range(1_000_000):
        now = made.next_deadline(now)
    assert now == START + clock.time_ns(1_000_000)


def test_frame_600_at_60_hz_is_due_after_10_seconds() -> None:
    made, _ = pacer((60, 1))
    deadlines = [made.next_deadline(START) for _ in range(600)]
    assert deadlines[0] == START + 16_666_666
    assert deadlines[2] == START + 50_000_000
    assert deadlines[-1] == START + 10_000_000_000


@pytest.mark.parametrize("late_frames", [1, 2, 3])
def test_a_short_stall_is_caught_up_without_losing_time(late_frames: int) -> None:
    made, clock = pacer((1000, 1))
    now = made.next_deadline(START) + clock.time_ns(1 + late_frames)
    deadlines = [made.next_deadline(now) for _ in range(10)]
    assert deadlines == [START + clock.time_ns(2 + frame) for frame in range(10)]
    assert sum(deadline < now for deadline in deadlines) == late_frames


def test_after_a_long_stall_at_most_three_frames_run_late_and_the_lost_time_stays_lost() -> None:
    made, clock = pacer((1000, 1))
    now = made.next_deadline(START) + 10**12
    deadlines = [made.next_deadline(now) for _ in range(10)]
    assert sum(deadline < now for deadline in deadlines) == CATCH_UP == 3
    assert deadlines == [now + clock.time_ns(frame) - clock.time_ns(CATCH_UP) for frame in range(10)]


def test_anchoring_begins_anew() -> None:
    made, clock = pacer((60, 1))
    for _ in range(5):
        made.next_deadline(START)
    made.anchor(10 * START)
    assert made.next_deadline(10 * START) == 10 * START + clock.time_ns(1)


@given(st.sampled_from(RATES), st.lists(st.integers(0, 10**9) | st.integers(0, 10**12), max_size=50))
def test_a_deadline_is_never_further_away_than_a_frame_nor_longer_past_than_three(
    rate: tuple[int, int], delays: list[int]
) -> None:
    made, clock = pacer(rate)
    now = before = START
    for delay in delays:
        now += delay
        deadline = made.next_deadline(now)
        assert before <= deadline <= now + clock.time_ns(1) + 1
        assert now - deadline <= clock.time_ns(CATCH_UP)
        before, now = deadline, max(now, deadline)
