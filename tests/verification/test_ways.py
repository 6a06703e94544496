from __future__ import annotations

from itertools import islice

import pytest

from hermes.errors import BadParams
from hermes.verification.ways import FIRST, step_counts, ways


def test_each_way_once_and_more_runs_are_perturbed_with_other_seeds() -> None:
    together = ways()
    assert together[0][0] is FIRST
    runs = [way for session in together for way in session]
    assert [way.mode for way in runs] == ["afap", "afap", "single_frame", "afap", "realtime"]
    assert [way.after_reset for way in runs] == [False, True, False, False, False]
    assert [way.perturbation for way in runs] == [None, None, None, 1, None]
    more = [way for session in ways(8) for way in session]
    assert [way.perturbation for way in more] == [None, None, None, 1, 2, 3, 4, None]
    assert len({way.name for way in more}) == len(more) == 8


@pytest.mark.parametrize("runs", [0, 4, 1001])
def test_fewer_than_the_ways_or_too_many_are_refused(runs: int) -> None:
    with pytest.raises(BadParams, match=f"runs takes a whole number from 5 to 1000, found {runs}"):
        ways(runs)


def test_steps_are_irregular_the_same_each_time_and_bounded() -> None:
    counts = list(islice(step_counts(256), 100))
    assert counts == list(islice(step_counts(256), 100))
    assert set(counts) == {1, 2, 3, 7}
    assert set(islice(step_counts(2), 100)) == {1, 2}
