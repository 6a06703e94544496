"""The ways in which one configuration is run: whatever they do to pace and order must not show in a single bit."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

from hermes.errors import BadParams

FEWEST_RUNS = 5
"""Each way once."""

MOST_RUNS = 1000

_STEPS = (1, 1, 2, 3, 7)
_STEPS_SEED = 1


class Way(NamedTuple):
    """One way to run: in a mode, perhaps perturbed (the seed of it), in a session of its own or after a reset."""

    name: str
    mode: str
    perturbation: int | None = None
    after_reset: bool = False


FIRST = Way("as fast as possible", "afap")


def ways(runs: int = FEWEST_RUNS) -> list[tuple[Way, ...]]:
    """Return the ways of `runs` runs, those of one session together: the first is the one that others are held against.

    What takes as long as its simulated time comes last. More than five runs are more perturbed ones. Raises BadParams
    for other than 5 to 1000.
    """
    if not FEWEST_RUNS <= runs <= MOST_RUNS:
        raise BadParams(f"runs takes a whole number from {FEWEST_RUNS} to {MOST_RUNS}, found {runs}")
    perturbed = [(Way(f"perturbed, seed {seed}", "afap", seed),) for seed in range(1, runs - FEWEST_RUNS + 2)]
    reset = Way("after a reset", FIRST.mode, after_reset=True)
    return [(FIRST, reset), (Way("stepped by hand", "single_frame"),), *perturbed, (Way("in real time", "realtime"),)]


def step_counts(most: int) -> Iterator[int]:
    """Yield how many frames to step at a time, irregular, always the same, and never more than `most`."""
    chance = random.Random(_STEPS_SEED)
    while True:
        yield min(most, chance.choice(_STEPS))
