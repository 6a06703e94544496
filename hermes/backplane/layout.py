"""Where everything lies in the shared memory: the arithmetic of `docs/backplane.md`, and its header and directory.

Plain functions over numbers and buffers. The layout is fixed when the last module has declared its signals and never
changes within a session.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Iterator
from typing import NamedTuple

from hermes.backplane.signals import Signal, SignalKind, SignalRegistry, SignalType, decode_cell, encode_cell
from hermes.errors import HermesError

MAGIC = b"HERM"
VERSION = 2
LINE = 64
"""Bytes of a cache line: one for the words the engine writes to a worker, one for those it writes back."""

CELL = 8
SLOT_HEADER = 64
MAXIMUM_RING = 64 * 1024 * 1024
MINIMUM_SLOTS = 8

COMMITTED = 128
"""Offset of the committed sequence, alone on its cache line."""

OVERRUNS, LATE_WAKEUPS, KICKS = 192, 200, 208
"""Offsets of the engine's counters (u64)."""

NOW_FRAME, NOW_TIME = 256, 264
"""Offsets of the frame being computed (u64) and of the simulation time at which it starts (f64, s)."""

_HEADER = struct.Struct("<4sIQ16sIIQQQQIIQQ")
_MODULE = struct.Struct("<QQQQIIIII12x")
_SIGNAL = struct.Struct("<QIBBHIIIIIIddQ")
_KINDS = (SignalKind.OUTPUT, SignalKind.INPUT, SignalKind.PARAMETER)
_TYPES = tuple(SignalType)
_NONFINITE_FLAG = 1
_REFUSAL = f"not a Hermes backplane of version {VERSION}"


class ModuleBlocks(NamedTuple):
    """Where one module's memory lies.

    `go` is the offset of the block that only the engine writes (a cache line, then inputs, then parameters), `done`
    of the block that only the module writes (a cache line, then outputs); both are whole pages. `first` is the index
    of its first signal; `outputs` and `inputs` (parameters included) are counts.
    """

    name: str
    go: int
    go_size: int
    done: int
    done_size: int
    first: int
    outputs: int
    inputs: int


class Layout(NamedTuple):
    """All offsets and sizes, in bytes from the start of the memory object."""

    modules: tuple[ModuleBlocks, ...]
    signals: int
    module_table: int
    directory: int
    strings: int
    ring: int
    slots: int
    stride: int
    size: int

    def live(self, index: int) -> int:
        """Return the offset of the live cell of the signal at `index`."""
        for module in self.modules:
            place = index - module.first
            if place < module.outputs:
                return module.done + LINE + CELL * place
            if place < module.outputs + module.inputs:
                return module.go + LINE + CELL * (place - module.outputs)
        raise IndexError(index)


