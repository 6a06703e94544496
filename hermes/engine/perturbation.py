"""What must change nothing: another order of starting and releasing workers, and random delays between them."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import TypeVar

from hermes.backplane.sync import GO, EngineGate, fence

T = TypeVar("T")

LONGEST_PAUSE_NS = 200_000
"""The longest delay put between two releases; half of them have none."""


class Perturbation:
    """A source of orders and delays, the same again for the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def release(self, gates: Sequence[EngineGate], stamp: int) -> None:
        """Release the workers in another order, with pauses in between."""
        for gate in self.shuffled(gates):
            self.pause()
            gate.go[GO] = stamp
            fence()
            gate.wake()

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """Return the items in another order."""
        return self._random.sample(items, len(items))

    def pause(self) -> None:
        """Wait for a while, or not at all."""
        if self._random.random() < 0.5:
            limit = time.perf_counter_ns() + self._random.randrange(LONGEST_PAUSE_NS)
            while time.perf_counter_ns() < limit:
                time.sleep(0)
