"""The baseline: lock-step of N processes by plain blocking semaphores, and nothing else.

    python tests/benchmarks/semaphores.py --kind posix --processes 4

One parent and N forked children with a pair of semaphores each. Every frame the parent posts all and then waits for
all; a child does ``x = 0.5 * x + 1`` on a double in shared memory. No wires, no commit, no hash, no spinning. Reads
numbers of frames, one a line, and answers each with the seconds that they took; ends when its standard input does.
"""

from __future__ import annotations

import argparse
import ctypes
import mmap
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

KINDS = ("posix", "multiprocessing")
LINE = 128
"""Bytes between two things in shared memory, so that they share no cache line, nor a pair of them."""

_PR_SET_PDEATHSIG = 1
_SEM_T = 32
"""At least sizeof(sem_t) with glibc and musl on 64-bit machines."""


class Pair(NamedTuple):
    """How to post and wait for one child's go and done."""

    post_go: Callable[[], object]
    wait_go: Callable[[], object]
    post_done: Callable[[], object]
    wait_done: Callable[[], object]


def main() -> None:
    """Answer numbers of frames with seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=KINDS, default=KINDS[0])
    parser.add_argument("--processes", type=int, default=4)
    options = parser.parse_args()
    memory = mmap.mmap(-1, LINE * options.processes)
    cells = [memoryview(memory)[LINE * number :][:8].cast("d") for number in range(options.processes)]
    pairs = (posix_pairs if options.kind == "posix" else python_pairs)(options.processes)
    pids = [forked_from(compute, pair, cell) for pair, cell in zip(pairs, cells, strict=True)]
    try:
        for line in sys.stdin:
            print(timed(pairs, int(line)), flush=True)
        check(pairs, cells)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def timed(pairs: list[Pair], frames: int) -> float:
    """Return the seconds of so many frames."""
    posts, waits = [pair.post_go for pair in pairs], [pair.wait_done for pair in pairs]
    begin = time.perf_counter()
    for _ in range(frames):
        for post in posts:
            post()
        for wait in waits:
            wait()
    return time.perf_counter() - begin


def check(pairs: list[Pair], cells: list[memoryview[float]]) -> None:
    """Raise RuntimeError unless one frame makes every child compute exactly once."""
    for cell in cells:
        cell[0] = 8.0
    timed(pairs, 1)
    if [cell[0] for cell in cells] != [5.0] * len(cells):
        raise RuntimeError(f"not in lock-step: {[cell[0] for cell in cells]}")


def forked_from(serve: Callable[..., None], *arguments: Any) -> int:
    """Start a child that serves forever and return its process id; it dies with its parent."""
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() == parent:
        serve(*arguments)
    os._exit(1)


def compute(pair: Pair, cell: memoryview[float]) -> None:
    """Do what a child does, forever."""
    wait, post = pair.wait_go, pair.post_done
    while True:
        wait()
        cell[0] = 0.5 * cell[0] + 1
        post()


def posix_pairs(count: int) -> list[Pair]:
    """Return pairs of sem_t in shared memory, called without giving up the interpreter lock: nobody else wants it."""
    libc = ctypes.PyDLL(None, use_errno=True)
    memory = mmap.mmap(-1, 2 * LINE * count)
    semaphores = [(ctypes.c_char * _SEM_T).from_buffer(memory, LINE * number) for number in range(2 * count)]
    for semaphore in semaphores:
        if libc.sem_init(semaphore, 1, 0):
            raise OSError(ctypes.get_errno(), "sem_init")
    calls = [(partial(libc.sem_post, semaphore), partial(libc.sem_wait, semaphore)) for semaphore in semaphores]
    return [Pair(*go, *done) for go, done in zip(calls[::2], calls[1::2], strict=True)]


def python_pairs(count: int) -> list[Pair]:
    """Return pairs of the semaphores that Python comes with."""
    semaphores = [multiprocessing.get_context("fork").Semaphore(0) for _ in range(2 * count)]
    calls = [(one.release, one.acquire) for one in semaphores]
    return [Pair(*go, *done) for go, done in zip(calls[::2], calls[1::2], strict=True)]


@contextmanager
def ping_pong(kind: str, processes: int, file: str = __file__) -> Iterator[Callable[[int], float]]:
    """Run this file, or another of its kind, and yield what has it do frames and returns their seconds."""
    arguments = [sys.executable, file, *(["--kind", kind] if kind else []), "--processes", str(processes)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None

        def run(frames: int) -> float:
            print(frames, file=child.stdin, flush=True)
            return float(child.stdout.readline())  # type: ignore[union-attr]

        yield run
        child.stdin.close()
        if child.wait(10):
            raise RuntimeError(f"{child.args!r} ended with status {child.returncode}")


if __name__ == "__main__":
    main()
