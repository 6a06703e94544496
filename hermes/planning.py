"""From a configuration to what the engine is told, and from the engine's complaints back to places in the file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from hermes.config import ExecutionConfig, HermesConfig, ModuleConfig
from hermes.configfields import ScriptTarget
from hermes.engine.plan import CommandPlan, ModulePlan, Plan, WirePlan
from hermes.errors import ConfigurationError, HermesError, Problem
from hermes.module import Module


def plan_for(config: HermesConfig, perturbation: int | None = None) -> Plan:
    """Return the plan of a configuration, with paths made absolute; `perturbation` is a seed, see `Plan`."""
    execution = config.execution
    return Plan(
        name=config.name,
        modules=tuple(module_plan(config, name) for name in config.modules),
        wires=tuple(WirePlan(wire.src, wire.dst, wire.gain, wire.offset) for wire in config.wiring),
        rate=execution.rate.as_integer_ratio(),
        mode=execution.mode,
        end_frame=execution.end_frame,
        seed=execution.seed,
        start_timeout=execution.start_timeout,
        step_timeout=execution.step_timeout,
        stop_timeout=execution.stop_timeout,
        history=config.backplane.history,
        schedule=execution.phases,
        perturbation=perturbation,
        commands=tuple(CommandPlan(one.at(execution.rate), dict(one.set) or None) for one in config.commands),
    )


def module_plan(config: HermesConfig, name: str) -> ModulePlan:
    """Return the plan of one module; raises ConfigurationError where its class cannot be sent to another process."""
    module = config.modules[name]
    return ModulePlan(name, _spec(config, name, module), module.env, module.worker or "", module.every, module.restarts)


def with_execution(config: HermesConfig, **changes: Any) -> HermesConfig:
    """Return the configuration with some keys of `execution` replaced; None leaves a key as it is.

    Raises ConfigurationError that says what a key takes.
    """
    given = {key: value for key, value in changes.items() if value is not None}
    try:
        execution = ExecutionConfig(**{**config.execution.model_dump(), **given})
    except ValidationError as error:
        found = [(str(problem["loc"][0]), problem["msg"]) for problem in error.errors()]
        raise ConfigurationError(Problem(f"execution.{key}", message) for key, message in found) from None
    return config.model_copy(update={"execution": execution})


def first_pause(config: HermesConfig) -> int | None:
    """Return the first frame at which the configuration's commands pause the run before its end, if any does."""
    execution = config.execution
    frames = [one.at(execution.rate) for one in config.commands if one.pause]
    return min((frame for frame in frames if execution.end_frame is None or frame < execution.end_frame), default=None)


def located(error: HermesError, config: HermesConfig) -> HermesError:
    """Return an error of the engine with key paths such as ``wiring.2.src`` replaced by places in the file."""
    if not isinstance(error, ConfigurationError):
        return error
    return ConfigurationError(Problem(_place(problem.where, config), problem.message) for problem in error.problems)


def _place(where: str, config: HermesConfig) -> str:
    parts = where.split(".", 3 if where.startswith("commands.") else -1)  # a signal's name has dots of its own
    path = tuple(int(part) if part.isdigit() else part for part in parts)
    return config.where(path)


def with_code(
    config: HermesConfig, name: str, code: type[Module] | str, params: Mapping[str, Any] | None = None
) -> HermesConfig:
    """Return the configuration with a class, or what `script` takes, as the code of the module `name`.

    `params` are the configuration's where left out, and so are `signals` and the random numbers. Relative paths start
    at the configuration's `base`. Raises ConfigurationError where `code` is neither, or its file is not there.
    """
    given = {} if params is None else {"params": dict(params)}
    return config.with_modules({name: {"module" if isinstance(code, type) else "script": code, **given}})


def _spec(config: HermesConfig, name: str, module: ModuleConfig) -> dict[str, Any]:
    return {
        **_source(config, name, module.target),
        "params": module.params,
        "signals": [signal.model_dump(exclude_none=True) for signal in module.signals],
        "rng": [config.execution.seed, name],
    }


def _source(config: HermesConfig, name: str, target: ScriptTarget) -> dict[str, Any]:
    if name in config.classes:
        return config.classes[name].spec
    file = str(config.base / target.file) if target.file is not None else None
    return {"file": file, "module": target.module, "class": target.class_name}
