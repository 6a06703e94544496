from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from hermes import examples
from hermes.examples.servo import PID, Motor
from hermes.module import Input, Module
from hermes.modules.injection import Injection

CONFIGURATION = yaml.safe_load(examples.path("servo").read_text())
RATE = CONFIGURATION["execution"]["rate_hz"]
BIAS = 0.02


def injection(signals: list[dict[str, Any]]) -> Module:
    declared = {signal["name"]: Input(signal["initial"]) for signal in signals}
    return type("Inputs", (Injection,), declared)()


def turn(seconds: float, values: Mapping[str, float]) -> list[dict[str, float]]:
    """Run the example with every wire one frame late and return motor angle, duty and current per frame."""
    inputs = injection(CONFIGURATION["modules"]["inputs"]["signals"])
    modules: dict[str, Module] = {"inputs": inputs, "controller": PID(), "motor": Motor()}
    for name, value in values.items():
        inputs[name] = value
    for module in modules.values():
        module.reset()
    route(modules)
    frames = []
    for frame in range(round(seconds * RATE)):
        for module in modules.values():
            module.step(frame / RATE, 1 / RATE)
        route(modules)
        motor, duty = modules["motor"], modules["controller"]["duty"]
        frames.append({"angle": motor["angle"], "current": motor["current"], "duty": duty})
    return frames


def route(modules: Mapping[str, Module]) -> None:
    for wire in CONFIGURATION["wiring"]:
        (source, output), (target, name) = wire["src"].split("."), wire["dst"].split(".")
        modules[target][name] = modules[source][output] * wire.get("gain", 1.0) + wire.get("offset", 0.0)


def test_turns_to_the_reference_less_the_encoders_bias() -> None:
    angles = [frame["angle"] for frame in turn(8, {"reference": 90.0})]
    wanted = math.radians(90) - BIAS
    assert angles[-1] == pytest.approx(wanted, abs=1e-3)
    assert max(angles) < 1.05 * wanted
    assert all(angle == pytest.approx(wanted, rel=0.02) for angle in angles[2 * RATE :])


def test_integral_carries_a_constant_load() -> None:
    final = turn(20, {"reference": -45.0, "load_torque": 0.1})[-1]
    assert final["angle"] == pytest.approx(-math.radians(45) - BIAS, abs=1e-3)
    assert final["current"] == pytest.approx(0.1 / 0.05, rel=1e-2)


def test_duty_stays_within_the_supply() -> None:
    frames = turn(5, {"reference": 180.0, "load_torque": 0.3})
    assert max(abs(frame["duty"]) for frame in frames) <= 1.0


def test_motor_follows_the_exact_solution_at_any_step() -> None:
    motor = Motor()
    motor.voltage, motor.load_torque = 6.0, 0.02
    drag = 1e-4 + 0.05**2 / 1.0
    final, tau = (0.05 * 6.0 / 1.0 - 0.02) / drag, 1e-3 / drag
    for dt in (0.001, 0.01, 0.3, 0.089):
        motor.step(0.0, dt)
    time = 0.4
    assert motor.angular_velocity == pytest.approx(final * (1 - math.exp(-time / tau)), rel=1e-12)
    assert motor.angle == pytest.approx(final * (time - tau * (1 - math.exp(-time / tau))), rel=1e-12)
    assert motor.current == pytest.approx(6.0 - 0.05 * motor.angular_velocity, rel=1e-12)


def test_step_of_the_reference_does_not_kick_the_derivative() -> None:
    pid = PID()
    pid.step(0.0, 0.005)
    pid.reference = 0.5
    pid.step(0.005, 0.005)
    assert pid.duty == pytest.approx(0.5 * pid.proportional)


def test_integral_stands_still_at_the_limit() -> None:
    pid = PID()
    pid.reference = 100.0
    for frame in range(1000):
        pid.step(frame * 0.005, 0.005)
    pid.reference = 0.0
    pid.step(5.0, 0.005)
    assert pid.duty == 0.0


def test_reset_repeats_the_run_bit_for_bit() -> None:
    pid, motor = PID(), Motor()
    pid.reference = 1.0
    runs = []
    for _ in range(2):
        pid.reset()
        motor.angle = motor.angular_velocity = pid.angle = 0.0
        for frame in range(100):
            pid.step(frame * 0.005, 0.005)
            motor.voltage = 12 * pid.duty
            motor.step(frame * 0.005, 0.005)
            pid.angle = motor.angle
        runs.append((motor.angle, motor.angular_velocity, pid.duty))
    assert runs[0] == runs[1]
