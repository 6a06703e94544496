from __future__ import annotations

import numpy as np
import pytest
from ringbench import Bench

from hermes.history import recording as module

ROUNDS = 200


@pytest.mark.parametrize("block_bytes", [1 << 24, 4000])
async def test_it_grows_through_resets_and_keeps_its_data_after_stop_and_close(
    monkeypatch: pytest.MonkeyPatch, block_bytes: int
) -> None:
    monkeypatch.setattr(module, "_BLOCK_BYTES", block_bytes)
    bench = Bench()
    bench.commit()
    bench.step(2)
    with bench.feed.record(["n.x", "m.y"], lossless=False) as recording:
        for _ in range(ROUNDS):
            bench.step(5)
            bench.feed.drain()
        for record in bench.reset():
            bench.feed.hear(record)
        bench.step(3)
        assert not recording.stopped
    bench.step(3)
    assert recording.stopped
    data = recording.data
    assert data.dtype.names == ("epoch", "frame", "time", "n.x", "m.y")
    count = 5 * ROUNDS + 1
    assert len(data) == len(recording) == count + 4
    assert data["epoch"].tolist() == [0] * count + [1] * 4
    assert data["frame"].tolist() == [*range(2, count + 2), 0, 1, 2, 3]
    assert data["m.y"].tolist() == data["n.x"].tolist() == list(range(3, count + 7))
    assert not recording.missed
    bench.close()
    recording.stop()
    assert np.array_equal(recording.data, data)
    assert np.array_equal(recording["m.y"], data["m.y"])
    with pytest.raises(KeyError, match=r"'m.x' is not in this table; it has epoch, frame, time, n.x, m.y"):
        recording["m.x"]


async def test_data_that_was_taken_while_it_went_on_stays_as_it_was() -> None:
    bench = Bench()
    bench.commit()
    recording = bench.feed.record("*", lossless=False)
    before = recording.data
    bench.commit()  # a set publishes the same frame again
    assert (len(before), before["m.x"].tolist()) == (1, [1])
    assert (len(recording), recording["m.x"].tolist()) == (1, [2])
    with pytest.raises(ValueError, match="read-only"):
        before["m.x"][0] = 5
    bench.close()


async def test_it_says_what_it_holds() -> None:
    bench = Bench()
    bench.commit()
    recording = bench.feed.record("m.*", lossless=True)
    assert repr(recording) == "<Recording (going on, lossless): 1 frame of 2 signals, 0 to 0 s, no frame missed>"
    bench.step(20)
    recording.stop()
    found = "<Recording (stopped, lossless): 8 frames of 2 signals, 0 to 2 s, 13 frames missed: 1-13 of epoch 0>"
    assert repr(recording) == found
    assert "&lt;Recording (stopped" in recording._repr_html_()
    assert bool(recording)
    bench.close()


async def test_its_dataframe_has_the_epochs_and_units() -> None:
    bench = Bench()
    bench.commit()
    recording = bench.feed.record("m.x", lossless=False)
    bench.step(2)
    bench.reset()
    frame = recording.dataframe()
    assert list(frame.columns) == ["epoch", "m.x"]
    assert frame.index.tolist() == [0.0, 0.1, 0.2, 0.0]
    assert frame["epoch"].tolist() == [0, 0, 0, 1]
    assert frame.attrs["units"] == {"epoch": "", "m.x": "m"}
    bench.close()
