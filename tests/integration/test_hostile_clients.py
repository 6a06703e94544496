"""Clients that do not read, read too slowly or command without end: they are bounded, and nobody else notices."""

from __future__ import annotations

import json
import math
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import faults
import pytest
from bounds import PATIENCE, promised
from loadclients import Client, Deaf, Flooding, Trickling, run

SIGNALS = 8_189
"""So many make a frame of 64 KiB."""

SOAK = [pytest.mark.soak, pytest.mark.timeout(900)]


def lengths(short: float, full: float) -> Sequence[Any]:
    """Return the seconds of a test and of its long version."""
    return [pytest.param(short, id="short"), pytest.param(full, id="full", marks=SOAK)]


def configuration(directory: Path) -> Path:
    """Return a session whose frames have 64 KiB, at 60 Hz."""
    return faults.plants(directory, execution="rate_hz: 60", signals=SIGNALS)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[faults.Served]:
    """Run such a session for all tests."""
    with faults.serving(configuration(tmp_path_factory.mktemp("wide"))) as running:
        yield running


class Numbered(Flooding):
    """Sends `set` as fast as the socket takes it, each with an id of its own, and matches every reply.

    Each has one; acks come in order. In the burst that is free, more than 256 may come to wait, which is refused.
    """

    def __init__(self, url: str, signal: str) -> None:
        super().__init__(url, signal)
        self._signal = signal
        self.began = math.inf
        self.acked: list[int] = []
        self.refused: set[int] = set()
        self.last = 0.0

    def on_ready(self) -> None:
        self.began = time.perf_counter()

    def flush(self) -> None:
        if self.ready and self.flooding and not self._unsent:
            numbers = range(self.sent, self.sent + 32)
            commands = [faults.command("set", number, signal=self._signal, value=number) for number in numbers]
            self._unsent = b"".join(commands)
            self.sent += len(commands)
        Client.flush(self)

    def on_text(self, text: bytes) -> None:
        message = json.loads(text)
        if message["type"] == "ack":
            self.acked.append(message["id"])
        elif message["type"] == "error":
            assert message["code"] == "too_many"
            assert message["id"] not in self.refused
            self.refused.add(message["id"])
        self.last = time.perf_counter()

    def served(self) -> float:
        """Check that every command up to the newest was answered once; return how many a second beyond the burst."""
        assert sorted({*self.acked, *self.refused}) == list(range(len(self.acked) + len(self.refused)))
        assert self.acked == sorted(self.acked)
        assert len(self.acked) + len(self.refused) < self.sent
        assert not self.refused or max(self.refused) < promised(1_000)
        return (len(self.acked) + len(self.refused) - 400) / (self.last - self.began)


def flooding(url: str) -> list[Numbered]:
    """Return four that set something of their own."""
    return [Numbered(url, signal) for signal in ("a.push", "a.long", "b.loose", "b.short")]


def cut_off(server: faults.Served, stuck: Sequence[Client], *others: Client) -> float:
    """Drive clients until the server has cut off those that are stuck; return after how many seconds."""
    own = [f"client 127.0.0.1:{client.sock.getsockname()[1]} cut off" for client in stuck if client.sock is not None]
    begin = time.perf_counter()
    while not all(line in server.log for line in own):
        assert time.perf_counter() - begin < PATIENCE
        run([*stuck, *others], 0.05)
    return time.perf_counter() - begin


def told(seen: dict[str, Any]) -> str:
    """Return in short what a watcher saw."""
    gap = seen["gap_ms"]
    return f"{seen['frames']['max']:g} frames in {seen['seconds']:.2f} s, gap p99 {gap['p99']} max {gap['max']} ms"


def slow_clients(hearing: Client) -> dict[str, int]:
    """Return how many frames each slow client had missed when the others were told."""
    events = [message for message in hearing.messages if message.get("event") == "client_slow"]
    return {event["client"]: event["skipped"] for event in events}


@pytest.mark.parametrize("seconds", lengths(8, 30))
def test_who_never_reads_is_skipped_counted_and_cut_off(wide: faults.Served, seconds: float) -> None:
    hearing = Client(wide.url, ())

    def be_deaf() -> tuple[float, int]:
        begin, rounds, longest = time.perf_counter(), 0, 0.0
        while time.perf_counter() - begin < seconds - 4:  # who is cut off is followed by another
            deaf = [Deaf(wide.url) for _ in range(8)]
            with faults.held(deaf):
                longest = max(longest, cut_off(wide, deaf, hearing))
            rounds += 1
        return longest, rounds

    with faults.held([hearing]), wide.growth() as grown:
        (longest, rounds), seen = faults.tick_ok_during(wide.url, be_deaf)
    slow = slow_clients(hearing)
    print(f"measured: gone after {longest:.2f} s, {rounds} rounds, + {grown[0] / faults.MIB:.1f} MiB, {told(seen)}")
    print(f"measured: {len(slow)} clients told slow, having missed {sorted(slow.values())}")
    assert len(slow) >= 8 * rounds
    assert min(slow.values()) > 0
    assert longest <= promised(6)
    assert grown[0] <= 16 * faults.MIB


