from __future__ import annotations

import re

import pytest

from hermes.backplane.shm import SharedMemoryManager
from hermes.backplane.signals import Signal, SignalRegistry
from hermes.lifecycle import State
from hermes.server.client import ClientStatus
from hermes.status import Status, real_time_factor


def test_a_status_names_every_client_and_what_it_gets() -> None:
    client = ClientStatus("127.0.0.1:50000", signals=4, telemetry_hz=30.0, sent=7, skipped=1, commands=2)
    status = Status(State.RUNNING, 10, 0.1, 1.0, 0, 0, 0, 0.0, (client,))
    assert list(status._asdict()) == [
        "state",
        "frame",
        "time",
        "real_time_factor",
        "overruns",
        "late_wakeups",
        "loop_stalls",
        "longest_stall",
        "clients",
    ]
    assert status.clients[0]._asdict() == {
        "name": "127.0.0.1:50000",
        "signals": 4,
        "telemetry_hz": 30.0,
        "sent": 7,
        "skipped": 1,
        "commands": 2,
    }


def test_a_notebook_shows_a_status_as_a_table_with_a_row_for_each_client() -> None:
    clients = [ClientStatus(f"<127.0.0.1:{port}>", 4, 30.0, 7, 1, 2) for port in (50000, 50001)]
    shown = Status(State.RUNNING, 10, 0.1, 0.98765, 3, 2, 1, 4.0, tuple(clients))._repr_html_()
    texts = [text for text in re.split(r"<[^>]*>", shown) if text]
    assert texts == [
        *("state", "running", "time", "0.100 s (frame 10)", "real-time factor", "0.988"),
        *("overruns", "3", "late wake-ups", "2", "loop stalls", "1, the longest 4.00 s"),
        *("client &lt;127.0.0.1:50000&gt;", "4 signals at 30 Hz, 7 frames sent, 1 skipped, 2 commands"),
        *("client &lt;127.0.0.1:50001&gt;", "4 signals at 30 Hz, 7 frames sent, 1 skipped, 2 commands"),
    ]


@pytest.mark.parametrize(("frame_ns", "factor"), [(10_000_000, 1.0), (20_000_000, 0.5), (100_000, 100.0)])
def test_the_real_time_factor_is_simulated_over_real_time_of_about_the_last_second(
    frame_ns: int, factor: float
) -> None:
    memory = SharedMemoryManager.create(SignalRegistry([Signal("m", "x")]), rate=(100, 1), history=1024)
    for frame in range(300):
        memory.writer.stage()
        slow = max(0, 150 - frame) * 1_000_000_000  # long ago it was much slower, which no longer counts
        memory.writer.publish(0, frame, frame / 100, wall_ns=frame * frame_ns - slow)
    assert real_time_factor(memory, memory.snapshot()) == pytest.approx(factor)
    memory.close()


def test_it_is_zero_where_nothing_can_be_said() -> None:
    memory = SharedMemoryManager.create(SignalRegistry([Signal("m", "x")]), rate=(100, 1))
    memory.commit(0, 0, 0.0)
    assert real_time_factor(memory, memory.snapshot()) == 0.0
    memory.writer.stage()
    memory.writer.publish(1, 0, 0.0, wall_ns=10)
    assert real_time_factor(memory, memory.snapshot()) == 0.0
    memory.close()
