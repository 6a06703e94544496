from __future__ import annotations

import sys

import numpy as np
import pytest

from hermes.backplane.signals import Signal, SignalType
from hermes.errors import HermesError
from hermes.history.missed import Missed, MissedRange
from hermes.history.rows import table_dtype
from hermes.history.store import Decimated
from hermes.history.table import History

SIGNALS = [
    Signal("plane", "altitude", unit="m"),
    Signal("plane", "gear", type=SignalType.BOOL),
    Signal("plane", "flap", type=SignalType.F32, unit="<b>"),
    Signal("plane", "count", type=SignalType.I32),
]


def history(rows: int = 3, signals: list[Signal] = SIGNALS) -> History:
    data = np.zeros(rows, table_dtype(signals, with_epoch=False))
    data["frame"] = range(rows)
    data["time"] = np.arange(rows) / 10
    for signal in signals:
        data[signal.qualified] = np.arange(rows) + 1
    missed = Missed([MissedRange(0, 5, 6, 2)] if rows else [])
    return History(data, signals, 0, missed, Decimated(0, 1, 2) if rows else None)


def test_it_is_a_table_by_name() -> None:
    table = history()
    assert len(table) == 3
    assert table.units == {"plane.altitude": "m", "plane.gear": "", "plane.flap": "<b>", "plane.count": ""}
    assert table["plane.altitude"].tolist() == [1.0, 2.0, 3.0]
    assert table["plane.gear"].dtype == np.bool_
    assert table["time"].tolist() == [0.0, 0.1, 0.2]
    with pytest.raises(KeyError, match=r"'altitude' is not in this table; it has frame, time, plane.altitude"):
        table["altitude"]


def test_its_one_line_says_what_is_in_it_and_what_is_not() -> None:
    held = "3 frames of 4 signals, 0 to 0.2 s, one in 2 of frames 0-1"
    assert repr(history()) == f"<History of epoch 0: {held}, 2 frames missed: 5-6 of epoch 0>"
    assert repr(history(0)) == "<History of epoch 0: 0 frames of 4 signals, no frame missed>"


def test_its_html_is_escaped_and_small() -> None:
    text = history()._repr_html_()
    assert "<td style='text-align:left'>&lt;b&gt;</td>" in text
    assert "&lt;History of epoch 0" in text
    assert "<b>" not in text
    for value in ("plane.altitude", "True", ">3<"):
        assert value in text
    many = history(2, [Signal("m", f"s{number}") for number in range(500)])._repr_html_()
    assert "and 480 more" in many
    assert len(many) < 20_000
    assert "plane.gear" in history(0)._repr_html_()


def test_a_dataframe_keeps_types_and_units_and_is_indexed_by_time() -> None:
    frame = history().dataframe()
    assert list(frame.columns) == list(history().signals)
    assert frame.index.name == "time"
    assert frame.index.tolist() == [0.0, 0.1, 0.2]
    assert [str(kind) for kind in frame.dtypes] == ["float64", "bool", "float32", "int32"]
    assert frame["plane.count"].tolist() == [1, 2, 3]
    assert frame.attrs["units"] == history().units
    assert len(history(0).dataframe()) == 0


def test_without_pandas_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(HermesError, match=r"dataframe\(\) needs pandas: pip install 'hermes-sim\[data\]'"):
        history().dataframe()
