"""The load generator's bytes, against those of the `websockets` library, and its arithmetic."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from typing import Any

import loadclients
import pytest
from loadwindows import Window, percentile, spread
from rawframes import BINARY, CLOSE, PING, TEXT, FrameReader, client_frame, upgrade_request
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.streams import StreamReader

ANSWER = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
LENGTHS = [0, 1, 125, 126, 127, 65535, 65536, 80_024]


def server_frame(opcode: Opcode, payload: bytes) -> bytes:
    return Frame(opcode, payload).serialize(mask=False)


def upgraded() -> FrameReader:
    reader = FrameReader()
    assert reader.feed(ANSWER) == []
    return reader


def parsed(parser: Generator[None, None, Any], reader: StreamReader, data: bytes) -> Any:
    """Return what a parser of the library makes of complete data."""
    reader.feed_data(data)
    with pytest.raises(StopIteration) as done:
        next(parser)
    return done.value.value


def telemetry(frame: int, signals: int = 2) -> bytes:
    return server_frame(Opcode.BINARY, b"TREH" + frame.to_bytes(8, "little") + bytes(12 + 8 * signals))


STREAM = [
    (Opcode.TEXT, b'{"type":"schema"}'),
    (Opcode.BINARY, bytes(range(200))),
    (Opcode.PING, b""),
    (Opcode.TEXT, b"x" * 125),
    (Opcode.BINARY, b"y" * 65536),
    (Opcode.CLOSE, b"\x03\xe9bye"),
]


def test_a_stream_is_cut_into_messages_wherever_its_one_split_is() -> None:
    whole = ANSWER + b"".join(server_frame(*message) for message in STREAM)
    borders = [*range(600), *range(len(whole) - 30, len(whole) + 1)]
    for place in borders:
        reader = FrameReader()
        assert reader.feed(whole[:place]) + reader.feed(whole[place:]) == STREAM, place
        assert reader.status == 101


@pytest.mark.parametrize("length", LENGTHS)
def test_every_length_comes_out_whole_when_its_header_comes_in_single_bytes(length: int) -> None:
    whole = server_frame(Opcode.BINARY, bytes(length)) + server_frame(Opcode.TEXT, b"after")
    reader = upgraded()
    messages = [message for place in range(12) for message in reader.feed(whole[place : place + 1])]
    assert messages + reader.feed(whole[12:]) == [(BINARY, bytes(length)), (TEXT, b"after")]


def test_a_stream_in_single_bytes_gives_the_same_messages() -> None:
    reader = FrameReader()
    whole = ANSWER + b"".join(server_frame(*message) for message in STREAM[:4])
    assert [message for byte in whole for message in reader.feed(bytes([byte]))] == STREAM[:4]


def test_many_frames_in_one_piece_are_all_counted() -> None:
    assert upgraded().feed(server_frame(Opcode.PING, b"p") * 1000) == [(PING, b"p")] * 1000


def test_a_refusal_is_a_status_and_no_frames() -> None:
    reader = FrameReader()
    assert reader.feed(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\nno") == []
    assert reader.status == 503


@pytest.mark.parametrize(
    "data",
    [
        Frame(Opcode.TEXT, b"half", fin=False).serialize(mask=False),
        bytes([0xC1, 1]) + b"z",
        Frame(Opcode.TEXT, b"masked").serialize(mask=True),
        Frame(Opcode.TEXT, bytes(300)).serialize(mask=True),
    ],
    ids=["fragment", "compressed", "masked", "masked, long"],
)
def test_what_hermes_never_sends_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"frame|masked"):
        upgraded().feed(data)


@pytest.mark.parametrize("length", LENGTHS)
def test_the_library_reads_our_frames(length: int) -> None:
    payload = bytes(number % 251 for number in range(length))
    reader = StreamReader()
    frame = parsed(Frame.parse(reader.read_exact, mask=True), reader, client_frame(TEXT, payload))
    assert (frame.opcode, frame.data, frame.fin) == (Opcode.TEXT, payload, True)


def test_the_library_reads_our_request() -> None:
    reader = StreamReader()
    request = parsed(Request.parse(reader.read_line), reader, upgrade_request("127.0.0.1", 8765, "/any?x=1"))
    assert request.path == "/any?x=1"
    assert request.headers["Host"] == "127.0.0.1:8765"
    assert request.headers["Connection"] == "Upgrade"
    assert len(request.headers["Sec-WebSocket-Key"]) == 24


class Spoken(loadclients.Client):
    """A client whose socket is a list."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__("ws://127.0.0.1:1", *arguments, **options)
        self.said: list[bytes] = []

    def send(self, data: bytes) -> None:
        self.said.append(data)


