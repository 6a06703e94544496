"""How telemetry arrived over a span of time: rates, gaps, percentiles. Plain arithmetic over instants in seconds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise


class Window:
    """The telemetry of one client over a span: instants in s, simulation frame numbers."""

    def __init__(self, arrivals: Sequence[float], frames: Sequence[int]) -> None:
        self.arrivals = arrivals
        self.frames = frames

    @property
    def gaps(self) -> list[float]:
        """The seconds between neighbours."""
        return [later - earlier for earlier, later in pairwise(self.arrivals)]

    @property
    def rate(self) -> float:
        """Frames per second, by the first and the last; 0 for fewer than two."""
        return (len(self.arrivals) - 1) / (self.arrivals[-1] - self.arrivals[0]) if len(self.arrivals) > 1 else 0.0

    @property
    def backwards(self) -> int:
        """How often a frame was older than the one before it: after a reset, or never."""
        return sum(later < earlier for earlier, later in pairwise(self.frames))

    @property
    def simulation_rate(self) -> float:
        """Frames of the simulation per second, as the frame numbers tell."""
        if len(self.arrivals) < 2:
            return 0.0
        return (self.frames[-1] - self.frames[0]) / (self.arrivals[-1] - self.arrivals[0])

    def lost(self, hertz: float) -> int:
        """Return how many ticks of a stream of this rate are missing between the frames."""
        return sum(max(0, round(gap * hertz) - 1) for gap in self.gaps)


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the value below which this share of the ordered values lies (nearest rank); NaN of none."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else math.nan


def spread(values: Sequence[float], scale: float = 1.0, digits: int = 3) -> dict[str, float] | None:
    """Return min, p50, p99 and max of values, scaled and rounded; None of none."""
    ordered = sorted(values)
    if not ordered:
        return None
    shares = {"min": ordered[0], "p50": percentile(ordered, 0.5), "p99": percentile(ordered, 0.99), "max": ordered[-1]}
    return {name: round(value * scale, digits) for name, value in shares.items()}
