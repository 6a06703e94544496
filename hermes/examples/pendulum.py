"""A damped pendulum with a motor at its pivot: the smallest complete module, and the one to copy from."""

from __future__ import annotations

import math

import hermes


class Pendulum(hermes.Module):
    """Point mass on a massless rod: m L^2 angle'' = torque - damping angle' - m g L sin(angle)."""

    torque = hermes.Input(unit="N*m", description="Torque of the motor at the pivot")

    mass = hermes.Parameter(1.0, unit="kg", limits=(0.01, 100), description="Mass of the bob")
    length = hermes.Parameter(1.0, unit="m", limits=(0.01, 100), description="Length of the rod")
    damping = hermes.Parameter(0.05, unit="N*m*s/rad", limits=(0, 100), description="Friction of the pivot")
    gravity = hermes.Parameter(9.80665, unit="m/s^2", limits=(0, 100), description="Gravity")

    angle = hermes.Output(unit="rad", description="Angle from hanging straight down")
    angular_velocity = hermes.Output(unit="rad/s", description="Rate of change of the angle")
    energy = hermes.Output(unit="J", description="Kinetic and potential energy; 0 at rest, hanging")

    def __init__(self, initial_angle: float = 0.5) -> None:
        """Begin at rest at `initial_angle`, in rad from hanging straight down."""
        self._initial_angle = initial_angle

    def reset(self) -> None:
        """Lift the bob to its initial angle and hold it there."""
        self.angle = self._initial_angle
        self.angular_velocity = 0.0
        self.energy = self._energy()

    def step(self, time: float, dt: float) -> None:
        """Advance by one step of the classic Runge-Kutta method; the torque stays constant during it."""
        angle, velocity = self.angle, self.angular_velocity
        a1 = self._acceleration(angle, velocity)
        v2 = velocity + a1 * dt / 2
        a2 = self._acceleration(angle + velocity * dt / 2, v2)
        v3 = velocity + a2 * dt / 2
        a3 = self._acceleration(angle + v2 * dt / 2, v3)
        v4 = velocity + a3 * dt
        a4 = self._acceleration(angle + v3 * dt, v4)
        self.angle = angle + (velocity + 2 * v2 + 2 * v3 + v4) * dt / 6
        self.angular_velocity = velocity + (a1 + 2 * a2 + 2 * a3 + a4) * dt / 6
        self.energy = self._energy()

    def _acceleration(self, angle: float, velocity: float) -> float:
        weight = self.mass * self.gravity * self.length * math.sin(angle)
        torque = self.torque - self.damping * velocity - weight
        acceleration: float = torque / (self.mass * self.length**2)
        return acceleration

    def _energy(self) -> float:
        height = self.length * (1 - math.cos(self.angle))
        speed = self.length * self.angular_velocity
        energy: float = self.mass * (speed**2 / 2 + self.gravity * height)
        return energy
