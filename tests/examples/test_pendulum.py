from __future__ import annotations

import itertools
import math

import pytest

from hermes.examples.pendulum import Pendulum

GRAVITY = 9.80665


def released(initial_angle: float, *, damping: float = 0.0, length: float = 1.0, mass: float = 1.0) -> Pendulum:
    pendulum = Pendulum(initial_angle=initial_angle)
    pendulum.damping, pendulum.length, pendulum.mass = damping, length, mass
    pendulum.reset()
    return pendulum


def swing(pendulum: Pendulum, seconds: float, rate: int = 100) -> list[float]:
    """Return the angle in every frame, the first included."""
    angles = [pendulum.angle]
    for frame in range(round(seconds * rate)):
        pendulum.step(frame / rate, 1 / rate)
        angles.append(pendulum.angle)
    return angles


def period(angles: list[float], dt: float) -> float:
    """Return the mean time between downward passages through zero, interpolated."""
    crossings = [(frame + a / (a - b)) * dt for frame, (a, b) in enumerate(itertools.pairwise(angles)) if a > 0 >= b]
    return (crossings[-1] - crossings[0]) / (len(crossings) - 1)


@pytest.mark.parametrize("angle", [0.01, 0.3, 0.8])
@pytest.mark.parametrize("length", [0.25, 1.0, 4.0])
def test_period_follows_the_series_in_the_amplitude(angle: float, length: float) -> None:
    series = 1 + angle**2 / 16 + 11 * angle**4 / 3072 + 173 * angle**6 / 737280
    expected = math.tau * math.sqrt(length / GRAVITY) * series
    measured = period(swing(released(angle, length=length), 10 * expected), 0.01)
    assert measured == pytest.approx(expected, rel=2e-5)


def test_keeps_its_energy_without_friction() -> None:
    pendulum = released(2.5, mass=3.0)
    start = pendulum.energy
    assert start == pytest.approx(3 * GRAVITY * (1 - math.cos(2.5)))
    swing(pendulum, 60)
    assert pendulum.energy == pytest.approx(start, rel=1e-5)


def test_friction_only_takes_energy() -> None:
    pendulum = released(1.0, damping=0.2)
    energies = [pendulum.energy]
    for frame in range(2000):
        pendulum.step(frame / 100, 0.01)
        energies.append(pendulum.energy)
    assert all(later < earlier for earlier, later in itertools.pairwise(energies))
    assert energies[-1] < 0.05 * energies[0]


def test_constant_torque_leads_to_its_equilibrium() -> None:
    pendulum = released(0.0, damping=2.0)
    pendulum.torque = 4.0
    swing(pendulum, 30)
    assert pendulum.angle == pytest.approx(math.asin(4.0 / GRAVITY), abs=1e-6)
    assert pendulum.angular_velocity == pytest.approx(0.0, abs=1e-6)


def test_work_of_the_torque_becomes_energy() -> None:
    pendulum = released(0.0)
    pendulum.torque = 1.5
    swing(pendulum, 0.7)
    assert pendulum.energy == pytest.approx(1.5 * pendulum.angle, rel=1e-6)


def test_reset_repeats_the_swing_bit_for_bit() -> None:
    pendulum = released(1.2, damping=0.05)
    first = swing(pendulum, 5)
    pendulum.reset()
    assert swing(pendulum, 5) == first
