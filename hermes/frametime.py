"""Simulation time as exact arithmetic: frames over a rational rate, never a sum of floats.

Integers in, integers or correctly rounded floats out; no clock is read here.
"""

from __future__ import annotations

from decimal import Decimal


class FrameClock:
    """The time of frames at `num`/`den` frames per second."""

    def __init__(self, num: int, den: int) -> None:
        self.num = num
        self.den = den
        self.dt = den / num

    def time(self, frame: int) -> float:
        """Return the time of a frame in seconds, correctly rounded: frame 600 at 60 Hz is 10.0."""
        return frame * self.den / self.num

    def time_ns(self, frame: int) -> int:
        """Return the time of a frame in whole nanoseconds, rounded down."""
        return frame * 1_000_000_000 * self.den // self.num

    def frames(self, seconds: tuple[int, int]) -> int:
        """Return how many frames cover a time given as an exact ratio of seconds, rounded up."""
        numerator, denominator = seconds
        return -(-numerator * self.num // (denominator * self.den))


def exact_seconds(seconds: float) -> tuple[int, int]:
    """Return the decimal number that a float was written as, as an exact ratio: 0.1 is 1/10.

    A float's shortest representation is what its author wrote, so that 1.2 s at 60 Hz is frame 72 and not 73.
    """
    return Decimal(repr(float(seconds))).as_integer_ratio()
