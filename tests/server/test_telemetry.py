from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes.backplane.shm import SharedMemoryManager
from hermes.backplane.signals import Signal, SignalKind, SignalRegistry, SignalType, Value
from hermes.errors import HermesError, UnknownSignal
from hermes.server.telemetry import TelemetryEncoder, decode_telemetry

F64, F32, I64, I32, BOOL = SignalType
Memory = Callable[..., SharedMemoryManager]


def declared(types: Sequence[SignalType]) -> SignalRegistry:
    """Return the signals m.s0, m.s1, ... of these types; all may be set, to anything."""
    return SignalRegistry(
        Signal("m", f"s{place}", SignalKind.INPUT, kind, initial=False if kind is BOOL else 0, allow_nonfinite=True)
        for place, kind in enumerate(types)
    )


@pytest.fixture
def memory() -> Iterator[Memory]:
    """Return what makes a backplane that holds values of these types in frame 7 at 0.25 s."""
    made = []

    def _memory(types: Sequence[SignalType], values: Sequence[Value] = ()) -> SharedMemoryManager:
        shm = SharedMemoryManager.create(declared(types), history=4)
        made.append(shm)
        for place, value in enumerate(values):
            shm.set_signal(f"m.s{place}", value)
        shm.commit(0, 7, 0.25)
        return shm

    yield _memory
    for shm in made:
        shm.close()


def naive(shm: SharedMemoryManager, signals: Sequence[str]) -> bytes:
    """Encode as the original specification sketches it: name by name."""
    header = struct.pack("<IQdI", 0x48455254, shm.get_frame(), shm.get_time(), len(signals))
    return header + struct.pack(f"<{len(signals)}d", *(shm.get_signal(name) for name in signals))


def test_the_header_by_offset(memory: Memory) -> None:
    message = TelemetryEncoder(memory([F64] * 3, [1.0, 2.0, 3.0]), ["m.s0", "m.s2"]).encode()
    assert TelemetryEncoder.HEADER_FORMAT == "<I Q d I"
    assert TelemetryEncoder.HEADER_SIZE == 24
    assert message[0:4].hex(" ") == "54 52 45 48"
    assert int.from_bytes(message[4:12], "little") == 7
    assert struct.unpack("<d", message[12:20]) == (0.25,)
    assert int.from_bytes(message[20:24], "little") == 2
    assert struct.unpack("<dd", message[24:]) == (1.0, 3.0)


@pytest.mark.parametrize("count", [0, 1, 2, 30, 500])
def test_a_frame_has_24_bytes_and_8_per_signal(memory: Memory, count: int) -> None:
    encoder = TelemetryEncoder(memory([F64] * max(1, count)), [f"m.s{place}" for place in range(count)])
    assert len(encoder.encode()) == 24 + 8 * count


def test_no_signals_make_a_header_alone(memory: Memory) -> None:
    encoder = TelemetryEncoder(memory([F64]), [])
    assert encoder.signals == ()
    frame, time, values = decode_telemetry(encoder.encode())
    assert (frame, time, values.tolist()) == (7, 0.25, [])


def test_a_backplane_without_signals_has_telemetry_too(memory: Memory) -> None:
    assert decode_telemetry(TelemetryEncoder(memory([]), []).encode())[:2] == (7, 0.25)


MIXED = [F64, I64, F32, BOOL, I32, F64, BOOL, F32, I64, I32]
VALUES: list[Value] = [0.1, -(2**53), 0.5, True, -(2**31), -1e300, False, -(2.0**-149), 2**40, 2**31 - 1]
ORDERS = [
    list(range(10)),
    list(reversed(range(10))),
    [3, 0, 9, 1],
    [0, 5],
    [5, 0],
    [2, 7],
    [6, 3],
    [4],
    [1, 8, 1, 1],
]


@pytest.mark.parametrize("order", ORDERS)
def test_values_come_in_the_order_of_the_subscription_whatever_their_types(memory: Memory, order: list[int]) -> None:
    encoder = TelemetryEncoder(memory(MIXED, VALUES), [f"m.s{place}" for place in order])
    assert decode_telemetry(encoder.encode())[2].tolist() == [float(VALUES[place]) for place in order]


@pytest.mark.parametrize("order", [[1, 2, 3], [0], [3], [3, 2, 1], [0, 2], [0, 1, 2, 3, 4], [2, 2]])
def test_neighbours_of_f64_are_copied_and_others_gathered_to_the_same_bytes(memory: Memory, order: list[int]) -> None:
    shm = memory([F64] * 5, [0.1, -0.0, math.inf, 5e-324, -1e308])
    names = [f"m.s{place}" for place in order]
    assert TelemetryEncoder(shm, names).encode() == naive(shm, names)


