"""What the wire promises, as tables and as JSON: encoding, many clients, large frames, and the engine flat out.

    .venv/bin/python tests/benchmarks/wire.py [--quick] [--markdown] [--only encode clients ...]

Goals stand beside the numbers; nothing asserts. Ratios are of one run on one machine; the rest is that machine's.
"""

from __future__ import annotations

import argparse

from clients import large_frames, many_clients
from encode import COUNTS, encoding
from flatout import commands_beside_the_engine, telemetry_beside_the_engine
from tables import Bench, Row, run

CLIENTS = [1, 10, 100, 1_000]


def seconds(options: argparse.Namespace) -> float:
    """Return how long one thing is measured."""
    return 1.0 if options.quick else 10.0


def encoded(options: argparse.Namespace) -> list[Row]:
    """Return the rows of telemetry frames of so many signals."""
    return encoding(COUNTS[:4] if options.quick else COUNTS, seconds(options) / 500)


def served(options: argparse.Namespace) -> list[Row]:
    """Return the rows of so many clients."""
    return many_clients(CLIENTS[::2] if options.quick else CLIENTS, seconds(options))


BENCHES = [
    Bench("encode", "Encoding one telemetry frame", encoded),
    Bench("clients", "Clients of 100 signals at 60 Hz", served),
    Bench("large", "One client of 10,000 signals at 60 Hz", lambda options: large_frames(seconds(options))),
    Bench("telemetry", "Telemetry, engine flat out", lambda options: telemetry_beside_the_engine(seconds(options))),
    Bench(
        "commands", "Round trip of a set, engine flat out", lambda options: commands_beside_the_engine(seconds(options))
    ),
]

if __name__ == "__main__":
    run(BENCHES, "wire", __doc__)
