"""Who may connect and who may not: strangers, noise and crowds get a short answer, and telemetry never stutters."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import faults
import pytest
from bounds import PATIENCE, promised
from loadclients import Client, HalfOpen, run

ALLOWED = "http://lab.example:8888"
TOKEN = "Yq3-half_a-secret.64bits~"
WRONG = {
    "none": None,
    "empty": b"",
    "wrong": b"no-such-token-0123456789",
    "one byte off": b"Yq3-half_a-secret.64bitz~",
    "one byte short": TOKEN[:-1].encode(),
    "another case": TOKEN.upper().encode(),
    "non-ASCII": "Yq3-half_\u00e4-secret.64bits~".encode(),
    "not UTF-8": b"Yq3-half_\xff-secret.64bits~",
    "NUL": TOKEN.encode() + b"\0",
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[faults.Served]:
    """Run a session that names a host and an origin."""
    server = f"allowed_hosts: [sim.example], allowed_origins: ['{ALLOWED}']"
    with faults.serving(faults.plants(tmp_path_factory.mktemp("open"), server)) as running:
        yield running


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[faults.Served]:
    """Run a session with a token."""
    with faults.serving(faults.plants(tmp_path_factory.mktemp("guarded"), f"token: {TOKEN}")) as running:
        yield running


def asked(port: int, *headers: bytes, target: bytes = b"/", host: bool = True) -> bytes:
    """Return a request for an upgrade with more headers."""
    own = [f"Host: 127.0.0.1:{port}".encode()] if host else []
    upgrade = [b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Version: 13"]
    key = b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
    return b"\r\n".join([b"GET " + target + b" HTTP/1.1", *own, *upgrade, key, *headers, b"", b""])


def answer(port: int, request: bytes) -> tuple[bytes, float]:
    """Return all that a request is answered with until the server closes, or greets; and after how many seconds."""
    begin, got = time.perf_counter(), b""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
        try:
            sock.sendall(request)
            while b'"schema"' not in got and (piece := sock.recv(65536)):
                got += piece
        except ConnectionError:
            pass  # it closed while we were still sending
    return got, time.perf_counter() - begin


def status(port: int, request: bytes) -> int:
    """Return the status of the answer; 101 only with a schema, any other only without a byte of one."""
    got, _ = answer(port, request)
    found = int(got.split(b" ", 2)[1])
    assert (found == 101) == (b"schema" in got)
    assert found == 101 or len(got) < 1024
    return found


ORIGINS = {
    "https://evil.example": 403,
    "null": 403,
    "http://lab.example:8889": 403,
    "http://lab.example:8888.evil.example": 403,
    "https://lab.example:8888": 403,
    "HTTP://lab.example:8888": 403,
    "http://lab.example:8888/": 403,
    "ws://127.0.0.1": 403,
    "http://127.0.0.1:PORT": 403,
    "ws://127.0.0.1:PORT.evil.example": 403,
    "": 403,
    "ws://127.0.0.1:PORT": 101,
    "wss://127.0.0.1:PORT": 101,
    ALLOWED: 101,
}


def test_a_page_of_another_origin_gets_nothing_and_a_line_in_the_log_a_minute(served: faults.Served) -> None:
    port = served.port
    for origin, expected in ORIGINS.items():
        shown = origin.replace("PORT", str(port))
        before = served.log.count("client refused")
        for _ in range(3):
            assert status(port, asked(port, f"Origin: {shown}".encode())) == expected, origin
        assert served.log.count("client refused") - before == (expected != 101), origin
        assert expected == 101 or f"Origin [{shown!r}]" in served.log
    allowed = f"Origin: {ALLOWED}".encode()
    assert status(port, asked(port, allowed, allowed)) == 400
    assert status(port, asked(port, allowed, b"Origin: https://evil.example")) == 400


HOSTS = {
    "evil.example:PORT": 403,
    "127.0.0.1.evil.example:PORT": 403,
    "localhost.evil.example": 403,
    "sim.example.evil.example:PORT": 403,
    "127.0.0.1:PORT@evil.example": 403,
    "evil.example@127.0.0.1:PORT": 403,
    "0.0.0.0:PORT": 403,
    "[::2]:PORT": 403,
    "127.0.0.1:PORT/": 403,
    "127.0.0.1:99999": 403,
    "": 403,
    "127.0.0.1:PORT": 101,
    "localhost:PORT": 101,
    "LOCALHOST": 101,
    "[::1]:PORT": 101,
    "127.1.2.3:1": 101,
    "sim.example:PORT": 101,
    "Sim.Example": 101,
}


def test_a_name_that_was_rebound_to_this_machine_is_refused_by_its_host(served: faults.Served) -> None:
    port = served.port
    for host, expected in HOSTS.items():
        header = f"Host: {host.replace('PORT', str(port))}".encode()
        assert status(port, asked(port, header, host=False)) == expected, host
    assert status(port, asked(port, host=False)) == 400
    assert status(port, asked(port, b"Host: localhost")) == 400


@pytest.mark.parametrize("token", WRONG.values(), ids=WRONG)
def test_without_the_token_it_is_401_within_a_second(guarded: faults.Served, token: bytes | None) -> None:
    port = guarded.port
    requests = [asked(port)]
    if token is not None:
        percented = b"".join(b"%%%02x" % byte for byte in token)
        requests = [
            asked(port, b"Authorization: Bearer " + token.replace(b"\0", b"")[:-1] + token[-1:].replace(b"\0", b"!")),
            asked(port, b"Authorization: Basic " + TOKEN.encode()),
            asked(port, target=b"/?ht=" + percented),
            asked(port, target=b"/?token=" + TOKEN.encode()),
            asked(port, target=b"/" + TOKEN.encode()),
        ]
    for request in requests:
        got, seconds = answer(port, request)
        assert got.startswith(b"HTTP/1.1 401 "), request
        assert b"schema" not in got
        assert seconds < promised(1)


def test_a_token_of_a_megabyte_is_refused_by_its_length_within_a_second(guarded: faults.Served) -> None:
    for request in (
        asked(guarded.port, b"Authorization: Bearer " + b"t" * 1_000_000),
        asked(guarded.port, target=b"/?ht=" + b"t" * 1_000_000),
    ):
        got, seconds = answer(guarded.port, request)
        assert got.split(b" ")[1] in (b"401", b"414", b"431")
        assert b"schema" not in got
        assert seconds < promised(1)


def test_the_token_opens_and_is_in_no_log(guarded: faults.Served) -> None:
    shown = TOKEN.encode()
    assert status(guarded.port, asked(guarded.port, b"Authorization: Bearer " + shown)) == 101
    assert status(guarded.port, asked(guarded.port, target=b"/any/path?x=1&ht=" + shown)) == 101
    assert status(guarded.port, asked(guarded.port, b"Authorization: Bearer x" + shown)) == 401
    log = faults.until(lambda: guarded.log if guarded.log.count("client disconnected") >= 2 else "")
    assert "client refused: a token is needed" in log
    assert TOKEN not in log
    assert "secret" not in log  # nor what came near to it


def test_other_machines_are_not_served_without_a_token(tmp_path: Path, hermes_pids: Callable[[], set[int]]) -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken:  # to bind it would be another error
        path = faults.plants(tmp_path, "host: 0.0.0.0")
        for name in ("a", "b"):
            (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'started')!r}, 'w')")
        command = [sys.executable, "-m", "hermes", "run", path, "--port", str(taken.getsockname()[1])]
        before = hermes_pids()
        ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert ended.returncode == 2
    assert "host 0.0.0.0 is reachable from other machines" in ended.stderr
    assert "server.token: auto" in ended.stderr
    assert "listen on 127.0.0.1" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "started").exists()
    assert hermes_pids() == before


HELLO = bytes.fromhex("16030100f8010000f40303") + bytes(range(237))
NOISE = {
    "plain GET": b"GET / HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n",
    "GET without a host": b"GET / HTTP/1.1\r\n\r\n",
    "POST": b"POST / HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nContent-Length: 3\r\n\r\na=1",
    "POST upgrade": b"POST / HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    "HTTP/1.0": b"GET / HTTP/1.0\r\nHost: 127.0.0.1:PORT\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "chunked": b"POST / HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "another key": b"GET / HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: short\r\nSec-WebSocket-Version: 13\r\n\r\n",
    "TLS hello": HELLO,
    "a line without an end": b"G" * 100_000,
    "200 headers": b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n",
    "line breaks": b"\r\n" * 1000,
    "nothing": b"",
}


def test_what_is_no_websocket_gets_a_short_answer_or_none(served: faults.Served) -> None:
    noises = {**NOISE, **{f"random {number}": os.urandom(1 << number) for number in range(0, 16, 3)}}
    before = served.descriptors
    with ThreadPoolExecutor(len(noises)) as pool:  # those that wait for more are dropped after 5 s, all at once
        requests = [noise.replace(b"PORT", str(served.port).encode()) for noise in noises.values()]
        answers = list(pool.map(answer, [served.port] * len(noises), requests))
    for name, (got, seconds) in zip(noises, answers, strict=True):
        assert re.match(rb"HTTP/1.1 [45]\d\d |$", got), name
        assert len(got) < 1024, name
        assert seconds < promised(6.5), name
    faults.until(lambda: served.descriptors <= before)


def test_300_half_open_connections_are_dropped_after_five_seconds(
    served: faults.Served,
) -> None:
    before = served.descriptors

    def hold() -> float:
        clients = [HalfOpen(served.url) for _ in range(300)]
        begin = time.perf_counter()
        run(clients, PATIENCE)
        took = time.perf_counter() - begin
        assert all(client.closed is not None for client in clients)
        assert not any(client.schema for client in clients)
        return took

    took, seen = faults.tick_ok_during(served.url, hold)
    print(f"gone after {took:.1f} s; gap p99 {seen['gap_ms']['p99']} ms")
    assert 4.9 < took < promised(7.5)
    faults.until(lambda: served.descriptors <= before)


WAITING = 256
"""So many may be half-open at once."""


def connects(url: str, rate: float, seconds: float) -> list[Client]:
    """Connect so many times a second, for so long, and keep whom the server takes; return all clients.

    Where the machine is late it takes longer: of more than 512 half-open connections a server would drop some.
    """
    clients: list[Client] = []
    waiting: list[Client] = []
    begin, count = time.perf_counter(), round(rate * seconds)
    while len(clients) < count or waiting:
        elapsed = time.perf_counter() - begin
        due = min(int(elapsed * rate), count) - len(clients)
        fresh = [Client(url, ()) for _ in range(min(due, WAITING - len(waiting)))]
        clients, waiting = clients + fresh, waiting + fresh
        run(waiting, 0.02)
        waiting = [client for client in waiting if not ended(client)]
        assert elapsed < promised(seconds + 10, slack=6), "some connection is neither taken nor refused"
    return clients


def ended(client: Client) -> bool:
    return client.ready or client.closed is not None


@pytest.mark.parametrize(
    ("burst", "steady"),
    [
        pytest.param((200, 3), (300, 5), id="short"),
        pytest.param((200, 10), (300, 60), id="full", marks=[pytest.mark.soak, pytest.mark.timeout(900)]),
    ],
)
def test_a_crowd_beyond_64_gets_503_and_leaves_no_descriptor(
    served: faults.Served,
    burst: tuple[int, int],
    steady: tuple[int, int],
) -> None:
    with faults.Rude(served.url):
        before = served.descriptors - 1

    def crowd() -> Counter[int | None]:
        clients = connects(served.url, *burst) + connects(served.url, *steady)
        ends = Counter(client.closed for client in clients)
        for client in clients:
            client.close()
        return ends

    ends, seen = faults.tick_ok_during(served.url, crowd)
    print(f"{dict(ends)}; gap p99 {seen['gap_ms']['p99']} ms, {seen['frames']['max']} frames")
    assert ends[None] == 63  # and the watcher
    assert set(ends) == {None, 503}
    assert sum(ends.values()) == burst[0] * burst[1] + steady[0] * steady[1]
    faults.until(lambda: served.descriptors <= before)
