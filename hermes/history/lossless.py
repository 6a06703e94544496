"""A recording that misses nothing: from its first frame on, the engine waits for what has not been drained."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from hermes.config import HermesConfig
from hermes.errors import ConfigurationError, Problem
from hermes.history.feed import Feed, Patterns
from hermes.history.recording import Recording


async def record_lossless(
    feed: Feed, config: HermesConfig, patterns: Patterns, settled: Callable[[], Awaitable[object]]
) -> Recording:
    """Begin a recording when the engine has answered `settled`, for by then it knows that it has to wait.

    Raises ConfigurationError where the mode promises not to wait.
    """
    if (mode := config.execution.mode) != "afap":
        message = f"a lossless recording makes the engine wait, which needs execution.mode afap; found {mode}"
        raise ConfigurationError([Problem(config.where(("execution", "mode")), message)])
    async with engine_waits(feed, settled):
        return feed.record(patterns, lossless=True)


@asynccontextmanager
async def engine_waits(feed: Feed, settled: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
    """Let the engine wait for what is drained while something lossless begins, from when it has answered `settled`."""
    feed.hold(1)
    try:
        await settled()
        yield
    finally:
        feed.hold(-1)
