from __future__ import annotations

import fcntl
import mmap
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermes.backplane.handshake import layout_fields, layout_numbers
from hermes.backplane.layout import COMMITTED, KICKS, LATE_WAKEUPS, OVERRUNS
from hermes.backplane.shm import SharedMemoryManager
from hermes.backplane.signals import Signal, SignalKind, SignalRegistry, SignalType
from hermes.errors import BadValue, HermesError, ReadOnlySignal, UnknownSignal

REGISTRY = SignalRegistry(
    [
        Signal("plant", "x", SignalKind.OUTPUT, SignalType.F64, initial=1.5),
        Signal("plant", "u", SignalKind.INPUT, SignalType.F32, initial=-0.5),
        Signal("plant", "k", SignalKind.PARAMETER, SignalType.I32, initial=-3),
        Signal("flags", "on", SignalKind.INPUT, SignalType.BOOL, initial=True),
        Signal("flags", "count", SignalKind.OUTPUT, SignalType.I64, initial=-1),
    ]
)


@pytest.fixture
def shm() -> Iterator[SharedMemoryManager]:
    manager = SharedMemoryManager.create(REGISTRY, rate=(60000, 1001), history=16)
    yield manager
    manager.close()


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_initial_values_are_there_from_the_first_commit_on(shm: SharedMemoryManager) -> None:
    with pytest.raises(HermesError, match=r"^no frame has been committed yet$"):
        shm.get_signal("plant.x")
    shm.commit(0, 0, 0.0)
    values = {name: shm.get_signal(name) for name in REGISTRY.all_signals()}
    assert values == {"plant.x": 1.5, "plant.u": -0.5, "plant.k": -3, "flags.on": True, "flags.count": -1}
    assert (shm.get_frame(), shm.get_time(), shm.committed, shm.rate) == (0, 0.0, 1, (60000, 1001))


def test_set_shows_after_the_commit_and_old_frames_keep_their_values(shm: SharedMemoryManager) -> None:
    shm.commit(0, 0, 0.0)
    shm.set_signal("plant.u", 0.25)
    shm.set_signal("plant.k", 7)
    shm.set_signal("flags.on", False)
    assert shm.get_signal("plant.u") == -0.5
    before = shm.snapshot()
    shm.commit(1, 10, 0.5)
    assert (shm.get_signal("plant.u"), shm.get_signal("plant.k"), shm.get_signal("flags.on")) == (0.25, 7, False)
    assert (shm.value_in(before, "plant.u"), shm.get_frame(), shm.get_time()) == (-0.5, 10, 0.5)


def test_what_cannot_be_set_changes_nothing(shm: SharedMemoryManager) -> None:
    before = bytes(shm.writer.stage())
    for name, value, error in [
        ("plant.x", 1.0, ReadOnlySignal),
        ("plant.k", 1.5, BadValue),
        ("plant.u", 0.1, BadValue),
        ("plant.y", 1.0, UnknownSignal),
    ]:
        with pytest.raises(error):
            shm.set_signal(name, value)
    assert bytes(shm.writer.stage()) == before


def test_another_mapping_sees_the_same_and_writes_nothing(shm: SharedMemoryManager) -> None:
    other = SharedMemoryManager.attach(os.dup(shm.fd))
    shm.commit(0, 3, 0.1)
    assert (other.layout, other.nonce, other.rate, list(other.registry)) == (
        shm.layout,
        shm.nonce,
        shm.rate,
        list(REGISTRY),
    )
    assert other.snapshot() == shm.snapshot()
    assert other.read(1) == shm.read(1)
    refusals = [
        (lambda: other.set_signal("plant.u", 0.5), "^this mapping is read-only; issue a set command instead$"),
        (lambda: other.commit(0, 4, 0.2), "^this mapping is read-only; only the engine commits frames$"),
    ]
    for write, text in refusals:
        with pytest.raises(HermesError, match=text):
            write()
    with pytest.raises(TypeError, match="read-only"):
        other.live_cells(0, "d")[0] = 1.0  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="read-only"):
        other.count(KICKS)
    other.close()


def test_the_size_is_sealed(shm: SharedMemoryManager) -> None:
    for size in (shm.layout.size - mmap.PAGESIZE, shm.layout.size + mmap.PAGESIZE):
        with pytest.raises(PermissionError):
            os.ftruncate(shm.fd, size)
    seals = fcntl.fcntl(shm.fd, fcntl.F_GET_SEALS)
    assert seals & fcntl.F_SEAL_SEAL, "nobody adds a seal that would stop the engine from writing"
    assert os.fstat(shm.fd).st_blocks * 512 >= shm.layout.size, "every page is reserved"
    assert not os.get_inheritable(shm.fd)


def test_everything_is_given_back() -> None:
    before = descriptors()
    shm = SharedMemoryManager.create(REGISTRY, history=8)
    other = SharedMemoryManager.attach(os.dup(shm.fd))
    assert descriptors() > before
    shm.commit(0, 0, 0.0)
    for manager in (shm, other, shm):
        manager.close()
    assert descriptors() == before
    assert "memfd:hermes" not in Path("/proc/self/maps").read_text()


