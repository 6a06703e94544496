"""The hub: what all plots and tables of one session show travels in one message a tick, through one hidden widget.

On the session's loop a timer ticks while a page shows something, and only then. A tick sends at most one message, and
only where something has been committed since and the `Gate` lets it go. Pages say what they show and what they have
drawn; such a word arrives on any thread and is handed over to the loop. When the session is closed there is no timer
any more: a page that asks then is answered on the thread on which it asks.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any, Protocol

from hermes.history.feed import Feed
from hermes.notebook.gate import Gate, Leave
from hermes.notebook.streams import Stream, message

TICK_HZ = 25
"""Messages a second, at most."""

_PERIOD = 1 / TICK_HZ


class Pages(Protocol):
    """How a hub reaches the pages; see `hermes.notebook.channel.Channel`."""

    model_id: str

    def listen(self, heard: Callable[[Any], None]) -> None:
        """Call `heard` with what a page says, on any thread."""

    def post(self, header: dict[str, Any], payload: bytes) -> None:
        """Send to every page; on any thread."""


class Hub:
    """One session's. `close_down` ends it; what it showed stays where it is shown."""

    def __init__(self, feed: Feed, loop: asyncio.AbstractEventLoop, pages: Pages) -> None:
        """Prepare to show what `feed` has; `loop` is the session's."""
        self._feed = weakref.ref(feed)  # a widget lives as long as its kernel; the history need not
        self._loop = loop
        self._pages = pages
        self._lock = Lock()
        self._gate = Gate()
        self._streams: dict[str, Stream] = {}
        self._fresh: set[str] = set()
        self._committed = -1
        self._timer: asyncio.Handle | None = None
        self._due = 0.0
        self._held = False
        self._ended = False
        self.model_id = pages.model_id
        pages.listen(self._on_message)

    def add(self, name: str, stream: Stream) -> None:
        """Serve a plot or a table from now on; on any thread."""
        with self._lock:
            self._streams[name] = stream

    def remove(self, name: str) -> None:
        """Serve it no more; on any thread."""
        with self._lock:
            self._streams.pop(name, None)

    def close_down(self) -> None:
        """Send what is still missing, and end the timer; on the session's loop, after its last frame."""
        if not self._ended:
            self._ended = True
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if len(self._gate):
                self._send(time.monotonic(), again=False)

    # -- from the pages

    def _on_message(self, content: Any) -> None:
        """Hand over what a page says; called on any thread."""
        if self._ended or self._loop.is_closed():
            self._answer_late(content)
            return
        try:
            self._loop.call_soon_threadsafe(self._hear, content)
        except RuntimeError:  # the loop was closed at this moment
            self._answer_late(content)

    def _hear(self, content: Mapping[str, Any]) -> None:
        new = self._gate.hear(content["page"], content["shows"], content["drawn"], time.monotonic())
        self._fresh.update(new, content["asks"])
        if self._ended:
            self._answer_late(content)
        elif (self._timer is None or self._held) and len(self._gate):
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_soon(self._tick)

    def _answer_late(self, content: Mapping[str, Any]) -> None:
        """Answer a page that asks after the session has ended, with everything it asks for, at once."""
        with self._lock:
            wanted = [stream for name, stream in self._streams.items() if name in content["asks"]]
        self._deliver(self._gate.sent(time.monotonic()), wanted, again=True)

    # -- on the loop

    def _tick(self) -> None:
        """Send, and come again at the next deadline; where the pages are behind, when one of them answers."""
        self._timer = None
        now = time.monotonic()
        leave = self._gate.leave(now)
        self._held = leave is Leave.NONE
        wait = _PERIOD
        if not self._held:
            self._send(now, again=leave is Leave.AGAIN)
            self._due = next_deadline(self._due, now)
            wait = self._due - now
        if len(self._gate):
            self._timer = self._loop.call_later(wait, self._tick)

    def _send(self, now: float, *, again: bool) -> None:
        feed = self._feed()
        if feed is None:
            return
        committed = feed.committed
        moved, self._committed = committed != self._committed, committed
        if not (moved or again or self._fresh):
            return
        wanted = self._gate.shown if moved or again else self._fresh & self._gate.shown
        with self._lock:
            streams = {name: self._streams[name] for name in wanted if name in self._streams}
        for name in self._fresh & set(streams):
            streams[name].restart()
        self._fresh.clear()
        if streams:
            self._deliver(self._gate.sent(now), list(streams.values()), again=again)

    def _deliver(self, number: int, streams: list[Stream], *, again: bool) -> None:
        feed = self._feed()
        if feed is None or not streams:
            return
        for stream in streams if again else ():
            stream.restart()
        blocks = [block for stream in streams if (block := stream.block(feed)) is not None]
        header, payload = message(number, blocks)
        self._pages.post(header, payload)


def next_deadline(due: float, now: float) -> float:
    """Return when to tick next, in seconds, after the tick that was `due` and happens `now`.

    Deadlines do not drift with what a tick takes; after a late one the next comes after half a period at the earliest.
    """
    late = now - due
    return due + _PERIOD if late < _PERIOD / 2 else now + _PERIOD / 2 if late < _PERIOD else now + _PERIOD
