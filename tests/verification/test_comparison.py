"""What a witness makes of slots as the feed hands them on: in stretches, some frames twice, some lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes.backplane.signals import Signal
from hermes.errors import HermesError
from hermes.history.rows import CELLS, EPOCH, FINGERPRINT, FRAME, SEQUENCE, Place, Words
from hermes.verification.comparison import Comparer, Keeper
from hermes.verification.reference import Reference

SIGNALS = [Signal("m", "x"), Signal("m", "y")]
FRAMES = 12


def slots(epoch: int = 0, frames: int = FRAMES) -> Words:
    """Return slots of frames 0, 1, ... with cells and fingerprints of their own."""
    found = np.zeros((frames, CELLS + 8), "<u8")
    found[:, FRAME] = np.arange(frames)
    found[:, SEQUENCE] = np.arange(frames) + 100 * epoch
    found[:, EPOCH] = epoch
    found[:, FINGERPRINT] = found[:, FRAME] + 1000
    found[:, CELLS] = found[:, FRAME] * 2
    return found


@pytest.fixture
def reference() -> Iterator[Reference]:
    """Return a reference that holds the frames of `slots`."""
    kept = Reference(SIGNALS, FRAMES)
    keeper = Keeper(kept, lossless=True, over=list)
    keeper.take(slots())
    keeper.finish(FRAMES)
    assert (keeper.error, keeper.frames, kept.count) == (None, FRAMES, FRAMES)
    yield kept
    kept.close()


def compared(reference: Reference, words: Words, *cuts: int) -> tuple[Comparer, list[int]]:
    """Return a comparer that has taken slots in stretches, and how often it said that it is over."""
    over: list[int] = []
    comparer = Comparer(reference, lossless=False, over=lambda: over.append(1))
    for piece in np.split(words, sorted(set(cuts))):
        if len(piece):
            comparer.take(piece)
    comparer.finish(FRAMES)
    return comparer, over


@given(
    st.lists(st.integers(1, FRAMES - 1)),
    st.integers(0, FRAMES - 1),
    st.sampled_from([CELLS, CELLS + 1, FINGERPRINT + 1]),
)
def test_the_first_frame_that_differs_is_found_in_whatever_stretches_it_comes(
    cuts: list[int], at: int, word: int
) -> None:
    kept = Reference(SIGNALS, FRAMES)
    keeper = Keeper(kept, lossless=True, over=list)
    for piece in np.split(slots(), sorted(set(cuts))):
        keeper.take(piece)
    keeper.finish(FRAMES)
    same, over = compared(kept, slots(epoch=3), *cuts)
    assert (same.error, same.differing, same.frames, over) == (None, None, FRAMES, [])
    assert same.fingerprint == keeper.fingerprint == (1000 + FRAMES - 1).to_bytes(16, "little").hex()
    other = slots(epoch=3)
    other[at:, word] += 7
    comparer, over = compared(kept, other, *cuts)
    assert comparer.differing is not None
    frame, first, second = comparer.differing
    assert (frame, comparer.error, over) == (at, None, [1])
    assert np.flatnonzero(first != second).tolist() == [word - FINGERPRINT if word < CELLS else word - CELLS + 2]
    kept.close()


def test_a_frame_that_is_published_again_counts_as_it_was_last(reference: Reference) -> None:
    words = slots()
    early = words[4:5].copy()
    early[0, CELLS] = 99
    comparer, _ = compared(reference, np.concatenate([words[:4], early, words[4:]]), 5)
    assert (comparer.differing, comparer.error) == (None, None)
    words[FRAMES - 1, CELLS] = 99
    comparer, _ = compared(reference, np.concatenate([slots(), words[-1:]]), FRAMES)
    assert comparer.differing is not None
    assert comparer.differing[0] == FRAMES - 1, "the last frame, too, waits for what replaces it"


def test_frames_that_were_missed_end_the_judgement(reference: Reference) -> None:
    over: list[int] = []
    comparer = Comparer(reference, lossless=False, over=lambda: over.append(1))
    comparer.take(slots()[:5])
    comparer.miss(Place(4, 0, 4), Place(9, 0, 9))
    comparer.take(slots()[9:])
    comparer.finish(FRAMES)
    assert str(comparer.error) == "cannot judge: frames between 4 and 9 were missed"
    assert (comparer.stopped, comparer.frames, over) == (True, 4, [1])


@pytest.mark.parametrize(("words", "text"), [
    (slots(frames=7), "cannot judge: 7 of 12 frames were seen"),
    (slots(frames=13), "cannot judge: the first run has no frame 12"),
])  # fmt: skip
def test_another_number_of_frames_is_not_papered_over(reference: Reference, words: Words, text: str) -> None:
    comparer, _ = compared(reference, words)
    assert str(comparer.error) == text


def test_what_cannot_be_kept_is_the_run_s_error(monkeypatch: pytest.MonkeyPatch, reference: Reference) -> None:
    def full(_rows: Any) -> None:
        raise HermesError(message="cannot keep frames")

    monkeypatch.setattr(reference, "append", full)
    over: list[int] = []
    keeper = Keeper(reference, lossless=True, over=lambda: over.append(1))
    keeper.take(slots())
    keeper.finish(FRAMES)
    assert (str(keeper.error), keeper.frames, over) == ("cannot keep frames", 0, [1])
