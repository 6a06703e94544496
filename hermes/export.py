"""Write a run down as a configuration that computes it again, to the same fingerprint.

What shaped the run since its last reset is its configuration and every `set` at its frame; those become ``commands:``,
and ``end_time`` the frame that the run is at. Pauses, resumes and steps only decide when a frame is computed, never
what is in it, so they are left out. What is written is read again before it is stored: it either says the same or is
refused.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import yaml

from hermes.config import HermesConfig, ServerConfig
from hermes.configfields import MAX_END_TIME, exact
from hermes.engine.plan import CommandPlan, Plan
from hermes.errors import ConfigurationError, NotExported
from hermes.planning import plan_for
from hermes.yamlscalars import read_scalar

Journal = Iterable[Mapping[str, Any]]


def end_time_for(frame: int, rate: Fraction) -> float:
    """Return an end time in seconds that is exactly this frame, from 1, at `rate` frames per second.

    It is the frame's own time where nine decimals hold that, else the next such number below. Raises NotExported
    where no `execution.end_time` says it, which takes at most 1e9 s.
    """
    end = frame / rate
    nanosecond = 10**9
    for seconds in (math.floor(end * nanosecond) / nanosecond, float((frame - Fraction(1, 2)) / rate), MAX_END_TIME):
        if 0 < seconds <= MAX_END_TIME and math.ceil(exact(seconds) * rate) == frame:
            return seconds
    raise NotExported(f"frame {frame} is at {float(end):g} s; execution.end_time takes at most {MAX_END_TIME:g} s")


def sets_of_epoch(journal: Journal, epoch: int, frame: int) -> list[CommandPlan]:
    """Return every `set` up to a frame after a journal's reset number `epoch` (0: from the start), before the next.

    Raises NotExported where a module was replaced there: no configuration changes its modules on the way.
    """
    found = []
    for entry in journal:
        if entry["verb"] == "reset":
            epoch -= 1
        elif epoch == 0 and entry["verb"] == "set" and entry["frame"] <= frame:
            found.append(CommandPlan(entry["frame"], entry["values"]))
        elif epoch == 0 and entry["verb"] == "replace":
            when = f"module {entry['module']} was replaced at frame {entry['frame']}"
            raise NotExported(
                f"{when}, which no configuration can say; reset, run it with {entry['by']}, and export that"
            )
        if epoch < 0:
            break
    return found


def case_text(
    config: HermesConfig,
    folder: Path,
    frame: int,
    fingerprint: str,
    sets: Sequence[CommandPlan],
    files: Mapping[str, Path] | None = None,
) -> str:
    """Return the YAML text of a case in `folder`; raises NotExported where it would not read back as the same run.

    `files` are those of the modules that Python gave as classes.
    At frame 0 there is no run yet to end: then the end stays as it was, and so do the commands that come later.
    """
    files = files or {}
    values = config.model_dump(exclude_defaults=True)
    modules = {
        name: _module(config, name, module, folder, files.get(name)) for name, module in values["modules"].items()
    }
    execution = config.execution.model_dump()
    expected = plan_for(config)
    later = [one for one in expected.commands if one.frame > 0 and _acts(one, expected.end_frame)] if frame == 0 else []
    if frame > 0:
        execution["end_time"] = end_time_for(frame, config.execution.rate)
        expected = expected._replace(end_frame=frame)
    expected = expected._replace(commands=(*sets, *later))
    execution = {key: value for key, value in execution.items() if value is not None}
    values |= {"name": config.name, "modules": modules, "execution": execution}
    values.pop("commands", None)
    server = config.server
    if server.token not in (None, "auto", "none"):  # a case is made to be passed on, a token is not
        server = server.model_copy(update={"token": "auto"})
    values["server"] = server.model_dump(exclude_defaults=True)
    text = f"# {config.name}\n# fingerprint at frame {frame}: {fingerprint}\n" + _yaml(values, expected.commands)
    _check(text, folder, expected, server, config)
    return text


def _acts(command: CommandPlan, end_frame: int | None) -> bool:
    """Return whether a command takes effect before the end, which may be earlier than the file has it."""
    return end_frame is None or command.frame < end_frame or (command.frame == end_frame and command.set is not None)


def _module(config: HermesConfig, name: str, values: dict[str, Any], folder: Path, own: Path | None) -> dict[str, Any]:
    """Return a module's values with the path of its script, or of the file of its `own`, as seen from `folder`."""
    target = config.modules[name].target
    if target.file is None:
        return values
    script = _seen_from(folder, own or config.base / target.file)
    return {**values, "script": script + (f":{target.class_name}" if target.class_name else "")}


def _seen_from(folder: Path, file: Path) -> str:
    """Return a path relative to `folder`, or an absolute one where they have nothing but the root in common."""
    here, there = folder.resolve(), _resolved(file)
    if os.path.commonpath([here, there]) == "/":
        return str(there)
    relative = os.path.relpath(there, here)
    return relative if relative.startswith("../") else f"./{relative}"


def _resolved(file: Path) -> Path:
    """Return the path without links on its way, but by the file's own name, which names the Python module."""
    return file.parent.resolve() / file.name


def _listed(commands: Iterable[CommandPlan]) -> list[dict[str, Any]]:
    return [{"frame": frame, **({"set": values} if values else {"pause": True})} for frame, values in commands]


class _Dumper(yaml.SafeDumper):
    """Writes what `hermes.yamlfile` reads: YAML 1.2 scalars, no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    plain = read_scalar(text, None, is_plain=True) == (text, None)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')


_Dumper.add_representer(str, _text)


def _yaml(values: dict[str, Any], commands: Iterable[CommandPlan]) -> str:
    """Return the text of a configuration: what `values` say, in the usual order, and a line for each command."""
    order = ("name", "modules", "wiring", "execution", "backplane", "server")
    keys = [*(key for key in order if key in values), *(key for key in values if key not in order)]
    lines = [f"- {_dump(one, flow=True)}" for one in _listed(commands)]
    text = _dump({key: values[key] for key in keys}, flow=None)
    return text + "".join(["commands:\n", *lines] if lines else [])


def _dump(values: dict[str, Any], *, flow: bool | None) -> str:
    try:
        text: str = yaml.dump(values, Dumper=_Dumper, sort_keys=False, default_flow_style=flow, width=math.inf)
    except yaml.YAMLError as error:
        raise NotExported(f"the configuration holds what YAML cannot say: {error}") from None
    return text


def _check(text: str, folder: Path, expected: Plan, server: ServerConfig, config: HermesConfig) -> None:
    """Read the case again, with the same classes; raises NotExported unless it is the same run."""
    try:
        found = HermesConfig.from_yaml_text(text, "the case", folder, config.classes)
    except ConfigurationError as error:
        raise NotExported(f"the run cannot be said in a configuration: {error}") from None
    if _facts(plan_for(found)) != _facts(expected) or found.server != server:
        raise NotExported("the run cannot be said in a configuration: what was written reads back as something else")


def _facts(plan: Plan) -> str:
    """Return a plan as text, which tells -0.0 from 0.0 and takes every NaN for the same."""
    modules = []
    for module in plan.modules:
        file = module.spec["file"]
        spec = {**module.spec, "file": file and str(_resolved(Path(file)))}
        modules.append(module._replace(spec=spec))
    return repr(plan._replace(modules=tuple(modules)))