def test_a_descriptor_of_something_else_is_refused_and_closed() -> None:
    for content in (b"", b"x", b"x" * 8192):
        before = descriptors()
        fd = os.memfd_create("other")
        os.write(fd, content)
        with pytest.raises(HermesError, match=r"^not a Hermes backplane of version 2"):
            SharedMemoryManager.attach(fd)
        assert descriptors() == before


def test_an_initial_value_that_does_not_fit_is_refused_before_anything_is_made() -> None:
    before = descriptors()
    with pytest.raises(BadValue, match=r"^m\.x cannot be 1\.5; "):
        SharedMemoryManager.create(SignalRegistry([Signal("m", "x", SignalKind.OUTPUT, SignalType.I32, initial=1.5)]))
    assert descriptors() == before


def test_memory_that_cannot_be_reserved_is_an_error_with_its_size() -> None:
    code = """
import resource, sys
from hermes.backplane.shm import SharedMemoryManager
from hermes.backplane.signals import *
from hermes.errors import HermesError
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
try:
    SharedMemoryManager.create(SignalRegistry([Signal("m", "x", SignalKind.OUTPUT, SignalType.F64)]))
except HermesError as error:
    print(error)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.startswith("cannot reserve 147456 bytes of shared memory for 1 signals: File too large (")


def test_the_counters(shm: SharedMemoryManager) -> None:
    for times, offset in enumerate((OVERRUNS, LATE_WAKEUPS, KICKS), 1):
        for _ in range(times):
            shm.count(offset)
    assert shm.counters == {"overruns": 1, "late_wakeups": 2, "kicks": 3}
    assert COMMITTED not in (OVERRUNS, LATE_WAKEUPS, KICKS)


def test_live_cells_and_module_memory_are_the_same_bytes(shm: SharedMemoryManager) -> None:
    plant, flags = (shm.module_memory(module) for module in shm.layout.modules)
    x, k = shm.live_cells(0, "d"), shm.live_cells(2, "i")
    x[0] = 2.5  # type: ignore[call-overload]
    assert plant.outputs.cast("d").tolist() == [2.5]
    assert (k[0], k[1], plant.inputs.cast("i").tolist()[2:]) == (-3, 0, [-3, 0])
    assert (len(plant.go), len(plant.done), len(flags.outputs), len(flags.inputs)) == (8, 8, 8, 8)
    for view in (x, k, *plant, *flags):
        view.release()


CHILD = """
import ctypes, resource, sys
import numpy as np
from hermes.backplane.shm import ModuleMapping
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
fd, where, *numbers = map(int, sys.argv[1:])
names = ("size", "go", "inputs", "done", "done_size", "outputs")
mapping = ModuleMapping(fd, **dict(zip(names, numbers)))
for view in (mapping.memory.go, mapping.memory.inputs):
    try:
        view[0] = 1
    except TypeError:
        continue
    raise SystemExit("a view of the engine's block was writable")
assert mapping.memory.outputs.cast("d")[0] == 1.5 and mapping.memory.inputs.cast("i")[2] == -3
mapping.memory.outputs.cast("d")[0] = 4.5
mapping.memory.done[1] = 1
print("wrote its own", flush=True)
places = {
    0: np.frombuffer(mapping._all, np.uint8)[0:],
    1: np.frombuffer(mapping.memory.go, np.uint8),
    2: np.frombuffer(mapping.memory.inputs, np.uint8),
    3: np.frombuffer(mapping._all, np.uint8)[mapping._all.size() - 1 :],
    4: np.frombuffer(mapping._all, np.uint8)[numbers[3] :],
}
ctypes.memset(places[where].ctypes.data, 255, 1)
print("wrote what is not its own", flush=True)
"""


@pytest.mark.parametrize("where", range(5), ids=["header", "go line", "inputs", "ring", "its own block, elsewhere"])
def test_a_stray_write_ends_the_module_and_changes_nothing(shm: SharedMemoryManager, where: int) -> None:
    before = bytes(shm._view)
    module = shm.layout.modules[0]
    numbers = layout_numbers(tuple(layout_fields(shm.layout.size, module)))
    command = [sys.executable, "-c", CHILD, str(shm.fd), str(where), *map(str, numbers.values())]
    child = subprocess.run(command, pass_fds=[shm.fd], stdout=subprocess.PIPE, check=False)
    assert (child.returncode, child.stdout) == (-signal.SIGSEGV, b"wrote its own\n")
    after = bytes(shm._view)
    changed = {at for at in range(0, len(before), 8) if before[at : at + 8] != after[at : at + 8]}
    assert changed == {module.done + 8, module.done + 64}
    x = shm.live_cells(0, "d")
    assert x[0] == 4.5
    x.release()
