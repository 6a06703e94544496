from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes.backplane.channel import RECORD_LIMIT, Channel, decode_record, encode_record, receive_with_fds

FIELDS = st.lists(st.text() | st.text("\\\t\n\rtnr"), max_size=5)


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    ours, theirs = Channel.pair()
    other = Channel(theirs)
    yield ours, other
    ours.close()
    other.close()


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@given(st.text("abc", min_size=1), FIELDS)
def test_any_text_survives(verb: str, fields: list[str]) -> None:
    data = encode_record(verb, *fields)
    assert data.count(b"\t") == len(fields)
    assert b"\n" not in data
    assert b"\r" not in data
    assert decode_record(data) == (verb, tuple(fields), ())


@given(st.binary())
def test_any_bytes_are_read_as_some_record(data: bytes) -> None:
    verb, fields, fds = decode_record(data)
    assert (1 + len(fields), fds) == (data.count(b"\t") + 1, ())
    assert verb == data.split(b"\t")[0].decode("utf-8", "replace")


def test_what_the_escapes_look_like() -> None:
    assert encode_record("error", "a\tb", "c\\n\n", "", "é\r") == b"error\ta\\tb\tc\\\\n\\n\t\t\xc3\xa9\\r"
    assert decode_record(b"x\t\\q\\").fields == ("\\q\\",), "an unknown escape is left as it is"
    assert encode_record("x", "\ud800") == b"x\t\\ud800"


@given(st.integers(RECORD_LIMIT - 6, RECORD_LIMIT + 6), st.sampled_from(["x", "é", "漢", "😀"]))
def test_a_long_record_is_cut_at_a_characters_boundary(size: int, char: str) -> None:
    text = "x" * (size - 40) + char * 20
    data = encode_record("e", text)
    whole = b"e\t" + text.encode()
    assert len(data) <= RECORD_LIMIT
    assert whole.startswith(data)
    assert len(whole) - len(data) < 4 or len(data) > RECORD_LIMIT - 4
    assert text.startswith(decode_record(data).fields[0])


def test_records_keep_their_boundaries_and_order(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    theirs.send("hello", "1", "python")
    theirs.send("declared")
    theirs.send("signal", "a\tb", "")
    assert [ours.receive(), ours.receive(), ours.receive()] == [
        ("hello", ("1", "python"), ()),
        ("declared", (), ()),
        ("signal", ("a\tb", ""), ()),
    ]
    assert ours.receive(wait=False) is None
    theirs.send("error", "x" * 2 * RECORD_LIMIT)
    record = ours.receive()
    assert record is not None
    assert len(record.fields[0]) == RECORD_LIMIT - len("error\t")


def test_descriptors_travel_beside_their_record_and_are_not_inherited(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    read, write = os.pipe()
    os.set_inheritable(read, True)
    ours.send("plain")
    ours.send("layout", "1", fds=[read, write, read])
    assert theirs.receive() == ("plain", (), ())
    record = theirs.receive()
    assert record is not None
    assert len(set(record.fds)) == 3
    assert not any(os.get_inheritable(fd) for fd in record.fds)
    os.write(record.fds[1], b"through")
    assert os.read(record.fds[2], 10) == b"through"
    for fd in (read, write, *record.fds):
        os.close(fd)


def test_more_descriptors_than_are_taken_are_closed_not_leaked(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    before = descriptors()
    theirs.send("hello", fds=[0] * 20)
    record = ours.receive()
    assert record is not None
    assert len(record.fds) <= 4
    for fd in record.fds:
        os.close(fd)
    assert descriptors() == before


def test_the_end_of_the_channel(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    theirs.send("bye")
    theirs.close()
    assert ours.receive() == ("bye", (), ())
    assert ours.receive() is None
    assert ours.receive(wait=False) is None
    with pytest.raises(BrokenPipeError):
        ours.send("layout")


def test_unread_records_of_the_other_side_read_as_the_end() -> None:
    ours, theirs = Channel.pair()
    ours.send("module")
    theirs.close()
    assert ours.receive() is None
    ours.close()


def test_descriptors_at_the_end_are_closed(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    before = descriptors()
    socket.send_fds(theirs._socket, [b""], [0])
    assert ours.receive() is None
    assert descriptors() == before


def test_only_the_modules_end_can_be_inherited() -> None:
    ours, theirs = Channel.pair()
    assert not os.get_inheritable(ours.fileno())
    theirs.send(b"x" * 10)
    assert receive_with_fds(ours._socket, 4) == (b"xxxx", [])
    ours.close()
    theirs.close()
