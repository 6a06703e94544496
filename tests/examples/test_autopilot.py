from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import pytest
import yaml

from hermes import examples
from hermes.examples.autopilot import Autopilot
from hermes.modules.jsbsim import JSBSim

WIRES = [
    (wire["src"].split("."), wire["dst"].split("."))
    for wire in yaml.safe_load(examples.path("c172x").read_text())["wiring"]
]


class Moment(NamedTuple):
    time: float
    altitude: float
    airspeed: float
    roll: float
    heading: float
    load_factor: float


@pytest.fixture(scope="module")
def plane() -> JSBSim:
    return JSBSim()


def fly(plane: JSBSim, rate: int, seconds: float, targets: Mapping[str, float]) -> list[Moment]:
    """Fly the example's wiring, with new `targets` from 5 s on.

    Both modules step from the same frame, and every wire delivers once per frame, after them: what one computes in a
    frame, the other sees in the next. The wires are routed once after the reset.
    """
    modules = {"plane": plane, "autopilot": Autopilot()}
    moments = []

    def route() -> None:
        for (source, output), (target, name) in WIRES:
            modules[target][name] = modules[source][output]

    for module in modules.values():
        module.reset()
    route()
    for frame in range(round(seconds * rate)):
        if frame == 5 * rate:
            for name, value in targets.items():
                modules["autopilot"][name] = value
        for module in modules.values():
            module.step(frame / rate, 1 / rate)
        route()
        heading = math.remainder(plane.heading, math.tau)
        moments.append(
            Moment((frame + 1) / rate, plane.altitude, plane.airspeed, plane.roll, heading, plane.load_factor)
        )
    return moments


def settling_time(moments: list[Moment], altitude: float, within: float) -> float:
    """Return how long after 5 s the altitude was last outside its band, in seconds."""
    return [moment.time for moment in moments if abs(moment.altitude - altitude) > within][-1] - 5


def test_leaves_an_aircraft_in_equilibrium_alone(plane: JSBSim) -> None:
    for moment in fly(plane, 60, 30, {}):
        assert moment.altitude == pytest.approx(1500.0, abs=0.5)
        assert moment.airspeed == pytest.approx(50.0, abs=0.1)
        assert abs(moment.roll) < 0.01
        assert abs(moment.heading) < 0.01


@pytest.mark.parametrize("rate", [60, 100])
def test_climbs_to_a_new_altitude_and_settles(plane: JSBSim, rate: int) -> None:
    moments = fly(plane, rate, 100, {"altitude_target": 1600.0})
    assert 40 < settling_time(moments, 1600.0, within=5) < 70
    assert max(moment.altitude for moment in moments) < 1603
    for moment in moments:
        assert moment.airspeed == pytest.approx(50.0, abs=2)
        assert abs(moment.roll) < 0.06
        assert abs(moment.heading) < 0.06
        assert moment.load_factor == pytest.approx(1.0, abs=0.15)


def test_descends(plane: JSBSim) -> None:
    moments = fly(plane, 60, 100, {"altitude_target": 1400.0})
    assert settling_time(moments, 1400.0, within=5) < 70
    assert min(moment.altitude for moment in moments) > 1397
    assert all(abs(moment.airspeed - 50) < 2 for moment in moments)


def test_turns_to_a_new_heading_on_the_shorter_side(plane: JSBSim) -> None:
    moments = fly(plane, 60, 60, {"heading_target": math.tau - 1.0})
    assert max(moment.heading for moment in moments) < 0.05
    assert all(moment.heading == pytest.approx(-1.0, abs=0.05) for moment in moments[-30 * 60 :])
    assert all(abs(moment.altitude - 1500) < 6 for moment in moments)
    assert max(abs(moment.roll) for moment in moments) < 0.4


def test_slows_down_without_losing_altitude(plane: JSBSim) -> None:
    moments = fly(plane, 60, 90, {"airspeed_target": 45.0})
    assert all(moment.airspeed == pytest.approx(45.0, abs=0.5) for moment in moments[-30 * 60 :])
    assert min(moment.airspeed for moment in moments) > 43
    assert all(abs(moment.altitude - 1500) < 6 for moment in moments)


def test_reset_repeats_the_flight_bit_for_bit(plane: JSBSim) -> None:
    targets = {"altitude_target": 1600.0, "heading_target": 0.5}
    assert fly(plane, 60, 15, targets) == fly(plane, 60, 15, targets)


def test_commands_stay_within_their_limits() -> None:
    autopilot = Autopilot()
    autopilot.altitude, autopilot.pitch, autopilot.roll, autopilot.airspeed = -1e5, 1.5, -3.0, 0.0
    autopilot.yaw_rate, autopilot.throttle_trim = 50.0, 0.7
    autopilot.step(0.0, 1 / 60)
    autopilot.pitch = -1.5
    autopilot.step(1 / 60, 1 / 60)
    assert (autopilot.elevator, autopilot.aileron, autopilot.rudder, autopilot.throttle) == (-1, 1, 1, 1)
