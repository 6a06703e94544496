"""Fly an aircraft of the JSBSim flight dynamics library as a module.

JSBSim counts in feet, pounds and revolutions per minute; here everything is SI, and the conversion is one table. A
run must repeat to the last bit, so `reset` flies a freshly loaded aircraft instead of rewinding a used one: JSBSim's
filters, actuators and engines keep state that its own reset does not restore.

Needs the optional dependency ``jsbsim``. JSBSim stays silent except for its warnings; the environment variable
``JSBSIM_DEBUG`` (``env:`` of the module) makes it talk.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

from hermes.module import Input, Module, Output
from hermes.wording import nearest, shown

try:
    import jsbsim
except ImportError as error:
    raise ImportError('hermes.modules.jsbsim needs JSBSim: pip install "hermes-sim[examples]"') from error

FOOT = 0.3048
"""Metres in a foot, exact."""
POUND = 0.45359237
"""Kilograms in a pound, exact."""
POUND_FORCE = POUND * 9.80665
"""Newtons in a pound-force, exact."""

LONGEST_SUBSTEP = 1 / 120
"""Seconds; JSBSim's default step, for which its aircraft's gear and actuators are tuned."""

_FULL_TRIM = 1
"""JSBSim's trim of all six accelerations, by angle of attack, bank and every control."""

_READINGS = {
    "latitude": ("position/lat-geod-rad", 1.0),
    "longitude": ("position/long-gc-rad", 1.0),
    "altitude": ("position/h-sl-ft", FOOT),
    "roll": ("attitude/phi-rad", 1.0),
    "pitch": ("attitude/theta-rad", 1.0),
    "roll_rate": ("velocities/p-rad_sec", 1.0),
    "pitch_rate": ("velocities/q-rad_sec", 1.0),
    "yaw_rate": ("velocities/r-rad_sec", 1.0),
    "u": ("velocities/u-fps", FOOT),
    "v": ("velocities/v-fps", FOOT),
    "w": ("velocities/w-fps", FOOT),
    "velocity_north": ("velocities/v-north-fps", FOOT),
    "velocity_east": ("velocities/v-east-fps", FOOT),
    "velocity_down": ("velocities/v-down-fps", FOOT),
    "climb_rate": ("velocities/h-dot-fps", FOOT),
    "airspeed": ("velocities/vt-fps", FOOT),
    "calibrated_airspeed": ("velocities/vc-fps", FOOT),
    "angle_of_attack": ("aero/alpha-rad", 1.0),
    "sideslip": ("aero/beta-rad", 1.0),
    "load_factor": ("accelerations/Nz", 1.0),
    "fuel_mass": ("propulsion/total-fuel-lbs", POUND),
}
"""Output: the JSBSim property it shows, and the factor to SI."""

_STICK = {
    "elevator": "fcs/elevator-cmd-norm",
    "aileron": "fcs/aileron-cmd-norm",
    "rudder": "fcs/rudder-cmd-norm",
}
_LEVERS = {"throttle": "fcs/throttle-cmd-norm", "mixture": "fcs/mixture-cmd-norm"}


