"""The feed: it copies committed slots out of the ring and hands them to the history and to every recording.

While frames are being committed it does so about 20 times a second on the session's loop, more often where the ring
would be overwritten before, and not at all while the session is idle. A query drains first, on its own thread; one
lock orders all of them. A stretch of slots is copied at once and looked at only when it is known to be whole.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import RLock
from typing import Any, Protocol
from weakref import WeakSet

from hermes.backplane.link import UNDRAINED
from hermes.backplane.patterns import expand_patterns
from hermes.backplane.shm import SharedMemoryManager
from hermes.backplane.signals import SignalRegistry
from hermes.errors import BadParams, NotReady
from hermes.frametime import FrameClock, exact_seconds
from hermes.history.missed import Epochs, Missed, MissedLog
from hermes.history.recording import Recording
from hermes.history.rows import Place, Words, as_table, one_per_frame, place_of, slot_words, table_dtype
from hermes.history.store import HISTORY_BYTES, Decimated, Store
from hermes.history.table import History

log = logging.getLogger("hermes.session")

Patterns = str | Sequence[str]
"""One pattern, or several, as `hermes.backplane.patterns` reads them."""

_TICK_SECONDS = 0.05
_SHORTEST_TICK_SECONDS = 0.01
_STRETCH_BYTES = 1 << 20
"""Copied at once: it fits the processor's cache, from where it is copied on."""

_BEFORE = Place(0, 0, -1)


class Taker(Protocol):
    """What is handed every frame, under the feed's lock; a `Recording`, as a rule."""

    lossless: bool
    stopped: bool

    def take(self, slots: Words) -> None:
        """Take slots, at least one, in order, one of each epoch and frame; the first may replace the last before."""

    def miss(self, before: Place, after: Place) -> None:
        """Take in that every slot between two published frames is lost."""


