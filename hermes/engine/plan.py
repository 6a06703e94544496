"""What the engine is told to run: the session's configuration, resolved to plain values that travel as JSON."""

from __future__ import annotations

from typing import Any, NamedTuple


class ModulePlan(NamedTuple):
    """One module: its name, what its worker is to load (see `hermes.worker`) and its environment.

    `worker` is the process that hosts it, "" for one of its own; it is due in every `every`-th frame. `restarts` says
    how often, since the last reset, it is started anew where it fails, before that fails the run.
    """

    name: str
    spec: dict[str, Any]
    env: dict[str, str]
    worker: str = ""
    every: int = 1
    restarts: int = 0


class WirePlan(NamedTuple):
    """One wire: ``dst = src * gain + offset``, by qualified names."""

    src: str
    dst: str
    gain: float = 1.0
    offset: float = 0.0


class CommandPlan(NamedTuple):
    """One timed command: at `frame` set the values of `set`, by qualified names, or pause where there are none."""

    frame: int
    set: dict[str, Any] | None = None


class Plan(NamedTuple):
    """A whole run. `rate` is frames per second as numerator and denominator, timeouts are in seconds.

    `schedule` names the modules of each phase; without any, all are in one. `perturbation` is the seed by which the
    engine starts and releases workers in another order and with random delays between them, which must change nothing.
    """

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
    schedule: tuple[tuple[str, ...], ...] = ()
    perturbation: int | None = None
    commands: tuple[CommandPlan, ...] = ()

    @property
    def workers(self) -> dict[str, tuple[ModulePlan, ...]]:
        """The processes by name, each with its modules in the order of definition, in which it steps them."""
        found: dict[str, tuple[ModulePlan, ...]] = {}
        for module in self.modules:
            name = module.worker or module.name
            found[name] = (*found.get(name, ()), module)
        return found

    def module(self, name: str) -> ModulePlan | None:
        """Return the module of a name, or None."""
        return next((module for module in self.modules if module.name == name), None)

    def worker_of(self, name: str) -> str:
        """Return the name of the worker that hosts a module."""
        return next(worker for worker, modules in self.workers.items() if any(one.name == name for one in modules))

    def with_module(self, changed: ModulePlan) -> Plan:
        """Return the plan with another plan for the module of that name."""
        return self._replace(modules=tuple(changed if one.name == changed.name else one for one in self.modules))

    @property
    def single_frame(self) -> bool:
        """Whether the run advances by steps only."""
        return self.mode == "single_frame"

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON values."""
        modules = [module._asdict() for module in self.modules]
        lists = {"wires": [list(wire) for wire in self.wires], "commands": [list(one) for one in self.commands]}
        return {**self._asdict(), "modules": modules, **lists}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Plan:
        """Rebuild a plan from `to_json`."""
        modules = tuple(ModulePlan(**module) for module in values["modules"])
        wires = tuple(WirePlan(*wire) for wire in values["wires"])
        commands = tuple(CommandPlan(*command) for command in values["commands"])
        num, den = values["rate"]
        schedule = tuple(tuple(phase) for phase in values["schedule"])
        exact = {"modules": modules, "wires": wires, "commands": commands, "rate": (num, den), "schedule": schedule}
        return cls(**{**values, **exact})
