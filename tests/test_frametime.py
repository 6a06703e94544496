from __future__ import annotations

import math
from fractions import Fraction

from hypothesis import example, given
from hypothesis import strategies as st

from hermes.frametime import FrameClock, exact_seconds

RATES = st.tuples(st.integers(1, 10**9), st.integers(1, 10**6))
FRAMES = st.integers(0, 10**12)


@given(RATES, FRAMES)
@example((60, 1), 600)
@example((60000, 1001), 10**12)
def test_time_is_the_exact_ratio_correctly_rounded(rate: tuple[int, int], frame: int) -> None:
    exact = frame / Fraction(*rate)
    clock = FrameClock(*rate)
    assert clock.time(frame) == float(exact)
    assert clock.time_ns(frame) == math.floor(exact * 10**9)
    assert clock.dt == float(1 / Fraction(*rate))


@given(RATES, st.fractions(min_value=0, max_value=10**9, max_denominator=10**6))
@example((60, 1), Fraction(6, 5))
def test_frames_cover_a_time_and_no_frame_less_does(rate: tuple[int, int], seconds: Fraction) -> None:
    frames = FrameClock(*rate).frames(seconds.as_integer_ratio())
    assert frames == math.ceil(seconds * Fraction(*rate))
    assert frames / Fraction(*rate) >= seconds
    assert (frames - 1) / Fraction(*rate) < seconds


@given(RATES, FRAMES)
def test_frame_and_time_in_nanoseconds_never_run_backwards(rate: tuple[int, int], frame: int) -> None:
    clock = FrameClock(*rate)
    assert clock.time_ns(frame) <= clock.time_ns(frame + 1)
    assert clock.time(frame) <= clock.time(frame + 1)


def test_frame_600_at_60_hz_is_10_seconds() -> None:
    clock = FrameClock(60, 1)
    assert (clock.time(600), clock.time_ns(600)) == (10.0, 10_000_000_000)
    assert (clock.time_ns(1), clock.time_ns(3)) == (16_666_666, 50_000_000)


def test_seconds_are_what_their_author_wrote() -> None:
    assert exact_seconds(0.1) == (1, 10)
    assert exact_seconds(1e-9) == (1, 10**9)
    assert exact_seconds(3) == (3, 1)
    assert FrameClock(60, 1).frames(exact_seconds(1.2)) == 72
    assert FrameClock(60, 1).frames(Fraction(1.2).as_integer_ratio()) == 72
    assert FrameClock(1000, 1).frames(exact_seconds(0.001)) == 1
    assert FrameClock(10, 1).frames(exact_seconds(0.3)) == 3
    assert FrameClock(10, 1).frames(exact_seconds(1.1)) == 11
    assert FrameClock(10, 1).frames(Fraction(1.1).as_integer_ratio()) == 12  # what reading the bits would give


@given(st.floats(0, 1e9))
def test_exact_seconds_round_back_to_the_same_float(seconds: float) -> None:
    ratio = Fraction(*exact_seconds(seconds))
    assert float(ratio) == seconds
    assert ratio == Fraction(repr(seconds))
