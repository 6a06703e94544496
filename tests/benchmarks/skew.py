"""Frames in lock-step and no wake-up lost, with modules that are busy for a random time of up to 20 us.

    .venv/bin/python tests/benchmarks/skew.py [--frames 1000000]

Every module counts its steps, and the frames in which the count that a wire brings from the module before it is not
that of a frame ago. The same frames are computed twice, by sessions of their own: equal fingerprints although the
delays differ. Memory is that of the engine and of the modules after a tenth of the frames and after all of them.
"""

from __future__ import annotations

import argparse
import os

from sessions import backplane, configuration, engine_of, memory_kib, session, started_by, timed_steps
from tables import Bench, Row, run

import hermes
from hermes.config import HermesConfig

MODULES = 4
FRAMES, QUICK_FRAMES = 100_000, 10_000
CHUNK = 10_000
NAME = f"skew-{os.getpid()}"


def skew(options: argparse.Namespace) -> list[Row]:
    """Return the rows of two runs."""
    frames = options.frames or (QUICK_FRAMES if options.quick else FRAMES)
    rows = [run_of(frames) for _ in range(2)]
    equal = len({row.pop("fingerprint") for row in rows}) == 1
    return [{"run": number, **row, "same_fingerprint": equal} for number, row in enumerate(rows, 1)]


def run_of(frames: int) -> Row:
    """Return what one run of so many frames has shown."""
    names = [f"m{number}" for number in range(MODULES)]
    with session(delayed(names), serve=True) as running, backplane(NAME) as shm:
        engine = engine_of(os.getpid())
        parts = {"engine": [engine], "modules": started_by(engine)}
        seconds = steps_in_chunks(running, frames // 10)
        before = {part: sum(map(memory_kib, pids)) for part, pids in parts.items()}
        seconds += steps_in_chunks(running, frames - frames // 10)
        grown = {f"{part}_KiB_grown": sum(map(memory_kib, pids)) - before[part] for part, pids in parts.items()}
        counts = running.get([f"{name}.{what}" for name in names for what in ("steps", "skew")])
        lost, fingerprint = shm.counters["kicks"], running.fingerprint
    steps = sorted({counts[f"{name}.steps"] for name in names})
    skewed = sum(int(counts[f"{name}.skew"]) for name in names)
    found = {"frames": frames, "frames_per_s": frames / seconds, "steps_of_each": ", ".join(map(str, steps))}
    return {**found, "skewed": skewed, "kicks": lost, **grown, "fingerprint": fingerprint}


def steps_in_chunks(running: hermes.Session, frames: int) -> float:
    """Compute so many frames, some at a time, and return the seconds."""
    return sum(timed_steps(running, min(CHUNK, frames - done)) for done in range(0, frames, CHUNK))


def delayed(names: list[str]) -> HermesConfig:
    """Return a configuration of delayed modules, each in a process of its own, in a ring of wires."""
    modules = [f"  {name}: {{type: script, script: './toys.py:Delayed'}}" for name in names]
    wires = [f"  - {{src: {names[number - 1]}.steps, dst: {name}.before}}" for number, name in enumerate(names)]
    return configuration(NAME, ["modules:", *modules, "wiring:", *wires, "execution: {mode: afap, rate_hz: 1000}"])


def add_frames(parser: argparse.ArgumentParser) -> None:
    """Add how many frames each run has."""
    parser.add_argument("--frames", type=int, help=f"of each run that looks for skew (default {FRAMES:,})")


BENCHES = [Bench("skew", "Lock-step with modules delayed at random by up to 20 us", skew, add_frames)]

if __name__ == "__main__":
    run(BENCHES, "skew", __doc__)
