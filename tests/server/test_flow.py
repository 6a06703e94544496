"""The arithmetic of flow: clocks are numbers, and clients are what is left of what they were given."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes.server.flow import CAP_FLOOR, CHECK_SECONDS, STALL_SECONDS, Backlog, Ticker, TokenBucket

# -- tokens


def test_a_rest_gives_the_burst_and_no_more() -> None:
    bucket = TokenBucket(200.0, 400.0, now=10.0)
    bucket.take(400)
    assert bucket.wait(10.0) == 0.0
    bucket.take(1)
    assert bucket.wait(10.0) == pytest.approx(1 / 200)
    assert bucket.wait(1_000.0) == 0.0
    bucket.take(401)
    assert bucket.wait(1_000.0) == pytest.approx(1 / 200)


def test_a_debt_is_paid_at_the_rate() -> None:
    bucket = TokenBucket(10.0, 5.0, now=0.0)
    bucket.take(15)
    assert [bucket.wait(now) for now in (0.0, 0.4, 0.9, 1.0, 1.1)] == pytest.approx([1.0, 0.6, 0.1, 0.0, 0.0])


@settings(deadline=None)
@given(
    rate=st.floats(0.1, 1e4),
    burst=st.floats(1, 1e4),
    takes=st.lists(st.tuples(st.floats(0, 10), st.floats(0.1, 100)), min_size=1, max_size=30),
)
def test_who_waits_as_told_never_gets_more_than_burst_and_rate_allow(
    rate: float, burst: float, takes: list[tuple[float, float]]
) -> None:
    now = taken = 0.0
    bucket = TokenBucket(rate, burst, now)
    for rest, tokens in takes:
        now += rest
        bucket.take(tokens)
        taken += tokens
        wait = bucket.wait(now)
        assert 0.0 <= wait < math.inf
        now += wait
        assert taken <= burst + rate * now + 1e-6 * (1 + taken)
        assert bucket.wait(now) == pytest.approx(0.0, abs=1e-6)


# -- deadlines


@pytest.mark.parametrize(("hz", "ticks"), [(60.0, 1_000_000), (59.94, 50_000), (1000.0, 50_000), (0.3, 50_000)])
def test_a_million_ticks_do_not_drift(hz: float, ticks: int) -> None:
    origin = 12_345.678
    ticker = Ticker(hz, origin, origin)
    for _ in range(ticks):
        ticker.advance(ticker.deadline + 0.4 / hz)  # each is served late, but before the next
    assert ticker.deadline == pytest.approx(origin + (ticks + 1) / hz, rel=0, abs=1e-6 / hz)


def test_deadlines_are_absolute_and_a_passed_one_is_skipped() -> None:
    ticker = Ticker(10.0, origin=100.0, now=100.0)
    assert ticker.deadline == pytest.approx(100.1)
    ticker.advance(100.1)
    assert ticker.deadline == pytest.approx(100.2)
    ticker.advance(101.55)
    assert ticker.deadline == pytest.approx(101.6)
    ticker.advance(101.6)
    assert ticker.deadline == pytest.approx(101.7)


def test_a_tick_that_is_served_at_the_very_instant_of_a_later_one_takes_that_one_along() -> None:
    ticker = Ticker(1.5, origin=1.0, now=2.0)
    now = 1.0 + 2 / 1.5  # of which (now - 1) * 1.5 is a little below 2
    assert ticker.deadline == now
    ticker = Ticker(1.5, origin=1.0, now=1.0)
    ticker.advance(now)
    assert ticker.deadline == 3.0


def test_a_tick_that_is_served_too_early_is_not_served_twice() -> None:
    ticker = Ticker(10.0, origin=0.0, now=0.0)
    ticker.advance(math.nextafter(ticker.deadline, 0.0))
    assert ticker.deadline == pytest.approx(0.2)


RATES = st.floats(0.01, 1000.0)


@settings(deadline=None)
@given(RATES, st.floats(0, 1e6), st.lists(st.floats(0, 5), min_size=1, max_size=50))
def test_after_any_delays_the_next_tick_is_the_first_after_now_and_never_a_burst(
    hz: float, origin: float, delays: list[float]
) -> None:
    now = origin
    ticker = Ticker(hz, origin, now)
    served = []
    slack = 1e-9 * (1 + now)
    for delay in delays:
        now = max(now, ticker.deadline) + delay
        served.append(ticker.deadline)
        ticker.advance(now)
        assert now < ticker.deadline <= now + 1 / hz + slack
    steps = [later - earlier for earlier, later in zip(served, [*served[1:], ticker.deadline], strict=True)]
    assert min(steps) >= 1 / hz - slack


@settings(deadline=None)
@given(RATES, st.floats(0, 1e6), st.lists(st.floats(0, 3), min_size=1, max_size=5), st.floats(0, 3))
def test_equal_rates_share_their_deadlines_whenever_they_began(
    hz: float, origin: float, joins: list[float], later: float
) -> None:
    tickers = []
    now = origin
    for join in joins:
        now += join
        tickers.append(Ticker(hz, origin, now))
    now = max(ticker.deadline for ticker in tickers) + later
    for ticker in tickers:
        ticker.advance(now)
    assert len({ticker.deadline for ticker in tickers}) == 1


# -- what a client has not taken

FRAME = 32 * 1024
HZ = 60.0


@dataclass
class Simulated:
    """A client that takes `rate` bytes a second of what it is given, every `every` seconds what that makes."""

    rate: float
    every: float = 0.0
    backlog: Backlog = None  # type: ignore[assignment]
    taken: float = 0.0
    now: float = 0.0
    measured: int = 0
    most_behind: float = 0.0

    def __post_init__(self) -> None:
        self.backlog = Backlog()
        self._free_at = 0.0

    @property
    def unsent(self) -> int:
        return self.backlog.given - int(self.taken)

    def measure(self) -> int:
        self.measured += 1
        return self.unsent

    def live(self, seconds: float, size: int = FRAME, hz: float = HZ) -> float | None:
        """Offer frames for some time; return when the client was given up, or None."""
        ticks = Ticker(hz, self.now, self.now)
        checks = Ticker(1 / CHECK_SECONDS, self.now, self.now)
        end = self.now + seconds
        while (due := min(ticks.deadline, checks.deadline)) <= end:
            self._take(due)
            if due == ticks.deadline:
                self.backlog.take_frame(size, self.measure)
                self.most_behind = max(self.most_behind, self.unsent / max(self.rate, 1.0))
                ticks.advance(due)
            if due == checks.deadline:
                self.backlog.check(self.unsent, CHECK_SECONDS)
                checks.advance(due)
                if self.backlog.stalled:
                    return due
        return None

    def _take(self, now: float) -> None:
        if self.every:
            lumps = int((now - self._free_at) / self.every)
            self._free_at += lumps * self.every
            able = lumps * self.every * self.rate
        else:
            able = (now - self.now) * self.rate
        self.taken = min(self.taken + able, float(self.backlog.given))
        self.now = now


def test_a_healthy_client_is_never_skipped_and_seldom_measured() -> None:
    client = Simulated(rate=100e6)
    assert client.live(60.0) is None
    assert client.backlog.skipped == 0
    assert not client.backlog.slow
    assert client.backlog.given == 3_600 * FRAME
    assert client.measured <= 3_600 / 2
    small = Simulated(rate=100e6)
    small.live(60.0, size=500)
    assert (small.backlog.skipped, small.measured) == (0, 0)


@pytest.mark.parametrize("size", [200_000, 800_024, 10_000_000])
def test_a_frame_beyond_the_floor_still_goes_to_whoever_has_taken_the_last(size: int) -> None:
    client = Simulated(rate=1.1 * size * HZ)
    assert client.live(5.0, size) is None
    assert client.backlog.skipped == 0


def test_a_deaf_client_is_skipped_at_once_and_given_up_after_5_seconds() -> None:
    client = Simulated(rate=0.0)
    assert client.live(60.0) == pytest.approx(STALL_SECONDS)
    assert client.backlog.given <= CAP_FLOOR
    assert client.backlog.skipped >= 0.99 * HZ * STALL_SECONDS
    assert client.backlog.slow


def test_one_that_stops_after_minutes_is_given_up_5_seconds_later() -> None:
    client = Simulated(rate=100e6)
    client.live(120.0)
    client.rate = 0.0
    assert client.live(60.0) == pytest.approx(125.0, abs=2 * CHECK_SECONDS)


def test_one_that_wakes_up_in_time_goes_on() -> None:
    client = Simulated(rate=100e6)
    for _ in range(5):
        client.rate = 0.0
        assert client.live(4.5) is None
        client.rate = 100e6
        assert client.live(1.0) is None
    assert not client.backlog.slow


TRICKLE = 0.1 * FRAME * HZ


def test_one_that_reads_a_tenth_is_never_given_up_and_at_most_half_a_second_behind() -> None:
    client = Simulated(rate=TRICKLE)
    assert client.live(600.0) is None
    assert client.most_behind <= 0.55
    assert client.backlog.slow
    assert client.taken == pytest.approx(600 * TRICKLE, rel=0.02)  # it is kept as busy as it can be
    assert client.backlog.skipped == pytest.approx(0.9 * 600 * HZ, rel=0.02)


@pytest.mark.parametrize("every", [0.1, 0.4, 1.0])
def test_one_that_reads_a_tenth_in_lumps_is_not_given_up_either(every: float) -> None:
    client = Simulated(rate=TRICKLE, every=every)
    assert client.live(120.0) is None
    assert client.most_behind <= 0.5 + every


@settings(deadline=None)
@given(rate=st.floats(0, 10e6), size=st.integers(24, 1_000_000), hz=st.floats(1, 200))
def test_never_more_waits_than_the_floor_two_frames_or_half_a_second_of_what_is_taken(
    rate: float, size: int, hz: float
) -> None:
    client = Simulated(rate=rate)
    client.live(3.0, size, hz)
    assert client.unsent <= max(CAP_FLOOR, 2 * size, 0.5 * rate + 1)


def test_the_cap_follows_what_the_client_takes() -> None:
    client = Simulated(rate=1e6)
    assert client.backlog.cap(FRAME) == CAP_FLOOR == 2 * FRAME
    client.live(30.0)
    assert client.backlog.cap(FRAME) == pytest.approx(0.5e6, rel=0.05)
    assert client.backlog.cap(1_000_000) == 2_000_000


def test_a_stall_of_the_server_itself_gives_nobody_up() -> None:
    backlog = Backlog()
    backlog.give(100)
    for _ in range(round(STALL_SECONDS / CHECK_SECONDS) - 1):
        backlog.check(100, 60.0)
        assert not backlog.stalled, "a check counts once, however late it is"
    backlog.check(100, 60.0)
    assert backlog.stalled


def test_whoever_waits_for_nothing_has_not_stalled() -> None:
    backlog = Backlog()
    for _ in range(1_000):
        backlog.check(0, CHECK_SECONDS)
    assert not backlog.stalled
    assert not backlog.slow


def test_text_counts_as_given_and_a_deaf_client_of_text_alone_is_given_up() -> None:
    backlog = Backlog()
    backlog.give(100)
    checks = 0
    while not backlog.stalled:
        backlog.check(100, CHECK_SECONDS)
        checks += 1
        assert checks < 100
    assert checks * CHECK_SECONDS == STALL_SECONDS
    assert (backlog.given, backlog.skipped) == (100, 0)


def test_bytes_that_nobody_counted_do_no_harm() -> None:
    backlog = Backlog()
    backlog.check(200, CHECK_SECONDS)  # the answer to the handshake, which the library sends
    assert backlog.cap(0) == CAP_FLOOR
    backlog.give(1_000)
    for unsent in (1_200, 900, 600, 0):
        backlog.check(unsent, CHECK_SECONDS)
    assert not backlog.stalled
    assert backlog.take_frame(10, lambda: 0)


def test_a_hiccup_is_not_slow_and_neither_is_what_is_over() -> None:
    backlog = Backlog()
    backlog.give(CAP_FLOOR)
    assert not backlog.take_frame(FRAME, lambda: CAP_FLOOR)
    backlog.check(CAP_FLOOR, CHECK_SECONDS)
    assert not backlog.slow
    backlog.check(0, CHECK_SECONDS)
    assert not backlog.slow
    for _ in range(2):
        backlog.give(CAP_FLOOR)
        assert not backlog.take_frame(FRAME, lambda: CAP_FLOOR)
        backlog.check(CAP_FLOOR, CHECK_SECONDS)
    assert backlog.slow
    backlog.check(0, CHECK_SECONDS)
    assert not backlog.slow
    assert backlog.skipped == 3