def plan_layout(registry: SignalRegistry, history: int, page: int = mmap.PAGESIZE) -> Layout:
    """Return the layout for these signals with a ring of `history` slots (fewer where 64 MiB would not hold them)."""
    module_table = page
    directory = module_table + _MODULE.size * len(registry.modules)
    strings = directory + _SIGNAL.size * len(registry)
    offset = _rounded(strings + len(_strings(registry)), page)
    modules = []
    first = 0
    for name in registry.modules:
        kinds = [registry.at(registry.index(qualified)).kind for qualified in registry.list_module(name)]
        outputs = kinds.count(SignalKind.OUTPUT)
        inputs = len(kinds) - outputs
        go_size, done_size = (_rounded(LINE + CELL * count, page) for count in (inputs, outputs))
        modules.append(ModuleBlocks(name, offset, go_size, offset + go_size, done_size, first, outputs, inputs))
        offset += go_size + done_size
        first += len(kinds)
    stride = _rounded(SLOT_HEADER + CELL * len(registry), LINE)
    slots = max(MINIMUM_SLOTS, min(history, MAXIMUM_RING // stride))
    size = _rounded(offset + slots * stride, page)
    return Layout(tuple(modules), len(registry), module_table, directory, strings, offset, slots, stride, size)


def write_header(
    memory: memoryview, layout: Layout, registry: SignalRegistry, nonce: bytes, rate: tuple[int, int]
) -> None:
    """Write header, module table, directory and strings; `rate` is frames per second as numerator and denominator."""
    strings = _strings(registry)
    memory[layout.strings : layout.strings + len(strings)] = strings
    place = _string_places(registry)
    for number, module in enumerate(layout.modules):
        name = (place[module.name], len(module.name.encode()))
        offsets = (module.go, module.go_size, module.done, module.done_size)
        row = _MODULE.pack(*offsets, module.first, module.outputs, module.inputs, *name)
        _put(memory, layout.module_table + number * _MODULE.size, row)
    for index, signal in enumerate(registry):
        _put(memory, layout.directory + index * _SIGNAL.size, _signal_row(signal, index, layout.live(index), place))
    header = _HEADER.pack(
        MAGIC,
        VERSION,
        layout.size,
        nonce,
        len(layout.modules),
        len(registry),
        layout.module_table,
        layout.directory,
        layout.strings,
        layout.ring,
        layout.slots,
        layout.stride,
        *rate,
    )
    _put(memory, 0, header)


def read_header(memory: memoryview) -> tuple[Layout, SignalRegistry, bytes, tuple[int, int]]:
    """Return layout, signals, session nonce and rate from a mapped memory object.

    Raises HermesError when it is not a Hermes backplane of this version or its sizes do not fit the mapping.
    """
    if len(memory) < _HEADER.size:
        raise HermesError(message=f"{_REFUSAL}: found {len(memory)} bytes")
    magic, version, size, nonce, module_count, *offsets, slots, stride, num, den = _HEADER.unpack_from(memory)
    count, table, directory, strings, ring = offsets
    if magic != MAGIC or version != VERSION or size != len(memory):
        found = f"magic {bytes(magic)!r}, version {version}, size {size} of {len(memory)} mapped"
        raise HermesError(message=f"{_REFUSAL}: found {found}")
    try:
        modules = tuple(_read_modules(memory, table, strings, module_count))
        signals = list(_read_signals(memory, directory, strings, modules, count))
    except (struct.error, LookupError, ValueError, OverflowError) as error:
        raise HermesError(message=f"{_REFUSAL}: found tables that do not fit ({error})") from None
    layout = Layout(modules, count, table, directory, strings, ring, slots, stride, size)
    return layout, SignalRegistry(signals), bytes(nonce), (num, den)


def _signal_row(signal: Signal, index: int, live: int, place: dict[str, int]) -> bytes:
    texts = [signal.name, signal.unit, signal.description]
    spans = [number for text in texts for number in (place[text], len(text.encode()))]
    low, high = signal.limits or (-math.inf, math.inf)
    codes = (_TYPES.index(signal.type), _KINDS.index(signal.kind), _NONFINITE_FLAG * signal.allow_nonfinite)
    return _SIGNAL.pack(live, index, *codes, *spans, low, high, encode_cell(signal, signal.initial))


def _read_modules(memory: memoryview, table: int, strings: int, count: int) -> Iterator[ModuleBlocks]:
    for number in range(count):
        row = _MODULE.unpack_from(memory, table + number * _MODULE.size)
        *offsets, first, outputs, inputs, name, length = row
        yield ModuleBlocks._make((_text(memory, strings + name, length), *offsets, first, outputs, inputs))


def _read_signals(
    memory: memoryview, directory: int, strings: int, modules: tuple[ModuleBlocks, ...], count: int
) -> Iterator[Signal]:
    """Read the directory; whose signals they are is counted first, so that damage cannot ask for endless names."""
    declared = sum(module.outputs + module.inputs for module in modules)
    if declared != count or count * _SIGNAL.size > len(memory):
        raise ValueError(f"{count} signals, {declared} of modules")
    names = [module.name for module in modules for _ in range(module.outputs + module.inputs)]
    for index, name in enumerate(names):
        yield _read_signal(memory, directory + index * _SIGNAL.size, strings, name)


def _read_signal(memory: memoryview, at: int, strings: int, module: str) -> Signal:
    _, _, kind, role, flags, *spans, low, high, initial = _SIGNAL.unpack_from(memory, at)
    name, unit, description = (_text(memory, strings + spans[i], spans[i + 1]) for i in (0, 2, 4))
    limits = None if math.isinf(low) and math.isinf(high) else (low, high)
    value = decode_cell(_TYPES[kind], initial)
    nonfinite = bool(flags & _NONFINITE_FLAG)
    return Signal(module, name, _KINDS[role], _TYPES[kind], unit, description, value, limits, nonfinite)


def _texts(registry: SignalRegistry) -> dict[str, None]:
    texts = [text for signal in registry for text in (signal.name, signal.unit, signal.description)]
    return dict.fromkeys([*registry.modules, *texts])


def _strings(registry: SignalRegistry) -> bytes:
    return "".join(_texts(registry)).encode()


def _string_places(registry: SignalRegistry) -> dict[str, int]:
    places, at = {}, 0
    for text in _texts(registry):
        places[text] = at
        at += len(text.encode())
    return places


def _text(memory: memoryview, at: int, length: int) -> str:
    return bytes(memory[at : at + length]).decode()


def _put(memory: memoryview, at: int, data: bytes) -> None:
    memory[at : at + len(data)] = data


def _rounded(size: int, to: int) -> int:
    return -(-size // to) * to
