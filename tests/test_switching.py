from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from hermes.switching import QuickSwitches


@pytest.fixture(autouse=True)
def interval() -> Iterator[float]:
    before = sys.getswitchinterval()
    yield before
    sys.setswitchinterval(before)


def test_threads_switch_quickly_from_the_first_to_the_last(interval: float) -> None:
    switches = QuickSwitches()
    switches.begin()
    assert sys.getswitchinterval() == pytest.approx(0.001, rel=1e-2)
    switches.begin()
    switches.end()
    assert sys.getswitchinterval() == pytest.approx(0.001, rel=1e-2)
    switches.end()
    assert sys.getswitchinterval() == interval
    switches.begin()
    assert sys.getswitchinterval() == pytest.approx(0.001, rel=1e-2)
    switches.end()
    assert sys.getswitchinterval() == interval


def test_what_somebody_else_has_chosen_stays() -> None:
    switches = QuickSwitches()
    sys.setswitchinterval(0.0002)
    chosen = sys.getswitchinterval()
    switches.begin()
    assert sys.getswitchinterval() == chosen
    switches.end()
    assert sys.getswitchinterval() == chosen
    sys.setswitchinterval(0.005)
    switches.begin()
    sys.setswitchinterval(0.01)
    switches.end()
    assert sys.getswitchinterval() == pytest.approx(0.01, rel=1e-3)
