from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes.backplane.handshake import layout_fields, layout_numbers
from hermes.backplane.shm import SharedMemoryManager
from hermes.backplane.signals import Signal, SignalKind, SignalRegistry, SignalType
from hermes.backplane.sync import (
    DONE,
    GO,
    MODULE_SLEEPS,
    EngineGate,
    ModuleGate,
    Opcode,
    bits_float,
    clear_event,
    fence,
    float_bits,
    new_event,
    readable,
    signal_event,
)

ROUNDS = 20_000
LOST_AFTER = 0.5

MODULE = """
import sys
from hermes.backplane.shm import ModuleMapping
from hermes.backplane.sync import ModuleGate, Opcode
fd, go_event, done_event, *numbers = map(int, sys.argv[1:])
names = ("size", "go", "inputs", "done", "done_size", "outputs")
memory = ModuleMapping(fd, **dict(zip(names, numbers))).memory
gate = ModuleGate(memory.go, memory.done, go_event, done_event)
outputs = memory.outputs.cast("Q")
print("ready", flush=True)
while True:
    opcode, frame, time, dt = gate.wait()
    if opcode is Opcode.STOP:
        break
    assert opcode is Opcode.STEP and (time, dt) == (frame / 8, 0.125)
    outputs[0] += 1
    outputs[1] = frame
    gate.finish(frame)
"""


@pytest.fixture
def shm() -> Iterator[SharedMemoryManager]:
    cells = [Signal("m", name, SignalKind.OUTPUT, SignalType.I64, initial=0) for name in ("count", "frame")]
    manager = SharedMemoryManager.create(SignalRegistry(cells), history=8)
    yield manager
    manager.close()


@pytest.fixture
def gate(shm: SharedMemoryManager) -> Iterator[EngineGate]:
    memory = shm.module_memory(shm.layout.modules[0])
    engine = EngineGate(memory.go, memory.done, new_event(), new_event())
    yield engine
    engine.detach()


def await_finish(gate: EngineGate, spin_ns: int) -> bool:
    """Wait as the engine does; return False where a wake-up was lost: work to do, a sleeper, and no event."""
    limit = time.perf_counter_ns() + spin_ns
    while spin_ns and time.perf_counter_ns() < limit:
        if gate.finished:
            return True
        os.sched_yield()
    gate.sleep(True)
    fence()
    found = True
    while found and not gate.finished:
        if readable([gate.done_event], LOST_AFTER):
            clear_event(gate.done_event)
            continue
        is_lost_by_engine = gate.finished and not readable([gate.done_event], 0)
        is_lost_by_module = bool(gate._done[MODULE_SLEEPS]) and not readable([gate.go_event], 0)
        found = not (is_lost_by_engine or is_lost_by_module)
    gate.sleep(False)
    return found


@pytest.mark.parametrize("spin_ns", [0, 50_000], ids=["sleeping", "spinning"])
def test_no_wake_up_is_lost_between_two_processes(shm: SharedMemoryManager, gate: EngineGate, spin_ns: int) -> None:
    numbers = layout_numbers(tuple(layout_fields(shm.layout.size, shm.layout.modules[0]))).values()
    fds = [shm.fd, gate.go_event, gate.done_event]
    command = [sys.executable, "-c", MODULE, *map(str, fds), *map(str, numbers)]
    counts = shm.module_memory(shm.layout.modules[0]).outputs.cast("Q")
    dt = float_bits(0.125)
    with subprocess.Popen(command, pass_fds=fds, stdout=subprocess.PIPE) as module:
        try:
            assert module.stdout is not None
            assert module.stdout.readline() == b"ready\n"
            for frame in range(1, ROUNDS + 1):
                gate.release(Opcode.STEP, frame, float_bits(frame / 8), dt, spin_ns)
                assert await_finish(gate, spin_ns), f"a wake-up was lost in frame {frame}"
                assert (counts[0], counts[1], gate.step_ns) == (frame, frame, frame)
            gate.release(Opcode.STOP, 0, 0, 0, 0)
            assert module.wait(10) == 0
        finally:
            module.kill()
            counts.release()


def pair() -> tuple[EngineGate, ModuleGate]:
    go, done = (memoryview(bytearray(64)).cast("Q") for _ in range(2))
    events = new_event(), new_event()
    return EngineGate(go, done, *events), ModuleGate(go, done, *events)


def test_go_and_done_without_a_second_thread() -> None:
    engine, module = pair()
    assert engine.finished
    engine.release(Opcode.RESET, 7, float_bits(0.5), float_bits(0.125), 0)
    assert not engine.finished
    assert module.wait() == (Opcode.RESET, 7, 0.5, 0.125)
    assert not engine.finished
    module.finish(123)
    assert engine.finished
    assert engine.step_ns == 123
    assert not readable([engine.go_event, engine.done_event], 0), "nobody slept, so nobody is woken"
    engine.detach()


def test_only_a_sleeper_is_woken() -> None:
    engine, module = pair()
    engine.sleep(True)
    engine.release(Opcode.STEP, 1, 0, 0, 0)
    module.wait()
    module.finish(0)
    assert readable([engine.done_event], 0) == {engine.done_event}
    engine.sleep(False)
    engine._done[MODULE_SLEEPS] = 1
    engine.release(Opcode.STEP, 2, 0, 0, 0)
    assert readable([engine.go_event], 0) == {engine.go_event}
    engine._done[MODULE_SLEEPS] = 0
    module.wait()
    module.finish(0)
    engine.detach()


def test_stale_wake_ups_do_not_release_a_module() -> None:
    engine, module = pair()
    for _ in range(3):
        engine.kick()
    engine.release(Opcode.STEP, 1, 0, 0, 0)
    assert module.wait()[1] == 1
    module.finish(0)
    engine.kick()
    signal_event(engine.done_event)
    engine.renew()
    assert not readable([engine.go_event, engine.done_event], 0)
    engine.renew()
    engine.detach()


def test_a_new_process_takes_up_the_sequence() -> None:
    engine, module = pair()
    engine.release(Opcode.STEP, 1, 0, 0, 0)
    module.wait()
    assert not engine.finished, "it died owing a done"
    again = ModuleGate(engine._go, engine._done, engine.go_event, engine.done_event)
    assert engine.finished
    engine.release(Opcode.RESET, 0, 0, 0, 0)
    assert again.wait()[0] is Opcode.RESET
    assert (engine._go[GO], engine._done[DONE]) == (2, 1)
    engine.detach()


def test_an_unknown_opcode_is_an_error() -> None:
    engine, module = pair()
    engine.release(9, 1, 0, 0, 0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="9 is not a valid Opcode"):
        module.wait()
    engine.detach()


@given(st.floats())
def test_a_float_crosses_as_a_word(value: float) -> None:
    bits = float_bits(value)
    assert 0 <= bits < 2**64
    assert math.isnan(bits_float(bits)) if math.isnan(value) else str(bits_float(bits)) == str(value)


def test_readable_waits_no_longer_than_told() -> None:
    event = new_event()
    assert not os.get_inheritable(event)
    assert readable([event], 0) == readable([event], -1.0) == readable([], 0) == set()
    begin = time.monotonic()
    assert readable([event], 0.0101) == set()
    assert time.monotonic() - begin >= 0.0101
    signal_event(event)
    assert readable([event]) == {event}
    clear_event(event)
    clear_event(event)
    os.close(event)
