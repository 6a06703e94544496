"""Modules given in Python: classes, text as `script` takes it, and mappings as in YAML with ``module: Class``.

They become what YAML would say, so that one set of models checks both; the classes themselves are kept beside that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from pydantic import BaseModel

from hermes.configproblems import Finding, key_path, no_module
from hermes.module import Module
from hermes.moduleclass import ModuleClass, is_importable
from hermes.wording import nearest, shown
from hermes.yamlfile import KeyPath

KEYS = ("module", "params", "env", "signals", "worker", "every", "on_failure", "max_restarts")
"""What a mapping with a class takes."""

_ACCEPTED = "a subclass of hermes.Module, text as 'script' in YAML, or a mapping with 'module'"


class Given(NamedTuple):
    """Modules as YAML would say them, those of them that run a class, and what is wrong with them."""

    modules: dict[str, Any]
    classes: dict[str, ModuleClass]
    findings: list[Finding]


def placed(modules: Mapping[str, Any], given: Mapping[str, object], *, into: bool) -> Given:
    """Return `modules` with those `given` in their places; `into` says that each must have one.

    The keys of a given module take the place of those that were there, a class that of `type` and `script`.
    """
    result = Given(dict(modules), {}, [])
    for name, value in given.items():
        path = ("modules", str(name))
        if into and name not in modules:
            result.findings.append(
                Finding(path, f"{key_path(path)} has no place; {no_module(str(name), dict(modules))}")
            )
            continue
        before = _as_mapping(modules.get(name))
        values, cls = _read(path, value, result.findings)
        result.modules[name] = {**before, **values}
        if cls is not None and not is_importable(cls):
            result.classes[name] = ModuleClass(name, cls)
    return result


def _as_mapping(value: object) -> dict[str, Any]:
    if isinstance(value, BaseModel):
        return value.model_dump(exclude_defaults=True)
    return dict(value) if isinstance(value, dict) else {}


def _read(path: KeyPath, value: object, findings: list[Finding]) -> tuple[dict[str, Any], type[Module] | None]:
    """Return what a given module says in the keys of YAML, and its class if it has one."""
    if isinstance(value, str):
        return {"type": "script", "script": value}, None
    if not isinstance(value, Mapping):
        return _of_class(path, value, findings)
    keys = {str(key): one for key, one in value.items()}
    if isinstance(keys.get("params"), Mapping):
        keys["params"] = {key: _plain((*path, "params", key), one, findings) for key, one in keys["params"].items()}
    if "module" not in keys:
        return ({"type": "script"} if "script" in keys else {}) | keys, None
    for key in [key for key in keys if key not in KEYS]:
        findings.append(Finding((*path, key), _unknown((*path, key)), at_key=True))
        del keys[key]
    values, cls = _of_class((*path, "module"), keys.pop("module"), findings)
    return values | keys, cls


def _of_class(path: KeyPath, value: object, findings: list[Finding]) -> tuple[dict[str, Any], type[Module] | None]:
    if isinstance(value, type) and issubclass(value, Module) and value is not Module:
        named = value.__qualname__ if is_importable(value) else value.__name__
        place = value.__module__ if is_importable(value) else f"./{path[1]}.py"
        return {"type": "script", "script": f"{place}:{named}"}, value
    accepted = _ACCEPTED if len(path) == 2 else "a subclass of hermes.Module; text goes under 'script'"
    findings.append(Finding(path, f"{key_path(path)} is {_described(value, accepted)}"))
    return {"type": "script", "script": "refused"}, None


def _described(value: object, accepted: str) -> str:
    kind = type(value).__qualname__
    if isinstance(value, Module):
        return f"an instance of {kind}; it takes the class itself, {kind}, which its own process makes the instance of"
    if isinstance(value, type):
        return f"the class {value.__qualname__}; it takes {accepted}"
    return f"{shown(value) if isinstance(value, int | float | str) else f'a {kind}'}; it takes {accepted}"


def _unknown(path: KeyPath) -> str:
    if path[-1] in ("type", "script"):
        return f"{key_path(path)} stands beside {key_path((*path[:-1], 'module'))}; it takes one of the two"
    near = nearest(str(path[-1]), KEYS)
    hint = f"did you mean {' or '.join(near)}? The keys" if near else "the keys"
    return f"{key_path(path)} is not a known key; {hint} of {key_path(path[:-1])} are {', '.join(KEYS)}"


def _plain(path: KeyPath, value: Any, findings: list[Finding]) -> Any:
    """Return a parameter's value as YAML has it: NumPy's numbers and arrays become numbers and lists."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain((*path, number), one, findings) for number, one in enumerate(value)]
    if isinstance(value, Mapping):
        return {str(key): _plain((*path, str(key)), one, findings) for key, one in value.items()}
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return value if type(value) is kind else kind(value)
    if value is not None:
        accepted = "numbers, text, true, false, None, and lists and mappings of those"
        findings.append(Finding(path, f"{key_path(path)} is a {type(value).__qualname__}; params take {accepted}"))
    return None
