"""The promise: each module steps exactly once per frame, whatever its speed, and nobody is ever a frame ahead."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hermes import AsyncSession

FRAMES = 500

RUNNER = """
import time as clock
import hermes

class Runner(hermes.Module):
    '''Works for a while, counts, and compares its count with those of the others, which come one frame late.'''
    work = hermes.Parameter(0.0, unit="s")
    left = hermes.Input(type="i64")
    right = hermes.Input(type="i64")
    count = hermes.Output(type="i64")
    skewed = hermes.Output(type="i64")

    def step(self, time, dt):
        if not (self.left == self.right == self.count == round(time / dt)):
            self.skewed += 1
        end = clock.perf_counter() + self.work
        while clock.perf_counter() < end:
            pass
        self.count += 1
"""

CONFIGURATION = """
modules:
  still: {type: script, script: ./runner.py, params: {work: 0.0}}
  quick: {type: script, script: ./runner.py, params: {work: 0.001}}
  slow: {type: script, script: ./runner.py, params: {work: 0.003}}
wiring:
  - {src: still.count, dst: quick.left}
  - {src: still.count, dst: slow.left}
  - {src: quick.count, dst: still.left}
  - {src: quick.count, dst: slow.right}
  - {src: slow.count, dst: still.right}
  - {src: slow.count, dst: quick.right}
execution: {mode: afap, rate_hz: 1000, start_timeout: 60, step_timeout: 60}
"""


async def test_three_modules_of_unequal_speed_step_exactly_once_per_frame(write: Callable[[str, str], Path]) -> None:
    write("runner.py", RUNNER)
    async with AsyncSession.from_yaml(write("three.yaml", CONFIGURATION), serve=False) as session:
        assert await session.run(FRAMES / 1000) == FRAMES
        names = ["still", "quick", "slow"]
        assert [session[f"{name}.count"] for name in names] == [FRAMES] * 3
        assert [session[f"{name}.skewed"] for name in names] == [0] * 3
        assert session.frame == FRAMES
