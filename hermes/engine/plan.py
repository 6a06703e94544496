"""What the engine is told to run: the session's configuration, resolved to plain values that travel as JSON."""

from __future__ import annotations

from typing import Any, NamedTuple


class ModulePlan(NamedTuple):
    """One module: its name, what its worker is to load (see `hermes.worker`) and its environment."""

    name: str
    spec: dict[str, Any]
    env: dict[str, str]


class WirePlan(NamedTuple):
    """One wire: ``dst = src * gain + offset``, by qualified names."""

    src: str
    dst: str
    gain: float = 1.0
    offset: float = 0.0


class Plan(NamedTuple):
    """A whole run. `rate` is frames per second as numerator and denominator, timeouts are in seconds."""

    name: str
    modules: tuple[ModulePlan, ...]
    wires: tuple[WirePlan, ...] = ()
    rate: tuple[int, int] = (60, 1)
    mode: str = "realtime"
    end_frame: int | None = None
    seed: int = 0
    start_timeout: float = 10.0
    step_timeout: float = 5.0
    stop_timeout: float = 1.0
    history: int = 1024

    @property
    def single_frame(self) -> bool:
        """Whether the run advances by steps only."""
        return self.mode == "single_frame"

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON values."""
        modules = [module._asdict() for module in self.modules]
        return {**self._asdict(), "modules": modules, "wires": [list(wire) for wire in self.wires]}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Plan:
        """Rebuild a plan from `to_json`."""
        modules = tuple(ModulePlan(**module) for module in values["modules"])
        wires = tuple(WirePlan(*wire) for wire in values["wires"])
        num, den = values["rate"]
        return cls(**{**values, "modules": modules, "wires": wires, "rate": (num, den)})
