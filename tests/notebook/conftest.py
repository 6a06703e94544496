"""What notebook tests share: a session to control, and what its panel sends to a front end that is not there."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import comm
import ipywidgets
import pytest

PLANE = """
import hermes

class Plane(hermes.Module):
    elevator = hermes.Input(0.0, unit="rad", limits=(-0.4, 0.4), description="<b>Elevator</b>")
    throttle = hermes.Input(0.25, limits=(0, 1))
    gear = hermes.Input(False, type="bool")
    serial = hermes.Parameter(9007199254740993, type="i64")
    wind = hermes.Input(0.0, unit="m/s")
    fail_at = hermes.Parameter(-1.0, unit="s")
    altitude = hermes.Output(unit="m")

    def step(self, time, dt):
        self.altitude += self.throttle * dt
        if 0 <= self.fail_at <= time:
            raise ValueError("the <b>wing</b> fell off")
"""

PILOT = """
import hermes

class Pilot(hermes.Module):
    altitude = hermes.Input(unit="m")
    gain = hermes.Parameter(0.5, limits=(0, 5))
    throttle = hermes.Output()

    def step(self, time, dt):
        self.throttle = self.gain
"""

FLIGHT = """
name: flight
modules:
  plane: {type: script, script: ./plane.py}
  pilot: {type: script, script: ./pilot.py}
wiring:
  - {src: plane.altitude, dst: pilot.altitude}
execution: {rate_hz: 100}
server: {port: 0}
"""


@pytest.fixture
def flight(write: Callable[[str, str], Path]) -> Path:
    """Return the path of a configuration with a plane and a pilot."""
    write("plane.py", PLANE)
    write("pilot.py", PILOT)
    return write("flight.yaml", FLIGHT)


@pytest.fixture(autouse=True)
def no_widgets_left() -> Iterator[None]:
    """Let go of every widget of the test: ipywidgets keeps each until it is closed."""
    yield
    ipywidgets.Widget.close_all()
    gc.collect()


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Return the messages that widgets send to the front end from now on, in order."""
    messages: list[dict[str, Any]] = []

    def publish(self: comm.DummyComm, kind: str, data: dict[str, Any] | None = None, *given: Any, **keys: Any) -> None:
        messages.append({"type": kind, "comm": self.comm_id, **(data or {})})

    monkeypatch.setattr(comm.DummyComm, "publish_msg", publish)
    return messages
