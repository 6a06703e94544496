"""The original specification's end-to-end scenario, step by step, against `hermes run` in its own process."""

from __future__ import annotations

import signal
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from bounds import PATIENCE, promised

from hermes import examples


async def test_the_scenario_of_the_specification(
    hermes_run: Callable[..., Any], client: Callable[[str], Any], counters: Path
) -> None:
    running = hermes_run(counters, "--paused")
    async with client(running.url) as viewer:
        modules = viewer.schema["modules"]
        assert list(modules) == ["a", "b"]
        assert modules["a"]["signals"][1] == {
            "name": "ramp",
            "type": "f64",
            "unit": "m",
            "kind": "output",
            "writable": False,
        }
        assert viewer.schema["state"] == "paused"
        assert viewer.schema["wiring"] == [{"src": "a.ramp", "dst": "b.push", "gain": 0.5, "offset": 0.0}]

        ack = await viewer.command("subscribe", signals=["*"])
        names = ["a.count", "a.ramp", "a.push", "a.gain", "b.count", "b.ramp", "b.push", "b.gain"]
        assert list(ack)[:4] == ["type", "action", "count", "signals"]
        at = {"telemetry_hz": 60.0, "frame": 0, "time": 0.0}
        assert ack == {"type": "ack", "action": "subscribe", "count": 8, "signals": names, **at}

        assert (await viewer.command("resume"))["type"] == "ack"
        assert viewer.events[-1]["event"] == "running"
        await viewer.until(lambda: viewer.frames and viewer.frames[-1][0] >= 50)
        for frame, time, values in viewer.frames:
            assert time == frame / 100
            assert values[0] == frame
            assert values[1] == pytest.approx(0.5 + frame / 100, abs=1e-9)

        paused = await viewer.command("pause")
        assert viewer.events[-1]["event"] == "paused"
        assert viewer.events[-1]["frame"] == paused["frame"]
        seen = len(viewer.frames)
        await viewer.until(lambda: len(viewer.frames) >= seen + 10)
        assert {frame for frame, _, _ in viewer.frames[seen + 2 :]} == {paused["frame"]}
    async with client(running.url) as another:
        assert another.schema["state"] == "paused"
    status, errors = running.end(signal.SIGTERM)
    assert (status, errors) == (143, "hermes: terminated\n")


async def test_every_command_is_answered_as_the_wire_says(
    hermes_run: Callable[..., Any], client: Callable[[str], Any], counters: Path
) -> None:
    running = hermes_run(counters, "--paused")
    async with client(running.url) as viewer:
        assert await viewer.command("step", count=3) == {
            "type": "ack",
            "action": "step",
            "frame": 3,
            "time": 0.03,
            "completed": 3,
        }
        assert viewer.events == []
        assert await viewer.command("set", signal="a.push", value=2) == {
            "type": "ack",
            "action": "set",
            "frame": 3,
            "time": 0.03,
        }
        refusals = [
            (("set",), {"signal": "a.pusch", "value": 1}, "unknown_signal"),
            (("set",), {"signal": "a.count", "value": 1}, "read_only"),
            (("set",), {"signal": "b.push", "value": 1}, "wired"),
            (("set",), {"signal": "a.gain", "value": 11}, "bad_value"),
            (("set",), {"signal": "a.gain", "value": "1"}, "bad_value"),
            (("set",), {"values": {"a.gain": 1, "a.count": 1}}, "read_only"),
            (("step",), {"count": 0}, "bad_params"),
            (("subscribe",), {"signals": ["c.*"]}, "unknown_signal"),
            (("unsubscribe",), {"signals": ["c.*"]}, "unknown_signal"),
            (("get",), {"signals": ["a.posh"]}, "unknown_signal"),
            (("subscribe",), {"signals": ["*"], "telemetry_hz": 61}, "bad_params"),
            (("run",), {"seconds": 0}, "bad_params"),
            (("stop",), {}, "unknown_action"),
        ]
        for (action,), params, code in refusals:
            error = await viewer.command(action, **params)
            assert (error["type"], error["action"], error["code"]) == ("error", action, code), error
        await viewer.command("resume")
        assert (await viewer.command("step"))["code"] == "invalid_state"
        reset = await viewer.command("reset")
        assert (reset["frame"], viewer.events[-1]["event"]) == (0, "reset")
        assert viewer.events[-1]["state"] == "running"
        await viewer.command("pause")


async def test_looking_works_in_every_state_and_in_the_middle_of_a_step(
    hermes_run: Callable[..., Any], client: Callable[[str], Any], counters: Path
) -> None:
    running = hermes_run(counters, "--paused")
    async with client(running.url) as viewer:
        assert await viewer.command("get", signals=["a.count", "b.*"]) == {
            "type": "ack",
            "action": "get",
            "values": {"a.count": 0, "b.count": 0, "b.ramp": 0.5, "b.push": 0.25, "b.gain": 2.0},
            "frame": 0,
            "time": 0.0,
        }
        assert await viewer.command("run", seconds=0.05) == {
            "type": "ack",
            "action": "run",
            "frame": 5,
            "time": 0.05,
            "completed": 5,
        }
        assert [event["event"] for event in viewer.events] == ["running", "paused"]
        status = await viewer.command("status")
        assert (status["state"], status["frame"], status["clients"]) == ("paused", 5, 1)
        assert {"real_time_factor", "overruns", "late_wakeups", "loop_stalls", "sent", "skipped"} < set(status)

        await viewer.connection.send('{"action":"step","params":{"count":1000000000},"id":"long"}')
        looked = await viewer.command("get", signals=["a.count"])
        assert looked["values"]["a.count"] == looked["frame"] >= 5
        assert (await viewer.command("subscribe", signals=["a.count"]))["count"] == 1
        await viewer.until(lambda: viewer.frames and viewer.frames[-1][0] > 5)
        assert all(values == [frame] for frame, _, values in viewer.frames)
        assert (await viewer.command("unsubscribe"))["count"] == 0
        seen = len(viewer.frames)
        assert (await viewer.command("status"))["state"] == "running"
        assert (await viewer.command("pause"))["id"] == "long"  # the step's ack comes first
        paused = await viewer.command("status")
        assert (paused["action"], paused["frame"]) == ("pause", viewer.texts[-2]["frame"])
        assert len(viewer.frames) == seen


async def test_a_strict_client_sees_sixty_frames_a_second_of_the_flight(
    hermes_run: Callable[..., Any], client: Callable[[str], Any]
) -> None:
    running = hermes_run(examples.path("c172x"), "--port", "0", "--paused", "--end-time", "10")
    async with client(running.url) as viewer:
        ack = await viewer.command("subscribe", signals=["*"])
        assert ack["count"] == len(ack["signals"]) == len(set(ack["signals"]))
        await viewer.command("resume")
        first = len(viewer.frames)
        await viewer.event("finished")
        frames = [frame for frame, _, _ in viewer.frames[first:]]
        assert len(frames) >= promised(594, slack=0.1)
        assert all(earlier <= later for earlier, later in pairwise(frames))
        assert frames[-1] == 600
        altitude = ack["signals"].index("plane.altitude")
        assert viewer.frames[-1][2][altitude] == pytest.approx(1500, abs=5)
    out, _ = running.process.communicate(timeout=PATIENCE)
    assert running.process.returncode == 0
    assert out.startswith("finished at 10 s, frame 600, fingerprint ")
