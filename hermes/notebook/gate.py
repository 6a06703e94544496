"""When the next message may go to the browsers: a comm has no backpressure of its own.

Every message has a number; every page that shows something answers with the highest number it has drawn. At most
`DEPTH` messages are on their way to a page that answers. One that has not answered for `TIMEOUT` seconds no longer
holds back the others, and where none answers at all one message is tried per timeout. A page that stays silent for
`FORGOTTEN` seconds is taken for gone; should it speak again, it is back.

Arithmetic over a clock that is passed in: nothing here sends or waits.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum

DEPTH = 2
"""Messages that may be on their way to a page."""

TIMEOUT = 1.0
"""Seconds after which an answer is overdue."""

FORGOTTEN = 10.0
"""Seconds of silence, with an answer overdue, after which a page is taken for gone."""


class Leave(Enum):
    """What may be sent now."""

    NONE = "none"
    NEXT = "next"
    AGAIN = "again"
    """Everything anew: what was sent before may be lost."""


@dataclass
class _Page:
    shows: frozenset[str]
    drawn: int
    heard: float
    waiting_since: float

    def overdue(self, newest: int, now: float) -> bool:
        return self.drawn < newest and now - self.waiting_since >= TIMEOUT


class Gate:
    """The pages that show something of one session, and what is on its way to them. Times are in seconds."""

    def __init__(self) -> None:
        self._pages: dict[str, _Page] = {}
        self._newest = 0
        self._sent_at = float("-inf")

    def __len__(self) -> int:
        """Return the number of pages that are not gone."""
        return len(self._pages)

    @property
    def shown(self) -> frozenset[str]:
        """What any page shows."""
        return frozenset[str]().union(*(page.shows for page in self._pages.values()))

    def hear(self, name: str, shows: Collection[str], drawn: int, now: float) -> frozenset[str]:
        """Take in what a page shows and has drawn; return what it shows that it did not when it was heard before."""
        before = self._pages.pop(name, None)
        if not shows:
            return frozenset()
        shown = frozenset(shows)
        if before is None:
            self._pages[name] = _Page(shown, self._newest, now, now)
            return shown
        progress = min(drawn, self._newest) > before.drawn
        since = now if progress else before.waiting_since
        self._pages[name] = _Page(shown, max(before.drawn, min(drawn, self._newest)), now, since)
        return shown - before.shows

    def leave(self, now: float) -> Leave:
        """Return what may be sent now; forgets the pages that are gone."""
        self._forget(now)
        if not self._pages:
            return Leave.NONE
        answering = [page for page in self._pages.values() if not page.overdue(self._newest, now)]
        if not answering:
            return Leave.AGAIN if now - self._sent_at >= TIMEOUT else Leave.NONE
        full = any(self._newest - page.drawn >= DEPTH for page in answering)
        return Leave.NONE if full else Leave.NEXT

    def sent(self, now: float) -> int:
        """Return the number for the message that is sent now."""
        for page in self._pages.values():
            if page.drawn == self._newest:
                page.waiting_since = now
        self._newest += 1
        self._sent_at = now
        return self._newest

    def _forget(self, now: float) -> None:
        for name, page in list(self._pages.items()):
            if page.overdue(self._newest, now) and now - page.heard >= FORGOTTEN:
                del self._pages[name]
