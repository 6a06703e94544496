from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hermes.backplane.channel import PROTOCOL, RECORD_LIMIT
from hermes.backplane.handshake import layout_fields, layout_numbers, signal_fields
from hermes.backplane.layout import CELL, KICKS, LATE_WAKEUPS, NOW_FRAME, NOW_TIME, OVERRUNS
from hermes.backplane.shm import SharedMemoryManager
from hermes.backplane.signals import Signal, SignalKind, SignalRegistry, SignalType
from hermes.backplane.sync import (
    AT,
    DT,
    DUE,
    SPIN_NS,
    STEP_NS,
    WORKER_SLEEPS,
    EngineGate,
    Opcode,
    WorkerGate,
    float_bits,
    new_event,
)

PAGE = (Path(__file__).parents[2] / "docs" / "backplane.md").read_text()
FORMATS = {"u8": "B", "u16": "H", "u32": "I", "u64": "Q", "i64": "q", "f64": "d", "4 bytes": "4s", "16 bytes": "16s"}
TYPES = list(SignalType)
KINDS = [SignalKind.OUTPUT, SignalKind.INPUT, SignalKind.PARAMETER]
BITS = {SignalType.F64: "d", SignalType.F32: "fxxxx", SignalType.I64: "q", SignalType.I32: "ixxxx"}

SIGNALS = [
    Signal("wind", "gust/1", SignalKind.PARAMETER, SignalType.F32, "m/s", "é", 0.5, (-2.0, 2.0), True),
    Signal("wind", "speed.x", SignalKind.OUTPUT, SignalType.F64, "m/s", "", -1.5),
    Signal("plant", "u", SignalKind.INPUT, SignalType.I32, "N", "force", -7, None, True),
    Signal("plant", "on", SignalKind.OUTPUT, SignalType.BOOL, "", "whether it runs", True),
    Signal("plant", "k", SignalKind.PARAMETER, SignalType.I64, "", "", -(2**62), (-1e19, 0.0)),
    Signal("plant", "y", SignalKind.OUTPUT, SignalType.F32, "m", "place", 2.5),
]


def table(heading: str) -> dict[str, tuple[int, str]]:
    """Return offset and type by field of the table under a heading."""
    section = PAGE.split(f"\n### {heading}\n")[1].split("\n#")[0]
    rows = re.findall(r"^\| (\d+) \| ([\w ]+) \| `(\w+)` \| \S.* \|$", section, re.MULTILINE)
    assert len(rows) == section.count("\n|") - 2, "every row but the two of the head is read"
    return {name: (int(offset), type_) for offset, type_, name in rows}


def read(shm: SharedMemoryManager, heading: str, start: int = 0) -> dict[str, Any]:
    """Return what stands at the documented places; fields of cells as their offset in the object."""
    found: dict[str, Any] = {}
    for name, (offset, type_) in table(heading).items():
        at = start + offset
        found[name] = at if type_ == "cells" else struct.unpack_from("<" + FORMATS[type_], shm._view, at)[0]
    return found


def text(shm: SharedMemoryManager, row: dict[str, Any], field: str) -> str:
    at = read(shm, "Header")["strings"] + row[field]
    return bytes(shm._view[at : at + row[f"{field}_length"]]).decode()


def signal_cell(signal: Signal) -> bytes:
    return struct.pack("<" + BITS.get(signal.type, "?xxxxxxx"), signal.initial)


@pytest.fixture
def shm() -> Iterator[SharedMemoryManager]:
    manager = SharedMemoryManager.create(SignalRegistry(SIGNALS), rate=(60000, 1001), history=9)
    yield manager
    manager.close()


HEADINGS = ["Header", "Module table", "Signal directory", "Go block", "Done block", "Ring slot"]


