"""The one memory object of a session: an anonymous memfd, sealed against resizing, mapped by every process.

It has no name, so nothing can leak, be squatted or be guessed. The engine creates and writes it; everybody else maps
it read-only, and a module additionally maps the block that it alone writes. Nothing read back from it is trusted for
sizes or offsets: those are private copies.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Mapping
from typing import NamedTuple

from hermes.backplane.layout import (
    CELL,
    KICKS,
    LATE_WAKEUPS,
    LINE,
    NOW_TIME,
    OVERRUNS,
    ModuleBlocks,
    plan_layout,
    read_header,
    write_header,
)
from hermes.backplane.ring import RingReader, RingWriter, Snapshot
from hermes.backplane.signals import SignalKind, SignalRegistry, Value, encode_cell
from hermes.errors import HermesError, ReadOnlySignal, SystemRefused
from hermes.system import obtain

_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


class ModuleMemory(NamedTuple):
    """One module's memory as its words and cells: see `ModuleBlocks`."""

    go: memoryview
    inputs: memoryview
    done: memoryview
    outputs: memoryview


class SharedMemoryManager:
    """A mapping of the memory object and the signals in it; use `create` or `attach`.

    Reading (`get_signal`, `get_frame`, `get_time`, `snapshot`) is about committed frames: always one whole frame,
    never torn, from any thread and without waiting. Writing is the engine's alone.
    """

    def __init__(self, fd: int, memory: mmap.mmap, *, writable: bool) -> None:
        """Wrap a mapping whose header is written; takes over both, and closes both where the header is refused."""
        self.fd = fd
        self.writable = writable
        self._mmap = memory
        self._view = memoryview(memory)
        try:
            self.layout, self.registry, self.nonce, self.rate = read_header(self._view)
        except HermesError:
            self._view.release()
            memory.close()
            os.close(fd)
            raise
        self._reader = RingReader(self._view, self.layout)
        self._writer = RingWriter(self._view, self.layout, self._live_blocks()) if writable else None
        self._words: memoryview = self._view.cast("Q")

    @classmethod
    def create(
        cls, registry: SignalRegistry, *, rate: tuple[int, int] = (60, 1), history: int = 1024
    ) -> SharedMemoryManager:
        """Create the memory object, reserve its pages, seal its size, and write initial values into the live cells.

        Raises SystemRefused, naming the bytes needed, when the machine cannot give them, and BadValue for an initial
        value that does not fit.
        """
        initials = [encode_cell(signal, signal.initial) for signal in registry]
        layout = plan_layout(registry, history)
        needed = f"reserve {layout.size} bytes of shared memory for {len(registry)} signals"
        fd = obtain(needed, os.memfd_create, "hermes", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            obtain(needed, os.ftruncate, fd, layout.size)
            obtain(needed, os.posix_fallocate, fd, 0, layout.size)
            obtain(needed, fcntl.fcntl, fd, fcntl.F_ADD_SEALS, _SEALS)
            memory = obtain(needed, mmap.mmap, fd, layout.size)
        except SystemRefused:
            os.close(fd)
            raise
        with memoryview(memory) as view:
            write_header(view, layout, registry, os.urandom(16), rate)
        manager = cls(fd, memory, writable=True)
        for index, cell in enumerate(initials):
            manager.write_cell(index, cell)
        return manager

    @classmethod
    def attach(cls, fd: int) -> SharedMemoryManager:
        """Map an existing memory object read-only; takes over the descriptor.

        Raises HermesError, and closes it, where it is no backplane of this version or cannot be mapped.
        """
        size = os.fstat(fd).st_size
        try:
            needed = f"map {size} bytes of shared memory"
            memory = obtain(needed, mmap.mmap, fd if size else -1, size or mmap.PAGESIZE, prot=mmap.PROT_READ)
        except SystemRefused:
            os.close(fd)
            raise
        return cls(fd, memory, writable=False)

    def snapshot(self) -> Snapshot:
        """Return the newest committed frame; raises HermesError before the first commit."""
        newest = self._reader.newest()
        if newest is None:
            raise HermesError(message="no frame has been committed yet")
        return newest

    def read(self, sequence: int) -> Snapshot | None:
        """Return the frame of a committed sequence, or None where the ring no longer holds it."""
        return self._reader.read(sequence)

    def stretch(self, first: int, limit: int) -> tuple[int, bytes]:
        """Copy committed slots that lie together in the ring (see `RingReader.stretch`)."""
        return self._reader.stretch(first, limit)

    @property
    def committed(self) -> int:
        """The newest committed sequence; 0 before the first commit."""
        return self._reader.committed

    def get_signal(self, name: str) -> Value:
        """Return a signal's committed value; raises UnknownSignal."""
        return self.value_in(self.snapshot(), name)

    def value_in(self, snapshot: Snapshot, name: str) -> Value:
        """Return a signal's value in a frame; raises UnknownSignal."""
        return self.registry.value(name, snapshot.cells)

    def get_frame(self) -> int:
        """Return the number of the newest committed frame."""
        return self.snapshot().frame

    def get_time(self) -> float:
        """Return the simulation time of the newest committed frame, in seconds."""
        return self.snapshot().time

    def set_signal(self, name: str, value: object) -> None:
        """Write a live input or parameter; modules see it in the next frame, readers after the next commit.

        Raises UnknownSignal, ReadOnlySignal, BadValue, and HermesError on a read-only mapping.
        """
        index = self.registry.index(name)
        signal = self.registry.at(index)
        if signal.kind is SignalKind.OUTPUT:
            raise ReadOnlySignal(name)
        self.write_cell(index, encode_cell(signal, value))

    def write_cell(self, index: int, cell: int) -> None:
        """Write the live cell of the signal at `index`; the engine's alone."""
        if not self.writable:
            raise HermesError(message="this mapping is read-only; issue a set command instead")
        self._words[self.layout.live(index) // CELL] = cell

    @property
    def writer(self) -> RingWriter:
        """What commits frames; raises HermesError on a read-only mapping."""
        if self._writer is None:
            raise HermesError(message="this mapping is read-only; only the engine commits frames")
        return self._writer

    def commit(self, epoch: int, frame: int, time: float) -> None:
        """Stage and publish in one call, for tests and tools that need no fingerprint."""
        self.writer.stage()
        self.writer.publish(epoch, frame, time)

    def words(self, letter: str) -> memoryview:
        """Return the whole object as items of a memoryview format: shared words must be stored as what they are."""
        view: memoryview = self._view.cast(letter)  # type: ignore[call-overload]
        return view

    def live_cells(self, index: int, letter: str) -> memoryview:
        """Return the live cell at `index` as a view of items of a memoryview format; its first item is the value."""
        at = self.layout.live(index)
        cell: memoryview = self._view[at : at + CELL].cast(letter)  # type: ignore[call-overload]
        return cell

    def module_memory(self, module: ModuleBlocks) -> ModuleMemory:
        """Return one module's words and cells as views of this mapping."""
        return _split(self._view[module.go :], self._view[module.done :], module.outputs, module.inputs)

    @property
    def counters(self) -> Mapping[str, int]:
        """What the engine counts: overruns, late wake-ups, and kicks (lost wake-ups that its net caught)."""
        words = self._words
        offsets = {"overruns": OVERRUNS, "late_wakeups": LATE_WAKEUPS, "kicks": KICKS}
        return {name: int(words[offset // CELL]) for name, offset in offsets.items()}

    def count(self, offset: int, times: int = 1) -> None:
        """Add to a counter; the engine's alone."""
        self._words[offset // CELL] += times

    def close(self) -> None:
        """Unmap and close the descriptor; the object itself lives while any process maps it. Idempotent."""
        if self.fd < 0:
            return
        self._reader.release()
        if self._writer is not None:
            self._writer.release()
        self._words.release()
        self._view.release()
        self._mmap.close()
        os.close(self.fd)
        self.fd = -1

    def _live_blocks(self) -> list[memoryview]:
        blocks = []
        for module in self.layout.modules:
            memory = self.module_memory(module)
            blocks += [memory.outputs, memory.inputs]
            memory.go.release()
            memory.done.release()
        return blocks


class ModuleMapping:
    """A module's own mapping: everything read-only, except the block that it alone writes."""

    def __init__(self, fd: int, *, size: int, go: int, inputs: int, done: int, done_size: int, outputs: int) -> None:
        """Map; offsets and sizes in bytes as the engine sent them, `inputs` and `outputs` counts of cells."""
        needed = f"map {size} bytes of shared memory"
        self._all = obtain(needed, mmap.mmap, fd, size, prot=mmap.PROT_READ)
        self._own = obtain(needed, mmap.mmap, fd, done_size, offset=done)
        self.memory = _split(memoryview(self._all)[go:], memoryview(self._own), outputs, inputs)
        self.now = memoryview(self._all)[NOW_TIME : NOW_TIME + 8].cast("d")


def _split(go: memoryview, done: memoryview, outputs: int, inputs: int) -> ModuleMemory:
    return ModuleMemory(
        go[:LINE].cast("Q"),
        go[LINE : LINE + CELL * inputs],
        done[:LINE].cast("Q"),
        done[LINE : LINE + CELL * outputs],
    )
