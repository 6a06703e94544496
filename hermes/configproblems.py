"""Say what is wrong with a configuration: in sentences, at a place, everything at once.

`takes` gives each field the phrase for what it accepts; `findings_in` turns a refused model into `Finding` values;
`combined_findings` checks what no single field can know. It works on values that may be wrong in other ways too, so
each check looks at what it understands and leaves the rest to the fields. No file is read here but to see whether a
script exists.
"""

from __future__ import annotations

import math
import re
import stat
import sys
from collections.abc import Collection, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError, ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import InitErrorDetails, PydanticCustomError

from hermes.errors import ConfigurationError, Problem
from hermes.wording import nearest, shown
from hermes.yamlfile import MAX_PROBLEMS, Document, KeyPath, Mark

_KEY = "[key]"  # how pydantic marks that a mapping's key, not its value, is meant
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]{1,60}")
_CONTAINERS = {"list_type": "a list", "dict_type": "a mapping", "model_type": "a mapping"}
_MAX_NAMES = 200  # names searched for a likely one; more would take longer than reading the file
_SECRET = ("server", "token")  # a mistyped one would end up in the saved output of a notebook
_NUMBERS = ("f64", "f32", "i64", "i32")
_I32 = 2**31
_I64 = 2**63
_F32_MAX = 3.4028234663852886e38


class Finding(NamedTuple):
    """One thing wrong: at the value of `path` or (`at_key`) at its key; `other` is the place it collides with."""

    path: KeyPath
    message: str
    at_key: bool = False
    other: KeyPath | None = None


