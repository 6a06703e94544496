"""An autopilot that holds altitude, heading and airspeed: the module that `c172x.yaml` wires to the aircraft.

It sees the aircraft only through its inputs, so it flies whatever is wired to it. Every loop is proportional with a
rate damper around an inner attitude loop; an integral takes up what the feed-forward misses, and stands still while
its actuator is at a limit.
"""

from __future__ import annotations

import math

import hermes

GRAVITY = 9.80665
"""Standard gravity, m/s^2."""


class Autopilot(hermes.Module):
    """Hold `altitude_target`, `heading_target` and `airspeed_target`.

    Elevator, aileron and rudder are deflections from trim (positive: nose down, right wing down, nose left), throttle
    is the lever's position. The trimmed throttle and the pitch attitude at the first step are the working point, so
    that an aircraft in equilibrium on its targets is left alone.
    """

    altitude_target = hermes.Input(1500.0, unit="m", limits=(0, 4000), description="Altitude to hold")
    heading_target = hermes.Input(0.0, unit="rad", limits=(-math.tau, math.tau), description="Heading to hold")
    airspeed_target = hermes.Input(50.0, unit="m/s", limits=(35, 60), description="True airspeed to hold")

    altitude = hermes.Input(unit="m", description="Measured altitude")
    climb_rate = hermes.Input(unit="m/s", description="Measured climb rate")
    airspeed = hermes.Input(unit="m/s", description="Measured true airspeed")
    pitch = hermes.Input(unit="rad", description="Measured pitch attitude; positive nose up")
    pitch_rate = hermes.Input(unit="rad/s", description="Measured pitch rate")
    roll = hermes.Input(unit="rad", description="Measured bank angle; positive right wing down")
    roll_rate = hermes.Input(unit="rad/s", description="Measured roll rate")
    heading = hermes.Input(unit="rad", description="Measured heading; any number of turns")
    yaw_rate = hermes.Input(unit="rad/s", description="Measured yaw rate")
    throttle_trim = hermes.Input(limits=(0, 1), description="Throttle that holds level flight")

    elevator = hermes.Output(description="Stick from trim, -1..1; positive nose down")
    aileron = hermes.Output(description="Stick from trim, -1..1; positive right wing down")
    rudder = hermes.Output(description="Pedals from trim, -1..1; positive nose left")
    throttle = hermes.Output(description="Throttle lever, 0..1")
    climb_rate_target = hermes.Output(unit="m/s", description="Climb rate that the altitude loop asks for")
    pitch_target = hermes.Output(unit="rad", description="Pitch attitude that the climb loop asks for")
    roll_target = hermes.Output(unit="rad", description="Bank angle that the heading loop asks for")

    altitude_gain = hermes.Parameter(0.12, unit="1/s", description="Climb rate per metre of altitude error")
    climb_limit = hermes.Parameter(2.2, unit="m/s", limits=(0, 5), description="Fastest commanded climb or descent")
    climb_acceleration = hermes.Parameter(0.5, unit="m/s^2", limits=(0, 5), description="Its fastest change")
    climb_gain = hermes.Parameter(0.5, description="Pitch per flight path angle of climb rate error")
    climb_integral = hermes.Parameter(0.1, unit="1/s", description="Pitch rate per flight path angle error")
    pitch_limit = hermes.Parameter(0.15, unit="rad", limits=(0, 0.5), description="Largest pitch from the first one")
    pitch_gain = hermes.Parameter(6.0, unit="1/rad", description="Elevator per pitch error")
    pitch_damping = hermes.Parameter(2.0, unit="s/rad", description="Elevator per pitch rate")
    heading_gain = hermes.Parameter(1.0, description="Bank angle per heading error")
    roll_limit = hermes.Parameter(0.35, unit="rad", limits=(0, 1), description="Largest commanded bank angle")
    roll_gain = hermes.Parameter(0.6, unit="1/rad", description="Aileron per bank error")
    roll_damping = hermes.Parameter(0.2, unit="s/rad", description="Aileron per roll rate")
    yaw_damping = hermes.Parameter(0.3, unit="s/rad", description="Rudder per yaw rate beyond a coordinated turn's")
    airspeed_gain = hermes.Parameter(0.05, unit="s/m", description="Throttle per airspeed error")
    airspeed_integral = hermes.Parameter(0.005, unit="1/m", description="Throttle rate per airspeed error")
    climb_throttle = hermes.Parameter(0.1, unit="s/m", description="Throttle per commanded climb rate")

    def __init__(self) -> None:
        """Begin with no working point."""
        self.reset()

    def reset(self) -> None:
        """Forget the working point and the integrals."""
        self._level_pitch: float | None = None
        self._pitch_correction = 0.0
        self._throttle_correction = 0.0

    def step(self, time: float, dt: float) -> None:
        """Set the controls from the measured state."""
        self._hold_altitude(dt)
        self._hold_airspeed(dt)
        self._hold_heading()

    def _hold_altitude(self, dt: float) -> None:
        """Altitude error -> climb rate -> pitch -> elevator."""
        if self._level_pitch is None:
            self._level_pitch = self.pitch
        error, limit, change = self.altitude_target - self.altitude, self.climb_limit, self.climb_acceleration * dt
        wanted = clip(self.altitude_gain * error, -limit, limit)
        self.climb_rate_target = clip(wanted, self.climb_rate_target - change, self.climb_rate_target + change)
        speed = max(self.airspeed, 1.0)
        path = self.climb_rate_target / speed
        path_error = (self.climb_rate_target - self.climb_rate) / speed
        wanted = path + self.climb_gain * path_error + self._pitch_correction
        offset = clip(wanted, -self.pitch_limit, self.pitch_limit)
        if offset == wanted:
            self._pitch_correction += self.climb_integral * path_error * dt
        self.pitch_target = self._level_pitch + offset
        nose_down = self.pitch_gain * (self.pitch - self.pitch_target) + self.pitch_damping * self.pitch_rate
        self.elevator = clip(nose_down, -1.0, 1.0)

    def _hold_airspeed(self, dt: float) -> None:
        """Airspeed error -> throttle, ahead of time where a climb is going to need power."""
        error = self.airspeed_target - self.airspeed
        correction = self.airspeed_gain * error + self.climb_throttle * self.climb_rate_target
        wanted = self.throttle_trim + correction + self._throttle_correction
        self.throttle = clip(wanted, 0.0, 1.0)
        if self.throttle == wanted:
            self._throttle_correction += self.airspeed_integral * error * dt

    def _hold_heading(self) -> None:
        """Heading error -> bank -> aileron; the rudder damps yaw beyond that of a coordinated turn, g/V sin(roll)."""
        error = math.remainder(self.heading_target - self.heading, math.tau)
        self.roll_target = clip(self.heading_gain * error, -self.roll_limit, self.roll_limit)
        right = self.roll_gain * (self.roll_target - self.roll) - self.roll_damping * self.roll_rate
        self.aileron = clip(right, -1.0, 1.0)
        coordinated = GRAVITY / max(self.airspeed, 1.0) * math.sin(self.roll)
        self.rudder = clip(self.yaw_damping * (self.yaw_rate - coordinated), -1.0, 1.0)


def clip(value: float, low: float, high: float) -> float:
    """Return `value`, or the limit that it passes."""
    return min(max(value, low), high)
