"""The toy exchange in mosaik: every simulator a process, in a ring of time-shifted connections, one double each.

    python tests/benchmarks/peermosaik.py --simulators 4 --steps 500

Prints the seconds from the first step to the last, without those of connecting. mosaik listens on loopback only and
stops its simulators; they die with this process whatever happens.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import sys
import time
from typing import Any

import mosaik_api_v3

_PR_SET_PDEATHSIG = 1
PART = "HERMES_BENCH_MOSAIK_PARENT"


class Toy(mosaik_api_v3.Simulator):
    """One entity with an input `u` and an output `x`, stepped every second."""

    def __init__(self) -> None:
        attributes = {"public": True, "params": [], "attrs": ["u", "x"]}
        super().__init__({"type": "time-based", "models": {"Cell": attributes}})
        self.x = 0.0

    def create(self, num: int, model: str, **params: Any) -> list[dict[str, Any]]:
        return [{"eid": "cell", "type": model}]

    def step(self, time: int, inputs: dict[str, Any], max_advance: int) -> int:
        for values in inputs.get("cell", {}).values():
            for value in values.values():
                self.x = 0.5 * value + 1
        return time + 1

    def get_data(self, outputs: dict[str, list[str]]) -> dict[str, Any]:
        return {"cell": {"x": self.x}}


def main() -> None:
    """Be a simulator where mosaik has started this, else the whole."""
    if PART in os.environ:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        mosaik_api_v3.start_simulation(Toy())
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulators", type=int, default=4)
    parser.add_argument("--steps", type=int, default=500)
    options = parser.parse_args()
    os.environ[PART] = str(os.getpid())
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    print(seconds(options.simulators, options.steps), flush=True)


def seconds(simulators: int, steps: int) -> float:
    """Return how long so many simulators took for so many steps."""
    import mosaik

    command = f"%(python)s {__file__} %(addr)s"
    world = mosaik.World({"Toy": {"cmd": command}}, mosaik_config={"addr": ("127.0.0.1", None)}, cache=False)
    try:
        cells = [world.start("Toy", sim_id=f"toy{number}").Cell() for number in range(simulators)]
        for number, cell in enumerate(cells):
            following = cells[(number + 1) % simulators]
            world.connect(cell, following, ("x", "u"), time_shifted=True, initial_data={"x": 0.0})
        begin = time.perf_counter()
        world.run(until=steps, print_progress=False, shutdown=False)
        took = time.perf_counter() - begin
        last = world.get_data({cells[0]: ["x"]})[cells[0]]["x"]
        if abs(last - 2) > 1e-6:
            raise RuntimeError(f"nothing was exchanged: {last}")
        return took
    finally:
        world.shutdown()


if __name__ == "__main__":
    main()
