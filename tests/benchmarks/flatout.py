"""What an outside client gets of a real session whose engine runs as fast as it can."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from children import Server, hermes_run, measured

COMMANDS_HZ = 100
"""Below the 200 commands per second that the server lets pass per client."""

MODULE = """
import hermes

class Counter(hermes.Module):
    push = hermes.Input(unit="N")
    gain = hermes.Parameter(1.0)
    count = hermes.Output(type="i64")
    ramp = hermes.Output(unit="m")

    def step(self, time, dt):
        self.count += 1
        self.ramp += (self.gain + self.push) * dt
"""

CONFIGURATION = """
name: flatout
modules:
  a: {type: script, script: ./counter.py}
  b: {type: script, script: ./counter.py}
  c: {type: script, script: ./counter.py}
wiring:
  - {src: a.ramp, dst: b.push, gain: 0.5}
  - {src: b.ramp, dst: c.push, gain: 0.5}
execution: {mode: afap, rate_hz: 1000}
server: {port: 0}
"""


def telemetry_beside_the_engine(seconds: float) -> list[dict[str, Any]]:
    """Return the row of one client that follows everything while the engine is flat out."""
    with running() as server:
        found = measured(server, seconds, "--resume")
    row = {
        "seconds": found["seconds"],
        "frames": found["frames"]["max"],
        "goal_frames": f"{60 * seconds:g} +- 1",
        "gap_p50_ms": found["gap_ms"]["p50"],
        "gap_p99_ms": found["gap_ms"]["p99"],
        "goal_gap": "<= 19",
        "gap_max_ms": found["gap_ms"]["max"],
        "lost": found["lost"],
        "backwards": found["backwards"],
        "engine_frames_hz": found["simulation_hz"],
        "server_cpu": found["server_cpu"],
    }
    return [row]


def commands_beside_the_engine(seconds: float) -> list[dict[str, Any]]:
    """Return the row of one client that sets a signal again and again while the engine is flat out."""
    options = ["--kind", "ask", "--signal", "a.push", "--rate", COMMANDS_HZ, "--resume"]
    with running() as server:
        found = measured(server, seconds, *options)
    trip = found["round_trip_ms"]
    goals = {"goal_p50": "<= 0.7", "goal_p99": "<= 3"}
    trips = {f"{name}_ms": trip[name] for name in ("min", "p50", "p99", "max")}
    return [{"commands": found["asked"], **trips, **goals, "engine_frames_hz": found["simulation_hz"]}]


@contextmanager
def running() -> Iterator[Server]:
    """Run three trivial modules, two wires, as fast as possible and without an end."""
    with TemporaryDirectory() as folder:
        Path(folder, "counter.py").write_text(MODULE)
        config = Path(folder, "flatout.yaml")
        config.write_text(CONFIGURATION)
        with hermes_run(config) as server:
            yield server
