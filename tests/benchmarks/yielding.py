"""What spinning with yields allows at best: lock-step of N processes by words in shared memory, and nothing else.

    python tests/benchmarks/yielding.py --processes 4

As `semaphores.py`, but the parent stores a number into a word for each child, and every side waits by reading a word
and yielding. Nobody fences, sleeps or watches for a death, so this is not a way to run a simulation: it says how much
of the time of a frame the machine takes for switching between the processes. Between two lines nobody spins.
"""

from __future__ import annotations

import argparse
import mmap
import multiprocessing
import os
import signal
import sys
import time
from typing import Any

from semaphores import LINE, forked_from

GO, DONE, VALUE = range(3)
"""Words of a child's part of the memory, each on lines of its own."""


def main() -> None:
    """Answer numbers of frames with seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=4)
    count = parser.parse_args().processes
    memory = memoryview(mmap.mmap(-1, 3 * LINE * count))
    words = [[memory[LINE * (3 * child + word) :][:8].cast("Qqd"[word]) for word in range(3)] for child in range(count)]
    starts = [multiprocessing.get_context("fork").Semaphore(0) for _ in range(count)]
    pids = [forked_from(serve, *words[child], starts[child]) for child in range(count)]
    try:
        for line in sys.stdin:
            print(timed(words, starts, int(line)), flush=True)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def timed(words: list[list[Any]], starts: list[Any], frames: int) -> float:
    """Return the seconds of so many frames; the children come awake before them and go to sleep after them."""
    gos, dones, pause = [one[GO] for one in words], [one[DONE] for one in words], os.sched_yield
    for go, done, start in zip(gos, dones, starts, strict=True):
        go[0], done[0] = 0, -1
        start.release()
        while done[0] != 0:
            pause()
    begin = time.perf_counter()
    for frame in range(1, frames + 1):
        for go in gos:
            go[0] = frame
        for done in dones:
            while done[0] != frame:
                pause()
    took = time.perf_counter() - begin
    for go in gos:
        go[0] = 1 << 63
    return took


def serve(go: Any, done: Any, value: Any, start: Any) -> None:
    """Do what a child does, forever."""
    pause = os.sched_yield
    while True:
        start.acquire()
        last = done[0] = 0
        while True:
            while (frame := go[0]) == last:
                pause()
            if frame >> 63:
                break
            value[0] = 0.5 * value[0] + 1
            done[0] = last = frame


if __name__ == "__main__":
    main()
