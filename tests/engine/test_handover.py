"""The choice between spinning and sleeping, fed with costs and no clock."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes.engine.handover import LONGEST_TERM_NS, SPIN_NS, TERM_NS, Handover

BURST_NS = 1_000_000

SOME = settings(max_examples=20, deadline=None)

Cost = Callable[[bool, int], float]
"""The cost of a frame in nanoseconds, given whether it spins and how long the run has lasted."""


class Run:
    """A run of bursts: how long it has lasted and how long it spun, in nanoseconds."""

    def __init__(self, cost: Cost) -> None:
        self.handover = Handover()
        self.cost = cost
        self.now = 0
        self.spun = 0
        self.changes: list[int] = []

    def last(self, spent_ns: int) -> Run:
        """Go on for that long."""
        end = self.now + spent_ns
        while self.now < end:
            spins = self.handover.spin_ns > 0
            cost = self.cost(spins, self.now)
            frames = max(1, int(BURST_NS / cost))
            spent = int(frames * cost)
            self.now += spent
            self.spun += spins * spent
            self.handover.note(frames, spent)
            if spins != (self.handover.spin_ns > 0):
                self.changes.append(self.now)
        return self

    def share_spun(self, spent_ns: int) -> float:
        """Go on for that long and return how much of it was spent spinning."""
        begin, spun = self.now, self.spun
        self.last(spent_ns)
        return (self.spun - spun) / (self.now - begin)


def of(spinning: float, sleeping: float) -> Cost:
    return lambda spins, now: spinning if spins else sleeping


def test_it_begins_with_spinning() -> None:
    assert Handover().spin_ns == SPIN_NS


@SOME
@given(st.floats(1_000, 500_000), st.floats(1.2, 100), st.booleans())
def test_it_settles_on_the_cheaper_way_and_spends_little_on_the_other(
    cheap: float, ratio: float, spinning_is_cheap: bool
) -> None:
    dear = min(cheap * ratio, 1_000_000)
    run = Run(of(cheap, dear) if spinning_is_cheap else of(dear, cheap)).last(3 * TERM_NS)
    share = run.share_spun(10 * LONGEST_TERM_NS)
    assert (1 - share if spinning_is_cheap else share) < 0.1


@pytest.mark.parametrize("costs", [(10_000, 40_000), (40_000, 10_000)], ids=["spinning", "sleeping"])
def test_the_other_way_is_tried_again_and_again_but_ever_more_rarely(costs: tuple[float, float]) -> None:
    run = Run(of(*costs)).last(20 * LONGEST_TERM_NS)
    gaps = [later - earlier for earlier, later in zip(run.changes[2::2], run.changes[4::2], strict=False)]
    assert gaps[-1] > 4 * gaps[0]
    assert max(gaps) < 2 * LONGEST_TERM_NS, "it never stops trying"
    assert len(run.changes) > 30


@SOME
@given(st.integers(0, 5 * LONGEST_TERM_NS), st.booleans())
def test_it_changes_over_when_the_costs_do(at: int, spinning_first: bool) -> None:
    def cost(spins: bool, now: int) -> float:
        return 10_000 if (spins is spinning_first) == (now < at) else 60_000

    run = Run(cost).last(at + 2 * LONGEST_TERM_NS)
    share = run.share_spun(4 * LONGEST_TERM_NS)
    assert (share if spinning_first else 1 - share) < 0.1


def test_noise_does_not_make_it_choose_the_dearer_way_for_long() -> None:
    draw = random.Random(1)
    run = Run(lambda spins, now: draw.uniform(8_000, 16_000) * (1 if spins else 3)).last(3 * TERM_NS)
    assert run.share_spun(10 * LONGEST_TERM_NS) > 0.9


@pytest.mark.parametrize("costs", [(1e9, 2e9), (3e9, 1e9)], ids=["spinning", "sleeping"])
def test_frames_longer_than_any_term_are_not_tried_in_turn(costs: tuple[float, float]) -> None:
    run = Run(of(*costs)).last(int(100e9))
    share = run.share_spun(int(1000e9))
    assert 0 < (1 - share if costs[0] < costs[1] else share) < 0.15


def test_no_frame_is_no_measurement() -> None:
    handover = Handover()
    handover.note(0, 10 * TERM_NS)
    assert handover.spin_ns == SPIN_NS
    handover.note(1, 1)
    assert handover.spin_ns == 0