class Feed:
    """One session's. Everything but `open`, `hear` and `close`, which belong to the loop, may be called anywhere."""

    def __init__(self, budget: int = HISTORY_BYTES) -> None:
        self.lock = RLock()
        self._budget = budget
        self._shm: SharedMemoryManager | None = None
        self._registry: SignalRegistry | None = None
        self._epochs = Epochs()
        self._gaps = MissedLog(self._epochs)
        self._recordings: WeakSet[Taker] = WeakSet()
        self._starting = 0
        self._held = False
        self._timer: asyncio.TimerHandle | None = None
        self._position = 0
        self._seen = _BEFORE
        self._newest: Words | None = None

    def open(self, shm: SharedMemoryManager, running: Callable[[], bool], report: Callable[[int | None], None]) -> None:
        """Begin with the memory of a started engine.

        `running` says whether frames are being committed; `report` tells the engine up to which sequence they have
        been drained while a lossless recording asks it to wait for that, and None when none does any more.
        """
        self._loop = asyncio.get_running_loop()
        self._running, self._report = running, report
        self._clock = FrameClock(*shm.rate)
        self._store = Store(len(shm.registry), self._budget)
        self._shm, self._registry = shm, shm.registry

    def hear(self, record: dict[str, Any]) -> None:
        """Take one of the engine's records: where there is news, frames may have been committed."""
        self._epochs.hear(record)
        if record["type"] == UNDRAINED:
            self.drain()
            self._answer()
        elif self._timer is None and self._shm is not None:
            self._arm(_TICK_SECONDS)

    def close(self) -> None:
        """Take what was committed last, and let go of the memory; history and recordings stay readable."""
        if self._timer is not None:
            self._timer.cancel()
        with self.lock:
            self.drain()
            for recording in list(self._recordings):
                self.detach(recording)
                recording.stopped = True
            self._shm = None

    # -- queries

    def history(self, patterns: Patterns, last: float | None) -> History:
        """Return what is kept of the current epoch; raises NotReady, UnknownSignal and BadParams."""
        registry = self._known("history")
        names = _expanded(patterns, registry)
        span = None if last is None else self._frames(last)
        with self.lock:
            self.drain()
            store = self._store
            since = 0 if span is None else max(0, store.newest_frame() - span)
            words = store.select([registry.index(name) for name in names], since)
            missed = [one for one in self._gaps.missed() if one.epoch == store.epoch and one.last >= since]
            decimated = store.decimated()
        signals = [registry[name] for name in names]
        table = as_table(words, table_dtype(signals, with_epoch=False))
        return History(table, signals, store.epoch, Missed(missed), _since(decimated, since))

    def rows(self, signals: Sequence[int], epoch: int, since: int, last: int) -> tuple[int, Words]:
        """Return the current epoch, and rows of frame, time and the cells at these indices of its newest frames.

        Those are the newest frame and the `last` before it; where `epoch` is still the current one, only those from
        number `since` on. A frame that was published again has its newest values.
        """
        with self.lock:
            self.drain()
            store = self._store
            oldest = max(0, store.newest_frame() - last)
            return store.epoch, store.select(signals, max(oldest, since) if epoch == store.epoch else oldest)

    @property
    def committed(self) -> int:
        """The newest committed sequence: as long as it stays the same, so do all rows."""
        with self.lock:
            return self._position if self._shm is None else self._shm.committed

    def record(self, patterns: Patterns, *, lossless: bool) -> Recording:
        """Return a recording that begins with the newest committed frame; raises NotReady and UnknownSignal.

        A lossless one needs an engine that waits already: see `hold`.
        """
        registry = self._known("record")
        recording = Recording(self, registry, _expanded(patterns, registry), self._epochs, lossless=lossless)
        self.attach(recording)
        return recording

    def attach(self, recording: Taker) -> None:
        """Hand on every frame from the newest committed one on; whoever lets go of it ends that."""
        with self.lock:
            self.drain()
            if self._newest is not None:
                recording.take(self._newest)
            self._recordings.add(recording)

    def hold(self, change: int) -> None:
        """Let the engine wait for what is drained, from +1 to -1, while a lossless recording begins; on the loop."""
        self._starting += change
        self.drain()
        self._answer()

    # -- draining

    def drain(self) -> None:
        """Hand on everything that was committed before the call and that the ring still holds."""
        with self.lock:
            shm = self._shm
            if shm is None:
                return
            goal = shm.committed
            limit = max(1, _STRETCH_BYTES // shm.layout.stride)
            while self._position < goal:
                first, slots = shm.stretch(self._position + 1, limit)
                words = slot_words(slots, shm.layout.stride)
                self._position = first - 1 + len(words)
                if len(words):
                    self._hand_on(words)

    def detach(self, recording: Taker) -> None:
        """Hand nothing on to this recording any more."""
        with self.lock:
            self._recordings.discard(recording)
            if self._shm is not None and recording.lossless:
                with suppress(RuntimeError):  # the loop has ended, and with it the engine
                    self._loop.call_soon_threadsafe(self._answer)

    def _hand_on(self, words: Words) -> None:
        first, before = place_of(words[0]), self._seen
        recordings = list(self._recordings)
        if first.epoch != self._store.epoch:
            self._gaps = MissedLog(self._epochs)
        if first.sequence != before.sequence + 1:
            for log_of in (self._gaps.note, *(recording.miss for recording in recordings)):
                log_of(before, first)
        words = one_per_frame(words)
        self._newest = words[-1:].copy()
        self._seen = place_of(words[-1])
        self._store.take(words)
        if self._seen.epoch != first.epoch:
            self._gaps = MissedLog(self._epochs)
        for recording in recordings:
            self._hand_to(recording, words)

    def _hand_to(self, recording: Taker, words: Words) -> None:
        try:
            recording.take(words)
        except MemoryError:
            self.detach(recording)
            recording.stopped = True
            log.error("no memory for more of a recording; it stops, and keeps what it has")

    # -- on the loop

    def _arm(self, seconds: float) -> None:
        self._timer = self._loop.call_later(seconds, self._tick, seconds)

    def _tick(self, waited: float) -> None:
        """Drain, and come again while frames are being committed."""
        self._timer = None
        shm = self._shm
        if shm is None:
            return
        fresh = shm.committed - self._position
        if self.lock.acquire(blocking=False):  # else a query drains at this moment
            try:
                self.drain()
                self._answer()
            finally:
                self.lock.release()
        if self._running():
            self._arm(_next_wait(waited, fresh, shm.layout.slots))

    def _answer(self) -> None:
        """Tell the engine how far it need not wait, where it waits at all."""
        if self._shm is None:
            return
        with self.lock:
            wanted = self._starting or any(recording.lossless for recording in self._recordings)
        if wanted:
            self._held = True
            self._report(self._position)
        elif self._held:
            self._held = False
            self._report(None)

    def _known(self, what: str) -> SignalRegistry:
        if self._registry is None:
            raise NotReady(what)
        return self._registry

    def _frames(self, seconds: float) -> int:
        number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
        if not number or not math.isfinite(seconds) or seconds < 0:
            raise BadParams(f"last takes a number of seconds of at least 0, or None for everything; found {seconds!r}")
        return self._clock.frames(exact_seconds(seconds))


def _next_wait(waited: float, fresh: int, slots: int) -> float:
    """Return when to drain again, in seconds: before half of the ring is filled, if that can be."""
    until_half = waited * slots / 2 / max(1, fresh)
    return min(_TICK_SECONDS, max(_SHORTEST_TICK_SECONDS, until_half))


def _expanded(patterns: Patterns, registry: SignalRegistry) -> list[str]:
    return expand_patterns([patterns] if isinstance(patterns, str) else list(patterns), registry)


def _since(decimated: Decimated | None, since: int) -> Decimated | None:
    """Return the part of a decimated stretch from a frame on."""
    if decimated is None or decimated.last < since:
        return None
    return decimated._replace(first=max(decimated.first, since))