def asked(frame: bytes) -> dict[str, Any]:
    """Return the command in a client's short frame."""
    message: dict[str, Any] = json.loads(frame[6:])
    return message


def test_a_client_subscribes_on_the_schema_and_is_ready_on_the_ack() -> None:
    client = Spoken(["load.*"], resume=True)
    client.take(ANSWER + server_frame(Opcode.TEXT, b'{"type":"schema","modules":{}}'))
    assert asked(client.said[0]) == {"action": "subscribe", "params": {"signals": ["load.*"]}}
    client.take(server_frame(Opcode.TEXT, b'{"type":"event","event":"running"}'))
    assert not client.ready
    client.take(server_frame(Opcode.TEXT, b'{"type":"ack","action":"subscribe"}') + telemetry(7))
    assert client.ready
    assert asked(client.said[1])["action"] == "resume"
    client.take(telemetry(8) + server_frame(Opcode.TEXT, b'{"type":"event","event":"paused"}'))
    assert list(client.frames) == [7, 8]
    assert len(client.arrivals) == 2
    assert (client.text_count, client.messages) == (1, [{"type": "event", "event": "paused"}])


def test_a_client_answers_a_ping_and_keeps_how_the_connection_ended() -> None:
    client = Spoken()
    client.take(ANSWER + server_frame(Opcode.PING, b"now"))
    reader = StreamReader()
    pong = parsed(Frame.parse(reader.read_exact, mask=True), reader, client.said[0])
    assert (pong.opcode, pong.data) == (Opcode.PONG, b"now")
    client.take(server_frame(Opcode.CLOSE, b"\x03\xe9bye"))
    assert client.closed == 1001


def test_a_refused_client_keeps_the_status() -> None:
    client = Spoken()
    client.take(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")
    assert client.closed == 503


def test_a_refused_subscription_is_no_silent_failure() -> None:
    client = Spoken()
    client.take(ANSWER + server_frame(Opcode.TEXT, b'{"type":"schema"}'))
    with pytest.raises(ValueError, match="no signal matches"):
        client.take(server_frame(Opcode.TEXT, b'{"type":"error","message":"no signal matches"}'))


def instants(hertz: float, count: int, missing: frozenset[int] = frozenset()) -> Iterator[float]:
    return (number / hertz for number in range(count) if number not in missing)


def test_a_window_knows_rate_gaps_and_what_is_missing() -> None:
    client = loadclients.Client("ws://127.0.0.1:1")
    client.arrivals.extend(instants(60, 121, frozenset({30, 31, 90})))
    client.frames.extend(range(118))
    window = client.window(0.0, 1.0)
    assert len(window.arrivals) == 58
    assert window.lost(60) == 2
    whole = client.window(-1.0, 3.0)
    assert whole.rate == pytest.approx(117 / 2)
    assert max(whole.gaps) == pytest.approx(3 / 60)
    assert whole.lost(60) == 3
    assert (whole.backwards, whole.simulation_rate) == (0, pytest.approx(117 / 2))


def test_a_window_counts_frames_that_go_backwards_and_bears_emptiness() -> None:
    assert Window([0.0, 0.1, 0.2, 0.3], [5, 5, 0, 1]).backwards == 1
    empty = Window([], [])
    assert (empty.rate, empty.gaps, empty.lost(60), empty.simulation_rate) == (0.0, [], 0, 0.0)


def test_percentiles_are_values_that_occurred() -> None:
    assert [percentile(range(100), share) for share in (0.0, 0.5, 0.99, 1.0)] == [0, 50, 99, 99]
    assert spread([3.0, 1.0, 2.0], 1e3) == {"min": 1000.0, "p50": 2000.0, "p99": 3000.0, "max": 3000.0}
    assert spread([]) is None


def test_results_add_up_all_clients() -> None:
    clients = [loadclients.Client("ws://127.0.0.1:1") for _ in range(3)]
    for client in clients:
        client.arrivals.extend(instants(60, 61))
        client.frames.extend(range(61))
    clients[2].close(1001)
    found = loadclients.results(clients, 0.0, 2.0, 60)
    assert (found["clients"], found["lost"], found["closed"]) == (3, 0, {"1001": 1})
    assert found["frames"]["min"] == found["frames"]["max"] == 61
    assert found["rate_hz"]["p50"] == pytest.approx(60)
    assert found["gap_ms"]["p99"] == pytest.approx(16.667)


def test_close_is_read_from_a_frame_without_a_code() -> None:
    client = Spoken()
    client.take(ANSWER + server_frame(Opcode.CLOSE, b""))
    assert client.closed == 1006
    assert CLOSE == Opcode.CLOSE
