"""Hosts Python modules in a process: ``python -m hermes.worker NAME...``, started by the engine only.

It ends with the engine, whatever happens to either: the kernel is asked to kill it when its parent dies, and the
parent is compared afterwards in case it had died before. Its import time is part of every session's start.
"""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from hermes.backplane.channel import PROTOCOL, Channel, Record
from hermes.backplane.handshake import STACK_SIGNAL, layout_numbers, signal_fields
from hermes.backplane.shm import ModuleMapping
from hermes.backplane.signals import SignalKind
from hermes.backplane.sync import AT, DT, DUE, STEP_NS, WorkerGate, bits_float
from hermes.loading import build, last_line, load_class, trimmed_traceback
from hermes.module import Declaration, Input, Module, Output, bind, declare_all, write_initials
from hermes.randomness import seeded
from hermes.system import missing_descriptors, refused

_PR_SET_PDEATHSIG = 1


class Hosted(NamedTuple):
    """A module in this process: its declarations, its memory and the length of its step in seconds."""

    name: str
    module: Module
    declared: dict[str, Declaration]
    mapping: ModuleMapping
    dt: float


def main() -> None:
    """Run the modules until the engine says stop or is gone."""
    _die_with_engine()
    _tell_where_it_is()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    channel = Channel(socket.socket(fileno=int(os.environ.pop("HERMES_FD"))))
    host = Host(channel)
    try:
        host.run(sys.argv[1:])
    except Exception as error:  # noqa: BLE001 - told to the engine, which tells everybody
        channel.send("error", last_line(error), trimmed_traceback(error), host.at)
        sys.exit(1)


def _die_with_engine() -> None:
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(os.environ.pop("HERMES_ENGINE_PID")):
        sys.exit(1)


def _tell_where_it_is() -> None:
    """Write the Python stacks where the engine reads them: when it asks, and to stderr when the process crashes."""
    faulthandler.enable()
    stacks = int(os.environ.pop("HERMES_STACK_FD"))
    os.set_inheritable(stacks, False)
    faulthandler.register(STACK_SIGNAL, stacks, all_threads=True)


class Host:
    """Builds the modules, joins them to their memory and serves them."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._hosted: list[Hosted] = []
        self._gate: WorkerGate | None = None
        self._name = ""

    @property
    def at(self) -> str:
        """The module at work."""
        at = self._hosted[0].mapping.memory.done[AT] if self._gate else 0
        return self._hosted[at - 1].name if at else self._name

    def run(self, names: Sequence[str]) -> None:
        """Host the modules of these names until the engine says stop."""
        built = [(name, *self._build(name)) for name in names]
        for one in built:
            self._join(*one)
        self._name = names[0]
        self._channel.send("ready")
        gc.collect()
        gc.freeze()
        self._serve()
        self._channel.send("bye")

    def _build(self, name: str) -> tuple[Module, dict[str, Declaration]]:
        """Make a module as its record says, and declare its signals."""
        self._name = name
        (spec_fd,) = _received(self._channel, "module", 1).fds
        with os.fdopen(spec_fd, "rb") as source:
            source.seek(0)
            spec = json.load(source)
        with seeded(*spec.get("rng", (0, name))):
            module = build(load_class(spec), spec.get("params", {}))
        declared = merge(declare_all(module), spec.get("signals", []))
        self._channel.send("hello", PROTOCOL, "python")
        for key, declaration in declared.items():
            for one in declaration.signals("", key):
                self._channel.send("signal", *signal_fields(one))
        self._channel.send("declared")
        return module, declared

    def _join(self, name: str, module: Module, declared: dict[str, Declaration]) -> None:
        """Let a module's signals live in shared memory; the first module's lines are the whole worker's."""
        self._name = name
        layout = _received(self._channel, "layout", 3)
        memory_fd, *events = layout.fds
        mapping = ModuleMapping(memory_fd, **layout_numbers(layout.fields))
        os.close(memory_fd)
        bind(module, declared, mapping.memory.outputs, mapping.memory.inputs)
        self._hosted.append(Hosted(name, module, declared, mapping, bits_float(mapping.memory.go[DT])))
        if self._gate is None:
            self._gate = WorkerGate(mapping.memory.go, mapping.memory.done, *events)
        else:
            for event in events:
                os.close(event)

    def _serve(self) -> None:
        assert self._gate is not None
        step = _step_one(self._hosted[0]) if len(self._hosted) == 1 else _step_several(self._hosted)
        self._gate.serve(step, self._reset)
        for one in self._hosted:
            one.module.close()

    def _reset(self) -> None:
        at = self._hosted[0].mapping.memory.done
        for number, one in enumerate(self._hosted, 1):
            at[AT] = number
            write_initials(one.declared, one.mapping.memory.outputs, None)
            one.module._stream.restart()
            one.module.reset()
        at[AT] = 0


def _step_one(hosted: Hosted) -> Callable[[], None]:
    """Return what steps a worker's only module: part of every frame, so nothing in it is looked up twice."""
    clock, step, dt = time.perf_counter_ns, hosted.module.step, hosted.dt
    now, done = hosted.mapping.now, hosted.mapping.memory.done

    def run() -> None:
        begin = clock()
        step(now[0], dt)
        done[STEP_NS] = clock() - begin

    return run


def _step_several(hosted: Sequence[Hosted]) -> Callable[[], None]:
    """Return what steps those of a worker's modules that are due, in order."""
    clock, now = time.perf_counter_ns, hosted[0].mapping.now
    go, at = hosted[0].mapping.memory.go, hosted[0].mapping.memory.done
    rows = [(1 << i, i + 1, one.module.step, one.dt, one.mapping.memory.done) for i, one in enumerate(hosted)]

    def run() -> None:
        due, start, end = go[DUE], now[0], clock()
        for bit, number, step, dt, done in rows:
            if due & bit:
                at[AT] = number
                begin = end
                step(start, dt)
                end = clock()
                done[STEP_NS] = end - begin
        at[AT] = 0

    return run


def _received(channel: Channel, verb: str, fds: int) -> Record:
    needed = f"take the record {verb!r} and what comes with it from the engine"
    try:
        record = channel.receive()
    except OSError as error:
        raise refused(needed, error) from error
    if record is None:
        sys.exit(0)  # the engine closed the channel: it is ending
    if record.verb != verb:
        raise RuntimeError(f"the engine sent {record.verb!r} where {verb!r} was expected")
    if len(record.fds) != fds:
        raise missing_descriptors(needed)
    return record


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


if __name__ == "__main__":
    main()
