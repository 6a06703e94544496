from __future__ import annotations

import importlib.util
import math
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from hermes.backplane.signals import SignalKind
from hermes.modules import jsbsim as module
from hermes.modules.jsbsim import JSBSim

RATE = 60
STICK_AND_LEVERS = ("elevator", "aileron", "rudder", "flaps", "throttle", "mixture")


@pytest.fixture(scope="module")
def aircraft() -> JSBSim:
    return JSBSim()


@pytest.fixture
def plane(aircraft: JSBSim) -> JSBSim:
    return restart(aircraft)


def restart(plane: JSBSim) -> JSBSim:
    for name in STICK_AND_LEVERS:
        plane[name] = plane._declared[name].initials[0]
    plane.reset()
    return plane


def fly(plane: JSBSim, seconds: float, rate: int = RATE) -> None:
    for frame in range(round(seconds * rate)):
        plane.step(frame / rate, 1 / rate)


def outputs(plane: JSBSim) -> dict[str, float]:
    return {name: plane[name] for name, d in plane._declared.items() if d.kind is SignalKind.OUTPUT}


def weaving_flight(plane: JSBSim, rate: int) -> bytes:
    """Fly 600 frames with moving controls and return the bits of all outputs in every frame."""
    frames = [outputs(restart(plane))]
    for frame in range(600):
        time = frame / rate
        plane.elevator, plane.aileron = 0.1 * math.sin(time), 0.1 * math.sin(1.3 * time)
        plane.rudder, plane.throttle = 0.05 * math.sin(0.7 * time), 0.7 + 0.1 * math.sin(0.5 * time)
        plane.flaps = 0.5 if frame > 300 else 0.0
        plane.step(time, 1 / rate)
        frames.append(outputs(plane))
    return b"".join(struct.pack(f"<{len(frame)}d", *frame.values()) for frame in frames)


def test_starts_where_it_is_told_to() -> None:
    plane = JSBSim(altitude=900.0, airspeed=45.0, heading=2.0, latitude=-0.3, longitude=1.1)
    plane.reset()
    assert plane.altitude == pytest.approx(900.0)
    assert plane.airspeed == pytest.approx(45.0)
    assert plane.heading == pytest.approx(2.0)
    assert (plane.latitude, plane.longitude) == pytest.approx((-0.3, 1.1))
    assert plane.velocity_north == pytest.approx(45 * math.cos(2.0), rel=1e-3)
    assert plane.velocity_east == pytest.approx(45 * math.sin(2.0), rel=1e-3)


def test_flies_straight_and_level_with_untouched_inputs(plane: JSBSim) -> None:
    for frame in range(5 * RATE):
        plane.step(frame / RATE, 1 / RATE)
        assert abs(plane.climb_rate) < 0.01
        assert abs(plane.pitch_rate) < 1e-4
        assert abs(plane.roll_rate) < 1e-4
    assert plane.altitude == pytest.approx(1500.0, abs=0.02)
    assert plane.airspeed == pytest.approx(50.0, abs=0.005)
    assert plane.load_factor == pytest.approx(1.0, abs=0.01)


def test_throttle_begins_at_its_trim(plane: JSBSim) -> None:
    assert plane.throttle == plane.throttle_trim
    assert 0.5 < plane.throttle_trim < 0.95
    assert plane._declared["throttle"].initials == (plane.throttle_trim,)
    assert JSBSim.throttle.initials == (0.0,)


@pytest.mark.parametrize(
    ("output", "path", "factor"),
    [
        ("altitude", "position/h-sl-meters", 1.0),
        ("airspeed", "velocities/vtrue-kts", 1852 / 3600),
        ("calibrated_airspeed", "velocities/vc-kts", 1852 / 3600),
        ("pitch", "attitude/theta-deg", math.pi / 180),
        ("angle_of_attack", "aero/alpha-deg", math.pi / 180),
        ("velocity_down", "velocities/v-down-fps", 0.3048),
        ("engine_speed", "propulsion/engine/propeller-rpm", math.tau / 60),
        ("thrust", "propulsion/engine/thrust-lbs", 4.4482216152605),
        ("fuel_mass", "propulsion/total-fuel-lbs", 0.45359237),
    ],
)
def test_shows_jsbsims_numbers_in_si_units(plane: JSBSim, output: str, path: str, factor: float) -> None:
    plane.elevator = -0.05
    fly(plane, 2)
    assert plane[output] == pytest.approx(plane._fdm[path] * factor, rel=1e-5)


def test_rates_are_the_derivatives_of_positions(plane: JSBSim) -> None:
    plane.elevator = 0.1
    fly(plane, 1)
    altitude, pitch = plane.altitude, plane.pitch
    plane.step(1.0, 1 / RATE)
    assert (plane.altitude - altitude) * RATE == pytest.approx(plane.climb_rate, rel=0.05)
    assert (plane.pitch - pitch) * RATE == pytest.approx(plane.pitch_rate, rel=0.1)
    assert plane.climb_rate == pytest.approx(-plane.velocity_down, rel=1e-6)


