from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes.history.rows import CELLS, EPOCH, FRAME, TIME, Words
from hermes.history.store import Decimated, Store


def slots(frames: list[int], epoch: int = 0, salt: int = 0) -> Words:
    """Return slots of two cells: twice the frame's number, and the salt."""
    words = np.zeros((len(frames), CELLS + 8), np.uint64)
    words[:, EPOCH] = epoch
    words[:, FRAME] = frames
    words[:, TIME] = np.array(frames, np.float64).view(np.uint64)
    words[:, CELLS] = 2 * words[:, FRAME]
    words[:, CELLS + 1] = salt
    return words


def frames_in(store: Store, since: int = 0) -> list[int]:
    return store.select([], since)[:, 0].tolist()


@settings(deadline=None)
@given(
    rows=st.integers(16, 40),
    runs=st.lists(st.tuples(st.integers(0, 5), st.integers(1, 90)), min_size=1, max_size=30),
    since=st.integers(0, 500),
)
def test_everything_is_kept_while_it_fits_and_a_stride_of_the_older_part_beyond(
    rows: int, runs: list[tuple[int, int]], since: int
) -> None:
    store = Store(2, budget=rows * 8 * 4)
    seen: list[int] = []
    for gap, count in runs:
        first = seen[-1] + 1 + gap if seen else gap
        frames = list(range(first, first + count))
        store.take(slots(frames))
        seen += frames
    kept, thin = frames_in(store), store.decimated()
    assert len(kept) == len(store) <= rows
    assert kept[-1] == seen[-1] == store.newest_frame()
    if thin is None:
        assert kept == seen
    else:
        assert len(seen) > rows
        assert thin.stride.bit_count() == 1
        older = [frame for frame in seen if frame <= thin.last]
        assert kept == [frame for frame in older if frame % thin.stride == 0] + seen[len(older) :]
        assert len(seen) - len(older) == rows - rows // 2, "the newest half of the budget holds every frame"
        assert older
        assert thin.first == kept[0]
    words = store.select([1, 0], since)
    assert words[:, 0].tolist() == [frame for frame in kept if frame >= since]
    assert (words[:, 1].copy().view(np.float64) == words[:, 0]).all()
    assert (words[:, 3] == 2 * words[:, 0]).all()


def test_a_stride_doubles_no_earlier_than_it_must() -> None:
    store = Store(2, budget=16 * 8 * 4)
    strides = []
    for frame in range(4096):
        store.take(slots([frame]))
        thin = store.decimated()
        strides.append(thin.stride if thin else 1)
    doubled = [frame for frame in range(1, 4096) if strides[frame] != strides[frame - 1]]
    assert doubled == [8 + 8 * 2**power for power in range(9)]
    assert store.decimated() == Decimated(0, 4087, 512)


def test_a_frame_that_comes_again_replaces_the_one_before() -> None:
    store = Store(2)
    store.take(slots([0, 1, 2], salt=1))
    store.take(slots([2, 3], salt=2))
    store.take(slots([3], salt=3))
    assert store.select([1], 0)[:, [0, 2]].tolist() == [[0, 1], [1, 1], [2, 2], [3, 3]]


def test_a_new_epoch_starts_afresh_even_with_the_same_frame() -> None:
    store = Store(2, budget=16 * 8 * 4)
    store.take(slots(list(range(100))))
    store.take(slots([0]))
    assert store.decimated() is not None
    store.take(slots([0, 1], epoch=1))
    assert (store.epoch, frames_in(store), store.decimated()) == (1, [0, 1], None)
    store.take(np.concatenate([slots([2, 3], epoch=1), slots([0, 1, 2], epoch=2)]))
    assert (store.epoch, frames_in(store)) == (2, [0, 1, 2])


def test_an_empty_store_selects_nothing() -> None:
    store = Store(2)
    assert store.select([0, 1], 0).shape == (0, 4)
    assert (store.newest_frame(), len(store), store.decimated()) == (-1, 0, None)


def test_the_budget_is_what_the_arrays_take() -> None:
    store = Store(98, budget=1 << 20)
    assert store._recent.nbytes + store._older.nbytes <= 1 << 20
    assert len(store._recent) + len(store._older) == (1 << 20) // 800
