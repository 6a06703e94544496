from __future__ import annotations

import pytest

from hermes.backplane.shm import SharedMemoryManager
from hermes.backplane.signals import Signal, SignalRegistry
from hermes.status import real_time_factor


@pytest.mark.parametrize(("frame_ns", "factor"), [(10_000_000, 1.0), (20_000_000, 0.5), (100_000, 100.0)])
def test_the_real_time_factor_is_simulated_over_real_time_of_about_the_last_second(
    frame_ns: int, factor: float
) -> None:
    memory = SharedMemoryManager.create(SignalRegistry([Signal("m", "x")]), rate=(100, 1), history=1024)
    for frame in range(300):
        memory.stage()
        slow = max(0, 150 - frame) * 1_000_000_000  # long ago it was much slower, which no longer counts
        memory.publish(0, frame, frame / 100, wall_ns=frame * frame_ns - slow)
    assert real_time_factor(memory, memory.snapshot()) == pytest.approx(factor)
    memory.close()


def test_it_is_zero_where_nothing_can_be_said() -> None:
    memory = SharedMemoryManager.create(SignalRegistry([Signal("m", "x")]), rate=(100, 1))
    memory.commit(0, 0, 0.0)
    assert real_time_factor(memory, memory.snapshot()) == 0.0
    memory.stage()
    memory.publish(1, 0, 0.0, wall_ns=10)
    assert real_time_factor(memory, memory.snapshot()) == 0.0
    memory.close()
