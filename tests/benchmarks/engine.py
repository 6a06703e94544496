"""What the engine promises, as tables and as JSON: rates, peers, real time, round trips, wires, starts, lock-step.

    .venv/bin/python tests/benchmarks/engine.py [--quick] [--markdown] [--only frames peers ...]

Goals stand beside the numbers; nothing asserts. What is compared takes turns in one run, because a machine's pace
changes by the minute: only the ratios mean something elsewhere.
"""

from __future__ import annotations

import frames
import jitter
import peers
import roundtrip
import skew
import start
import wires
from tables import run

PARTS = [frames, peers, jitter, roundtrip, wires, start, skew]

if __name__ == "__main__":
    run([bench for part in PARTS for bench in part.BENCHES], "engine", __doc__)
