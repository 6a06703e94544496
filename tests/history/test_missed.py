from __future__ import annotations

from hermes.history.missed import Epochs, Missed, MissedLog, MissedRange
from hermes.history.rows import Place


def reset(frame: int) -> list[dict[str, object]]:
    """Return what the engine says of a reset after a frame."""
    entry = {"frame": frame, "verb": "reset", "origin": "python"}
    return [{"type": "journal", "entry": entry}, {"type": "event", "event": "reset", "frame": 0}]


def test_the_slots_around_a_gap_name_what_is_missing() -> None:
    log = MissedLog(Epochs())
    assert not log.missed()
    log.note(Place(1, 0, 0), Place(5, 0, 4))
    log.note(Place(9, 0, 8), Place(12, 0, 9))  # only frames that a set had published again
    log.note(Place(12, 0, 9), Place(14, 0, 11))
    missed = log.missed()
    assert list(missed) == [MissedRange(0, 1, 3, 3), MissedRange(0, 10, 10, 1)]
    assert (missed.count, len(missed), bool(missed)) == (4, 2, True)
    assert repr(missed) == "4 frames missed: 1-3 of epoch 0, 10-10 of epoch 0"


def test_a_gap_over_resets_is_bounded_by_its_slots_until_the_engine_has_said_where_the_epochs_ended() -> None:
    epochs = Epochs()
    log = MissedLog(epochs)
    log.note(Place(10, 0, 5), Place(100, 2, 3))
    assert list(log.missed()) == [MissedRange(0, 6, 91, 86), MissedRange(2, 0, 2, 3)]
    for record in reset(60):
        epochs.hear(record)
    assert list(log.missed()) == [MissedRange(0, 6, 60, 55), MissedRange(2, 0, 2, 3)]
    for record in reset(7):
        epochs.hear(record)
    assert list(log.missed()) == [MissedRange(0, 6, 60, 55), MissedRange(1, 0, 7, 8), MissedRange(2, 0, 2, 3)]


def test_an_epoch_that_ended_with_the_last_frame_seen_misses_nothing() -> None:
    epochs = Epochs()
    log = MissedLog(epochs)
    log.note(Place(10, 0, 9), Place(14, 1, 0))  # three sets before the reset
    for record in reset(9):
        epochs.hear(record)
    assert list(log.missed()) == []


def test_a_reset_that_failed_ends_no_epoch() -> None:
    epochs = Epochs()
    failed, _ = reset(5)
    for record in [failed, {"type": "event", "event": "failed", "frame": 5}, *reset(5)]:
        epochs.hear(record)
    assert epochs.ends == [5]


def test_thousands_of_ranges_are_joined_and_none_is_lost_from_the_count() -> None:
    log = MissedLog(Epochs(), limit=16)
    for number in range(1000):
        log.note(Place(4 * number, 0, 4 * number), Place(4 * number + 3, 0, 4 * number + 3))
        missed = log.missed()
        assert len(missed) < 32
        assert missed.count == 2 * (number + 1)
        assert (missed.ranges[0].first, missed.ranges[-1].last) == (1, 4 * number + 2)
    assert all(one.last < after.first for one, after in zip(missed.ranges, missed.ranges[1:], strict=False))
    assert str(missed.ranges[0]).endswith("of them) of epoch 0")
    assert str(missed.ranges[-1]) == "3997-3998 of epoch 0"


def test_ranges_of_different_epochs_stay_apart() -> None:
    log = MissedLog(Epochs(), limit=4)
    for epoch in range(40):
        log.note(Place(10 * epoch, epoch, 0), Place(10 * epoch + 2, epoch, 2))
    assert list(log.missed()) == [MissedRange(epoch, 1, 1, 1) for epoch in range(40)]


def test_many_ranges_are_shown_shortly() -> None:
    missed = Missed(MissedRange(0, 10 * number, 10 * number, 1) for number in range(9))
    assert repr(missed).endswith("30-30 of epoch 0 and 5 ranges more")
