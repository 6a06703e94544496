"""Random numbers that a rerun draws again: one stream per module, from the run's seed and the module's name.

``Generator(PCG64(SeedSequence([seed, *name.encode()])))``: every byte of the name is a word of its own and never 0, so
no two names share a stream, and nothing else enters: no order of modules, process id, clock or hash. `numpy.random` is
imported by the first draw only, because its import time would be paid by every module process.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

_given: tuple[int, str] | None = None
"""Seed and name for the instances that are being made, see `seeded`."""


class Stream:
    """One module's stream of random numbers; nothing is made before `generator` is first asked for."""

    def __init__(self, own_name: str) -> None:
        """Take the seed and name that `seeded` gives; outside of it seed 0 and `own_name`, as in a unit test."""
        self._seed, self._name = _given or (0, own_name)
        self._generator: np.random.Generator | None = None
        self._start: Any = None

    @property
    def generator(self) -> np.random.Generator:
        """The generator, the same object for the stream's whole life."""
        if self._generator is None:
            from numpy.random import PCG64, Generator, SeedSequence  # noqa: PLC0415 - see above

            self._seeds = SeedSequence(self._entropy())
            bits = PCG64(self._seeds)
            self._generator, self._start = Generator(bits), bits.state
        return self._generator

    def restart(self) -> None:
        """Return to the first number, in place: whoever keeps the generator draws from the beginning, too.

        The generator then also spawns the same children as at first.
        """
        if self._generator is not None:
            self._generator.bit_generator.state = self._start
            # the one way to set back how many children it has spawned
            self._seeds.__init__(self._entropy())  # type: ignore[misc]

    def _entropy(self) -> list[int]:
        return [self._seed, *self._name.encode()]


@contextmanager
def seeded(seed: int, name: str) -> Iterator[None]:
    """Give every stream that is made meanwhile this seed and name."""
    global _given  # noqa: PLW0603 - a module's constructor takes whatever its author wants, but not these two
    before, _given = _given, (seed, name)
    try:
        yield
    finally:
        _given = before
