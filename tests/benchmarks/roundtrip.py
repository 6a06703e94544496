"""The round trip of ``step(1)`` with two modules, from a script and from a notebook cell, beside a bare socketpair.

.venv/bin/python tests/benchmarks/roundtrip.py [--quick]
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from statistics import median

from contest import percentile, turn
from kernel import Kernel, kernel
from sessions import ring, session
from tables import Bench, Row, run

MODULES = 2
MESSAGE = bytes(64)
GOALS = {"a cell": "p50 <= 600"}

Trips = Callable[[int], list[int]]
"""Makes a number of round trips and returns what each took, in ns."""


def round_trips(options: argparse.Namespace) -> list[Row]:
    """Return the rows of a script, a cell, a cell that awaits, and a bare socketpair."""
    rounds, count = (3, 200) if options.quick else (5, 500)
    with ExitStack() as stack:
        notebook = stack.enter_context(kernel())
        made = f"hermes.Session(roundtrip.ring({MODULES}, name='cell'), serve=False)"
        notebook.run(f"import roundtrip\nsession = {made}\nsession.start()")
        scripted = stack.enter_context(session(ring(MODULES)))
        contestants: dict[str, Trips] = {
            "a script": lambda number: timed(scripted.step, number),
            "a cell": lambda number: in_cell(notebook, "session.step(1)", number),
            "a cell, awaited": lambda number: in_cell(notebook, "await session.aio.step(1)", number),
            "a bare socketpair": stack.enter_context(ping_pong()),
        }
        taken: dict[str, list[list[int]]] = {name: [] for name in contestants}
        for number in range(rounds):
            for name in turn(list(contestants), number):
                contestants[name](10)
                taken[name].append(contestants[name](count))
        notebook.run("session.close()")
    return [row_of(name, found) for name, found in taken.items()]


def timed(step: Callable[[], object], count: int) -> list[int]:
    """Return what each of so many calls took, in ns."""
    clock = time.perf_counter_ns
    taken = []
    for _ in range(count):
        begin = clock()
        step()
        taken.append(clock() - begin)
    return taken


def in_cell(notebook: Kernel, call: str, count: int) -> list[int]:
    """Return what each of so many calls in one cell took, in ns."""
    loop = f"    begin = time.perf_counter_ns()\n    {call}\n    taken.append(time.perf_counter_ns() - begin)"
    notebook.run(f"taken = []\nfor _ in range({count}):\n{loop}")
    found: list[int] = notebook.value("taken")
    return found


@contextmanager
def ping_pong() -> Iterator[Trips]:
    """Run this file as a process that sends back what it gets."""
    here, there = socket.socketpair()
    words = [sys.executable, __file__, "--echo", str(there.fileno())]
    with here, there, subprocess.Popen(words, pass_fds=[there.fileno()]) as child:
        there.close()

        def trip() -> None:
            here.sendall(MESSAGE)
            if here.recv(len(MESSAGE)) != MESSAGE:
                raise RuntimeError("the other end of the socketpair is gone")

        yield lambda count: timed(trip, count)
        here.close()
        child.wait(10)


def echo(fd: int) -> None:
    """Send back what comes, until nobody is left."""
    with socket.socket(fileno=os.dup(fd)) as end:
        os.close(fd)
        while got := end.recv(len(MESSAGE)):
            end.sendall(got)


def row_of(name: str, rounds: list[list[int]]) -> Row:
    """Return one contestant's row, in us: percentiles of all its trips, and the spread of the rounds' medians."""
    trips = sorted(trip for taken in rounds for trip in taken)
    medians = sorted(median(taken) / 1000 for taken in rounds)
    shares = {f"p{percent}_us": percentile(trips, percent) / 1000 for percent in (50, 99)}
    spread = f"{medians[0]:,.0f} .. {medians[-1]:,.0f}"
    return {"from": name, "trips": len(trips), **shares, "p50_of_rounds": spread, "goal": GOALS.get(name)}


BENCHES = [Bench("roundtrip", "Round trip of step(1), two modules", round_trips)]

if __name__ == "__main__":
    if sys.argv[1:2] == ["--echo"]:
        echo(int(sys.argv[2]))
    else:
        run(BENCHES, "roundtrip", __doc__)
