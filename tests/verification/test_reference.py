from __future__ import annotations

import shutil
import tempfile
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from hermes.backplane.signals import Signal
from hermes.errors import HermesError
from hermes.verification.reference import Reference, rows_of

SIGNALS = [Signal("m", "x"), Signal("m", "y")]


def test_rows_come_back_as_they_were_and_only_as_many_as_there_are() -> None:
    reference = Reference(SIGNALS, 10)
    rows = np.arange(40, dtype="<u8").reshape(10, 4) << np.uint64(58)
    reference.append(rows[:3])
    reference.append(rows[3:])
    assert reference.count == 10
    assert (reference.rows(2, 5) == rows[2:7]).all()
    assert (reference.rows(8, 5) == rows[8:]).all()
    assert len(reference.rows(10, 5)) == 0
    reference.close()


def test_its_file_has_no_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    reference = Reference(SIGNALS, 10)
    reference.append(np.zeros((1, 4), "<u8"))
    assert list(tmp_path.iterdir()) == []
    reference.close()


def test_what_the_disk_has_no_room_for_is_refused_beforehand(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: usage(0, 0, 31_999_999_999))
    with pytest.raises(HermesError, match=r"comparing 1000000000 frames of 2 signals takes 32\.0 GB in .*\(TMPDIR\)"):
        Reference(SIGNALS, 10**9)


def test_of_a_slot_the_fingerprint_and_the_cells_are_compared_and_nothing_else() -> None:
    slots = np.arange(16, dtype="<u8").reshape(1, 16)
    assert rows_of(slots, 3).tolist() == [[4, 5, 8, 9, 10]]
