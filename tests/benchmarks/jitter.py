"""Real time from a notebook: how late frames are while the notebook idles, computes and sleeps, beside a bare loop.

    .venv/bin/python tests/benchmarks/jitter.py [--quick]

A real kernel hosts the session; cells disturb it. The instant of every commit is read from the ring afterwards. A
commit follows a frame's work, so it is compared with the absolute grid of frame times through the promptest commit of
the run: the first frame waits for nothing, and so that grid is the engine's own, later by no more than the least work
of a frame. The bare loop is a process of its own that sleeps to absolute deadlines at the same rate, under the same
disturbance, in turns with the session; its wake-ups are compared with those deadlines. Where the session is further
behind than it catches up, its grid moves on, as the engine's does, and what it lost are frames skipped. The engine's
own measure of its wake-ups, of those frames for which it waited, stands beside that.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from statistics import median

from contest import percentile, turn
from kernel import Kernel, kernel
from sessions import backplane, configuration
from tables import Bench, Row, run

from hermes.config import HermesConfig
from hermes.engine.pacing import CATCH_UP

RATES = (100, 1_000)
MODULES = 3
MS = 1_000_000
DISTURBANCES = {
    "idle": "",
    "computing": "end = time.monotonic() + {seconds}\nn = 0\nwhile time.monotonic() < end: n += 1",
    "sleeping": "time.sleep({seconds})",
}
GOALS = {"commit": "none skipped, <= 1 %", "wake-up": "<= 150, <= 500"}
"""At 1 kHz while the cell computes or sleeps."""


class Lateness:
    """What the rounds of one contestant have shown: per round how late each frame was, in ns, and what is lost."""

    def __init__(self) -> None:
        self.late: list[int] = []
        self.skipped = 0

    def deadlines(self, instants: Sequence[int], rate: int, begin: int) -> None:
        """Take over when a loop woke up that never moves its deadlines; the first was `begin`."""
        self.late += [instant - begin - due(number, rate) for number, instant in enumerate(instants)]

    def commits(self, instants: Sequence[int], rate: int) -> None:
        """Take over when consecutive frames were committed, on a grid that moves on as the engine's does."""
        offsets = [instant - due(number, rate) for number, instant in enumerate(instants)]
        anchor = begin = min(offsets)
        allowed = due(1 + CATCH_UP, rate)
        for offset in offsets:
            self.late.append(offset - anchor)
            anchor = max(anchor, offset - allowed)
        self.skipped += round((anchor - begin) * rate / 1e9)

    def row(self) -> Row:
        """Return the columns of a table, in us."""
        late = sorted(self.late)
        over = sum(one > MS for one in late)
        shares = {f"{name}_us": percentile(late, percent) / 1000 for name, percent in (("p50", 50), ("p99", 99))}
        counts = {"frames": len(late), "skipped": self.skipped, "over_1_ms_%": 100 * over / len(late)}
        return {**counts, **shares, "max_us": late[-1] / 1000}


class OwnMeasure:
    """What the engine itself says of its wake-ups, by `Session.timing`: one spread a round."""

    def __init__(self) -> None:
        self._rounds: list[tuple[int, float, float, float]] = []

    def take(self, late: tuple[int, float, float, float]) -> None:
        """Take over one round's `Timing.late`: count, p50, p99 and maximum, in s."""
        self._rounds.append(late)

    def row(self) -> Row:
        """Return the columns of a table, in us: the medians of the rounds, and the longest of all."""
        counts, halves, most, longest = zip(*self._rounds, strict=True)
        shares = {"p50_us": 1e6 * median(halves), "p99_us": 1e6 * median(most)}
        return {"frames": sum(counts), **shares, "max_us": 1e6 * max(longest)}


def due(number: int, rate: int) -> int:
    """Return how long after the first frame another is due, in ns."""
    return number * 1_000_000_000 // rate


def jitter(options: argparse.Namespace) -> list[Row]:
    """Return the rows of every rate and disturbance."""
    rounds, seconds = (2, 0.5) if options.quick else (3, 1.5)
    with kernel() as notebook:
        return [row for rate in RATES for row in rows_at(notebook, rate, rounds, seconds)]


