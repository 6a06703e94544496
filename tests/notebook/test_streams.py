from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ringbench import Bench

from hermes.backplane.signals import SignalType
from hermes.notebook import streams
from hermes.notebook.streams import Block, PlotStream, TableStream, message
from hermes.notebook.thinning import Floats, bucket_size, thin

TYPES = [SignalType.F64, SignalType.I64]
INDICES = [2, 0]
WINDOW = 12


class Receiver:
    """What a page makes of a plot's blocks; `js/src/series.js` does the same."""

    def __init__(self) -> None:
        self.columns: Floats = np.empty((3, 0))
        self.epoch, self.until, self.open = -1, -1, 0

    def take(self, block: Block) -> bool:
        header = block.header
        columns = np.frombuffer(block.payload, "<f8").reshape(3, header["points"])
        if not header["full"]:
            if (header["epoch"], header["after"]) != (self.epoch, self.until):
                return False
            columns = np.hstack([self.columns[:, : self.columns.shape[1] - self.open], columns])
        self.columns = columns
        self.epoch, self.until, self.open = header["epoch"], header["until"], header["open"]
        return True


@given(
    acts=st.lists(
        st.one_of(
            st.tuples(st.just("step"), st.integers(1, 5)),
            st.sampled_from([("set", 1), ("reset", 1), ("send", 1), ("lose", 1), ("restart", 1)]),
        ),
        max_size=40,
    ),
    points=st.sampled_from([5, 12]),
)
async def test_a_page_has_what_the_history_has_whatever_happens_between_two_messages(
    acts: list[tuple[str, int]], points: int
) -> None:
    """Also after a lost message: the next is not taken then, and the page asks for everything."""
    bench, receiver = Bench(), Receiver()
    bench.commit()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "WINDOW_POINTS", points)
        stream = PlotStream("plot", INDICES, TYPES, WINDOW)
    for action, count in [*acts, ("send", 1), ("send", 1)]:
        if action == "step":
            bench.step(count)
            bench.feed.drain()
        elif action == "set":
            bench.commit()
        elif action == "reset":
            bench.reset()
        elif action == "lose":
            stream.block(bench.feed)
        elif action == "restart" or ((block := stream.block(bench.feed)) and not receiver.take(block)):
            stream.restart()
    _, words = bench.feed.rows(INDICES, -1, 0, WINDOW)
    size = bucket_size(WINDOW, points)
    expected = thin(words, TYPES, size).columns
    whole = int(np.searchsorted(expected[0], (int(words[0, 0]) // size + 1) * size / 10 - 1e-9)) if size > 1 else 0
    compared = expected[:, whole:]
    bench.close()
    assert compared.shape[1] <= receiver.columns.shape[1]
    assert np.array_equal(receiver.columns[:, receiver.columns.shape[1] - compared.shape[1] :], compared)


async def test_only_what_is_new_travels() -> None:
    bench = Bench()
    bench.commit()
    bench.step(4)
    stream = PlotStream("plot", INDICES, TYPES, WINDOW)
    headers: list[dict[str, Any]] = []
    for _ in range(3):
        block = stream.block(bench.feed)
        assert block
        headers.append(block.header)
        bench.step(2)
    bench.close()
    assert [(header["full"], header["points"]) for header in headers] == [(True, 5), (False, 3), (False, 3)]
    assert [header["until"] for header in headers] == [3, 5, 7]


async def test_after_a_silence_longer_than_the_window_everything_is_sent_anew_but_no_more_than_the_window() -> None:
    bench = Bench()
    bench.commit()
    stream = PlotStream("plot", INDICES, TYPES, WINDOW)
    stream.block(bench.feed)
    for _ in range(20):
        bench.step(5)
        bench.feed.drain()
    block = stream.block(bench.feed)
    bench.close()
    assert block
    assert block.header["full"]
    assert block.header["points"] == WINDOW + 1


async def test_a_table_gets_the_cells_of_the_newest_frame() -> None:
    bench = Bench()
    bench.commit()
    bench.step(3)
    block = TableStream("table", [1, 3]).block(bench.feed)
    bench.close()
    assert block
    assert block.header == {"id": "table", "epoch": 0, "frame": 3, "time": 0.3}
    assert np.frombuffer(block.payload, "<i8")[0] == 4
    assert np.frombuffer(block.payload, "<f8")[1] == 4.0


def test_a_message_holds_the_bytes_of_its_blocks_one_behind_the_other() -> None:
    header, payload = message(
        7, [Block({"id": "a"}, b"12345678"), Block({"id": "b"}, b""), Block({"id": "c"}, b"9" * 16)]
    )
    assert header["number"] == 7
    assert [(block["id"], block["bytes"]) for block in header["blocks"]] == [("a", 8), ("b", 0), ("c", 16)]
    assert payload == b"12345678" + b"9" * 16
