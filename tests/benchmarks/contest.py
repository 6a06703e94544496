"""Several contestants on one noisy machine: they take turns in rounds, and each is judged by the median of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import NamedTuple

from tables import say

Contestant = Callable[[int], float]
"""Does a number of frames and returns the seconds that they took."""

_FIRST_FRAMES = 200


class Rate(NamedTuple):
    """Frames per second: the median of the rounds, and the least and the most of them."""

    median: float
    least: float
    most: float

    @property
    def spread(self) -> str:
        """The least and the most as text."""
        return f"{self.least:,.0f} .. {self.most:,.0f}"


def contest(contestants: Mapping[str, Contestant], rounds: int, seconds: float) -> dict[str, Rate]:
    """Return the rate of every contestant, of rounds of about so many seconds each; first comes one to warm up."""
    frames = {name: frames_in(run, seconds) for name, run in contestants.items()}
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds):
        for name in turn(list(contestants), number):
            rates[name].append(frames[name] / contestants[name](frames[name]))
    return {name: Rate(median(found), min(found), max(found)) for name, found in rates.items()}


def turn(names: Sequence[str], number: int) -> Sequence[str]:
    """Return the order of a round: every other one backwards, so that nobody always follows the same."""
    return names if number % 2 == 0 else names[::-1]


def frames_in(run: Contestant, seconds: float) -> int:
    """Return how many frames a contestant does in about so many seconds."""
    count = _FIRST_FRAMES
    while (took := run(count)) < seconds / 4:
        count = int(count * min(10.0, max(2.0, seconds / 2 / took)))
    return max(_FIRST_FRAMES, int(count * seconds / took))


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value below which so many percent of the values lie; `values` sorted and not empty."""
    return values[min(len(values) - 1, int(len(values) * percent / 100))]


def left_out(what: str, why: object) -> None:
    """Say in one line that something is not measured."""
    say(f"not measured: {what}: {' '.join(str(why).split())[:150]}")
