"""The modules that the engine is measured with: they do next to nothing, so that what is measured is the engine."""

from __future__ import annotations

import random
import time as clock

import hermes

DELAY_NS = 20_000


class Toy(hermes.Module):
    """Takes part in a ring of wires."""

    x_in = hermes.Input()
    x_out = hermes.Output()

    def step(self, time: float, dt: float) -> None:
        self.x_out = 0.5 * self.x_in + 1


class Delayed(hermes.Module):
    """Counts its steps, is busy for up to 20 us before each, and compares with the count of the module before it.

    `skew` counts the frames in which that module had not done exactly one step less than this one is doing.
    """

    before = hermes.Input(type="i64")
    steps = hermes.Output(type="i64")
    skew = hermes.Output(type="i64")
    x = hermes.Output()

    def __init__(self) -> None:
        self._random = random.Random()

    def step(self, time: float, dt: float) -> None:
        until = clock.perf_counter_ns() + self._random.randrange(DELAY_NS + 1)
        while clock.perf_counter_ns() < until:
            pass
        self.skew += self.before != self.steps
        self.steps += 1
        self.x = 0.5 * self.x + self.before
