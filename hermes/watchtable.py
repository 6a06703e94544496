"""What `hermes.watching` draws on a terminal; the only file of the two that imports `rich`."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from hermes.clierrors import plain

if TYPE_CHECKING:
    from hermes.backplane.signals import Signal
    from hermes.client import Client
    from hermes.remote.session import Telemetry

_EVENTS = 3
"""Events that are shown, the last ones."""

_AROUND = 8 + _EVENTS
"""Lines of the picture that are no signals: header, rules, the number of those left out, events."""

_VALUE_WIDTH = 12
"""Columns of the widest usual value: a narrower one would let the table jump."""

_PACE_SECONDS = 2.0


class Pace:
    """How fast frames come, and how fast simulated time goes in them, during the last seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, float]] = deque()

    def take(self, simulated: float, now: float) -> None:
        """Note a frame of simulation time `simulated` that came at `now`; both in seconds."""
        if self._seen and simulated < self._seen[-1][0]:  # it was reset
            self._seen.clear()
        self._seen.append((simulated, now))
        while now - self._seen[0][1] > _PACE_SECONDS and len(self._seen) > 2:
            self._seen.popleft()

    @property
    def rate_hz(self) -> float:
        """Frames per second."""
        return (len(self._seen) - 1) / self._seconds if self._seconds else 0.0

    @property
    def real_time_factor(self) -> float:
        """Simulated over real time."""
        return (self._seen[-1][0] - self._seen[0][0]) / self._seconds if self._seconds else 0.0

    @property
    def _seconds(self) -> float:
        return self._seen[-1][1] - self._seen[0][1] if self._seen else 0.0


class Picture:
    """The live picture of one session."""

    def __init__(self, client: Client, names: Sequence[str]) -> None:
        self._client = client
        self._signals = [client.signals[name] for name in names]
        self._events: deque[str] = deque(maxlen=_EVENTS)
        self._pace = Pace()
        client.observe(self._note)

    def drawn(self, frame: Telemetry, now: float, height: int) -> Group:
        """Return the picture of a frame that came at `now` (s), for a terminal of so many lines."""
        self._pace.take(frame.time, now)
        shown = self._signals[: max(1, height - _AROUND)]
        table = Table(box=None, pad_edge=False)
        table.add_column("signal", no_wrap=True)
        table.add_column("value", no_wrap=True, justify="right", min_width=_VALUE_WIDTH)
        table.add_column("unit", no_wrap=True)
        for signal, value in zip(shown, frame.values.tolist(), strict=False):
            table.add_row(Text(plain(signal.qualified)), Text(_short(signal, value)), Text(plain(signal.unit)))
        left_out = len(self._signals) - len(shown)
        rest = [Text(f"... and {left_out} more; name a PATTERN to choose", style="dim")] if left_out else []
        events = [Text(event, style="dim", no_wrap=True, overflow="ellipsis") for event in self._events]
        return Group(self._header(frame), Text(), table, *rest, Text(), *events)

    def _header(self, frame: Telemetry) -> Text:
        pace = self._pace
        parts = [
            f"{frame.time:.2f} s",
            f"frame {frame.frame}",
            f"{pace.real_time_factor:.2f} x real time",
            f"{pace.rate_hz:.1f} frames/s received",
        ]
        name, state = Text(plain(self._client.name), style="bold"), Text(self._client.state, style="cyan")
        return Text("   ").join([name, state, *map(Text, parts)])

    def _note(self, event: str, fields: Mapping[str, Any]) -> None:
        """Keep an event in words; called on the client's thread."""
        message = fields.get("message", "")
        why = f": {plain(message.partition(chr(10))[0])}" if isinstance(message, str) and message else ""
        self._events.append(f"{fields['time']:.2f} s  {plain(event)}{why}")


def draw_frames(client: Client, names: Sequence[str], frames: Iterable[Telemetry]) -> None:
    """Draw every frame in the place of the one before; what was drawn last stays."""
    console = Console()
    picture = Picture(client, names)
    with Live(console=console, auto_refresh=False) as live:
        for frame in frames:
            live.update(picture.drawn(frame, time.monotonic(), console.height), refresh=True)


def draw_signals(name: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Draw the signals of a session as one table."""
    table = Table(title=Text(f"signals of {plain(name)}"))
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(text) for text in row))
    Console().print(table)


def _short(signal: Signal, value: float) -> str:
    if signal.type == "bool":
        return "true" if value else "false"
    return f"{value:.6g}" if signal.type.is_float else f"{value:.0f}"
