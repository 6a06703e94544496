from __future__ import annotations

from typing import Any

import pytest
import xxhash

from hermes.backplane.ring import PREFIX
from hermes.backplane.signals import Signal, SignalKind, SignalRegistry, SignalType
from hermes.engine.journal import Fingerprint, entry

SIGNALS = [
    Signal("a", "x", SignalKind.OUTPUT, SignalType.F64, initial=1.0),
    Signal("b", "u", SignalKind.INPUT, SignalType.I32, initial=2),
]
FRAMES = [bytes([frame]) * 16 for frame in range(5)]


def fingerprint(signals: list[Signal] = SIGNALS, rate: tuple[int, int] = (60, 1), seed: int = 0) -> Fingerprint:
    return Fingerprint(SignalRegistry(signals), rate, seed)


def staged(cells: bytes) -> memoryview:
    return memoryview(bytearray(PREFIX) + cells)


def run(made: Fingerprint, sets: dict[int, list[tuple[int, int]]] | None = None) -> list[bytes]:
    digests = []
    for number, cells in enumerate(FRAMES):
        for index, cell in (sets or {}).get(number, []):
            made.note_set(index, cell)
        digests.append(made.take(staged(cells)))
    return digests


def test_the_definition_by_hand() -> None:
    description = "60/1|7\na.x|output|f64|3ff0000000000000\nb.u|input|i32|0000000000000002"
    made = fingerprint(seed=7)
    origin = xxhash.xxh3_128_digest(description.encode())
    assert made.digest == origin
    first = xxhash.xxh3_128_digest(origin + FRAMES[0])
    assert made.take(staged(FRAMES[0])) == made.digest == first
    made.note_set(1, 2**64 - 2)
    made.note_set(0, 5)
    sets = b"\1\0\0\0\xfe" + b"\xff" * 7 + b"\0\0\0\0\5" + bytes(7)
    second = xxhash.xxh3_128_digest(first + sets + FRAMES[1])
    assert made.take(staged(FRAMES[1])) == second
    assert made.take(staged(FRAMES[2])) == xxhash.xxh3_128_digest(second + FRAMES[2]), "a set counts once"


def test_the_same_run_has_the_same_fingerprint_at_every_frame() -> None:
    digests = run(fingerprint(), {2: [(1, 5)]})
    assert digests == run(fingerprint(), {2: [(1, 5)]})
    assert len(set(digests)) == len(FRAMES)
    assert {len(digest) for digest in digests} == {16}


OTHER: list[dict[str, Any]] = [
    {"seed": 1},
    {"rate": (60000, 1001)},
    {"signals": [SIGNALS[0], SIGNALS[1]._replace(initial=3)]},
    {"signals": [SIGNALS[0], SIGNALS[1]._replace(name="v")]},
    {"signals": [SIGNALS[0], SIGNALS[1]._replace(kind=SignalKind.PARAMETER)]},
    {"signals": [SIGNALS[0], SIGNALS[1]._replace(type=SignalType.I64)]},
    {"signals": SIGNALS[::-1]},
    {"signals": SIGNALS[:1]},
]


@pytest.mark.parametrize("changed", OTHER, ids=",".join)
def test_what_the_run_consists_of_enters(changed: dict[str, Any]) -> None:
    assert fingerprint(**changed).digest != fingerprint().digest


@pytest.mark.parametrize("sets", [{}, {1: [(1, 5)]}, {2: [(0, 5)]}, {2: [(1, 6)]}, {2: [(1, 5), (1, 5)]}])
def test_a_set_enters_with_its_signal_value_and_frame(sets: dict[int, list[tuple[int, int]]]) -> None:
    before, after = run(fingerprint(), {2: [(1, 5)]}), run(fingerprint(), sets)
    assert before[-1] != after[-1]
    assert before[0] == after[0]


def test_the_order_of_sets_enters() -> None:
    assert run(fingerprint(), {2: [(0, 1), (1, 2)]})[-1] != run(fingerprint(), {2: [(1, 2), (0, 1)]})[-1]


def test_reset_begins_anew_and_forgets_what_was_set_before() -> None:
    made = fingerprint()
    run(made)
    made.note_set(0, 1)
    made.restart()
    assert made.digest == fingerprint().digest
    assert run(made) == run(fingerprint())


def test_what_identifies_a_set_of_no_frame_does_not_change_the_digest() -> None:
    made = fingerprint()
    made.note_set(0, 1)
    assert made.digest == fingerprint().digest


def test_a_line_of_the_journal() -> None:
    line = entry(3, "set", "ws-1", [("values", {"b.u": 2})])
    assert line == {"frame": 3, "verb": "set", "origin": "ws-1", "values": {"b.u": 2}}
    assert entry(0, "pause", "cell", []) == {"frame": 0, "verb": "pause", "origin": "cell"}
