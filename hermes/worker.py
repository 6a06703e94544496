"""Hosts one Python module in its own process: ``python -m hermes.worker NAME``, started by the engine only.

It ends with the engine, whatever happens to either: the kernel is asked to kill it when its parent dies, and the
parent is compared afterwards in case it had died before. Its import time is part of every session's start.
"""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import importlib
import importlib.util
import inspect
import json
import os
import signal
import socket
import sys
import time
import traceback
from types import ModuleType
from typing import Any

from hermes.backplane.channel import PROTOCOL, Channel, Record
from hermes.backplane.handshake import layout_numbers, signal_fields
from hermes.backplane.shm import ModuleMapping
from hermes.backplane.signals import SignalKind
from hermes.backplane.sync import ModuleGate, Opcode
from hermes.module import Declaration, Input, Module, Output, bind, declare_all, write_initials
from hermes.wording import nearest

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Run the module until the engine says stop or is gone."""
    _die_with_engine()
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    channel = Channel(socket.socket(fileno=int(os.environ.pop("HERMES_FD"))))
    try:
        _host(channel)
    except Exception as error:  # noqa: BLE001 - told to the engine, which tells everybody
        channel.send("error", _last_line(error), _trimmed_traceback(error))
        sys.exit(1)


def _die_with_engine() -> None:
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(os.environ.pop("HERMES_ENGINE_PID")):
        sys.exit(1)


def _host(channel: Channel) -> None:
    with os.fdopen(_received(channel, "module").fds[0], "rb") as source:
        source.seek(0)
        spec = json.load(source)
    module = build(load_class(spec), spec.get("params", {}))
    declared = merge(declare_all(module), spec.get("signals", []))
    channel.send("hello", PROTOCOL, "python")
    for name, declaration in declared.items():
        for one in declaration.signals("", name):
            channel.send("signal", *signal_fields(one))
    channel.send("declared")
    layout = _received(channel, "layout")
    memory_fd, go_event, done_event = layout.fds
    mapping = ModuleMapping(memory_fd, **layout_numbers(layout.fields))
    os.close(memory_fd)
    bind(module, declared, mapping.memory.outputs, mapping.memory.inputs)
    gate = ModuleGate(mapping.memory.go, mapping.memory.done, go_event, done_event)
    channel.send("ready")
    gc.collect()
    gc.freeze()
    _serve(module, gate, mapping, declared)
    channel.send("bye")


def _received(channel: Channel, verb: str) -> Record:
    record = channel.receive()
    if record is None:
        sys.exit(0)  # the engine closed the channel: it is ending
    if record.verb != verb:
        raise RuntimeError(f"the engine sent {record.verb!r} where {verb!r} was expected")
    return record


def _serve(module: Module, gate: ModuleGate, mapping: ModuleMapping, declared: dict[str, Declaration]) -> None:
    clock = time.perf_counter_ns
    while True:
        opcode, _, start, dt = gate.wait()
        begin = clock()
        if opcode is Opcode.STEP:
            module.step(start, dt)
        elif opcode is Opcode.RESET:
            write_initials(declared, mapping.memory.outputs, None)
            module.reset()
        else:
            module.close()
            gate.finish(0)
            return
        gate.finish(clock() - begin)


def load_class(spec: dict[str, Any]) -> type[Module]:
    """Return the class that `spec` names: ``file`` or ``module``, and ``class`` unless there is only one.

    Raises ImportError that lists the Module subclasses found, and whatever importing raises.
    """
    source = _load_file(spec["file"]) if spec.get("file") else importlib.import_module(spec["module"])
    classes = {
        value.__name__: value
        for value in vars(source).values()
        if isinstance(value, type) and issubclass(value, Module) and value.__module__ == source.__name__
    }
    where = spec.get("file") or spec["module"]
    wanted = spec.get("class")
    found = ", ".join(classes) or "none"
    if wanted is None:
        if len(classes) != 1:
            raise ImportError(f"{where} holds {len(classes)} Module subclasses ({found}); name one: '{where}:NAME'")
        return next(iter(classes.values()))
    named = getattr(source, wanted, None)
    if not (isinstance(named, type) and issubclass(named, Module)):
        raise ImportError(f"{where} has no Module subclass {wanted!r}; it holds: {found}")
    return named


def _load_file(path: str) -> ModuleType:
    folder, file = os.path.split(path)
    name = os.path.splitext(file)[0]
    sys.path.insert(0, folder)
    found = importlib.util.spec_from_file_location(name, path)
    if found is None or found.loader is None:
        raise ImportError(f"{path} is not a Python file")
    source = importlib.util.module_from_spec(found)
    sys.modules[name] = source
    found.loader.exec_module(source)
    return source


def build(cls: type[Module], params: dict[str, Any]) -> Module:
    """Construct the module: `params` fills parameters and constructor keywords.

    Raises TypeError that lists what is accepted for a name that is neither.
    """
    probe = Module.__new__(cls)
    parameters = {name for name, d in probe._declared.items() if d.kind is SignalKind.PARAMETER}
    keywords = _keywords(cls)
    unknown = [name for name in params if name not in parameters and name not in keywords]
    if unknown:
        accepted = sorted(parameters | keywords)
        near = nearest(unknown[0], accepted)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        raise TypeError(f"params: {', '.join(unknown)}: {cls.__name__} accepts {', '.join(accepted) or 'none'}{hint}")
    module = cls(**{name: value for name, value in params.items() if name in keywords})
    for name in parameters & params.keys():
        module.set_initial(name, params[name])
    return module


def _keywords(cls: type[Module]) -> set[str]:
    if cls.__init__ is object.__init__:
        return set()
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    found = [p for p in inspect.signature(cls.__init__).parameters.values() if p.kind in kinds]
    return {parameter.name for parameter in found[1:]}


def merge(declared: dict[str, Declaration], listed: list[dict[str, Any]]) -> dict[str, Declaration]:
    """Return the declarations with the `signals` of the configuration added or checked against them.

    Raises ValueError where the two contradict each other.
    """
    merged = dict(declared)
    for entry in listed:
        name = entry["name"]
        merged[name] = _checked(merged[name], entry) if name in merged else _added(entry)
    return merged


def _checked(declaration: Declaration, entry: dict[str, Any]) -> Declaration:
    name = entry["name"]
    is_output = declaration.kind is SignalKind.OUTPUT
    claims = [
        ("type", str(declaration.type), entry.get("type")),
        ("unit", declaration.unit, entry.get("unit")),
        ("writable", not is_output, entry.get("writable")),
    ]
    for key, declared, listed in claims:
        if listed is not None and listed != declared:
            raise ValueError(f"signals: {name}: {key} is {declared!r} in the module, {listed!r} in the configuration")
    return declaration.replaced(**_settings(entry, "initial", "limits", "allow_nonfinite", "description"))


def _added(entry: dict[str, Any]) -> Declaration:
    kind = Input if entry.get("writable") else Output
    return kind(**_settings(entry, "type", "unit", "initial", "limits", "allow_nonfinite", "description"))


def _settings(entry: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: entry[key] for key in keys if entry.get(key) is not None}


def _last_line(error: BaseException) -> str:
    return traceback.format_exception_only(error)[-1].strip()


def _trimmed_traceback(error: BaseException) -> str:
    """Return the traceback from the module's own code on; "" where there is none, as for a wrong `params`."""
    entries = traceback.extract_tb(error.__traceback__)
    own = [entry for entry in entries if entry.filename != __file__ and "importlib" not in entry.filename]
    if not own and not isinstance(error, SyntaxError):
        return ""
    lines = traceback.format_list(own)
    return "".join(["Traceback (most recent call last):\n", *lines, *traceback.format_exception_only(error)])


if __name__ == "__main__":
    main()
