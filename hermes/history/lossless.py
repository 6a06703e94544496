"""A recording that misses nothing: from its first frame on, the engine waits for what has not been drained."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

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
    feed.hold(1)
    try:
        await settled()
        return feed.record(patterns, lossless=True)
    finally:
        feed.hold(-1)
