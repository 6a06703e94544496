"""From a session that is not started to its first frame, and what a paused one costs.

.venv/bin/python tests/benchmarks/start.py [--quick]
"""

from __future__ import annotations

import argparse
import os
import time
from contextlib import closing
from statistics import median

from children import cpu_seconds
from sessions import engine_of, ring, session, started_by
from tables import Bench, Row, run

import hermes

MODULES = 3


def start(_options: argparse.Namespace) -> list[Row]:
    """Return the row of a start: `start()` and then `step(1)`, in a process that has imported hermes."""
    taken, stepped = [], []
    for _ in range(5):
        with closing(hermes.Session(ring(MODULES), loop="thread")) as starting:
            begin = time.perf_counter()
            starting.start()
            ready = time.perf_counter()
            starting.step(1)
            taken.append(time.perf_counter() - begin)
            stepped.append(time.perf_counter() - ready)
    spread = f"{min(taken):.2f} .. {max(taken):.2f}"
    first = {"first_frame_s": median(taken), "starts": spread, "of_which_the_frame_ms": 1e3 * median(stepped)}
    return [{"modules": MODULES, **first, "goal": "<= 1.5"}]


def paused(options: argparse.Namespace) -> list[Row]:
    """Return what each part of a paused session uses of a core, in %, with a server and no client."""
    seconds = 1.0 if options.quick else 5.0
    with session(ring(MODULES), serve=True) as resting:
        resting.step(100)
        engine = engine_of(os.getpid())
        parts = {"session": [os.getpid()], "engine": [engine], "modules": started_by(engine)}
        time.sleep(0.5)
        before = {name: sum(map(cpu_seconds, pids)) for name, pids in parts.items()}
        begin = time.perf_counter()
        time.sleep(seconds)
        passed = time.perf_counter() - begin
        used = {name: 100 * (sum(map(cpu_seconds, pids)) - before[name]) / passed for name, pids in parts.items()}
    return [{**{f"{name}_%": share for name, share in used.items()}, "all_%": sum(used.values()), "goal": "<= 1"}]


BENCHES = [
    Bench("start", "From start() to the first frame", start),
    Bench("paused", "CPU of a paused session without clients", paused),
]

if __name__ == "__main__":
    run(BENCHES, "start", __doc__)
