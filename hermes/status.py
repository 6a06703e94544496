"""How a session is doing, measured from what the engine commits and counts."""

from __future__ import annotations

import html
from fractions import Fraction
from typing import NamedTuple

from hermes.backplane.ring import Snapshot
from hermes.backplane.shm import SharedMemoryManager
from hermes.lifecycle import State
from hermes.server.client import ClientStatus


class Status(NamedTuple):
    """How a session is doing. `real_time_factor` is simulated over real time during the last second or so.

    `clients` are those connected to its server, each with its subscription and the frames sent to it and skipped.
    `loop_stalls` counts how often the session's loop was kept from running for over 0.1 s (a cell that blocks), and
    `longest_stall` is the longest of them in s, known to 0.05 s; the simulation does not notice, but telemetry pauses:
    ``loop="thread"`` keeps it flowing.
    """

    state: State
    frame: int
    time: float
    real_time_factor: float
    overruns: int
    late_wakeups: int
    loop_stalls: int
    longest_stall: float
    clients: tuple[ClientStatus, ...]

    def _repr_html_(self) -> str:
        """Return it as a table for a notebook."""
        rows = {
            "state": str(self.state),
            "time": f"{self.time:.3f} s (frame {self.frame})",
            "real-time factor": f"{self.real_time_factor:.3g}",
            "overruns": str(self.overruns),
            "late wake-ups": str(self.late_wakeups),
            "loop stalls": f"{self.loop_stalls}, the longest {self.longest_stall:.2f} s" if self.loop_stalls else "0",
            **{f"client {client.name}": _described(client) for client in self.clients},
        }
        left = "style='text-align:left'"
        cells = (f"<tr><th {left}>{html.escape(key)}</th><td {left}>{text}</td></tr>" for key, text in rows.items())
        return f"<table>{''.join(cells)}</table>"


def _described(client: ClientStatus) -> str:
    frames = f"{client.sent} frames sent, {client.skipped} skipped, {client.commands} commands"
    return f"{client.signals} signals at {client.telemetry_hz:g} Hz, {frames}"


def real_time_factor(shm: SharedMemoryManager, newest: Snapshot) -> float:
    """Return simulated over real time between the newest frame and one about a second older in the ring."""
    oldest = max(1, newest.sequence - shm.layout.slots + 2)
    rate = Fraction(*shm.rate)
    earlier = shm.read(max(oldest, newest.sequence - max(1, int(rate))))
    if earlier is None or earlier.epoch != newest.epoch or earlier.wall_ns >= newest.wall_ns:
        return 0.0
    return (newest.time - earlier.time) / ((newest.wall_ns - earlier.wall_ns) / 1e9)
