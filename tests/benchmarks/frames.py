"""Frames per second of trivial modules in a ring of wires, beside plain blocking semaphores that do none of it.

.venv/bin/python tests/benchmarks/frames.py [--quick]
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from functools import partial

import yielding
from contest import Contestant, Rate, contest, left_out
from semaphores import KINDS, ping_pong
from sessions import ring, session, timed_steps
from tables import Bench, Row, run

from hermes.errors import HermesError

COUNTS = (1, 2, 4, 8, 16)
GOALS = {4: {"isolated": ">= 4", "one worker": ">= 6"}}
"""By the number of modules: how many times the baseline."""

BARE = "yielding, bare"

GROUPS = {"isolated": None, "one worker": "together"}


def frames(options: argparse.Namespace) -> list[Row]:
    """Return rows for every number of modules."""
    rounds, seconds = (3, 0.2) if options.quick else (5, 0.4)
    return [row for count in COUNTS for row in rows_of(count, rounds, seconds)]


def rows_of(count: int, rounds: int, seconds: float) -> list[Row]:
    """Return the rows of so many modules: Hermes both ways, and the two kinds of semaphores."""
    with ExitStack() as stack:
        contestants: dict[str, Contestant] = {
            f"semaphores, {kind}": stack.enter_context(ping_pong(kind, count)) for kind in KINDS
        }
        baselines = list(contestants)
        contestants[BARE] = stack.enter_context(ping_pong("", count, yielding.__file__))
        for way in GROUPS:
            contestants |= hermes_ring(stack, count, way)
        rates = contest(contestants, rounds, seconds)
    fastest = max(baselines, key=lambda name: rates[name].median)
    return [row_of(count, name, rate, rates[fastest], fastest) for name, rate in rates.items()]


def hermes_ring(stack: ExitStack, count: int, way: str) -> dict[str, Contestant]:
    """Return the session of so many modules as a contestant, or nothing where it cannot be started."""
    try:
        running = stack.enter_context(session(ring(count, worker=GROUPS[way])))
    except HermesError as error:
        left_out(f"{count} modules, {way}", error)
        return {}
    return {way: partial(timed_steps, running)}


def row_of(count: int, name: str, rate: Rate, baseline: Rate, fastest: str) -> Row:
    """Return one contestant's row."""
    ours = name in (*GROUPS, BARE)
    return {
        "modules": count,
        "how": name,
        "frames_per_s": rate.median,
        "rounds": rate.spread,
        "ratio": rate.median / baseline.median if ours else "baseline" if name == fastest else None,
        "goal": GOALS.get(count, {}).get(name),
    }


BENCHES = [Bench("frames", "Frames per second, as fast as possible, commit and fingerprint on", frames)]

if __name__ == "__main__":
    run(BENCHES, "frames", __doc__)