def rows_at(notebook: Kernel, rate: int, rounds: int, seconds: float) -> Iterator[Row]:
    """Yield the rows at one rate."""
    name = f"jitter-{os.getpid()}-{rate}"
    with started(notebook, name, rate), bare_loop(rate) as bare:
        for disturbance in DISTURBANCES:
            commits, wakeups, own = Lateness(), Lateness(), OwnMeasure()
            for number in range(rounds):
                for contestant in turn(["session", "bare"], number):
                    if contestant == "session":
                        commits.commits(session_round(notebook, name, disturbance, seconds), rate)
                        own.take(notebook.value("late"))
                    else:
                        wakeups.deadlines(*bare_round(notebook, bare, disturbance, seconds, rate))
            goals = GOALS if rate == 1_000 and disturbance != "idle" else {}
            place = {"rate_hz": rate, "cell": disturbance}
            yield {**place, "what": "Hermes, commit", **commits.row(), "goal": goals.get("commit")}
            yield {**place, "what": "Hermes, wake-up", **own.row(), "goal": goals.get("wake-up")}
            yield {**place, "what": "bare loop, wake-up", **wakeups.row()}


@contextmanager
def started(notebook: Kernel, name: str, rate: int) -> Iterator[None]:
    """Host a session of three modules in real time in the notebook."""
    notebook.run(f"import jitter\nsession = hermes.Session(jitter.realtime({name!r}, {rate}))\nsession.start()")
    yield
    notebook.run("session.close()")


def realtime(name: str, rate: int) -> HermesConfig:
    """Return the configuration of three toys in a ring; the ring in memory holds a whole round."""
    modules = [f"  m{number}: {{type: script, script: './toys.py:Toy'}}" for number in range(MODULES)]
    wires = [f"  - {{src: m{number}.x_out, dst: m{(number + 1) % MODULES}.x_in}}" for number in range(MODULES)]
    execution = f"execution: {{mode: realtime, rate_hz: {rate}}}"
    return configuration(name, ["modules:", *modules, "wiring:", *wires, execution, "backplane: {history: 20000}"])


def disturb(notebook: Kernel, disturbance: str, seconds: float) -> Callable[[], None]:
    """Have the notebook do something for so long; return what waits until it has."""
    cell = DISTURBANCES[disturbance].format(seconds=seconds)
    if not cell:
        return lambda: time.sleep(seconds)
    message = notebook.queue(cell)
    return lambda: notebook.wait(message) and None


def session_round(notebook: Kernel, name: str, disturbance: str, seconds: float) -> list[int]:
    """Run the session from a reset to a pause under a disturbance; return the instants of its commits."""
    notebook.run("session.reset()\nsession.resume()")
    disturb(notebook, disturbance, seconds)()
    notebook.run("session.pause()\nlate = tuple(session.timing().late)")
    with backplane(name) as shm:
        newest = shm.snapshot()
        slots = [shm.read(newest.sequence - newest.frame + number) for number in range(1, newest.frame + 1)]
    if any(slot is None for slot in slots):
        raise RuntimeError(f"the ring does not hold all of {newest.frame} frames")
    return [slot.wall_ns for slot in slots if slot is not None]


def bare_round(
    notebook: Kernel, bare: subprocess.Popen[str], disturbance: str, seconds: float, rate: int
) -> tuple[list[int], int, int]:
    """Run the bare loop under a disturbance; return what `Lateness.deadlines` takes."""
    assert bare.stdin is not None
    assert bare.stdout is not None
    finish = disturb(notebook, disturbance, seconds)
    print(int(seconds * rate), file=bare.stdin, flush=True)
    answer = json.loads(bare.stdout.readline())
    finish()
    return answer["instants"], rate, answer["begin"]


@contextmanager
def bare_loop(rate: int) -> Iterator[subprocess.Popen[str]]:
    """Run this file as the bare loop; it ends when its standard input does."""
    words = [sys.executable, __file__, "--bare", str(rate)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        yield child
        assert child.stdin is not None
        child.stdin.close()
        child.wait(10)


def be_bare(rate: int) -> None:
    """Answer every number of frames with when each of them woke up, and when the first was due."""
    gc.disable()
    for line in sys.stdin:
        frames = int(line)
        instants = [0] * frames
        begin = time.monotonic_ns() + MS
        for number in range(frames):
            left = begin + due(number, rate) - time.monotonic_ns()
            if left > 0:
                time.sleep(left / 1e9)
            instants[number] = time.monotonic_ns()
        print(json.dumps({"begin": begin, "instants": instants}), flush=True)


BENCHES = [Bench("jitter", "Real time from a notebook: how late frames are", jitter)]

if __name__ == "__main__":
    if sys.argv[1:2] == ["--bare"]:
        be_bare(int(sys.argv[2]))
    else:
        run(BENCHES, "jitter", __doc__)
