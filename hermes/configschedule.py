"""Say what is wrong between modules, workers and the schedule of a configuration that may be wrong in other ways too.

As in `hermes.configproblems`: what is not understood here is left to the fields.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from hermes.configproblems import Finding, entries, key_path, mapping, no_module
from hermes.wording import shown
from hermes.yamlfile import MAX_PROBLEMS, KeyPath

WORKER_LIMIT = 64
"""Modules in one worker: each has a bit of the word that says which of them are due."""


DEFAULT_RESTARTS = 3
"""How often a module that is to be restarted is, between two resets, unless its `max_restarts` says otherwise."""

MAX_RESTARTS = 1000
"""The largest `max_restarts`."""


def schedule_findings(value: object) -> list[Finding]:
    """Return what is wrong with `execution.schedule`, with the modules' workers and with their restarts."""
    root = mapping(value)
    modules = mapping(root.get("modules"))
    schedule = entries(mapping(root.get("execution")).get("schedule"))
    found = (_phase_findings(schedule, modules), _worker_findings(modules), _restart_findings(modules))
    return [finding for findings in found for finding in islice(findings, MAX_PROBLEMS)]


def _phase_findings(schedule: list[Any], modules: dict[str, Any]) -> Iterator[Finding]:
    seen: dict[str, KeyPath] = {}
    for path, name in _names(schedule):
        where = f"{key_path(path)} is {shown(name)}"
        if name in seen:
            yield Finding(path, f"{where}, which the schedule has already; it takes each module once", other=seen[name])
        elif modules and name not in modules:
            yield Finding(path, f"{where}; {no_module(name, modules)}")
        seen.setdefault(name, path)
    missing = [str(name) for name in modules if name not in seen]
    if schedule and missing:
        path = ("execution", "schedule")
        names = ", ".join(map(shown, missing[:8])) + (", ..." if len(missing) > 8 else "")
        yield Finding(path, f"{key_path(path)} leaves out {names}; it takes each module once", at_key=True)


def _names(schedule: list[Any]) -> Iterator[tuple[KeyPath, str]]:
    for number, phase in enumerate(schedule):
        path: KeyPath = ("execution", "schedule", number)
        if isinstance(phase, str):
            yield path, phase
        for place, name in enumerate(entries(phase)):
            if isinstance(name, str):
                yield (*path, place), name


def _worker_findings(modules: dict[str, Any]) -> Iterator[Finding]:
    members: dict[str, list[str]] = {}
    for name, module in modules.items():
        worker = mapping(module).get("worker")
        if isinstance(worker, str):
            members.setdefault(worker, []).append(name)
    for worker, names in members.items():
        first = mapping(modules[names[0]]).get("env") or {}
        for count, name in enumerate(names, 1):
            if finding := _member_finding(
                worker, name, modules, count, first == (mapping(modules[name]).get("env") or {})
            ):
                yield finding


def _member_finding(worker: str, name: str, modules: dict[str, Any], count: int, alike: bool) -> Finding | None:
    path: KeyPath = ("modules", name, "worker")
    where = f"{key_path(path)} is {shown(worker)}"
    if worker in modules and mapping(modules[worker]).get("worker") != worker:
        return Finding(path, f"{where}; that is a module with another process, a worker takes a name of its own")
    if count > WORKER_LIMIT:
        return Finding(path, f"{where}; a worker takes at most {WORKER_LIMIT} modules")
    if not alike:
        return Finding(path, f"{where}; the modules of a worker are one process and take the same env")
    return None


def _restart_findings(modules: dict[str, Any]) -> Iterator[Finding]:
    workers = [mapping(module).get("worker") for module in modules.values()]
    for name, module in modules.items():
        keys, path = mapping(module), ("modules", name)
        worker, restarted = keys.get("worker"), keys.get("on_failure") == "restart"
        if restarted and worker is not None and workers.count(worker) > 1:
            where = f"{key_path((*path, 'on_failure'))} is 'restart'"
            why = f"but worker {shown(worker)} hosts other modules too; only a module with a process of its own can be"
            yield Finding((*path, "on_failure"), f"{where}, {why}")
        if keys.get("max_restarts") is not None and not restarted:
            where = f"{key_path((*path, 'max_restarts'))} is {shown(keys['max_restarts'])}"
            yield Finding((*path, "max_restarts"), f"{where}, but nothing is restarted without on_failure: restart")