class JSBSim(Module):
    """A JSBSim aircraft that starts in trimmed level flight, engines running, fuel tanks as its file fills them.

    Stick and pedals (`elevator`, `aileron`, `rudder`) are deflections from trim, as in an aircraft whose trim wheels
    are set: 0 keeps the equilibrium. `throttle`, `mixture` and `flaps` are positions of their levers; throttle and
    mixture begin where the trim left them. So an aircraft whose inputs nobody touches flies on straight and level,
    and an autopilot adds its throttle correction to the output `throttle_trim`. Values beyond an input's limits, as a
    wire can deliver them, act as the nearest limit.
    """

    elevator = Input(limits=(-1, 1), description="Stick from trim; positive forward: nose down")
    aileron = Input(limits=(-1, 1), description="Stick from trim; positive right: right wing down")
    rudder = Input(limits=(-1, 1), description="Pedals from trim; positive left: nose left")
    flaps = Input(limits=(0, 1), description="Flap lever; 0 up, 1 fully down")
    throttle = Input(limits=(0, 1), description="Throttle lever of every engine; begins at throttle_trim")
    mixture = Input(limits=(0, 1), description="Mixture lever of every engine; begins as trimmed; 0 cuts the fuel off")

    latitude = Output(unit="rad", description="Geodetic latitude")
    longitude = Output(unit="rad", description="Longitude")
    altitude = Output(unit="m", description="Height of the centre of gravity above mean sea level")
    roll = Output(unit="rad", description="Bank angle; positive right wing down")
    pitch = Output(unit="rad", description="Pitch attitude; positive nose up")
    heading = Output(unit="rad", description="True heading; 0 north, pi/2 east, below 2 pi")
    roll_rate = Output(unit="rad/s", description="Body rate p about the forward axis")
    pitch_rate = Output(unit="rad/s", description="Body rate q about the right axis")
    yaw_rate = Output(unit="rad/s", description="Body rate r about the downward axis")
    u = Output(unit="m/s", description="Velocity over ground along the body's forward axis")
    v = Output(unit="m/s", description="Velocity over ground along the body's right axis")
    w = Output(unit="m/s", description="Velocity over ground along the body's downward axis")
    velocity_north = Output(unit="m/s", description="Velocity over ground to the north")
    velocity_east = Output(unit="m/s", description="Velocity over ground to the east")
    velocity_down = Output(unit="m/s", description="Velocity over ground downwards")
    climb_rate = Output(unit="m/s", description="Rate of change of altitude")
    airspeed = Output(unit="m/s", description="True airspeed")
    calibrated_airspeed = Output(unit="m/s", description="Calibrated airspeed")
    angle_of_attack = Output(unit="rad", description="Angle of attack")
    sideslip = Output(unit="rad", description="Sideslip; positive wind from the right")
    load_factor = Output(description="Normal load factor; 1 in level flight")
    thrust = Output(unit="N", description="Thrust of all engines")
    engine_speed = Output(unit="rad/s", description="Shaft speed of the first engine; 0 where JSBSim models no shaft")
    fuel_mass = Output(unit="kg", description="Fuel in all tanks")
    throttle_trim = Output(description="Throttle that holds the initial equilibrium")

    _fdm: jsbsim.FGFDMExec
    _flown: bool
    _dt: float
    _substeps: int

    def __init__(
        self,
        aircraft: str = "c172x",
        *,
        altitude: float = 1500.0,
        airspeed: float = 50.0,
        heading: float = 0.0,
        latitude: float = math.radians(47.0),
        longitude: float = math.radians(8.0),
        trim: bool = True,
    ) -> None:
        """Load and trim `aircraft`, a name from JSBSim's own collection.

        `altitude` is in m above mean sea level, `airspeed` the true airspeed in m/s, the angles in rad. The default
        airspeed suits the Cessna 172. Without `trim` the aircraft starts level with its controls centred and its
        throttles closed.

        Raises ValueError for an unknown aircraft and RuntimeError where it cannot be loaded or trimmed.
        """
        self._aircraft = aircraft
        self._initial = {
            "ic/lat-geod-rad": latitude,
            "ic/long-gc-rad": longitude,
            "ic/h-sl-ft": altitude / FOOT,
            "ic/psi-true-rad": heading,
            "ic/vt-fps": airspeed / FOOT,
        }
        self._trim = trim
        self._load(LONGEST_SUBSTEP)
        for name in _LEVERS:
            self.set_initial(name, self._levers[name][0].get_double_value())

    def reset(self) -> None:
        """Put a fresh aircraft into the initial flight condition; bit-identical every time."""
        if self._flown:
            self._load(LONGEST_SUBSTEP)
        self.throttle_trim = self._levers["throttle"][0].get_double_value()
        self._publish()

    def step(self, time: float, dt: float) -> None:
        """Fly `dt` in the fewest equal sub-steps of at most 1/120 s.

        Raises ValueError where `dt` changes in flight, and RuntimeError where JSBSim cannot go on: it has no notion
        of a crash, and a hard impact leaves numbers that are no longer finite.
        """
        self._prepare(dt)
        for _ in range(self._substeps):
            # Before every sub-step: an automatic mixture, such as the c172x has, writes its command after each.
            self._command()
            if not self._fdm.run():
                raise RuntimeError(f"JSBSim ended the flight of {self._aircraft} in the step from {time:g} s")
        self._publish()
        if not math.isfinite(self.altitude):
            raise RuntimeError(f"the flight of {self._aircraft} has no finite state after {time:g} s: it crashed?")

    def _prepare(self, dt: float) -> None:
        """Choose the sub-steps; JSBSim bakes their length into its filters when it loads, so it may load again."""
        if dt == self._dt:
            return
        if self._flown:
            raise ValueError(f"dt changed from {self._dt!r} to {dt!r} s in flight; reset first")
        substeps = max(1, math.ceil(dt / LONGEST_SUBSTEP - 1e-9))
        if dt / substeps != self._fdm.get_delta_t():
            self._load(dt / substeps)
        self._dt, self._substeps, self._flown = dt, substeps, True

    def _load(self, substep: float) -> None:
        """Replace the aircraft by a fresh one in its initial condition, to be stepped by `substep` seconds."""
        _check_available(self._aircraft)
        jsbsim.FGJSBBase().debug_lvl = 0  # type: ignore[no-untyped-call] # its stub has a bare __init__
        fdm = jsbsim.FGFDMExec(None)
        fdm.set_dt(substep)
        if not fdm.load_model(self._aircraft):
            raise RuntimeError(f"JSBSim cannot load the aircraft {self._aircraft}")
        _mute(fdm)
        for name, value in self._initial.items():
            fdm[name] = value
        if not fdm.run_ic():
            raise RuntimeError(f"JSBSim cannot start {self._condition()}")
        fdm.get_propulsion().init_running(-1)
        self._start(fdm)
        self._fdm, self._dt, self._substeps, self._flown = fdm, 0.0, 0, False
        self._connect()

    def _start(self, fdm: jsbsim.FGFDMExec) -> None:
        """Trim, or close the throttles that the engine start opened."""
        if not self._trim:
            for engine in range(fdm.get_propulsion().get_num_engines()):
                fdm[_indexed(_LEVERS["throttle"], engine)] = 0.0
            return
        try:
            fdm.do_trim(_FULL_TRIM)
        except jsbsim.TrimFailureError as error:
            raise RuntimeError(
                f"JSBSim finds no trimmed flight for {self._condition()}; choose another airspeed or altitude, or "
                f"start untrimmed with trim=False"
            ) from error

    def _condition(self) -> str:
        altitude, airspeed = (self._initial[name] * FOOT for name in ("ic/h-sl-ft", "ic/vt-fps"))
        return f"{self._aircraft} at altitude {altitude:g} m and airspeed {airspeed:g} m/s"

    def _connect(self) -> None:
        """Look the properties up once: a node is read faster than a name."""
        engines = range(max(1, self._fdm.get_propulsion().get_num_engines()))
        self._readings = [(name, self._node(path), factor) for name, (path, factor) in _READINGS.items()]
        self._psi = self._node("attitude/psi-rad")
        self._thrusts = self._existing("propulsion/engine[{}]/thrust-lbs", engines)
        self._shafts = self._existing("propulsion/engine[{}]/engine-rpm", engines)
        sticks = ((name, self._node(path)) for name, path in _STICK.items())
        self._stick = [(name, node, node.get_double_value()) for name, node in sticks]
        self._flaps = self._node("fcs/flap-cmd-norm")
        self._levers = {
            name: [self._node(_indexed(path, engine)) for engine in engines] for name, path in _LEVERS.items()
        }

    def _node(self, path: str) -> jsbsim.FGPropertyNode:
        node = self._fdm.get_property_manager().get_node(path, True)
        assert node is not None
        return node

    def _existing(self, path: str, engines: range) -> list[jsbsim.FGPropertyNode]:
        found = (self._fdm.get_property_manager().get_node(path.format(engine)) for engine in engines)
        return [node for node in found if node]

    def _command(self) -> None:
        for name, node, trim in self._stick:
            node.set_double_value(_clip(trim + self[name], -1.0, 1.0))
        self._flaps.set_double_value(_clip(self.flaps, 0.0, 1.0))
        for name, nodes in self._levers.items():
            for node in nodes:
                node.set_double_value(_clip(self[name], 0.0, 1.0))

    def _publish(self) -> None:
        for name, node, factor in self._readings:
            self[name] = node.get_double_value() * factor
        self.heading = self._psi.get_double_value() % math.tau
        self.thrust = sum(node.get_double_value() for node in self._thrusts) * POUND_FORCE
        self.engine_speed = self._shafts[0].get_double_value() * math.tau / 60 if self._shafts else 0.0


def _mute(fdm: jsbsim.FGFDMExec) -> None:
    """Stop an aircraft's own logging; JSBSim creates each log file even with its output disabled."""
    fdm.disable_output()
    number = 0
    while fdm.set_output_filename(number, os.devnull):
        number += 1


def available() -> list[str]:
    """Return the names of the aircraft that come with JSBSim, sorted."""
    folders = (Path(jsbsim.get_default_root_dir()) / "aircraft").iterdir()
    return sorted(folder.name for folder in folders if (folder / f"{folder.name}.xml").is_file())


def _check_available(aircraft: str) -> None:
    known = available()
    if aircraft not in known:
        near = nearest(aircraft, known)
        hint = f"; did you mean {', '.join(near)}?" if near else f"; it has {', '.join(known)}"
        raise ValueError(f"JSBSim has no aircraft {shown(aircraft)}{hint}")


def _indexed(path: str, engine: int) -> str:
    return f"{path}[{engine}]"


def _clip(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)
