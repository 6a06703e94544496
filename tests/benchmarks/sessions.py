"""Sessions of toy modules, their processes, and their committed frames as another process sees them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hermes
from hermes.backplane.shm import SharedMemoryManager
from hermes.config import HermesConfig
from hermes.connectionfile import find

HERE = Path(__file__).parent
ROUND = 1000
"""Frames per simulated second of what runs as fast as possible."""


def ring(count: int, *, name: str = "ring", worker: str | None = None) -> HermesConfig:
    """Return a configuration of so many toys in a ring of wires, each in a process of its own or all in one worker."""
    group = "" if worker is None else f", worker: {worker}"
    modules = [f"  m{number}: {{type: script, script: './toys.py:Toy'{group}}}" for number in range(count)]
    wires = [f"  - {{src: m{number}.x_out, dst: m{(number + 1) % count}.x_in}}" for number in range(count)]
    execution = f"execution: {{mode: afap, rate_hz: {ROUND}, start_timeout: 60}}"
    return configuration(name, ["modules:", *modules, "wiring:", *wires, execution])


def configuration(name: str, lines: list[str]) -> HermesConfig:
    """Return a configuration from lines of YAML; it serves, if it does, on a free port."""
    text = "\n".join([f"name: {name}", *lines, "server: {port: 0}"])
    return HermesConfig.from_yaml_text(text, base=HERE)


@contextmanager
def session(config: HermesConfig, *, serve: bool = False) -> Iterator[hermes.Session]:
    """Run a session on a thread of its own, paused at frame 0, and close it."""
    with hermes.Session(config, loop="thread", serve=serve) as started:
        yield started


def timed_steps(stepping: hermes.Session, count: int) -> float:
    """Return the seconds that so many frames took."""
    begin = time.perf_counter()
    done = stepping.step(count)
    took = time.perf_counter() - begin
    if done != count:
        raise RuntimeError(f"{stepping.name} computed {done} of {count} frames")
    return took


@contextmanager
def backplane(name: str) -> Iterator[SharedMemoryManager]:
    """Attach the memory of the newest live session of a name, read-only, as any other process can."""
    (connection, *_) = find(name)
    shm = SharedMemoryManager.attach(os.open(connection.memory, os.O_RDONLY | os.O_CLOEXEC))
    try:
        yield shm
    finally:
        shm.close()


def engine_of(pid: int) -> int:
    """Return the process id of the one engine that a process has started."""
    (engine,) = (child for child in started_by(pid) if b"hermes.engine" in command(child))
    return engine


def started_by(pid: int) -> list[int]:
    """Return the processes that a process has started and that live."""
    tasks = (Path("/proc") / str(pid) / "task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def command(pid: int) -> bytes:
    """Return how a process was called."""
    return (Path("/proc") / str(pid) / "cmdline").read_bytes()


def memory_kib(pid: int) -> int:
    """Return the resident memory of a process, in KiB, the pages of the backplane that it has touched included."""
    pages = int((Path("/proc") / str(pid) / "statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024
