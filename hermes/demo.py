"""The demonstration: a Cessna under an autopilot, in real time, watched by a viewer in a process of its own.

Everything it prints and draws is what that viewer received over the WebSocket.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from hermes import examples
from hermes.asyncsession import AsyncSession
from hermes.errors import HermesError
from hermes.examples.viewer import Viewer

PLOTTED = {"plane.altitude": "altitude / m", "plane.airspeed": "airspeed / (m/s)", "plane.pitch": "pitch / rad"}
"""What the picture shows, with axis labels."""

CLIMB = 20.0
"""How far the autopilot is sent up at the beginning, in m, so that there is something to see."""

_SHOWN = ("plane.altitude", "plane.airspeed", "plane.pitch", "plane.climb_rate", "autopilot.elevator")


async def fly(seconds: float) -> dict[str, Any]:
    """Fly `seconds` of simulated, and of real, time and return the viewer's report and the run's fingerprint.

    Raises HermesError where JSBSim is missing or the session fails, and RuntimeError where the viewer does.
    """
    if importlib.util.find_spec("jsbsim") is None:
        raise HermesError(message='the demonstration needs JSBSim: pip install "hermes-sim[examples]"')
    async with AsyncSession.from_yaml(examples.path("c172x"), port=0) as session:
        viewer = await Viewer.start(session.url, keep=list(PLOTTED))
        try:
            await session.set({"autopilot.altitude_target": float(session["plane.altitude"]) + CLIMB})
            await session.run(seconds)
            report = await viewer.report()
        finally:
            await viewer.stop()
        status = session.status
        return {**report, "fingerprint": session.fingerprint, "frame": status.frame, "overruns": status.overruns}


def described(report: dict[str, Any]) -> str:
    """Return the report as lines of text."""
    gaps, rate = report["gap_ms"], f"{report['rate_hz']:.2f}"
    lines = [
        f"An outside viewer received {report['frames']} frames of {report['signals']} signals, {rate} a second",
        f"  gap between frames   p50 {gaps['p50']:.1f} ms, p99 {gaps['p99']:.1f} ms",
        f"  last frame           {report['last_frame']} of {report['frame']} ({report['overruns']} overruns)",
        *(f"  {name:<20} {report['last'][name]:.4f}" for name in _SHOWN),
        f"Fingerprint            {report['fingerprint']}",
    ]
    return "\n".join(lines)


def draw(report: dict[str, Any], path: Path) -> None:
    """Write a picture of the flight: altitude, airspeed and pitch over simulated time."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - optional, and slow to import

    figure = Figure(figsize=(8, 7), layout="constrained")
    axes = figure.subplots(len(PLOTTED), sharex=True)
    for axis, (name, label) in zip(axes, PLOTTED.items(), strict=True):
        axis.plot(report["time"], report["series"][name])
        axis.set_ylabel(label)
        axis.grid(visible=True, alpha=0.3)
        axis.ticklabel_format(useOffset=False)
    axes[0].set_title(f"Cessna 172 under autopilot, as an outside viewer saw it at {report['rate_hz']:.1f} Hz")
    axes[-1].set_xlabel("time / s")
    figure.savefig(path, dpi=110)
