"""The processes of a measurement: what is measured and what loads it, each on its own, and none left behind."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
GENERATOR = HERE.parent / "support" / "loadclients.py"
END_SECONDS = 10.0

Child = subprocess.Popen[str]


class Server(NamedTuple):
    """A process that serves, and where."""

    pid: int
    url: str


@contextmanager
def served(*arguments: object) -> Iterator[Server]:
    """Run `served.py`; it ends when its standard input does."""
    with started(HERE / "served.py", *arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        yield Server(child.pid, said(child))
        assert child.stdin is not None
        child.stdin.close()
        child.wait(END_SECONDS)


@contextmanager
def hermes_run(config: Path) -> Iterator[Server]:
    """Run a configuration, paused until a client resumes it."""
    with started("-m", "hermes", "run", config, "--paused", stderr=subprocess.PIPE) as child:
        assert child.stderr is not None
        line = child.stderr.readline()
        url = re.search(r"ws://\S+", line)
        if url is None:
            raise RuntimeError(f"hermes run does not serve: {line}{child.stderr.read()}")
        yield Server(child.pid, url[0])


def measured(server: Server, seconds: float, *options: object) -> dict[str, Any]:
    """Put the load of these options on a server; return the generator's results and `server_cpu`, in % of a core."""
    arguments = [GENERATOR, server.url, "--seconds", seconds, *options]
    with started(*arguments, stdout=subprocess.PIPE) as generator:
        said(generator)
        cpu = cpu_percent(server.pid, seconds)
        found: dict[str, Any] = json.loads(said(generator))
    return {**found, "server_cpu": cpu}


def cpu_percent(pid: int, seconds: float) -> float:
    """Return how much of one core a process uses over the next seconds, in %."""
    used, begin = cpu_seconds(pid), time.perf_counter()
    time.sleep(seconds)
    return 100 * (cpu_seconds(pid) - used) / (time.perf_counter() - begin)


def cpu_seconds(pid: int) -> float:
    """Return the processor time of all threads of a process so far, in s, as exactly as the kernel counts it.

    The id of another process's clock is its inverted process id and the number of the clock, 2: see
    clock_getcpuclockid(3).
    """
    return time.clock_gettime(~pid << 3 | 2)


@contextmanager
def started(*arguments: object, **pipes: Any) -> Iterator[Child]:
    """Run this Python with some arguments; whatever happens, the process has ended afterwards."""
    with subprocess.Popen([sys.executable, *map(str, arguments)], text=True, **pipes) as child:
        try:
            yield child
        finally:
            end(child)


def end(child: Child) -> None:
    """End a child in order if it can, and by force if not."""
    child.terminate()
    try:
        child.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()


def said(child: Child) -> str:
    """Return the next line of a child's standard output; raises RuntimeError where it has ended instead."""
    assert child.stdout is not None
    line = child.stdout.readline()
    if not line:
        raise RuntimeError(f"{child.args} ended with status {child.wait(END_SECONDS)}")
    return line.strip()