@pytest.mark.parametrize("seconds", lengths(12, 300))
def test_who_reads_a_tenth_gets_new_frames_and_stays(wide: faults.Served, seconds: float) -> None:
    names = [f"a.wide.x{number}" for number in range(4_093)]
    rate = 0.1 * (24 + 8 * len(names)) * 60
    slow, innocent = Trickling(wide.url, rate, names), Client(wide.url, ["a.count"])

    def trickle() -> dict[str, Any]:
        before = len(slow.arrivals)
        run([slow, innocent], seconds)
        assert slow.closed is None
        assert len(slow.arrivals) - before > promised(0.9, slack=0.2) * 6 * seconds
        slow.command("status")
        run([slow, innocent], PATIENCE, lambda: status_of(slow))
        return status_of(slow)

    with faults.held([slow, innocent]):
        status, seen = faults.tick_ok_during(wide.url, trickle)
    ages = sorted(ages_at(slow, innocent))
    print(f"measured: {len(ages)} frames, age p50 {ages[len(ages) // 2]:.2f} max {ages[-1]:.2f} s")
    print(f"measured: {status['sent']} sent, {status['skipped']} skipped, {told(seen)}")
    assert ages[len(ages) // 2] <= promised(1, slack=4)
    assert ages[-1] <= promised(1)
    assert status["sent"] == pytest.approx(len(slow.arrivals), abs=16)
    assert status["skipped"] > promised(8, slack=0.02) * status["sent"]


def status_of(client: Client) -> dict[str, Any]:
    """Return the client's newest status, or nothing."""
    return next((message for message in reversed(client.messages) if message.get("action") == "status"), {})


def ages_at(slow: Client, innocent: Client) -> Iterator[float]:
    """Yield how old each frame was when a slow client had it: since an innocent one had it, or a newer."""
    first = dict(zip(reversed(innocent.frames), reversed(innocent.arrivals), strict=True))
    frames = sorted(first)
    for arrival, frame in zip(slow.arrivals, slow.frames, strict=True):
        if frame >= frames[0]:
            yield arrival - first[frames[bisect_left(frames, frame)]]


@pytest.mark.parametrize("seconds", lengths(6, 60))
def test_who_sets_without_end_is_served_200_times_a_second(wide: faults.Served, seconds: float) -> None:
    def flood() -> list[Numbered]:
        clients = flooding(wide.url)
        with faults.held(clients):
            run(clients, seconds)
            assert all(client.closed is None for client in clients)
        return clients

    with wide.growth() as grown:
        clients, seen = faults.tick_ok_during(wide.url, flood)
    rates = [round(client.served(), 1) for client in clients]
    refused = sum(len(client.refused) for client in clients)
    print(
        f"measured: {rates} sets/s beyond the burst of 400, {refused} refused in it, + {grown[0] / faults.MIB:.1f} MiB"
    )
    print(f"measured: {told(seen)}")
    for rate in rates:
        assert rate <= 220
        assert 400 + rate * seconds >= promised(400 + 180 * seconds, slack=0.1)


def test_stuck_and_flooding_clients_cost_an_innocent_one_nothing(tmp_path: Path) -> None:
    with faults.serving(configuration(tmp_path)) as server:

        def misbehave() -> float:
            deaf, floods = [Deaf(server.url) for _ in range(8)], flooding(server.url)
            with faults.held([*deaf, *floods]):
                gone = cut_off(server, deaf, *floods)
                run(floods, 2)
                for client in floods:
                    client.served()
                    assert client.closed is None
            return gone

        with server.growth() as grown:
            gone, seen = faults.tick_ok_during(server.url, misbehave)
        fresh = [*(Deaf(server.url) for _ in range(8)), *flooding(server.url)]
        with faults.held(fresh):
            run(fresh, 1)
            took = server.end()
    print(f"measured: gone after {gone:.2f} s, + {grown[0] / faults.MIB:.1f} MiB, closed in {took:.2f} s, {told(seen)}")
    assert gone <= promised(6)
    assert grown[0] <= 16 * faults.MIB
    assert took <= promised(2)
