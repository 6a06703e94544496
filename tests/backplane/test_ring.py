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


def frames_of(slots: bytes, shm: SharedMemoryManager) -> list[int]:
    """Return the frame numbers of copied slots; in each, every cell holds it too."""
    stride = shm.layout.stride
    frames = []
    for at in range(0, len(slots), stride):
        sequence, _, frame = (int.from_bytes(slots[at + 8 * word : at + 8 * word + 8], "little") for word in range(3))
        assert sequence == frame
        assert slots[at + 64 : at + 64 + 8 * len(shm.registry)] == frame.to_bytes(8, "little") * len(shm.registry)
        frames.append(frame)
    return frames


@pytest.mark.parametrize("limit", [1, 3, 100])
@pytest.mark.parametrize("burst", [1, 5, 7, 8, 20])
def test_stretches_follow_each_other_around_the_ring(shm: SharedMemoryManager, limit: int, burst: int) -> None:
    assert shm.stretch(1, limit) == (1, b"")
    seen: list[int] = []
    for begin in range(0, 3 * burst, burst):
        for frame in range(begin + 1, begin + burst + 1):
            write(shm, frame)
        position = begin
        while position < begin + burst:
            first, slots = shm.stretch(position + 1, limit)
            frames = frames_of(slots, shm)
            assert 1 <= len(frames) <= limit
            assert frames == list(range(first, first + len(frames)))
            seen += frames
            position = frames[-1]
        held = range(max(begin, begin + burst - 7) + 1, begin + burst + 1)
        assert seen[-len(held) :] == list(held), "slots - 1 frames, the newest included, and none twice"
        assert shm.stretch(position + 1, limit) == (position + 1, b"")
    assert len(seen) == 3 * min(burst, 7)


@pytest.mark.parametrize("meanwhile", range(12))
@pytest.mark.parametrize("before", [6, 7, 11])
def test_a_stretch_is_without_what_the_writer_may_have_overtaken(
    shm: SharedMemoryManager, before: int, meanwhile: int
) -> None:
    for frame in range(1, before + 1):
        write(shm, frame)
    reader = shm._reader
    whole = reader._memory

    class Slow:
        def __getitem__(self, place: slice) -> memoryview:
            early = bytes(whole[place])
            for frame in range(before + 1, before + meanwhile + 1):
                write(shm, frame)
            late = bytes(whole[place])
            stride = shm.layout.stride
            torn = [
                early[at : at + stride // 2] + late[at + stride // 2 : at + stride]
                for at in range(0, len(early), stride)
            ]
            return memoryview(b"".join(torn))

    reader._memory = Slow()  # type: ignore[assignment]
    first, slots = shm.stretch(1, 100)
    reader._memory = whole
    frames = frames_of(slots, shm)
    oldest = max(1, before - 6)
    end = min(before, oldest + 7 - oldest % 8)  # the copy ends with the ring
    survivors = [frame for frame in range(oldest, end + 1) if frame >= before + meanwhile - 6]
    assert frames == survivors
    assert first == (survivors[0] if survivors else end + 1)


def test_stretches_beside_a_flat_out_writer_are_whole() -> None:
    memory = SharedMemoryManager.create(registry(CELLS), history=64)
    whole = position = shortened = 0
    with flat_out_writer(memory):
        while whole < READS:
            first, slots = memory.stretch(position + 1, 16)
            frames = frames_of(slots, memory)
            assert frames == list(range(first, first + len(frames)))
            assert first > position
            whole += len(frames)
            shortened += first != position + 1
            position = first - 1 + len(frames)
    memory.close()
    assert shortened
