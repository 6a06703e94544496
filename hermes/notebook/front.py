"""`Front`: what a session shows in a notebook. The optional packages are imported when something is first shown."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hermes.backplane.patterns import expand_patterns
from hermes.backplane.signals import Signal, SignalRegistry
from hermes.errors import BadParams, HermesError
from hermes.frametime import FrameClock, exact_seconds
from hermes.history.feed import Feed, Patterns
from hermes.notebook.hub import Hub

if TYPE_CHECKING:
    from hermes.notebook.plot import Plot
    from hermes.notebook.table import SignalTable

_MOST_AXES = 32


class Front:
    """One session's. Its methods may be called on any thread, once the session has started."""

    def __init__(self, title: str, feed: Feed) -> None:
        """Prepare; `title` is the session's name."""
        self._title, self._feed = title, feed
        self._hub: Hub | None = None

    def plot(
        self,
        axes: Sequence[Patterns],
        window: float,
        registry: SignalRegistry,
        clock: FrameClock,
        loop: asyncio.AbstractEventLoop,
    ) -> Plot:
        """Return a live plot; raises UnknownSignal, BadParams, and HermesError where a package is missing."""
        chosen = [_signals(patterns, registry) for patterns in (axes or ("*",))]
        if len(chosen) > _MOST_AXES:
            raise BadParams(f"plot takes up to {_MOST_AXES} axes; found {len(chosen)}")
        frames = _window_frames(window, clock)
        _require("plot()")
        from hermes.notebook.plot import Plot  # noqa: PLC0415 - needs optional packages

        return Plot(self._title, chosen, float(window), frames, self._feed, registry, self._open_hub(loop))

    def table(self, patterns: Patterns, registry: SignalRegistry, loop: asyncio.AbstractEventLoop) -> SignalTable:
        """Return a live table; raises UnknownSignal, and HermesError where a package is missing."""
        chosen = _signals(patterns, registry)
        _require("table()")
        from hermes.notebook.table import SignalTable  # noqa: PLC0415 - needs optional packages

        return SignalTable(self._title, chosen, self._feed, registry, self._open_hub(loop))

    def close(self) -> None:
        """End what is live; on the session's loop, after its last frame."""
        if self._hub is not None:
            self._hub.close_down()

    def _open_hub(self, loop: asyncio.AbstractEventLoop) -> Hub:
        if self._hub is None:
            from hermes.notebook.channel import Channel  # noqa: PLC0415 - needs optional packages

            self._hub = Hub(self._feed, loop, Channel())
        return self._hub


def _signals(patterns: Patterns, registry: SignalRegistry) -> list[Signal]:
    names = expand_patterns([patterns] if isinstance(patterns, str) else list(patterns), registry)
    return [registry[name] for name in names]


def _window_frames(window: float, clock: FrameClock) -> int:
    number = isinstance(window, int | float) and not isinstance(window, bool)
    if not number or not math.isfinite(window) or window <= 0:
        raise BadParams(f"window takes a number of seconds above 0; found {window!r}")
    return max(1, clock.frames(exact_seconds(window)))


def _require(what: str) -> None:
    try:
        import anywidget  # noqa: F401, PLC0415 - an optional dependency, needed here only
    except ImportError:
        raise HermesError(message=f'{what} needs anywidget: pip install "hermes-sim[notebook]"') from None
