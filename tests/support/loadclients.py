"""Load on a Hermes server: many raw WebSocket clients on one epoll loop, cheap enough to stand beside what they load.

1,000 clients x 60 Hz x 100 signals take well under one core. Nothing is awaited and nothing is a thread: `run` drives
every client, and each kind differs only in what it wants of its socket. In a test, `import loadclients`; for
measurements it is a process of its own, because a generator that shares a process with the server measures itself:

    python tests/support/loadclients.py ws://127.0.0.1:8765 --clients 100 --seconds 10

prints a line of JSON when all are subscribed, and one with the results. Instants are those of `time.perf_counter`.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import select
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from loadloop import ends, get_ready, run
from loadwindows import spread
from rawclient import Client
from rawframes import TEXT, client_frame, upgrade_request

__all__ = ["Asking", "Client", "Deaf", "Flooding", "HalfOpen", "Trickling", "get_ready", "results", "run"]

SETTLE_SECONDS = 0.5
"""How long clients run after the last one is ready before the window of a measurement begins."""

_TRICKLE_SECONDS = 0.05
_FLOOD_BLOCK = 32


class Deaf(Client):
    """Subscribes and never reads again; its buffer is small, so what it leaves unread is the server's soon.

    It does not even notice how the server ends it: the news would stand behind what it does not read.
    """

    receive_buffer = 4096

    @property
    def wants(self) -> int:
        return 0 if self.ready else super().wants

    def on_event(self, events: int) -> None:
        if not self.ready:
            super().on_event(events)
        elif events & (select.EPOLLERR | select.EPOLLHUP):
            self.close()


class Flooding(Client):
    """Sends `set` commands back to back, as fast as the socket takes them, and counts the replies as they come.

    `sent` counts commands begun; after `flooding = False` the last ones are sent whole, and `sent` and `replied`
    meet when the server has answered all.
    """

    def __init__(self, url: str, signal: str, value: float = 1.0, patterns: Sequence[str] = ()) -> None:
        super().__init__(url, patterns)
        text = json.dumps({"action": "set", "params": {"signal": signal, "value": value}})
        self._block = client_frame(TEXT, text.encode()) * _FLOOD_BLOCK
        self.flooding = True
        self.sent = 0
        self.replies: Counter[str] = Counter()

    @property
    def replied(self) -> int:
        """Commands answered, acknowledged or refused."""
        return self.replies["ack"] + self.replies["error"]

    @property
    def wants(self) -> int:
        return super().wants | (select.EPOLLOUT if self.ready and self.flooding else 0)

    def flush(self) -> None:
        if self.ready and self.flooding and not self._unsent:
            self._unsent = self._block
            self.sent += _FLOOD_BLOCK
        super().flush()

    def on_text(self, text: bytes) -> None:
        self.replies[json.loads(text)["type"]] += 1


class Trickling(Client):
    """Reads at so many bytes per second, behind a buffer of its own that hides it from the server for a while."""

    receive_buffer = 64 * 1024

    def __init__(self, url: str, rate: float, patterns: Sequence[str] = ("*",)) -> None:
        super().__init__(url, patterns)
        self._rate = rate
        self._allowance = 0.0

    @property
    def wants(self) -> int:
        return super().wants & ~select.EPOLLIN if self.ready else super().wants

    def on_ready(self) -> None:
        self.due = time.perf_counter() + _TRICKLE_SECONDS

    def on_due(self, now: float) -> None:
        self._allowance += self._rate * (now - self.due + _TRICKLE_SECONDS)
        self.due = now + _TRICKLE_SECONDS
        if self._allowance >= 1:
            self._allowance -= self.read(int(self._allowance))
        self._allowance = min(self._allowance, self._rate)


class HalfOpen(Client):
    """Sends one byte of a request to upgrade per second; `ready` at once, since it never gets further."""

    def begin(self) -> None:
        self._request = upgrade_request(self.host, self.target.port or 80)[:-2]  # it does not even end
        self.ready = True
        self.due = time.perf_counter()

    def on_due(self, now: float) -> None:
        self.send(self._request[:1])
        self._request = self._request[1:]
        self.due = now + 1.0 if self._request and self.closed is None else math.inf


class Asking(Client):
    """Sends `set` with an id at a fixed rate, one at a time, and keeps the round trips (s)."""

    def __init__(self, url: str, signal: str, rate: float, patterns: Sequence[str] = (), *, resume: bool) -> None:
        super().__init__(url, patterns, resume=resume)
        self._signal = signal
        self._period = 1 / rate
        self._asked: float | None = None
        self._number = 0
        self.trips: list[tuple[float, float]] = []
        """Instant of the question, and seconds to its answer."""

    def on_ready(self) -> None:
        self.due = time.perf_counter() + self._period

    def on_due(self, now: float) -> None:
        self.due += self._period * max(1, math.ceil((now - self.due) / self._period))
        if self._asked is not None:
            return
        self._number += 1
        params = {"signal": self._signal, "value": float(self._number % 8)}
        message = json.dumps({"action": "set", "params": params, "id": self._number}).encode()
        self._asked = time.perf_counter()
        self.send(client_frame(TEXT, message))

    def on_text(self, text: bytes) -> None:
        now, message = time.perf_counter(), json.loads(text)
        if message.get("id") != self._number or self._asked is None:
            return
        if message["type"] != "ack":
            raise ValueError(f"the set was refused: {message['message']}")
        self.trips.append((self._asked, now - self._asked))
        self._asked = None


def results(clients: Sequence[Client], begin: float, end: float, hertz: float) -> dict[str, Any]:
    """Return what the clients have seen between two instants, of streams of so many Hz, as plain values."""
    windows = [client.window(begin, end) for client in clients]
    found: dict[str, Any] = {
        "clients": len(clients),
        "seconds": end - begin,
        "closed": ends(clients),
        "frames": spread([len(window.arrivals) for window in windows]),
        "rate_hz": spread([window.rate for window in windows]),
        "gap_ms": spread([gap for window in windows for gap in window.gaps], 1e3),
        "lost": sum(window.lost(hertz) for window in windows),
        "backwards": sum(window.backwards for window in windows),
        "simulation_hz": windows[0].simulation_rate,
        "texts": sum(client.text_count for client in clients),
    }
    flooding = [client for client in clients if isinstance(client, Flooding)]
    if flooding:
        found |= {"sent": sum(client.sent for client in flooding)}
        found |= {"replies": dict(sum((client.replies for client in flooding), Counter()))}
    asking = [client for client in clients if isinstance(client, Asking)]
    if asking:
        trips = [trip for client in asking for asked, trip in client.trips if begin <= asked < end]
        found |= {"asked": len(trips), "round_trip_ms": spread(trips, 1e3)}
    return found


def make(options: argparse.Namespace) -> Client:
    """Return a client as the command line asks for it."""
    url, patterns, signal = options.url, options.subscribe, options.signal
    kinds: dict[str, Callable[[], Client]] = {
        "measure": lambda: Client(url, patterns, resume=options.resume),
        "deaf": lambda: Deaf(url, patterns, resume=options.resume),
        "flood": lambda: Flooding(url, signal, patterns=patterns),
        "trickle": lambda: Trickling(url, options.rate, patterns),
        "halfopen": lambda: HalfOpen(url),
        "ask": lambda: Asking(url, signal, options.rate, patterns, resume=options.resume),
    }
    return kinds[options.kind]()


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    kinds = ["measure", "deaf", "flood", "trickle", "halfopen", "ask"]
    parser.add_argument("--kind", choices=kinds, default="measure")
    parser.add_argument("--clients", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=10.0, help="the window that is measured")
    parser.add_argument("--subscribe", nargs="*", default=["*"], metavar="PATTERN", help="none: no telemetry")
    parser.add_argument("--hertz", type=float, default=60.0, help="telemetry's rate, to count lost frames by")
    parser.add_argument("--resume", action="store_true", help="resume the simulation when subscribed")
    parser.add_argument("--signal", default="", help="flood, ask: the signal to set")
    parser.add_argument("--rate", type=float, default=100.0, help="trickle: bytes per second; ask: sets per second")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run clients as the command line says; print when they are ready, then their results."""
    options = parsed(arguments)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    clients = [make(options) for _ in range(options.clients)]
    began = time.perf_counter()
    try:
        get_ready(clients)
    except (TimeoutError, ValueError, OSError) as error:
        sys.exit(f"loadclients: {error}")
    took = time.perf_counter() - began
    run(clients, SETTLE_SECONDS)
    begin, used = time.perf_counter(), time.process_time()
    print(json.dumps({"ready": len(clients), "seconds": round(took, 3)}), flush=True)
    run(clients, options.seconds)
    end, used = time.perf_counter(), time.process_time() - used
    found = results(clients, begin, end, options.hertz)
    found |= {"kind": options.kind, "generator_cpu": round(100 * used / (end - begin), 1)}
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