@pytest.mark.parametrize(
    ("control", "value", "output", "sign"),
    [
        ("elevator", 0.1, "pitch", -1),
        ("aileron", 0.1, "roll", 1),
        ("rudder", 0.1, "yaw_rate", -1),
        ("throttle", 0.0, "thrust", -1),
        ("mixture", 0.0, "engine_speed", -1),
        ("flaps", 1.0, "pitch", 1),
    ],
)
def test_controls_act_as_described(plane: JSBSim, control: str, value: float, output: str, sign: int) -> None:
    before = plane[output]
    plane[control] = value
    fly(plane, 1)
    assert (plane[output] - before) * sign > 1e-3


def test_values_beyond_the_limits_act_as_the_limit(plane: JSBSim) -> None:
    plane.throttle = 7.0
    fly(plane, 1)
    beyond = outputs(plane)
    restart(plane)
    plane.throttle = 1.0
    fly(plane, 1)
    assert outputs(plane) == beyond


@pytest.mark.parametrize("rate", [1, 25, 50, 60, 100, 120, 240, 1000])
def test_advances_exactly_dt(plane: JSBSim, rate: int) -> None:
    plane.step(0.0, 1 / rate)
    assert plane._fdm.get_sim_time() == pytest.approx(1 / rate, rel=1e-12)
    assert plane._fdm.get_delta_t() <= 1 / 120
    assert plane._substeps == math.ceil(120 / rate)


def test_refuses_another_dt_in_flight(plane: JSBSim) -> None:
    plane.step(0.0, 1 / 60)
    with pytest.raises(ValueError, match=r"dt changed from 0\.016\d* to 0\.01 s in flight; reset first"):
        plane.step(1 / 60, 0.01)
    plane.reset()
    plane.step(0.0, 0.01)


@pytest.mark.parametrize("rate", [60, 100])
def test_reset_repeats_the_flight_bit_for_bit(plane: JSBSim, rate: int) -> None:
    first = weaving_flight(plane, rate)
    assert weaving_flight(plane, rate) == first
    assert weaving_flight(JSBSim(), rate) == first


def test_another_process_repeats_the_flight_bit_for_bit(plane: JSBSim) -> None:
    program = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_jsbsim as t; "
    program += "sys.stdout.buffer.write(t.weaving_flight(t.JSBSim(), 100))"
    command = [sys.executable, "-c", program]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONHASHSEED": "7"}
    other = subprocess.run(command, env=environment, capture_output=True, check=True)
    assert other.stderr == b""
    assert other.stdout == weaving_flight(plane, 100)


def test_says_nothing_and_writes_no_files(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plane = JSBSim()
    plane.reset()
    fly(plane, 0.1)
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("aircraft", "airspeed"), [("737", 200.0), ("J3Cub", 35.0)])
def test_flies_other_aircraft(aircraft: str, airspeed: float) -> None:
    plane = JSBSim(aircraft, altitude=2000.0, airspeed=airspeed)
    plane.reset()
    fly(plane, 2)
    assert plane.altitude == pytest.approx(2000.0, abs=0.1)
    assert plane.thrust > 300
    assert (plane.engine_speed > 0) == (aircraft == "J3Cub")


def test_starts_untrimmed_with_closed_throttle() -> None:
    glider = JSBSim("SGS", airspeed=30.0, trim=False)
    glider.reset()
    assert (glider.throttle, glider.throttle_trim, glider.elevator) == (0.0, 0.0, 0.0)
    fly(glider, 2)
    assert glider.altitude < 1500


def test_names_near_aircraft() -> None:
    with pytest.raises(ValueError, match=r"JSBSim has no aircraft 'C172'; did you mean c172"):
        JSBSim("C172")
    with pytest.raises(ValueError, match=r"no aircraft '\.\./zz'; it has 737, .*, x24b"):
        JSBSim("../zz")


def test_names_the_condition_it_cannot_trim() -> None:
    expected = r"no trimmed flight for c172x at altitude 1500 m and airspeed 10 m/s; choose .* trim=False"
    with pytest.raises(RuntimeError, match=expected):
        JSBSim(airspeed=10.0)


def test_a_crash_is_an_error(plane: JSBSim) -> None:
    plane.elevator, plane.throttle = 0.5, 0.0
    with pytest.raises(RuntimeError, match=r"the flight of c172x has no finite state after .* s: it crashed\?"):
        fly(plane, 60)


def test_missing_jsbsim_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jsbsim", None)
    spec = importlib.util.spec_from_file_location("without_jsbsim", module.__file__)
    assert spec is not None
    assert spec.loader is not None
    with pytest.raises(ImportError, match=r'pip install "hermes-sim\[examples\]"'):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


def test_every_signal_is_described(aircraft: JSBSim) -> None:
    assert [name for name, d in aircraft._declared.items() if not d.description] == []