def takes(accepted: str) -> WrapValidator:
    """Return an annotation that answers whatever its type refuses with one phrase, what is `accepted`.

    It stands last in ``Annotated[...]``, so that it also covers the constraints before it.
    """

    def check(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except (ValueError, ArithmeticError):
            raise PydanticCustomError("takes", "it takes {accepted}", {"accepted": accepted}) from None

    return WrapValidator(check)


def key_path(path: KeyPath) -> str:
    """Return `path` as a message names it: ``modules.plant.signals[0].name``; odd names quoted and cut."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if _PLAIN_KEY.fullmatch(part) else shown(part))
    return text or "the configuration"


def described(value: object) -> str:
    """Return `value` as a message names it: ``null``, ``true``, ``a mapping``, ``[2, 1]``, a number, quoted text."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list) and not (0 < len(value) <= 4 and all(isinstance(one, (int, float)) for one in value)):
        return "a list"
    named = {None: "null", True: "true", False: "false"}
    return named[value] if value is None or isinstance(value, bool) else shown(value)


def configuration_error(
    findings: list[Finding], document: Document | None, given: Collection[str] = ()
) -> ConfigurationError:
    """Return the error that reports the first 100 of `findings` in file order, each at its place.

    Without a document, and for the modules `given` in Python, that is the key path.
    """

    def where(path: KeyPath, at_key: bool = False) -> str:
        in_python = document is None or (path[:1] == ("modules",) and path[1:2] and path[1] in given)
        return key_path(path) if in_python or document is None else document.where(path, at_key)

    found = sorted(set(findings), key=lambda one: (_mark(document, one.path, one.at_key), one.message))
    return ConfigurationError(
        Problem(
            where(one.path, one.at_key),
            one.message + (f"; the first is at {where(one.other)}" if one.other else ""),
        )
        for one in found[:MAX_PROBLEMS]
    )


def _mark(document: Document | None, path: KeyPath, at_key: bool) -> Mark:
    return document.mark(path, key=at_key) if document else (0, 0)


def as_validation_error(
    model: type[BaseModel], findings: list[Finding], error: ValidationError | None = None
) -> ValidationError:
    """Return `error` with `findings` added, so that one exception carries both out of a validator."""
    details = [] if error is None else [_detail(one) for one in error.errors(include_url=False)]
    for path, message, at_key, other in findings:
        kind = PydanticCustomError("together", "{message}", {"message": message, "at_key": at_key, "other": other})
        details.append(InitErrorDetails(type=kind, loc=path, input=None))
    return ValidationError.from_exception_data(model.__name__, details)


def _detail(error: Any) -> InitErrorDetails:
    context = error.get("ctx", {})
    kind = error["type"]
    if kind == "takes":
        kind = PydanticCustomError("takes", "it takes {accepted}", context)
    return InitErrorDetails(type=kind, loc=error["loc"], input=error["input"], ctx=context)


def findings_in(error: ValidationError, model: type[BaseModel], document: Document | None) -> list[Finding]:
    """Return the first 100 things that `error`, raised by `model`, found in `document`, in plain words."""
    errors = sorted(error.errors(include_url=False), key=lambda one: _mark(document, one["loc"], True))
    return [_finding(one, model) for one in errors[:MAX_PROBLEMS]]


def _finding(error: Any, model: type[BaseModel]) -> Finding:
    path, kind, context = error["loc"], error["type"], error.get("ctx", {})
    if kind == "together":
        return Finding(path, context["message"], context["at_key"], context["other"])
    if kind == "missing":
        fields = _model_at(model, path[:-1]).model_fields
        return Finding(path[:-1], f"{key_path(path)} is missing: {fields[path[-1]].description}", at_key=True)
    if kind == "extra_forbidden":
        return Finding(path, _unknown_key(path, _model_at(model, path[:-1])), at_key=True)
    if kind == "too_short":
        return Finding(path, f"{key_path(path)} is empty; it takes at least one entry", at_key=True)
    accepted = context.get("accepted") or _CONTAINERS.get(kind, "another value")
    if path and path[-1] == _KEY:
        message = f"{key_path(path[:-2])} has the name {described(path[-2])}; a name takes {accepted}"
        return Finding(path[:-1], message, at_key=True)
    found = "not a token (what it is stays out of this message)" if path == _SECRET else described(error["input"])
    return Finding(path, f"{key_path(path)} is {found}; it takes {accepted}")


def _model_at(model: type[BaseModel], path: KeyPath) -> type[BaseModel]:
    kind: Any = model
    for part in path:
        is_model = isinstance(kind, type) and issubclass(kind, BaseModel)
        kind = kind.model_fields[part].annotation if is_model else kind.__args__[-1]
    found: type[BaseModel] = kind
    return found


def _unknown_key(path: KeyPath, model: type[BaseModel]) -> str:
    if accepted := getattr(model, "refused", {}).get(path[-1]):
        return f"{key_path(path)} is not accepted; it takes {accepted}"
    known = list(model.model_fields)
    near = nearest(str(path[-1]), known)
    hint = f"did you mean {' or '.join(near)}? The keys" if near else "the keys"
    inside = f" of {key_path(path[:-1])}" if path[:-1] else ""
    return f"{key_path(path)} is not a known key; {hint}{inside} are {', '.join(known)}"


def combined_findings(value: object) -> list[Finding]:
    """Return what is wrong between the parts of a configuration that may not be valid otherwise."""
    root = mapping(value)
    modules = mapping(root.get("modules"))
    by_module = (
        _signal_findings(("modules", name, "signals"), entries(mapping(module).get("signals")))
        for name, module in modules.items()
    )
    wires = _wire_findings(entries(root.get("wiring")), modules)
    return [*islice(chain.from_iterable(by_module), MAX_PROBLEMS), *islice(wires, MAX_PROBLEMS)]


def mapping(value: object) -> dict[str, Any]:
    """Return a mapping or a model as a dict, anything else as an empty one."""
    if isinstance(value, BaseModel):
        return dict(value)
    return value if isinstance(value, dict) else {}


def entries(value: object) -> list[Any]:
    """Return a list as it is, anything else as an empty one."""
    return value if isinstance(value, list) else []


def _wire_findings(wires: list[Any], modules: dict[str, Any]) -> Iterator[Finding]:
    for index, wire in enumerate(wires):
        ends = mapping(wire)
        for end in ("src", "dst"):
            module, dot, _ = str(ends.get(end)).partition(".")
            if dot and _PLAIN_KEY.match(module) and modules and module not in modules:
                path = ("wiring", index, end)
                yield Finding(path, f"{key_path(path)} is {shown(ends[end])}; {no_module(module, modules)}")


def no_module(name: str, modules: dict[str, Any]) -> str:
    """Say that there is no module of this name, and which there are."""
    known = [str(module) for module in modules][:_MAX_NAMES]
    near = nearest(name, known)
    if near:
        return f"there is no module {shown(name)}, did you mean {' or '.join(map(shown, near))}?"
    names = ", ".join(map(shown, known[:8])) + (", ..." if len(modules) > 8 else "")
    return f"there is no module {shown(name)}, the modules are {names}"


def _signal_findings(path: KeyPath, signals: list[Any]) -> Iterator[Finding]:
    seen: dict[str, int] = {}
    for index, signal in enumerate(signals):
        keys = mapping(signal)
        name = keys.get("name")
        first = seen.setdefault(name, index) if isinstance(name, str) else index
        if first != index:
            message = f"{key_path((*path, index))} and {key_path((*path, first))} are both named {shown(name)}"
            yield Finding((*path, index, "name"), message, other=(*path, first, "name"))
        if accepted := _initial_refusal(keys):
            place = (*path, index, "initial")
            yield Finding(place, f"{key_path(place)} is {described(keys['initial'])}; {accepted}")


def _initial_refusal(signal: dict[str, Any]) -> str | None:
    kind, value = signal.get("type"), signal.get("initial")
    if not isinstance(value, (int, float)):
        return None
    if kind == "bool" or isinstance(value, bool):
        return _flag_refusal(kind, value)
    if kind in ("i32", "i64"):
        bound = _I32 if kind == "i32" else _I64
        fits = isinstance(value, int) and -bound <= value < bound
        if not fits:
            return f"an {kind} takes a whole number from {-bound} to {bound - 1}"
        return _limit_refusal(value, signal.get("limits"))
    return _float_refusal(kind, value, signal) or _limit_refusal(value, signal.get("limits"))


def _flag_refusal(kind: object, value: float) -> str | None:
    if isinstance(value, bool):
        return f"an {kind} takes a number" if kind in _NUMBERS else None
    return "a bool takes true or false"


def _float_refusal(kind: object, value: float, signal: dict[str, Any]) -> str | None:
    if isinstance(value, float) and not math.isfinite(value):
        return None if signal.get("allow_nonfinite") else "without allow_nonfinite: true it takes a finite number"
    most = _F32_MAX if kind == "f32" else sys.float_info.max
    return None if abs(value) <= most else f"an {kind or 'f64'} takes a number from {-most} to {most}"


def _limit_refusal(value: float, limits: object) -> str | None:
    pair = list(limits) if isinstance(limits, (list, tuple)) else []
    if len(pair) != 2 or not all(isinstance(bound, (int, float)) for bound in pair):
        return None
    finite = math.isfinite(value) if isinstance(value, float) else True
    return None if not finite or pair[0] <= value <= pair[1] else f"its limits are {pair[0]} to {pair[1]}"


def missing_scripts(modules: object, base: Path) -> list[Finding]:
    """Return a finding for each script file that is not there; relative paths start at `base`."""
    found = []
    for name, module in mapping(modules).items():
        script = mapping(module).get("script")
        file = script.partition(":")[0] if isinstance(script, str) else ""
        if ("/" in file or file.endswith(".py")) and (reason := _no_file(base / file)):
            path = ("modules", name, "script")
            found.append(Finding(path, f"{key_path(path)} is {shown(script)}; {reason} (looked in {base})"))
    return found


def _no_file(path: Path) -> str | None:
    try:
        return None if stat.S_ISREG(path.stat().st_mode) else "that is not a file"
    except OSError as error:
        return "there is no such file" if isinstance(error, FileNotFoundError) else str(error.strerror)
    except ValueError:
        return "a path has no NUL character"
