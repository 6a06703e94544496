from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest
from bounds import PATIENCE
from hypothesis import given, settings
from hypothesis import strategies as st
from ringbench import SLOTS, Bench

from hermes.backplane.link import UNDRAINED
from hermes.errors import BadParams, NotReady, UnknownSignal
from hermes.history.feed import Feed, _next_wait
from hermes.history.missed import Missed
from hermes.history.recording import Recording

STEPS = st.tuples(st.just("step"), st.integers(1, 20))
OTHERS = st.tuples(st.sampled_from(["set", "reset", "drain", "record", "hear"]), st.just(1))


def missing(missed: Missed) -> list[tuple[int, int]]:
    """Return every missed frame by epoch and number."""
    assert all(one.frames == one.last - one.first + 1 for one in missed)
    return [(one.epoch, frame) for one in missed for frame in range(one.first, one.last + 1)]


class Model:
    """Which slots a reader that drains at these moments can have, by the ring's own rule."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.position = 0
        self.drained: list[int] = []
        self.recordings: list[tuple[Recording, int]] = []

    def act(self, action: str) -> None:
        """Drain, and begin a recording where the action is that."""
        self.bench.feed.drain()
        self.drain()
        if action == "record":
            self.recordings.append((self.bench.feed.record("*", lossless=False), self.bench.sequence))

    def drain(self) -> None:
        committed = self.bench.sequence
        oldest = max(self.position + 1, committed - SLOTS + 2)
        self.drained += range(oldest, committed + 1)
        self.position = committed

    def expected(self, since: int) -> tuple[dict[tuple[int, int], int], set[tuple[int, int]]]:
        """Return the kept frames with their values, and the missed ones, from a sequence on."""
        place = self.bench.committed
        kept = {place[sequence - 1]: sequence for sequence in self.drained if sequence >= since}
        return kept, set(place[since - 1 :]) - set(kept)


@settings(deadline=None)
@given(st.lists(STEPS | OTHERS, max_size=25))
def test_what_is_kept_and_what_is_missed_is_exactly_what_was_committed(actions: list[tuple[str, int]]) -> None:
    asyncio.run(follow(actions))


def tell(bench: Bench, records: list[dict[str, Any]]) -> None:
    """Let the feed hear what the engine has said."""
    while records:
        bench.feed.hear(records.pop(0))


async def follow(actions: list[tuple[str, int]]) -> None:
    bench = Bench()
    model = Model(bench)
    unheard: list[dict[str, Any]] = []
    bench.commit()
    for action, count in actions:
        match action:
            case "step":
                bench.step(count)
            case "set":
                bench.commit()
            case "reset":
                unheard += bench.reset()
            case "hear":
                tell(bench, unheard)
            case _:
                model.act(action)
    tell(bench, unheard)
    bench.close()  # which drains
    model.drain()
    for recording, since in model.recordings:
        compare(recording, *model.expected(since))
    kept, missed = model.expected(1)
    history = bench.feed.history("m.*", None)
    assert history.epoch == bench.epoch
    assert {(bench.epoch, frame): value for frame, _, value, _ in history.data.tolist()} == {
        place: value for place, value in kept.items() if place[0] == bench.epoch
    }
    assert missing(history.missed) == sorted(place for place in missed if place[0] == bench.epoch)


def compare(recording: Recording, kept: dict[tuple[int, int], int], missed: set[tuple[int, int]]) -> None:
    """Check that a recording has exactly these frames and values, and names exactly these as missed."""
    data = recording.data
    places = list(zip(data["epoch"].tolist(), data["frame"].tolist(), strict=True))
    assert places == list(kept)
    assert data["time"].tolist() == [frame / 10 for _, frame in places]
    assert data["m.x"].tolist() == data["n.y"].tolist() == list(kept.values())
    assert missing(recording.missed) == sorted(missed)


@pytest.mark.parametrize("meanwhile", range(12))
async def test_what_is_overwritten_while_it_is_copied_is_missed_and_never_torn(meanwhile: int) -> None:
    bench = Bench()
    bench.commit()
    bench.step(10)
    reader = bench.shm._reader
    whole = reader._memory

    class Slow:
        def __getitem__(self, place: slice) -> memoryview:
            early = bytes(whole[place])
            reader._memory = whole
            bench.step(meanwhile)
            late = bytes(whole[place])
            return memoryview(early[:64] + late[64:])  # each slot's cells as they are now, under the first one's header

    reader._memory = Slow()  # type: ignore[assignment]
    recording = bench.feed.record("*", lossless=False)
    bench.step(3)
    history = bench.feed.history("m.x", None)
    bench.close()
    assert (history["m.x"] == history["frame"] + 1).all()
    kept = history["frame"].tolist()
    assert sorted([*kept, *(frame for _, frame in missing(history.missed))]) == list(range(14 + meanwhile))
    assert kept[-1] == 13 + meanwhile
    assert (recording["m.x"] == recording["frame"] + 1).all()
    assert recording["frame"][-1] == kept[-1]


async def test_a_query_takes_patterns_seconds_and_what_is_committed_until_then() -> None:
    bench = Bench()
    bench.commit()
    for _ in range(10):
        bench.step(3)
        assert bench.feed.history("*", None).data["frame"][-1] == bench.frame
    history = bench.feed.history(["n.y", "m.*"], last=0.5)
    assert history.signals == ("n.y", "m.x", "m.y")
    assert history["frame"].tolist() == [25, 26, 27, 28, 29, 30]
    assert history["m.x"].tolist() == [26, 27, 28, 29, 30, 31]
    assert bench.feed.history("m.x", last=0)["frame"].tolist() == [30]
    assert bench.feed.history("m.x", last=0.11)["frame"].tolist() == [28, 29, 30], "as many frames as cover it"
    assert len(bench.feed.history("m.x", last=1e9)) == 31
    for bad in (-1, float("nan"), float("inf"), True, "1"):
        with pytest.raises(BadParams, match="last takes a number of seconds"):
            bench.feed.history("m.x", last=bad)  # type: ignore[arg-type]
    with pytest.raises(UnknownSignal, match=r"m\.z"):
        bench.feed.history(["m.x", "m.z"], None)
    with pytest.raises(UnknownSignal):
        bench.feed.record("z*", lossless=False)
    bench.close()


async def test_missed_and_decimated_are_those_of_the_frames_asked_for() -> None:
    bench = Bench(budget=16 * 8 * 6)
    bench.commit()
    bench.step(20)
    for _ in range(20):
        bench.feed.drain()
        bench.step(5)
    everything = bench.feed.history("*", None)
    assert everything.decimated is not None
    assert everything.missed.count == 14
    recent = bench.feed.history("*", last=0.3)
    assert (recent.decimated, recent.missed.count) == (None, 0)
    partly = bench.feed.history("*", last=9.0)
    assert partly.decimated == everything.decimated._replace(first=30)
    bench.close()


def test_before_the_start_there_is_nothing_to_ask() -> None:
    with pytest.raises(NotReady, match="history needs a started session"):
        Feed().history("*", None)
    with pytest.raises(NotReady, match="record needs a started session"):
        Feed().record("*", lossless=False)


async def test_the_loop_drains_while_frames_are_committed_and_rests_when_they_are_not() -> None:
    bench = Bench()
    bench.commit()
    bench.running = True
    bench.feed.hear({"type": "state"})
    recording = bench.feed.record("m.x", lossless=False)
    async with asyncio.timeout(PATIENCE):
        while bench.frame < 100:
            bench.step(2)
            position = bench.feed._position
            while bench.feed._position == position:
                await asyncio.sleep(0.005)
        assert (len(recording), recording.missed.count) == (101, 0)
        bench.running = False
        while bench.feed._timer is not None:
            await asyncio.sleep(0.005)
    bench.step()
    bench.feed.hear({"type": "journal", "entry": {"frame": 1, "verb": "pause"}})
    assert bench.feed._timer is not None, "any news may mean a frame"
    bench.close()


def test_the_next_drain_comes_before_half_of_the_ring_is_filled_within_bounds() -> None:
    assert _next_wait(0.05, 0, 1024) == 0.05
    assert _next_wait(0.05, 3, 1024) == 0.05
    assert _next_wait(0.05, 1024, 1024) == 0.025
    assert _next_wait(0.025, 10_000, 1024) == 0.01


async def test_the_engine_is_told_how_far_it_need_not_wait_while_a_lossless_recording_lives() -> None:
    bench = Bench()
    bench.commit()
    bench.feed.hear({"type": UNDRAINED})
    assert bench.reports == []
    bench.feed.hold(1)
    first = bench.feed.record("*", lossless=True)
    bench.feed.hold(-1)
    assert bench.reports == [1, 1]
    bench.step(4)
    bench.feed.hear({"type": UNDRAINED})
    second = bench.feed.record("*", lossless=True)
    first.stop()
    await asyncio.sleep(0)
    assert bench.reports == [1, 1, 5, 5]
    del second
    gc.collect()
    bench.step(4)
    bench.feed.hear({"type": UNDRAINED})
    assert bench.reports == [1, 1, 5, 5, None], "whoever lets go of a recording ends it"
    bench.feed.hear({"type": UNDRAINED})
    assert bench.reports[-2:] == [5, None]
    assert len(first) == 5
    bench.close()


async def test_a_recording_that_finds_no_memory_stops_and_keeps_what_it_has(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench()
    bench.commit()
    poor, rich = (bench.feed.record("*", lossless=False) for _ in range(2))

    def begin() -> None:
        raise MemoryError

    monkeypatch.setattr(poor, "_begin_block", begin)
    for _ in range(40):
        bench.step(3)
        bench.feed.drain()
    assert (len(rich), rich.stopped) == (121, False)
    assert (len(poor), poor.stopped) == (64, True), "one block"
    assert poor["m.x"].tolist() == list(range(1, 65))
    assert "no memory for more of a recording" in caplog.text
    bench.close()
