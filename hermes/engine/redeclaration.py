"""Whether a new process of a module declares what the one before it did: the layout of a session never changes.

What viewers were told must stay true, so names, kinds, types, units and limits must be the same. Initial values and
descriptions may differ: a tuned controller starts from other gains.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hermes.backplane.signals import Signal, SignalRegistry
from hermes.errors import ConfigurationError, Problem
from hermes.wording import shown

_FIXED = ("kind", "type", "unit", "limits", "allow_nonfinite")


def redeclared(registry: SignalRegistry, module: str, signals: Iterable[Signal]) -> list[Signal]:
    """Return those of a module's newly declared signals that differ, in their initial value or description.

    Raises ConfigurationError that lists what else differs.
    """
    before = {signal.name: signal for signal in registry if signal.module == module}
    now = {signal.name: signal for signal in signals}
    differences = list(_differences(before, now))
    if not differences and list(before) != [signal.name for signal in SignalRegistry(now.values())]:
        differences = [f"their order is {', '.join(now)}"]
    if differences:
        message = f"module {module} now declares other signals than before: {'; '.join(differences)}"
        raise ConfigurationError([Problem(f"modules.{module}", message)])
    return [signal for name, signal in now.items() if signal != before[name]]


def _differences(before: dict[str, Signal], now: dict[str, Signal]) -> Iterator[str]:
    for name, old in before.items():
        new = now.get(name)
        if new is None:
            yield f"{name} is missing"
            continue
        for key in _FIXED:
            was, found = getattr(old, key), getattr(new, key)
            if was != found:
                yield f"{name} has {key} {_said(found)}, before {_said(was)}"
    yield from (f"{name} is new" for name in now if name not in before)


def _said(value: object) -> str:
    return shown(value) if isinstance(value, str) and not value else str(value)
