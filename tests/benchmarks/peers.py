"""Steps per second of four participants in a ring that exchange one double each: Hermes, HELICS and mosaik.

    .venv/bin/python tests/benchmarks/peers.py [--quick]

Each peer runs as it is meant to: four federates in four processes and a broker (the faster of the default core and
the one that was fastest here), and four simulators as processes. The seconds of connecting are not counted.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec

from children import end
from contest import Contestant, Rate, contest, left_out
from frames import hermes_ring
from sessions import HERE
from tables import Bench, Row, run

COUNT = 4
TIMEOUT = 120.0
INSTALL = "install them with: pip install 'hermes-sim[bench]'"
PEERS = {
    "HELICS, zmq": ("helics", [HERE / "peerhelics.py", "--core", "zmq"]),
    "HELICS, tcpss": ("helics", [HERE / "peerhelics.py", "--core", "tcpss"]),
    "mosaik": ("mosaik", [HERE / "peermosaik.py"]),
}
GOALS = {"HELICS": ">= 30", "mosaik": ">= 100"}


def peers(options: argparse.Namespace) -> list[Row]:
    """Return the rows of Hermes and of the peers that are installed."""
    rounds, seconds = (1, 0.5) if options.quick else (3, 1.0)
    with ExitStack() as stack:
        contestants = installed_peers()
        for way in ("isolated", "one worker"):
            contestants |= hermes_ring(stack, COUNT, way)
        rates = contest(contestants, rounds, seconds)
    return [row_of(name, rate, rates) for name, rate in rates.items()]


def installed_peers() -> dict[str, Contestant]:
    """Return the peers that can be imported as contestants, and say how to get the others."""
    missing = sorted({package for package, _ in PEERS.values() if find_spec(package) is None})
    if missing:
        left_out(" and ".join(missing), f"not installed; {INSTALL}")
    return {
        name: partial(seconds_of, [str(word) for word in words])
        for name, (package, words) in PEERS.items()
        if package not in missing
    }


def seconds_of(words: list[str], steps: int) -> float:
    """Run a peer for so many steps in processes of its own and return the seconds it says they took."""
    child = subprocess.Popen(
        [sys.executable, *words, "--steps", str(steps)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        said, complaint = child.communicate(timeout=TIMEOUT)
    finally:
        end(child)
    if child.returncode:
        raise RuntimeError(f"{words[0]} ended with status {child.returncode}: {complaint[-2000:]}")
    return float(said.split()[-1])


def row_of(name: str, rate: Rate, rates: dict[str, Rate]) -> Row:
    """Return one contestant's row: for a peer, how many times its rate Hermes reaches."""
    peer = name in PEERS
    ratios = {
        f"Hermes_{way}": rates[way].median / rate.median if peer and way in rates else None
        for way in ("isolated", "one worker")
    }
    goal = GOALS[name.partition(",")[0]] if peer else None
    return {"what": name, "steps_per_s": rate.median, "rounds": rate.spread, **ratios, "goal": goal}


BENCHES = [Bench("peers", "Four participants, one double each, in a ring", peers)]

if __name__ == "__main__":
    run(BENCHES, "peers", __doc__)
