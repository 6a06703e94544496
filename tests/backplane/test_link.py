from __future__ import annotations

import errno
import os
import random
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from refusing import Refusal, refusing

from hermes.backplane.link import Link
from hermes.backplane.sync import readable
from hermes.errors import SystemRefused


@pytest.fixture
def ends() -> Iterator[tuple[Link, Link]]:
    one, two = map(Link, socket.socketpair())
    yield one, two
    one.close()
    two.close()


def receive_until_end(link: Link) -> list[dict[str, Any]]:
    found = []
    while not link.ended:
        readable([link.fileno()], 5.0)
        found += link.receive()
    return found


def fill(link: Link) -> int:
    """Fill the socket itself, past the link, and return how many bytes it took."""
    taken = 0
    while True:
        try:
            taken += link._socket.send(b" " * 65536)
        except BlockingIOError:
            break
    while True:
        try:
            taken += link._socket.send(b" ")
        except BlockingIOError:
            return taken


def test_objects_arrive_whole_and_in_order(ends: tuple[Link, Link]) -> None:
    one, two = ends
    assert two.receive() == []
    sent = [{"n": n, "text": "a\nb\u2028\ud800é" * n} for n in range(50)]
    for record in sent:
        one.send(record)
    assert two.receive() == sent
    assert (one.backlog, two.ended) == (0, False)


def test_pieces_of_an_object_wait_for_the_rest(ends: tuple[Link, Link]) -> None:
    one, two = ends
    for byte in b'{"a":1}':
        one._socket.send(bytes([byte]))
        assert two.receive() == []
    one._socket.send(b'\n{"b"')
    assert two.receive() == [{"a": 1}]
    one._socket.send(b":2}\n")
    assert two.receive() == [{"b": 2}]


def test_nothing_is_lost_through_a_slow_reader(ends: tuple[Link, Link]) -> None:
    one, two = ends
    sizes = random.Random(1)
    sent = [{"n": n, "text": "x" * sizes.randrange(200_000)} for n in range(100)]
    for record in sent:
        one.send(record)
    assert one.backlog > 1_000_000
    found: list[dict[str, Any]] = []
    while one.backlog:
        found += two.receive()
        one.flush()
    one.close()
    found += receive_until_end(two)
    assert found == sent


def test_several_threads_send_whole_objects(ends: tuple[Link, Link]) -> None:
    one, two = ends

    def send(name: int) -> None:
        for n in range(200):
            one.send({"name": name, "n": n, "text": "x" * 2000})

    threads = [threading.Thread(target=send, args=[name]) for name in range(4)]
    for thread in threads:
        thread.start()
    found = []
    while len(found) < 800:
        readable([two.fileno()], 5.0)
        found += two.receive()
        one.flush()
    for thread in threads:
        thread.join()
    for name in range(4):
        assert [record["n"] for record in found if record["name"] == name] == list(range(200))


def test_descriptors_travel_with_their_object(ends: tuple[Link, Link]) -> None:
    one, two = ends
    read, write = os.pipe()
    one.send({"type": "before"})
    one.send({"type": "started"}, fds=[read, write])
    one.send({"type": "after"})
    found = []
    while len(found) < 3:
        found += two.receive()
    assert [record["type"] for record in found] == ["before", "started", "after"]
    assert not any(os.get_inheritable(fd) for fd in two.received_fds)
    os.write(two.received_fds[1], b"through")
    assert os.read(two.received_fds[0], 10) == b"through"
    for fd in (read, write, *two.received_fds):
        os.close(fd)


@pytest.mark.parametrize("backlog", [0, 300_000])
def test_descriptors_wait_for_room_in_a_full_socket(ends: tuple[Link, Link], backlog: int) -> None:
    one, two = ends
    taken = fill(one)
    if backlog:
        one.send({"big": "x" * backlog})
    read, write = os.pipe()
    failures = []

    def send() -> None:
        try:
            one.send({"type": "started", "text": "x" * 500_000}, fds=[read])
        except OSError as error:
            failures.append(error)

    sender = threading.Thread(target=send)
    sender.start()
    while taken:
        taken -= len(two._socket.recv(min(taken, 65536)))
    found: list[dict[str, Any]] = []
    while not failures and not any("type" in record for record in found):
        readable([two.fileno()], 0.01)
        found += two.receive()
        if not sender.is_alive():
            one.flush()
    sender.join()
    assert failures == []
    assert len(found[-1]["text"]) == 500_000
    assert len(two.received_fds) == 1
    for fd in (read, write, *two.received_fds):
        os.close(fd)


def test_the_end_of_file_comes_after_everything_sent(ends: tuple[Link, Link]) -> None:
    one, two = ends
    one.send({"n": 1})
    one.close()
    assert receive_until_end(two) == [{"n": 1}]
    assert two.ended
    assert two.receive() == []


def test_sending_to_nobody_is_no_error_and_keeps_nothing(ends: tuple[Link, Link]) -> None:
    one, two = ends
    one.send({"big": "x" * 2_000_000})
    assert one.backlog > 0
    two.close()
    one.send({"n": 1})
    one.send({"n": 2}, fds=[0])
    assert one.backlog == 0
    one.receive()
    assert one.ended, "a reset by a dying peer reads as the end"


def test_what_the_kernel_has_no_memory_for_is_sent_and_received_later(ends: tuple[Link, Link], tmp_path: Path) -> None:
    one, two = ends
    with refusing(Refusal("session", 1, errno.ENOBUFS, tmp_path / "sending")):
        one.send({"a": 1})
    assert one.backlog
    one.flush()
    with refusing(Refusal("session", 1, errno.ENOMEM, tmp_path / "receiving")):
        assert two.receive() == []
    assert (two.receive(), two.ended, one.backlog) == ([{"a": 1}], False, 0)


def test_descriptors_that_cannot_travel_are_an_error_and_nothing_is_sent(
    ends: tuple[Link, Link], tmp_path: Path
) -> None:
    one, two = ends
    with (
        refusing(Refusal("session", 1, errno.ETOOMANYREFS, tmp_path / "sending")),
        pytest.raises(SystemRefused, match=r"^cannot hand descriptors over to another process: Too many references"),
    ):
        one.send({"a": 1}, fds=[0])
    one.send({"b": 2})
    assert (two.receive(), two.received_fds) == ([{"b": 2}], [])
