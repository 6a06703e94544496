from __future__ import annotations

import pytest

from hermes.backplane.shm import SharedMemoryManager
from hermes.backplane.signals import Signal, SignalRegistry
from hermes.engine.reader import LosslessReader


@pytest.mark.parametrize("slots", [8, 9, 64])
@pytest.mark.parametrize("drained", [0, 1, 100])
def test_there_is_room_until_the_reader_would_be_overtaken(slots: int, drained: int) -> None:
    shm = SharedMemoryManager.create(SignalRegistry([Signal("m", "x")]), history=slots)
    committed = 0
    for committed in range(1, drained + 1):
        shm.commit(0, committed, 0.0)
    reader = LosslessReader(slots, drained, lambda: None)
    committed = drained
    while room := reader.room(committed):
        assert room == drained + slots - 2 - committed
        committed += 1
        shm.commit(0, committed, 0.0)
    assert committed - drained == slots - 2
    shm.commit(0, committed + 1, 0.0)
    assert shm.read(drained + 1) is not None, "all that is undrained may be read, also after a timed set"
    shm.commit(0, committed + 2, 0.0)
    assert shm.read(drained + 1) is None, "and one more commit would have been too many"
    shm.close()


def test_the_owner_is_asked_once_and_in_time() -> None:
    asked: list[int] = []
    reader = LosslessReader(8, 100, lambda: asked.append(committed))
    for committed in [100, 101, 103, 104, 105, 106, 107, 107]:
        reader.room(committed)
    assert asked == [104]
