from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from hermes.backplane.ring import PREFIX
from hermes.backplane.shm import SharedMemoryManager
from hermes.backplane.signals import Signal, SignalKind, SignalRegistry, SignalType

CELLS = 500
READS = 20_000

WRITER = """
import mmap, os, sys
from hermes.backplane.shm import SharedMemoryManager
fd = int(sys.argv[1])
shm = SharedMemoryManager(fd, mmap.mmap(fd, os.fstat(fd).st_size), writable=True)
outputs = shm.module_memory(shm.layout.modules[0]).outputs
frame = 0
print("ready", flush=True)
while True:
    frame += 1
    outputs[:] = frame.to_bytes(8, "little") * (len(outputs) // 8)
    shm.writer.stage()
    shm.writer.publish(frame // 1000, frame, frame / 8, frame.to_bytes(16, "little"), frame)
"""


def registry(count: int) -> SignalRegistry:
    return SignalRegistry(
        Signal("m", f"x{number}", SignalKind.OUTPUT, SignalType.I64, initial=0) for number in range(count)
    )


@pytest.fixture
def shm() -> Iterator[SharedMemoryManager]:
    manager = SharedMemoryManager.create(registry(2), history=8)
    yield manager
    manager.close()


@contextmanager
def flat_out_writer(memory: SharedMemoryManager) -> Iterator[None]:
    command = [sys.executable, "-c", WRITER, str(memory.fd)]
    with subprocess.Popen(command, pass_fds=[memory.fd], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        try:
            yield
            assert writer.poll() is None
        finally:
            writer.kill()


def write(shm: SharedMemoryManager, frame: int) -> None:
    for index in range(len(shm.registry)):
        shm.write_cell(index, frame)
    shm.writer.stage()
    shm.writer.publish(0, frame, frame / 10, bytes(16), 5)


def test_a_frame_beside_a_flat_out_writer_is_never_torn() -> None:
    memory = SharedMemoryManager.create(registry(CELLS), history=8)
    seen: set[int] = set()
    reads = 0
    with flat_out_writer(memory):
        while memory.committed == 0:
            assert memory.layout.slots == 8
        while reads < READS or len(seen) < 100:  # on one processor the two take turns of milliseconds
            reads += 1
            snapshot = memory.snapshot()
            frame = snapshot.frame
            assert snapshot.cells == frame.to_bytes(8, "little") * CELLS
            assert (snapshot.sequence, snapshot.epoch, snapshot.time) == (frame, frame // 1000, frame / 8)
            assert (snapshot.fingerprint, snapshot.wall_ns) == (frame.to_bytes(16, "little"), frame)
            seen.add(snapshot.sequence)
    memory.close()


def test_old_slots_beside_a_flat_out_writer_are_whole_or_gone() -> None:
    memory = SharedMemoryManager.create(registry(CELLS), history=8)
    whole = gone = 0
    with flat_out_writer(memory):
        while memory.committed < 8:
            assert memory.layout.slots == 8
        for number in range(READS):
            wanted = memory.committed - number % 8
            snapshot = memory.read(wanted)
            if snapshot is None:
                gone += 1
                continue
            whole += 1
            assert snapshot.sequence == snapshot.frame == wanted
            assert snapshot.cells == wanted.to_bytes(8, "little") * CELLS
    memory.close()
    assert whole > 100
    assert gone >= READS // 8, "the oldest slot may be under the writer's pen at any time"


def test_nothing_is_there_before_the_first_commit(shm: SharedMemoryManager) -> None:
    assert (shm.committed, shm.read(0), shm.read(1)) == (0, None, None)
    shm.writer.stage()
    assert shm.read(1) is None


def test_the_ring_wraps_and_forgets_the_oldest(shm: SharedMemoryManager) -> None:
    for frame in range(1, 30):
        write(shm, frame)
        held = [number for number in range(frame + 3) if shm.read(number) is not None]
        assert held == list(range(max(1, frame - 6), frame + 1)), "slots - 1 frames, the newest included"
        for number in held:
            snapshot = shm.read(number)
            assert snapshot is not None
            assert (snapshot.sequence, snapshot.frame, snapshot.time) == (number, number, number / 10)
            assert snapshot.cells == number.to_bytes(8, "little") * 2
            assert snapshot.wall_ns == 5


def test_a_staged_slot_stays_unseen_until_it_is_published(shm: SharedMemoryManager) -> None:
    write(shm, 1)
    shm.write_cell(0, 2)
    staged = shm.writer.stage()[PREFIX:]
    assert bytes(staged) == (2).to_bytes(8, "little") + (1).to_bytes(8, "little")
    newest = shm.snapshot()
    assert (newest.sequence, newest.cells[:8]) == (1, (1).to_bytes(8, "little"))
    shm.writer.publish(3, 7, 0.7, b"f" * 16, 9)
    assert shm.snapshot() == (2, 3, 7, 0.7, b"f" * 16, 9, bytes(staged))


def test_a_reader_that_was_overtaken_while_copying_gets_nothing(shm: SharedMemoryManager) -> None:
    write(shm, 1)
    reader = shm._reader
    whole = reader._memory

    class Slow:
        def __getitem__(self, place: slice) -> memoryview:
            copy = memoryview(bytes(whole[place]))
            for frame in range(2, 9):
                write(shm, frame)
            return copy

    reader._memory = Slow()  # type: ignore[assignment]
    assert reader.read(1) is None
    reader._memory = whole
    assert shm.snapshot().sequence == 8