@pytest.mark.parametrize("kind", [F64, F32])
def test_nan_and_infinity_are_legal(memory: Memory, kind: SignalType) -> None:
    shm = memory([kind, kind, kind, BOOL], [math.nan, math.inf, -math.inf, True])
    names = ["m.s3", "m.s0", "m.s1", "m.s2"]
    values = decode_telemetry(TelemetryEncoder(shm, names).encode())[2]
    np.testing.assert_array_equal(values, [1.0, math.nan, math.inf, -math.inf])


@pytest.mark.parametrize(
    ("whole", "rounded"),
    [
        (2**53, 2.0**53),
        (2**53 + 1, 2.0**53),
        (2**53 + 3, 2.0**53 + 4),
        (2**63 - 1, 2.0**63),
        (-(2**53) - 1, -(2.0**53)),
        (-(2**63), -(2.0**63)),
    ],
)
def test_integers_beyond_2_53_are_rounded_to_the_nearest(memory: Memory, whole: int, rounded: float) -> None:
    shm = memory([I64], [whole])
    assert decode_telemetry(TelemetryEncoder(shm, ["m.s0"]).encode())[2].tolist() == [rounded]
    assert shm.get_signal("m.s0") == whole


def test_frame_and_time_at_their_limits(memory: Memory) -> None:
    shm = memory([F64])
    shm.commit(0, 2**64 - 1, 1e300)
    assert decode_telemetry(TelemetryEncoder(shm, ["m.s0"]).encode())[:2] == (2**64 - 1, 1e300)


def test_a_message_is_one_committed_frame(memory: Memory) -> None:
    shm = memory([F64, I32], [1.0, 1])
    encoder = TelemetryEncoder(shm, ["m.s0", "m.s1"])
    earlier = shm.snapshot()
    shm.set_signal("m.s0", 2.0)
    assert encoder.encode() == encoder.encode_snapshot(earlier)
    shm.commit(0, 8, 0.5)
    assert decode_telemetry(encoder.encode())[2].tolist() == [2.0, 1.0]
    assert decode_telemetry(encoder.encode_snapshot(earlier))[2].tolist() == [1.0, 1.0]


def test_unknown_names_and_an_uncommitted_backplane_raise() -> None:
    with closing(SharedMemoryManager.create(declared([F64]), history=4)) as shm:
        with pytest.raises(UnknownSignal):
            TelemetryEncoder(shm, ["m.s0", "m.s1"])
        with pytest.raises(HermesError, match="no frame has been committed yet"):
            TelemetryEncoder(shm, ["m.s0"]).encode()


HEADER = struct.pack("<IQdI", 0x48455254, 7, 0.25, 1)
NO_TELEMETRY = [
    (b"", "0 bytes are too short for telemetry"),
    (HEADER[:23], "23 bytes are too short for telemetry"),
    (HEADER, "not telemetry: magic 0x48455254, 24 bytes for 1 values"),
    (HEADER + bytes(7), "not telemetry: magic 0x48455254, 31 bytes for 1 values"),
    (HEADER + bytes(9), "not telemetry: magic 0x48455254, 33 bytes for 1 values"),
    (HEADER[3::-1] + HEADER[4:] + bytes(8), "not telemetry: magic 0x54524548, 32 bytes for 1 values"),
]


@pytest.mark.parametrize(("message", "text"), NO_TELEMETRY)
def test_what_is_not_telemetry_is_refused(message: bytes, text: str) -> None:
    with pytest.raises(ValueError, match=f"^{text}$"):
        decode_telemetry(message)


STORED: dict[SignalType, st.SearchStrategy[Value]] = {
    F64: st.floats(),
    F32: st.floats(width=32),
    I64: st.integers(-(2**63), 2**63 - 1),
    I32: st.integers(-(2**31), 2**31 - 1),
    BOOL: st.booleans(),
}


@settings(deadline=None)
@given(st.data(), st.lists(st.sampled_from(SignalType), max_size=12), st.integers(0, 2**64 - 1), st.floats())
def test_any_subscription_is_what_packing_name_by_name_gives(
    data: st.DataObject, types: list[SignalType], frame: int, time: float
) -> None:
    with closing(SharedMemoryManager.create(declared(types), history=4)) as shm:
        for place, kind in enumerate(types):
            shm.set_signal(f"m.s{place}", data.draw(STORED[kind]))
        shm.commit(0, frame, time)
        names = [signal.qualified for signal in shm.registry]
        chosen = data.draw(st.lists(st.sampled_from(names)) if names else st.just([]))
        message = TelemetryEncoder(shm, chosen).encode()
        expected = naive(shm, chosen)
        assert message[:12] == expected[:12]
        np.testing.assert_array_equal(np.frombuffer(message[12:20], "<f8"), np.frombuffer(expected[12:20], "<f8"))
        assert message[20:24] == expected[20:24]
        np.testing.assert_array_equal(np.frombuffer(message[24:], "<f8"), np.frombuffer(expected[24:], "<f8"))
