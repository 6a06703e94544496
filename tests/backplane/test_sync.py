from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from bounds import PATIENCE
from hypothesis import given
from hypothesis import strategies as st

from hermes.backplane.handshake import layout_fields, layout_numbers
from hermes.backplane.layout import CELL, NOW_TIME
from hermes.backplane.shm import SharedMemoryManager
from hermes.backplane.signals import Signal, SignalKind, SignalRegistry, SignalType
from hermes.backplane.sync import (
    DONE,
    DT,
    GO,
    SPIN_NS,
    STEP_NS,
    WORKER_SLEEPS,
    EngineGate,
    Opcode,
    WorkerGate,
    bits_float,
    clear_event,
    fence,
    float_bits,
    new_event,
    readable,
    signal_event,
)

ROUNDS = [5_000, pytest.param(400_000, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])]
LOST_AFTER = 0.5

MODULE = """
import sys
from hermes.backplane.shm import ModuleMapping
from hermes.backplane.sync import DT, STEP_NS, WorkerGate, bits_float
fd, go_event, done_event, *numbers = map(int, sys.argv[1:])
names = ("size", "go", "inputs", "done", "done_size", "outputs")
mapping = ModuleMapping(fd, **dict(zip(names, numbers)))
memory, now = mapping.memory, mapping.now
gate = WorkerGate(memory.go, memory.done, go_event, done_event)
outputs = memory.outputs.cast("Q")
print("ready", flush=True)


def step():
    assert bits_float(memory.go[DT]) == 0.125
    outputs[0] += 1
    outputs[1] = int(now[0] * 8)
    memory.done[STEP_NS] = outputs[0]

gate.serve(step, None)
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
        is_lost_by_engine = gate.finished and not readable([gate.done_event], PATIENCE)
        found = not is_lost_by_engine and gate.stirs(PATIENCE)
    gate.sleep(False)
    return found


@pytest.mark.parametrize("rounds", ROUNDS, ids=["short", "full"])
@pytest.mark.parametrize("spin_ns", [0, 50_000], ids=["sleeping", "spinning"])
def test_no_wake_up_is_lost_between_two_processes(
    shm: SharedMemoryManager, gate: EngineGate, spin_ns: int, rounds: int
) -> None:
    numbers = layout_numbers(tuple(layout_fields(shm.layout.size, shm.layout.modules[0]))).values()
    fds = [shm.fd, gate.go_event, gate.done_event]
    command = [sys.executable, "-c", MODULE, *map(str, fds), *map(str, numbers)]
    counts = shm.module_memory(shm.layout.modules[0]).outputs.cast("Q")
    times = shm.words("d")
    gate.go[DT], gate.go[SPIN_NS] = float_bits(0.125), spin_ns
    with subprocess.Popen(command, pass_fds=fds, stdout=subprocess.PIPE) as module:
        try:
            assert module.stdout is not None
            assert module.stdout.readline() == b"ready\n"
            for frame in range(1, rounds + 1):
                times[NOW_TIME // CELL] = frame / 8
                gate.release(Opcode.STEP)
                assert await_finish(gate, spin_ns), f"a wake-up was lost in frame {frame}"
                assert (counts[0], counts[1], gate.done[STEP_NS]) == (frame, frame, frame)
            gate.release(Opcode.STOP)
            assert module.wait(PATIENCE) == 0
        finally:
            module.kill()
            counts.release()
            times.release()


def pair() -> tuple[EngineGate, WorkerGate]:
    go, done = (memoryview(bytearray(64)).cast("Q") for _ in range(2))
    events = new_event(), new_event()
    return EngineGate(go, done, *events), WorkerGate(go, done, *events)


def served(engine: EngineGate, worker: WorkerGate) -> list[str]:
    """Let the worker do what it has been released for, and then stop; return what it did."""
    did: list[str] = []

    def act(what: str) -> None:
        assert not engine.finished
        did.append(what)
        engine.release(Opcode.STOP)

    worker.serve(lambda: act("step"), lambda: act("reset"))
    assert engine.done[DONE] == engine.go[GO] - 1, "a stop is not answered"
    return did


def test_go_and_done_without_a_second_thread() -> None:
    engine, worker = pair()
    assert engine.finished
    engine.release(Opcode.RESET)
    assert not engine.finished
    assert served(engine, worker) == ["reset"]
    assert not readable([engine.go_event, engine.done_event], 0), "nobody slept, so nobody is woken"
    engine.detach()


def test_only_a_sleeper_is_woken() -> None:
    engine, worker = pair()
    engine.sleep(True)
    engine.release(Opcode.STEP)
    served(engine, worker)
    assert readable([engine.done_event], 0) == {engine.done_event}
    engine.sleep(False)
    engine.done[WORKER_SLEEPS] = 1
    engine.release(Opcode.STEP)
    assert readable([engine.go_event], 0) == {engine.go_event}
    assert not engine.overslept(), "a wake-up is on its way"
    clear_event(engine.go_event)
    assert engine.overslept()
    engine.done[WORKER_SLEEPS] = 0
    assert not engine.overslept()
    engine.detach()


def test_stale_wake_ups_do_not_release_a_worker() -> None:
    engine, worker = pair()
    for _ in range(3):
        engine.kick()
    engine.release(Opcode.STEP)
    assert served(engine, worker) == ["step"]
    engine.kick()
    signal_event(engine.done_event)
    engine.renew()
    assert not readable([engine.go_event, engine.done_event], 0)
    engine.renew()
    engine.detach()


def test_a_new_process_takes_up_the_stamp() -> None:
    engine, _ = pair()
    engine.release(Opcode.STEP)
    assert not engine.finished, "it died owing a done"
    again = WorkerGate(engine.go, engine.done, engine.go_event, engine.done_event)
    assert engine.finished
    engine.release(Opcode.RESET)
    assert served(engine, again) == ["reset"]
    assert (engine.go[GO], engine.done[DONE]) == (3, 2)
    engine.detach()


def test_an_unknown_opcode_is_an_error() -> None:
    engine, worker = pair()
    engine.release(9)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="9 is not a valid Opcode"):
        worker.serve(pytest.fail, pytest.fail)
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


def test_a_worker_that_is_kept_from_taking_its_flag_back_has_lost_no_wake_up() -> None:
    engine, module = pair()
    engine.release(Opcode.STEP)
    engine.done[WORKER_SLEEPS] = 1  # set just after the engine had read it; the worker sees the go, and is interrupted
    assert engine.overslept()
    assert not engine.stirs(0.05)
    late = threading.Timer(0.05, lambda: engine.done.__setitem__(WORKER_SLEEPS, 0))
    late.start()
    assert engine.stirs(60)
    late.join()
    assert served(engine, module) == ["step"]
    engine.detach()
