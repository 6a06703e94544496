from __future__ import annotations

import asyncio
import time

import pytest
from bounds import PATIENCE, promised

from hermes.hosting import stall_hint
from hermes.loopwatch import BEAT_SECONDS, STALL_SECONDS, LoopWatch, Stalls


def test_only_what_is_late_by_more_than_a_tenth_of_a_second_is_a_stall_and_the_longest_is_kept() -> None:
    stalls = Stalls()
    for late in (0.0, -0.01, STALL_SECONDS):
        assert stalls.after(late) is stalls
    for late in (0.5, 4.0, 0.11):
        stalls = stalls.after(late)
    assert stalls == (3, 4.0)


@pytest.mark.parametrize(
    ("private", "notebook", "text"),
    [
        (False, True, "a cell blocked the notebook's loop; telemetry paused meanwhile. Session.from_yaml(..., loop=\""),
        (False, False, "the program blocked its event loop; telemetry paused meanwhile"),
        (True, True, "something held up the whole process; telemetry paused meanwhile"),
    ],
)
def test_the_hint_tells_how_long_and_what_helps(
    monkeypatch: pytest.MonkeyPatch, private: bool, notebook: bool, text: str
) -> None:
    monkeypatch.setattr("hermes.hosting.in_notebook", lambda: notebook)
    assert stall_hint(Stalls(3, 4.04), private=private).startswith(f"3 stalls, the longest 4.0 s: {text}")
    assert stall_hint(Stalls(1, 0.66), private=private).startswith(f"1 stall of 0.7 s: {text}")


async def test_a_blocked_loop_is_a_stall_of_its_length_and_a_stopped_watch_counts_nothing() -> None:
    seen: list[float] = []
    watch = LoopWatch(seen.append)
    watch.start()
    assert not watch.on_thread
    async with asyncio.timeout(PATIENCE):
        begin = time.monotonic()
        time.sleep(0.5)
        while not any(late > 0.5 - 2 * BEAT_SECONDS for late in seen):
            await asyncio.sleep(0)
        took = time.monotonic() - begin
    assert 0.5 - BEAT_SECONDS <= watch.stalls.longest <= took
    assert watch.stalls.many == len(seen) <= promised(1)
    watch.stop()
    before = watch.stalls
    time.sleep(0.2)
    await asyncio.sleep(0.1)
    assert watch.stalls == before
