from __future__ import annotations

import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes.engine import perturbation
from hermes.engine.perturbation import Perturbation


@given(st.integers(0, 2**32), st.lists(st.integers(), max_size=9))
def test_orders_are_the_items_in_another_order_and_the_same_for_the_same_seed(seed: int, items: list[int]) -> None:
    one, other = Perturbation(seed), Perturbation(seed)
    for _ in range(3):
        found = one.shuffled(tuple(items))
        assert Counter(found) == Counter(items)
        assert found == other.shuffled(items)


def test_every_order_comes_about() -> None:
    source = Perturbation(0)
    assert {tuple(source.shuffled("abc")) for _ in range(200)} == {
        tuple(order) for order in ("abc", "acb", "bac", "bca", "cab", "cba")
    }


def test_about_half_of_the_pauses_are_none_and_the_others_end(monkeypatch: pytest.MonkeyPatch) -> None:
    now, looks = 0, 0

    def clock() -> int:
        nonlocal now, looks
        looks += 1
        now += 1_000
        return now

    monkeypatch.setattr(perturbation.time, "perf_counter_ns", clock)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    source, lengths = Perturbation(1), []
    for _ in range(1000):
        looks = 0
        source.pause()
        lengths.append(looks)
    assert 400 < lengths.count(0) < 600
    assert 150 < max(lengths) <= 2 + perturbation.LONGEST_PAUSE_NS // 1_000
