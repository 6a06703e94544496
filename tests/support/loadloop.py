"""One epoll loop that drives any number of raw clients, of all kinds at once."""

from __future__ import annotations

import math
import select
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence

from bounds import PATIENCE
from rawclient import Client

OPENING = 32
"""Clients that are between connecting and their ack at a time: more would overflow the server's accept queue."""


def run(clients: Sequence[Client], seconds: float, until: Callable[[], object] | None = None) -> None:
    """Drive clients for so many seconds, or until a condition holds, or all are closed; connect those that are not.

    May be called again to go on.
    """
    deadline = time.perf_counter() + seconds
    with _Loop(clients) as loop:
        while loop.turn(deadline) and not (until is not None and until()):
            pass


def get_ready(clients: Sequence[Client], seconds: float = PATIENCE) -> None:
    """Drive clients until all are subscribed; raises TimeoutError where one does not get there, or is refused."""
    run(clients, seconds, lambda: all(client.ready or client.closed is not None for client in clients))
    late = [client for client in clients if not client.ready]
    if late:
        raise TimeoutError(f"{len(late)} of {len(clients)} clients are not subscribed: {ends(late)}")


def ends(clients: Sequence[Client]) -> dict[str, int]:
    """Return how many connections have ended how."""
    return dict(Counter(str(client.closed) for client in clients if client.closed is not None))


class _Loop:
    """One epoll over the clients."""

    def __init__(self, clients: Sequence[Client]) -> None:
        self._poll = select.epoll()
        self._clients: dict[int, Client] = {}
        self._wanted: dict[int, int] = {}
        self._timed: set[int] = set()
        self._opening: set[int] = set()
        self._unopened = deque(client for client in clients if client.sock is None and client.closed is None)
        for client in clients:
            if client.sock is not None and client.closed is None:
                self._register(client)

    def __enter__(self) -> _Loop:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._poll.close()

    def turn(self, deadline: float) -> bool:
        """Wait for events and hand them out; return whether there is more to do before the deadline."""
        while self._unopened and len(self._opening) < OPENING:
            client = self._unopened.popleft()
            client.open()
            self._register(client)
        due = min((self._clients[number].due for number in self._timed), default=math.inf)
        for number, events in self._poll.poll(max(0.0, min(due, deadline) - time.perf_counter())):
            self._clients[number].on_event(events)
            self._settle(number)
        now = time.perf_counter()
        for number in [number for number in self._timed if self._clients[number].due <= now]:
            self._clients[number].on_due(now)
            self._settle(number)
        return bool(self._clients or self._unopened) and now < deadline

    def _register(self, client: Client) -> None:
        assert client.sock is not None
        number = client.sock.fileno()
        self._clients[number] = client
        self._wanted[number] = client.wants
        self._opening.add(number)
        self._poll.register(number, client.wants)
        self._settle(number)

    def _settle(self, number: int) -> None:
        """Follow what has become of a client: closed, ready, waiting for an instant, wanting other events."""
        client = self._clients[number]
        if client.closed is not None:
            del self._clients[number]
            self._opening.discard(number)
            self._timed.discard(number)
            return
        if client.ready:
            self._opening.discard(number)
        if client.due < math.inf:
            self._timed.add(number)
        elif self._timed:
            self._timed.discard(number)
        wanted = client.wants
        if wanted != self._wanted[number]:
            self._wanted[number] = wanted
            self._poll.modify(number, wanted)
