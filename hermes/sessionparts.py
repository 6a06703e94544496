"""What a session is made of when it is given in Python: a configuration, or its parts by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from hermes.config import HermesConfig


class Parts(TypedDict, total=False):
    """The parts of a configuration besides its modules, as in YAML."""

    name: str
    wiring: Sequence[Mapping[str, Any]]
    execution: Mapping[str, Any]
    commands: Sequence[Mapping[str, Any]]
    backplane: Mapping[str, Any]
    server: Mapping[str, Any]


def configured(config: HermesConfig | None, modules: Mapping[str, object] | None, parts: Parts) -> HermesConfig:
    """Return what a session is given as one configuration: `config` with other `modules`, or `modules` and `parts`.

    Raises ConfigurationError, and TypeError for both a configuration and parts, or for neither.
    """
    if config is None:
        if modules is None:
            raise TypeError("a session takes a HermesConfig, or modules={'name': Class} with wiring=[...] and the like")
        return HermesConfig.from_values({"modules": modules, **parts})
    if parts:
        raise TypeError(
            f"a session takes a HermesConfig or {', '.join(parts)}, not both; the configuration has its own"
        )
    return config.with_modules(modules) if modules else config
