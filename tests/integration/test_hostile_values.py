"""Values and counts that do not fit are refused without a trace, and an endless step ends when it is told to."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import faults
import pytest
from bounds import promised

from hermes import Session

I32 = "a whole number from -2147483648 to 2147483647 (i32)"
I64 = "a whole number from -2^63 to 2^63-1 (i64)"
F64 = "a number (f64), in N"
F32 = "a number that f32 holds exactly"
NONFINITE = 'a number (f64), or "NaN", "Infinity", "-Infinity"'
LIMITED = "a number (f64), within -10 to 10"

TAKEN = {
    "a.push": [
        "0",
        "-0.0",
        "1",
        "1.5",
        "5e-324",
        "1.7976931348623157e308",
        "-9007199254740992",
        "18446744073709551616",
    ],
    "a.single": ["0.5", "-1", "16777216", "3.4028234663852886e38", "1.401298464324817e-45"],
    "a.long": ["9223372036854775807", "-9223372036854775808", "9007199254740993", "2.0", "-0", "1e18"],
    "a.short": ["2147483647", "-2147483648", "7.0", "2e9"],
    "a.armed": ["true", "false"],
    "a.loose": ['"NaN"', '"Infinity"', '"-Infinity"', "1e308"],
    "a.gain": ["10", "-10", "9.999999999999998"],
}
ODD = ['"7"', '""', "null", "[]", "[1]", "{}", '{"value":1}', "true", '"nan"', '"inf"', '"Infinity "']
REFUSED = {
    "a.push": (F64, [*ODD, '"NaN"', '"Infinity"', "9007199254740993", "18446744073709551617", "1" + "0" * 300 + "1"]),
    "a.single": (F32, [*ODD, '"NaN"', "0.1", "16777217", "1e39", "3.5e38", "-1e308", "1e-46"]),
    "a.long": (I64, [*ODD, '"NaN"', "1.9", "-0.5", "9223372036854775808", "-9223372036854775809", "1e19", "5e-324"]),
    "a.short": (I32, [*ODD, '"NaN"', "1.9", "2147483648", "-2147483649", "2147483647.5", "1e10"]),
    "a.armed": ("true or false (bool)", [*ODD[:7], "0", "1", "1.0", '"false"', '"true"', '"NaN"']),
    "a.loose": (NONFINITE, [*ODD, "9007199254740993"]),
    "a.gain": (LIMITED, [*ODD, '"Infinity"', "10.000000000000002", "-11", "1e300"]),
}
NO_JSON = ["NaN", "Infinity", "-Infinity", "1e400", "-1e309", "1" + "0" * 309, "01", "1.", ".5", "0x7", "True"]


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    """Run a session, paused, in this process: its memory and journal can be looked at."""
    with Session.from_yaml(faults.plants(tmp_path), loop="thread") as running:
        yield running


@pytest.fixture
def client(session: Session) -> Iterator[faults.Rude]:
    """Connect to it."""
    with faults.Rude(session.url) as connected:
        yield connected


def memory(session: Session) -> bytes:
    """Return all shared memory: header, live cells, every kept frame."""
    return bytes(session.aio._run.memory("test")._view)


def set_message(signal: str, literal: str) -> str:
    return f'{{"action":"set","params":{{"signal":"{signal}","value":{literal}}}}}'


def test_a_value_is_stored_exactly_or_refused_without_a_trace(session: Session, client: faults.Rude) -> None:
    for signal, literals in TAKEN.items():
        for literal in literals:
            assert client.ask(set_message(signal, literal))["type"] == "ack", (signal, literal)
            found = client.command("get", signals=[signal])["values"][signal]
            sent = json.loads(literal)
            kind = {"a.armed": bool, "a.long": int, "a.short": int}.get(signal, float)
            assert (found if isinstance(sent, str) else kind(sent)) == found, (signal, literal)
            if kind is float and not isinstance(sent, str):
                assert struct.pack("<d", found) == struct.pack("<d", sent), (signal, literal)
    before, frames = memory(session), client.command("get", signals=["*"])
    for signal, (accepted, literals) in REFUSED.items():
        for literal in literals:
            error = client.ask(set_message(signal, literal))
            assert (error["type"], error["code"]) == ("error", "bad_value"), (signal, literal)
            assert (error["signal"], error["accepted"]) == (signal, accepted), literal
            assert error["message"] == f"{signal} cannot be {error['found']}; it takes {accepted}"
            assert len(error["message"]) < 300
            both = client.command("set", values={"b.long": 5, "b.gain": 0.5, signal: json.loads(literal)})
            assert both["code"] == "bad_value", (signal, literal)
    for literal in NO_JSON:
        assert client.ask(set_message("a.loose", literal))["code"] == "bad_json", literal
    assert memory(session) == before
    assert client.command("get", signals=["*"]) == frames
    assert {entry["verb"] for entry in session.journal} == {"set"}
    assert len(session.journal) == sum(map(len, TAKEN.values()))


def test_a_step_takes_a_count_of_frames_and_a_pause_ends_it_at_once(session: Session, client: faults.Rude) -> None:
    for literal in ("0", "-1", "1.5", '"3"', "9223372036854775808", "9007199254740992", "true", "null", "[3]", "1.0"):
        error = client.ask(f'{{"action":"step","params":{{"count":{literal}}}}}')
        assert (error["type"], error["code"]) == ("error", "bad_params"), literal
        assert "1 to 2^53-1" in error["message"]
    assert (session.frame, session.journal) == (0, [])
    took = []
    for _ in range(5):
        before = session.frame
        client.send(faults.command("step", "step", count=1_000_000_000))
        faults.until(lambda before=before: session.frame > before + 3)
        begin = time.perf_counter()
        client.send(faults.command("pause", "pause"))
        stepped, paused = client.reply(), client.reply()
        took.append(time.perf_counter() - begin)
        assert (stepped["id"], paused["id"]) == ("step", "pause")
        assert (stepped["type"], paused["type"]) == ("ack", "ack")
        assert stepped["frame"] == paused["frame"] == before + stepped["completed"]
        assert session.frame == stepped["frame"]
    print(f"measured: step and pause answered after {[f'{1e3 * one:.1f} ms' for one in took]}")
    assert min(took) < promised(0.05, slack=10)
    client.command("resume")
    assert client.command("step", count=1)["code"] == "invalid_state"
    assert client.command("status")["state"] == "running"
