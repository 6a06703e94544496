"""How much may flow: the arithmetic that keeps one client from hurting the run or another client, without I/O.

Times are seconds of whatever monotonic clock the caller passes in, sizes are bytes. Nothing here is per signal, and
nothing here waits: each rule says how long to wait, whether to send, or when to give up.
"""

from __future__ import annotations

from collections.abc import Callable

CAP_FLOOR = 64 * 1024
"""Unsent bytes that every client may have before its telemetry is skipped."""

CAP_SECONDS = 0.5
"""Beyond the floor: how much of what the client really takes may wait for it."""

CHECK_SECONDS = 0.25
"""How often a client's progress is looked at."""

STALL_SECONDS = 5.0
"""A client that has taken nothing for so long, while something waited for it, is cut off."""


class TokenBucket:
    """Lets `rate` tokens per second pass, and `burst` at once after a rest; excess is a debt to wait for."""

    def __init__(self, rate: float, burst: float, now: float) -> None:
        """Begin full."""
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._at = now

    def take(self, tokens: float) -> None:
        """Take tokens, also those that are not there yet."""
        self._tokens -= tokens

    def wait(self, now: float) -> float:
        """Return the seconds until the debt is paid; 0 when there is none."""
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        return max(0.0, -self._tokens / self._rate)


class Ticker:
    """Deadlines at `origin + k / hz`, so that a rate neither drifts nor bursts, and equal rates fall together."""

    def __init__(self, hz: float, origin: float, now: float) -> None:
        """Begin with the first deadline after `now`."""
        self._hz = hz
        self._origin = origin
        self._tick = 0
        self.advance(now)

    @property
    def deadline(self) -> float:
        """When the next tick is due."""
        return self._origin + self._tick / self._hz

    def advance(self, now: float) -> None:
        """Go on to the first deadline after `now`; those that have passed are skipped."""
        self._tick = max(self._tick, int((now - self._origin) * self._hz)) + 1
        if self.deadline <= now:  # rounding, at the very instant of a deadline
            self._tick += 1


class Backlog:
    """What one client has been given and has not taken yet, and what follows from it.

    `given` counts bytes handed to the transport; what of them is unsent, the kernel's queue included, is measured by
    the caller, and only when the bound that is known without measuring does not decide.
    """

    def __init__(self) -> None:
        self.given = 0
        self.skipped = 0
        self._unsent = 0
        self._taken = 0
        self._rate = 0.0
        self._pace = 0.0
        self._room = CAP_FLOOR
        self._still_checks = 0
        self._skipping_checks = 0
        self._skipped_before = 0

    def give(self, size: int) -> None:
        """Note that `size` bytes go out."""
        self.given += size
        self._unsent += size

    def take_frame(self, size: int, measure: Callable[[], int]) -> bool:
        """Return whether a telemetry frame may go out, and note that it does or is skipped.

        The newest frame wins: one that does not fit now is never sent later.
        """
        unsent = self._unsent + size
        if unsent > self._room:
            unsent = measure() + size
            if size < unsent and unsent > self.cap(size):
                self._unsent = unsent - size
                self.skipped += 1
                return False
        self._unsent = unsent
        self.given += size
        return True

    def cap(self, size: int) -> int:
        """Return how many bytes may wait, for frames of `size`: what the client takes in half a second, and a floor.

        By what it takes and not by what it asked for: else a client that reads a tenth of its stream would always
        look at frames that are five seconds old.
        """
        return max(self._room, 2 * size)

    def check(self, unsent: int, elapsed: float) -> None:
        """Take note of progress, `elapsed` seconds after the last check."""
        progress = self.given - unsent - self._taken
        pace, self._pace = self._pace, max(progress, 0) / elapsed
        self._rate += 0.5 * (min(pace, self._pace) - self._rate)  # a buffer of the client's that fills is no reading
        self._room = max(CAP_FLOOR, int(CAP_SECONDS * self._rate))
        self._taken += progress
        self._unsent = unsent
        self._still_checks = self._still_checks + 1 if unsent and progress <= 0 else 0
        self._skipping_checks = self._skipping_checks + 1 if self.skipped > self._skipped_before else 0
        self._skipped_before = self.skipped

    @property
    def stalled(self) -> bool:
        """Whether the client has taken nothing for `STALL_SECONDS` of checks."""
        return self._still_checks * CHECK_SECONDS >= STALL_SECONDS

    @property
    def slow(self) -> bool:
        """Whether frames are being skipped for longer than a hiccup."""
        return self._skipping_checks >= 2
