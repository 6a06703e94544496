"""Messages that no sane client sends: each costs its sender an error or the connection, and nobody else anything."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import faults
import pytest
from bounds import promised
from rawframes import BINARY, PING, TEXT, client_frame

from hermes.backplane.signals import Signal, SignalRegistry
from hermes.server.protocol import ClientProtocol

LIMIT = 64 * 1024
SIGNALS = 8_190

EMPTY = bytes([0x00, 0x80, 0, 0, 0, 0])
BOMB = zlib.compress(bytes(60 * faults.MIB), 9, -15)
ENDED = {
    "a frame that claims 2^62 bytes": (b"\x81\xff" + (1 << 62).to_bytes(8, "big") + bytes(4), 1009),
    "a frame that claims 2^63 bytes": (b"\x81\xff" + (1 << 63).to_bytes(8, "big") + bytes(4), 1009),
    "64 KiB + 1": (client_frame(TEXT, b" " * (LIMIT + 1)), 1009),
    "64 KiB + 1, binary": (client_frame(BINARY, bytes(LIMIT + 1)), 1009),
    "64 KiB + 1 in two pieces": (b"\x01" + client_frame(TEXT, b" " * LIMIT)[1:] + b"\x80\x81\0\0\0\0 ", 1009),
    "a deflate bomb": (b"\xc1" + client_frame(TEXT, BOMB)[1:], 1002),
    "100,000 empty fragments": (b"\x01" + EMPTY[1:] + EMPTY * 99_999, 1009),
    "100,000 pings": (client_frame(PING, b"") * 100_000, 1009),
    "fragments of two messages": (b"\x01\x80\0\0\0\0" * 2, 1002),
    "a fragment of nothing": (EMPTY, 1002),
    "a reserved opcode": (b"\x83\x80\0\0\0\0", 1002),
    "a ping of 126 bytes": (client_frame(PING, bytes(126)), 1002),
    "a frame without a mask": (b"\x81\x02{}", 1002),
    "a close code that is none": (b"\x88\x82\0\0\0\0\0\1", 1002),
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[faults.Served]:
    """Run a session of few signals."""
    with faults.serving(faults.plants(tmp_path_factory.mktemp("few"))) as running:
        yield running


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[faults.Served]:
    """Run a session of many signals."""
    with faults.serving(faults.plants(tmp_path_factory.mktemp("many"), signals=SIGNALS)) as running:
        yield running


def test_a_frame_beyond_the_protocol_ends_that_connection_alone(served: faults.Served) -> None:
    def attack() -> int:
        for name, (data, code) in ENDED.items():
            with faults.Rude(served.url) as client:
                client.send(data)
                assert client.close_code() == code, name
        with served.growth() as grown:
            for data, _ in ENDED.values():
                with faults.Rude(served.url) as client:
                    client.send(data)
                    client.close_code()
        return grown[0]

    with faults.Rude(served.url) as bystander:
        grown, seen = faults.tick_ok_during(served.url, attack)
        assert bystander.command("status")["type"] == "ack"
    print(f"measured: memory + {grown / 1024:.0f} KiB, gap p99 {seen['gap_ms']['p99']} max {seen['gap_ms']['max']} ms")
    assert grown <= 2 * faults.MIB


def test_who_was_sent_away_and_stays_holds_no_place(served: faults.Served) -> None:
    before = served.descriptors
    with ExitStack() as stack:
        for data, _ in ENDED.values():
            client = stack.enter_context(faults.Rude(served.url))
            client.send(data)
            client.close_code()
        begin = time.perf_counter()
        faults.until(lambda: served.descriptors <= before)
        assert time.perf_counter() - begin < promised(4)


def test_exactly_64_kib_is_a_message(served: faults.Served) -> None:
    with faults.Rude(served.url) as client:
        message = json.dumps({"action": "status", "id": "full"})
        assert client.ask(message + " " * (LIMIT - len(message)))["id"] == "full"
        client.send(client_frame(PING, b"still there?"))
        assert client.command("status")["type"] == "ack"


def filled(start: str, piece: str, end: str = "") -> str:
    """Return 64 KiB of text, or nearly."""
    return start + piece * ((LIMIT - len(start) - len(end)) // len(piece)) + end


KEYS = ",".join(f'"{number:x}":1' for number in range(6_900))
VALUES = '{"action":"set","params":{"values":'
REFUSED: dict[str, tuple[str | bytes, str]] = {
    "open brackets": ("[" * 32_000, "bad_json"),
    "64 KiB of open brackets": (filled("", "["), "bad_json"),
    "open objects": (filled("", '{"a":'), "bad_json"),
    "empty arrays": (filled("[", "[],", "[]]"), "bad_json"),
    "distinct keys": ("{" + KEYS + "}", "bad_message"),
    "distinct keys in params": ('{"action":"pause","params":{' + KEYS[:60_000].rpartition(",")[0] + "}}", "bad_params"),
    "distinct signals": (VALUES + "{" + KEYS[:60_000].rpartition(",")[0] + "}}}", "too_many"),
    "the last key twice": ("{" + KEYS + ',"0":1}', "bad_json"),
    "integers of 4,300 digits": (filled("[", "9" * 4_300 + ",", "1]"), "bad_json"),
    "an integer of 4,300 digits to set": (VALUES + '{"a.push":' + "9" * 4_300 + "}}}", "bad_json"),
    "an integer of 64,000 digits": ("9" * 64_000, "bad_json"),
    "integers of 300 digits": (filled("[", "9" * 300 + ",", "1]"), "bad_message"),
    "an integer of 300 digits to set": (VALUES + '{"a.long":' + "9" * 300 + "}}}", "bad_value"),
    "a million zeros after 1": ("1e1000000", "bad_json"),
    "NaN": (VALUES + '{"a.push":NaN}}}', "bad_json"),
    "-Infinity": (VALUES + '{"a.push":-Infinity}}}', "bad_json"),
    "a lone surrogate, escaped": ('{"action":"\\ud800"}', "bad_json"),
    "surrogates, escaped": (filled('"', "\\udc00", '"'), "bad_json"),
    "a BOM": ('\ufeff{"action":"status"}', "bad_json"),
    "nothing": ("", "bad_json"),
    "spaces": (filled("", " "), "bad_json"),
    "NUL": ("\0", "bad_json"),
    "a string": ('"status"', "bad_message"),
    "64 KiB of string": (filled('"', "x", '"'), "bad_message"),
    "a number": ("1", "bad_message"),
    "true": ("true", "bad_message"),
    "null": ("null", "bad_message"),
    "an array": ('[{"action":"status"}]', "bad_message"),
    "binary": (b'{"action":"status"}', "bad_message"),
    "64 KiB of binary": (bytes(LIMIT), "bad_message"),
}
BROKEN = {
    "not UTF-8": b'{"action":"\xff"}',
    "a lone surrogate, encoded": b'{"action":"\xed\xa0\x80"}',
    "overlong": b'{"action":"\xc0\xaf"}',
    "cut": b'{"action":"\xe2\x82',
}


def test_what_is_no_command_is_an_error_and_the_connection_stays(served: faults.Served) -> None:
    with faults.Rude(served.url) as client:
        for name, (message, code) in REFUSED.items():
            error = client.ask(message)
            assert (error["type"], error["code"]) == ("error", code), name
            assert len(json.dumps(error)) < 2_000, name
        assert client.command("status")["type"] == "ack"


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_a_text_that_is_no_utf8_ends_the_connection_with_1007(served: faults.Served, text: bytes) -> None:
    with faults.Rude(served.url) as client:
        client.send(client_frame(TEXT, text))
        assert client.close_code() == 1007


def test_no_message_takes_the_loop_longer_than_a_frame() -> None:
    registry = SignalRegistry([Signal("plant", f"channel.x{number}") for number in range(SIGNALS)])
    times: dict[str, float] = {}
    for name, (message, _) in REFUSED.items():
        for _ in range(9):
            rules = ClientProtocol(registry)
            begin = time.thread_time()
            rules.receive(message)
            times[name] = min(times.get(name, 1.0), time.thread_time() - begin)
    print("measured:", {name: f"{1e3 * seconds:.2f} ms" for name, seconds in times.items()})
    assert max(times.values()) <= promised(0.025), max(times, key=lambda name: times[name])


def test_a_name_that_is_none_is_answered_with_the_nearest(served: faults.Served) -> None:
    with faults.Rude(served.url) as client:

        def refused(name: str) -> dict[str, Any]:
            error = client.command("set", signal=name, value=1)
            assert (error["type"], error["action"]) == ("error", "set")
            assert len(json.dumps(error)) < 22_000
            assert len(error["message"]) < 300
            return error

        assert refused("a.pusch")["near"][0] == "a.push"
        assert "did you mean a.push" in refused("a.pusch")["message"]
        assert refused("A.PUSH")["near"][0] == "a.push"
        assert refused("A.PUSH")["code"] == "unknown_signal"
        assert refused("push")["code"] == "unknown_signal"
        assert refused("a.push ")["near"][0] == "a.push"
        assert refused("a.push" + "h" * 10_000)["code"] == "unknown_signal"
        assert refused("\u202ea.push\n<script>")["code"] == "unknown_signal"
        assert refused("")["near"] == []
        assert refused("a.*")["code"] == "unknown_signal"
        read_only, wired = refused("a.count"), refused("b.push")
        assert (read_only["code"], read_only["signal"]) == ("read_only", "a.count")
        assert (wired["code"], wired["signal"], wired["source"]) == ("wired", "b.push", "a.ramp")
        assert "a.ramp" in wired["message"]
        assert client.command("subscribe", signals=["a.pusch"])["near"][0] == "a.push"
        assert client.command("get", signals=["a.pusch"])["near"][0] == "a.push"


def test_a_subscription_is_bounded_in_names_patterns_time_and_memory(wide: faults.Served) -> None:
    with faults.Rude(wide.url) as client:
        module = client.schema["modules"]["a"]["signals"]
        names = [f"a.{signal['name']}" for signal in module]
        assert len(names) + 9 + 1 == SIGNALS
        short = [name for name in names if len(name) < 11]
    asked: dict[str, tuple[list[str], int | str]] = {
        "one name 1,000 times": (["a.push"] * 1_000, 1),
        "one name 4,096 times": (["a.push"] * 4_096, 1),
        "4,097 entries": (["a.push"] * 4_097, "too_many"),
        "4,096 names": (names[3:4_099], 4_096),
        "4,096 unknown names": ([f"c.{number:x}" for number in range(4_096)], "unknown_signal"),
        "*": (["*"], SIGNALS),
        "* and all it matches": (["*", *short[:2_000]], SIGNALS),
        "*a*a*a*b": (["*a*a*a*b"], "unknown_signal"),
        "60,000 stars": (["*" * 60_000], SIGNALS),
        "30,000 pairs": (["*a" * 30_000 + "b"], "unknown_signal"),
        "30,000 question marks": (["?" * 30_000], "unknown_signal"),
        "32 patterns": ([f"*{number}*" for number in range(32)], SIGNALS - 18),
        "32 patterns that all match all": ([f"?{'*' * number}" for number in range(1, 33)], SIGNALS),
        "33 patterns": ([f"*{number}*" for number in range(33)], "too_many"),
        "33 patterns, all the same": (["*x1*"] * 33, 0),
    }
    times: dict[str, float] = {}

    def subscribe_all() -> None:
        for name, (signals, expected) in asked.items():
            with faults.Rude(wide.url) as client:
                begin = time.perf_counter()
                reply = client.command("subscribe", signals=signals)
                times[name] = time.perf_counter() - begin
            if isinstance(expected, str):
                assert reply["code"] == expected, name
            else:
                assert reply["count"] == len(reply["signals"]) == len(set(reply["signals"])) > 0, name
                assert expected in (0, reply["count"]), name

    subscribe_all()
    with wide.growth() as grown:
        subscribe_all()
        with faults.Rude(wide.url) as client:
            client.send(client_frame(TEXT, json.dumps({"action": "subscribe", "signals": ["a"] * 1_000_000}).encode()))
            assert client.close_code() == 1009
    print(f"measured: + {grown[0] / 1024:.0f} KiB,", {name: f"{1e3 * took:.0f} ms" for name, took in times.items()})
    assert max(times.values()) < promised(1)
    assert grown[0] <= 8 * faults.MIB  # one message and one frame of all signals have 1 MiB and 64 KiB