@pytest.mark.parametrize("heading", HEADINGS)
def test_fields_are_aligned_in_order_and_apart(heading: str) -> None:
    end = 0
    for name, (offset, type_) in table(heading).items():
        size = struct.calcsize("<" + FORMATS[type_]) if type_ != "cells" else 64
        assert offset >= end, name
        assert offset % min(size, 64) == 0, name
        end = offset + size


def test_the_header(shm: SharedMemoryManager) -> None:
    for times, offset in enumerate((OVERRUNS, LATE_WAKEUPS, KICKS), 4):
        for _ in range(times):
            shm.count(offset)
    for frame in range(3):
        shm.commit(0, frame, 0.0)
    words, times = shm.words("Q"), shm.words("d")
    words[NOW_FRAME // CELL], times[NOW_TIME // CELL] = 7, 0.5
    words.release()
    times.release()
    layout = shm.layout
    assert read(shm, "Header") == {
        "magic": b"HERM",
        "version": 2,
        "size": layout.size,
        "nonce": shm.nonce,
        "modules": 2,
        "signals": 6,
        "module_table": layout.module_table,
        "directory": layout.directory,
        "strings": layout.strings,
        "ring": layout.ring,
        "slots": 9,
        "stride": layout.stride,
        "rate_num": 60000,
        "rate_den": 1001,
        "committed": 3,
        "overruns": 4,
        "late_wakeups": 5,
        "kicks": 6,
        "now_frame": 7,
        "now_time": 0.5,
    }
    assert layout.size == len(shm._view)


def test_the_module_table(shm: SharedMemoryManager) -> None:
    start = read(shm, "Header")["module_table"]
    for number, module in enumerate(shm.layout.modules):
        row = read(shm, "Module table", start + 64 * number)
        assert text(shm, row, "name") == module.name == ["wind", "plant"][number]
        numbers = {name: value for name, value in module._asdict().items() if name != "name"}
        assert {name: row[name] for name in numbers} == numbers


def test_the_signal_directory(shm: SharedMemoryManager) -> None:
    start = read(shm, "Header")["directory"]
    names = ["wind.speed.x", "wind.gust/1", "plant.on", "plant.y", "plant.u", "plant.k"]
    for index, signal in enumerate(shm.registry):
        row = read(shm, "Signal directory", start + 64 * index)
        assert f"{signal.module}.{text(shm, row, 'name')}" == names[index]
        assert (text(shm, row, "unit"), text(shm, row, "description")) == (signal.unit, signal.description)
        assert (row["index"], row["live"]) == (index, shm.layout.live(index))
        assert (TYPES[row["type"]], KINDS[row["kind"]]) == (signal.type, signal.kind)
        assert row["flags"] == signal.allow_nonfinite
        assert (row["low"], row["high"]) == (signal.limits or (-math.inf, math.inf))
        assert row["initial"].to_bytes(8, "little") == signal_cell(signal)
        assert bytes(shm._view[row["live"] : row["live"] + 8]) == signal_cell(signal)


def test_the_codes_of_types_and_kinds() -> None:
    section = PAGE.split("\n### Signal directory\n")[1]
    assert " | ".join(["`type`", ", ".join(f"{code} {type_}" for code, type_ in enumerate(TYPES))]) in section
    assert " | ".join(["`kind`", ", ".join(f"{code} {kind}" for code, kind in enumerate(KINDS))]) in section


def test_the_blocks_and_their_words(shm: SharedMemoryManager) -> None:
    row = read(shm, "Module table", read(shm, "Header")["module_table"] + 64)
    memory = shm.module_memory(shm.layout.modules[1])
    events = new_event(), new_event()
    module = WorkerGate(memory.go, memory.done, *events)
    engine = EngineGate(memory.go, memory.done, *events)
    engine.sleep(True)
    memory.go[DUE], memory.go[DT], memory.go[SPIN_NS] = 5, float_bits(0.125), 50_000
    engine.release(Opcode.STEP)
    words = read(shm, "Go block", row["go"])
    place = words.pop("inputs")
    assert words == {
        "go": 1,
        "opcode": 1,
        "due": 5,
        "dt": 0.125,
        "spin_ns": 50_000,
        "engine_sleeps": 1,
    }
    assert bytes(shm._view[place : place + 16]) == bytes(memory.inputs) == struct.pack("<ixxxxq", -7, -(2**62))
    module.serve(lambda: engine.release(Opcode.STOP), pytest.fail)
    memory.done[WORKER_SLEEPS], memory.done[STEP_NS], memory.done[AT] = 1, 123, 2
    words = read(shm, "Done block", row["done"])
    place = words.pop("outputs")
    assert words == {"done": 1, "worker_sleeps": 1, "step_ns": 123, "at": 2}
    assert bytes(shm._view[place : place + 16]) == bytes(memory.outputs) == struct.pack("<?xxxxxxxfxxxx", True, 2.5)
    engine.detach()
    memory.inputs.release()
    memory.outputs.release()


def test_the_opcodes() -> None:
    assert f"| {', '.join(f'{code.value} {code.name.lower()}' for code in Opcode)} |" in PAGE


def test_the_ring(shm: SharedMemoryManager) -> None:
    for sequence in range(1, 12):
        shm.writer.stage()
        shm.writer.publish(3, sequence + 100, sequence / 8, bytes([sequence]) * 16, -sequence)
    header = read(shm, "Header")
    for sequence in range(3, 12):
        slot = read(shm, "Ring slot", header["ring"] + sequence % header["slots"] * header["stride"])
        place = slot.pop("cells")
        assert slot == {
            "sequence": sequence,
            "epoch": 3,
            "frame": sequence + 100,
            "time": sequence / 8,
            "fingerprint": bytes([sequence]) * 16,
            "wall_ns": -sequence,
        }
        assert bytes(shm._view[place : place + 48]) == b"".join(signal_cell(signal) for signal in shm.registry)


def test_what_no_table_names_is_zero(shm: SharedMemoryManager) -> None:
    header = read(shm, "Header")
    areas = [("Header", 0, header["module_table"])]
    areas += [("Module table", header["module_table"] + 64 * n, 64) for n in range(2)]
    areas += [("Signal directory", header["directory"] + 64 * n, 64) for n in range(6)]
    for heading, start, size in areas:
        unnamed = set(range(size))
        for offset, type_ in table(heading).values():
            unnamed -= set(range(offset, offset + struct.calcsize("<" + FORMATS[type_])))
        assert not any(shm._view[start + at] for at in unnamed), heading


def documented_fields(verb: str) -> list[str]:
    row = re.search(rf"^\| `{verb}` \| \w+ \|([^|]*)\|", PAGE, re.MULTILINE)
    assert row is not None
    return re.findall(r"`(\w+)`", row[1])


def test_the_records(shm: SharedMemoryManager) -> None:
    signal = Signal("m", "a.b", SignalKind.INPUT, SignalType.BOOL, "N", "text", True, (0.0, 2.0), True)
    record = dict(zip(documented_fields("signal"), signal_fields(signal), strict=True))
    assert record == {
        "kind": "input",
        "type": "bool",
        "name": "a.b",
        "unit": "N",
        "initial": "true",
        "low": "0.0",
        "high": "2.0",
        "allow_nonfinite": "1",
        "description": "text",
    }
    module = shm.layout.modules[1]
    fields = layout_fields(shm.layout.size, module)
    assert dict(zip(documented_fields("layout"), fields, strict=True)) == {
        "version": PROTOCOL,
        "size": str(shm.layout.size),
        **{name: str(getattr(module, name)) for name in ("go", "inputs", "done", "done_size", "outputs")},
    }
    assert ["version", *layout_numbers(tuple(fields))] == documented_fields("layout")
    assert f"at most {RECORD_LIMIT}\nbytes" in PAGE
