"""A position servo: a DC motor and the PID controller that turns it to a reference."""

from __future__ import annotations

import math

import hermes


class Motor(hermes.Module):
    """DC motor with a load on its shaft.

    The winding's inductance is neglected: current = (voltage - constant * speed) / resistance. What remains is linear
    and of first order, inertia speed' = constant current - friction speed - load_torque, so `step` uses its exact
    solution for a voltage and a load that are constant during `dt`.
    """

    voltage = hermes.Input(unit="V", description="Voltage at the terminals")
    load_torque = hermes.Input(unit="N*m", description="Torque of the load against the motor")

    constant = hermes.Parameter(0.05, unit="N*m/A", limits=(0.001, 10), description="Torque per current")
    resistance = hermes.Parameter(1.0, unit="Ohm", limits=(0.001, 1000), description="Resistance of the winding")
    inertia = hermes.Parameter(1e-3, unit="kg*m^2", limits=(1e-6, 10), description="Inertia of rotor and load")
    friction = hermes.Parameter(1e-4, unit="N*m*s/rad", limits=(0, 10), description="Viscous friction")

    angle = hermes.Output(unit="rad", description="Angle of the shaft")
    angular_velocity = hermes.Output(unit="rad/s", description="Speed of the shaft")
    current = hermes.Output(unit="A", description="Current in the winding")

    def step(self, time: float, dt: float) -> None:
        """Let the speed decay exponentially towards the one that voltage and load lead to."""
        drag = self.friction + self.constant**2 / self.resistance
        final = (self.constant * self.voltage / self.resistance - self.load_torque) / drag
        time_constant = self.inertia / drag
        excess = self.angular_velocity - final
        decay = -math.expm1(-dt / time_constant)
        self.angle += final * dt + excess * time_constant * decay
        self.angular_velocity = final + excess * (1 - decay)
        self.current = (self.voltage - self.constant * self.angular_velocity) / self.resistance


class PID(hermes.Module):
    """PID controller of an angle: proportional and integral on the error, derivative on the measured angle.

    The derivative does not see the reference, so that a step of the reference does not kick the motor. The integral
    stands still while the output is at its limit.
    """

    reference = hermes.Input(unit="rad", description="Wanted angle")
    angle = hermes.Input(unit="rad", description="Measured angle")

    proportional = hermes.Parameter(1.0, unit="1/rad", limits=(0, 100), description="Output per error")
    integral = hermes.Parameter(0.5, unit="1/(rad*s)", limits=(0, 100), description="Output rate per error")
    derivative = hermes.Parameter(0.08, unit="s/rad", limits=(0, 100), description="Output against measured speed")

    duty = hermes.Output(description="Share of the supply voltage for the motor, -1..1")

    def __init__(self) -> None:
        """Begin with no history."""
        self.reset()

    def reset(self) -> None:
        """Forget the integral and the last angle."""
        self._correction = 0.0
        self._last_angle: float | None = None

    def step(self, time: float, dt: float) -> None:
        """Set the duty cycle from the error and the speed at which the angle changes."""
        error = self.reference - self.angle
        last = self.angle if self._last_angle is None else self._last_angle
        speed = (self.angle - last) / dt
        wanted = self.proportional * error + self._correction - self.derivative * speed
        self.duty = min(max(wanted, -1.0), 1.0)
        if self.duty == wanted:
            self._correction += self.integral * error * dt
        self._last_angle = self.angle
