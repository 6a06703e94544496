from __future__ import annotations

import math
import mmap
import struct
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hermes.backplane.layout import (
    CELL,
    COMMITTED,
    KICKS,
    LATE_WAKEUPS,
    LINE,
    MAXIMUM_RING,
    MINIMUM_SLOTS,
    OVERRUNS,
    SLOT_HEADER,
    Layout,
    plan_layout,
    read_header,
    write_header,
)
from hermes.backplane.signals import Signal, SignalKind, SignalRegistry, SignalType
from hermes.errors import HermesError

PAGE = mmap.PAGESIZE
NONCE = bytes(range(16))
INITIALS = {
    SignalType.F64: st.floats(allow_nan=False, allow_infinity=False),
    SignalType.F32: st.floats(allow_nan=False, allow_infinity=False, width=32),
    SignalType.I64: st.integers(-(2**63), 2**63 - 1),
    SignalType.I32: st.integers(-(2**31), 2**31 - 1),
    SignalType.BOOL: st.booleans(),
}
TEXTS = st.text(st.characters(codec="utf-8"), max_size=6)


@st.composite
def signals(draw: st.DrawFn, module: str, name: str) -> Signal:
    kind, type_ = draw(st.sampled_from(SignalKind)), draw(st.sampled_from(SignalType))
    limits = draw(st.none() | st.just((-math.inf, 1e300)) | st.just((-1e301, 1e301)))
    initial = 0.0 if limits and type_.is_float else draw(INITIALS[type_])
    return Signal(module, name, kind, type_, draw(TEXTS), draw(TEXTS), initial, limits, draw(st.booleans()))


@st.composite
def registries(draw: st.DrawFn) -> SignalRegistry:
    names = draw(st.lists(st.text("abcé_-", min_size=1, max_size=5), min_size=1, max_size=5, unique=True))
    counts = [draw(st.integers(1, 6)) for _ in names]
    every = [(name, f"s{i}.{name}") for name, count in zip(names, counts, strict=True) for i in range(count)]
    return SignalRegistry(draw(signals(module, name)) for module, name in every)


def regions(layout: Layout) -> list[tuple[int, int]]:
    blocks = [(m.go, m.go_size) for m in layout.modules] + [(m.done, m.done_size) for m in layout.modules]
    return sorted([*blocks, (layout.ring, layout.slots * layout.stride)])


@given(registries(), st.integers(8, 5000), st.sampled_from([4096, 16384, 65536]))
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
def test_regions_are_whole_pages_in_order_and_apart(registry: SignalRegistry, history: int, page: int) -> None:
    layout = plan_layout(registry, history, page)
    assert 0 < OVERRUNS + 24 <= page <= layout.module_table < layout.directory < layout.strings < regions(layout)[0][0]
    for (start, size), (after, _) in pairwise(regions(layout)):
        assert start % page == 0
        assert start + size <= after
    for module in layout.modules:
        assert module.go_size % page == module.done_size % page == 0
        assert module.go_size >= LINE + CELL * module.inputs
        assert module.done_size >= LINE + CELL * module.outputs
    assert layout.ring % page == layout.stride % LINE == 0
    assert layout.size % page == 0
    assert layout.size >= layout.ring + layout.slots * layout.stride
    assert layout.stride >= SLOT_HEADER + CELL * len(registry)
    assert layout.slots == max(MINIMUM_SLOTS, min(history, MAXIMUM_RING // layout.stride))


@given(registries())
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
def test_every_live_cell_has_its_own_place_in_the_right_block(registry: SignalRegistry) -> None:
    layout = plan_layout(registry, 8)
    places = [layout.live(index) for index in range(len(registry))]
    assert len(set(places)) == len(registry)
    blocks = {module.name: module for module in layout.modules}
    for place, signal in zip(places, registry, strict=True):
        block = blocks[signal.module]
        start, count = (block.done, block.outputs) if signal.kind is SignalKind.OUTPUT else (block.go, block.inputs)
        assert place % CELL == 0
        assert start + LINE <= place < start + LINE + CELL * count
    with pytest.raises(IndexError):
        layout.live(len(registry))


@given(registries(), st.integers(8, 100), st.binary(min_size=16, max_size=16))
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
def test_the_header_says_everything_again(registry: SignalRegistry, history: int, nonce: bytes) -> None:
    layout = plan_layout(registry, history)
    memory = memoryview(bytearray(layout.size))
    write_header(memory, layout, registry, nonce, (60000, 1001))
    assert all(not any(memory[start : start + size]) for start, size in regions(layout)), "only the head is written"
    found, signals_found, nonce_found, rate = read_header(memory)
    assert (found, nonce_found, rate) == (layout, nonce, (60000, 1001))
    assert list(signals_found) == list(registry)
    assert [str(signal.initial) for signal in signals_found] == [str(signal.initial) for signal in registry]


def a_header() -> tuple[bytearray, Layout]:
    registry = SignalRegistry([Signal("m", "x", SignalKind.OUTPUT, SignalType.F64, "m", "place")])
    layout = plan_layout(registry, 8)
    memory = bytearray(layout.size)
    write_header(memoryview(memory), layout, registry, NONCE, (60, 1))
    return memory, layout


def test_another_thing_is_refused_with_what_was_found() -> None:
    memory, layout = a_header()
    head = "not a Hermes backplane of version 2: found "
    for at, data, found in [
        (0, b"NOPE", f"magic b'NOPE', version 2, size {layout.size} of {layout.size} mapped"),
        (4, b"\1", f"magic b'HERM', version 1, size {layout.size} of {layout.size} mapped"),
        (8, bytes(8), f"magic b'HERM', version 2, size 0 of {layout.size} mapped"),
    ]:
        other = bytearray(memory)
        other[at : at + len(data)] = data
        with pytest.raises(HermesError) as caught:
            read_header(memoryview(other))
        assert str(caught.value) == head + found
    with pytest.raises(HermesError, match=f"size {layout.size} of {layout.size - PAGE} mapped"):
        read_header(memoryview(memory)[:-PAGE])


@pytest.mark.parametrize("size", [0, 1, 4, 100])
def test_something_small_is_refused(size: int) -> None:
    with pytest.raises(HermesError, match=r"^not a Hermes backplane of version 2: found "):
        read_header(memoryview(bytearray(size)))


@given(st.data())
def test_damage_is_refused_or_read_without_leaving_the_memory(data: st.DataObject) -> None:
    memory, layout = a_header()
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(32, 95) | st.integers(layout.module_table, layout.strings + 16))
        struct.pack_into("<Q", memory, at, data.draw(st.sampled_from([0, 1, 0xFFFF, 2**32, 2**63, 2**64 - 1])))
    with suppress(HermesError):
        read_header(memoryview(memory))


def test_the_counters_and_the_sequence_lie_beyond_the_header_on_lines_of_their_own() -> None:
    assert COMMITTED // LINE not in {OVERRUNS // LINE, 0}
    assert len({OVERRUNS, LATE_WAKEUPS, KICKS}) == 3
