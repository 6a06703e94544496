from __future__ import annotations

import numpy as np

from hermes.backplane.shm import SharedMemoryManager
from hermes.backplane.signals import Signal, SignalRegistry, SignalType, encode_cell
from hermes.history.rows import CELLS, EPOCH, FRAME, Place, as_table, one_per_frame, place_of, slot_words, table_dtype

KINDS = {
    "f": (SignalType.F64, -0.1),
    "g": (SignalType.F32, 0.5),
    "n": (SignalType.I64, -(2**63)),
    "m": (SignalType.I32, -7),
    "b": (SignalType.BOOL, True),
}


def test_every_type_is_read_as_it_was_committed() -> None:
    registry = SignalRegistry(Signal("m", name, type=kind, initial=value) for name, (kind, value) in KINDS.items())
    shm = SharedMemoryManager.create(registry, history=8)
    shm.commit(3, 5, 0.25)
    words = slot_words(shm.stretch(1, 8)[1], shm.layout.stride)
    assert place_of(words[0]) == Place(1, 3, 5)
    chosen = np.ascontiguousarray(words[:, [1, 2, 3, *range(CELLS, CELLS + 5)]])
    table = as_table(chosen, table_dtype(list(registry), with_epoch=True))
    assert table.dtype.names == ("epoch", "frame", "time", "m.f", "m.g", "m.n", "m.m", "m.b")
    assert [table.dtype[name].str for name in table.dtype.names] == [
        "<u8",
        "<i8",
        "<f8",
        *["<f8", "<f4", "<i8", "<i4", "|b1"],
    ]
    assert table[0].item() == (3, 5, 0.25, -0.1, 0.5, -(2**63), -7, True)
    assert not table.flags.writeable
    shm.close()


def test_cells_are_what_a_value_is_encoded_as() -> None:
    signal = Signal("m", "x", type=SignalType.I32)
    words = np.array([[1, 0, encode_cell(signal, -2)]], np.uint64)
    table = as_table(words, table_dtype([signal], with_epoch=False))
    assert table[0].item() == (1, 0.0, -2)


def slots(*places: tuple[int, int]) -> np.ndarray[tuple[int, ...], np.dtype[np.uint64]]:
    words = np.zeros((len(places), CELLS + 1), np.uint64)
    words[:, [EPOCH, FRAME]] = places
    words[:, CELLS] = range(len(places))
    return words


def test_of_a_frame_that_was_published_again_the_last_stays() -> None:
    def kept(*places: tuple[int, int]) -> list[int]:
        return one_per_frame(slots(*places))[:, CELLS].tolist()

    assert kept((0, 1)) == [0]
    assert kept((0, 1), (0, 2), (0, 3)) == [0, 1, 2]
    assert kept((0, 1), (0, 1), (0, 2), (0, 2), (0, 2)) == [1, 4]
    assert kept((0, 0), (1, 0), (1, 0), (2, 0)) == [0, 2, 3], "frame 0 of another epoch is another frame"
