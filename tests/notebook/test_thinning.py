from __future__ import annotations

import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes.backplane.signals import FORMATS, SignalType, Value
from hermes.history.rows import Words
from hermes.notebook.thinning import as_floats, bucket_size, thin

F64 = [SignalType.F64]


def rows(frames: list[int], *columns: list[int]) -> Words:
    """Return rows of frame, time (a tenth of the frame) and cells."""
    words = np.zeros((len(frames), 2 + len(columns)), np.uint64)
    words[:, 0] = frames
    words[:, 1] = (np.array(frames, np.float64) / 10).view(np.uint64)
    for place, column in enumerate(columns):
        words[:, 2 + place] = column
    return words


def cells(kind: SignalType, values: list[Value]) -> list[int]:
    return [int.from_bytes(FORMATS[kind].pack(value), "little") for value in values]


def doubles(values: list[float]) -> list[int]:
    return [struct.unpack("<Q", struct.pack("<d", value))[0] for value in values]


def test_every_type_becomes_a_float_and_infinite_ones_become_gaps() -> None:
    types = list(SignalType)
    given_values: list[list[Value]] = [[1.5, -math.inf], [0.25, math.nan], [-7, 2**40], [-3, 4], [True, False]]
    words = rows([0, 1], *(cells(kind, column) for kind, column in zip(types, given_values, strict=True)))
    values = as_floats(words, types)
    expected = [[0.0, 0.1], [1.5, math.nan], [0.25, math.nan], [-7, 2**40], [-3, 4], [1, 0]]
    assert np.array_equal(values, np.array(expected), equal_nan=True)


@given(frames=st.integers(1, 10**7), points=st.integers(2, 4000))
def test_a_window_has_about_as_many_points_as_may_be(frames: int, points: int) -> None:
    size = bucket_size(frames, points)
    assert size >= 1
    if size == 1:
        assert frames <= points
    else:
        assert 2 * frames / size <= points, "two points a bucket"
        assert size < 2 * frames / points + 1, "and no larger buckets than that takes"


def test_while_all_fit_every_row_is_a_point_and_only_the_newest_is_open() -> None:
    points = thin(rows([3, 4, 7], doubles([1.0, math.nan, 2.0])), F64, 1)
    assert np.array_equal(points.columns, [[0.3, 0.4, 0.7], [1.0, math.nan, 2.0]], equal_nan=True)
    assert (points.open, points.until) == (1, 6)


def test_a_bucket_shows_its_least_and_its_greatest_value_in_the_order_of_its_slope() -> None:
    values = [0.0, 9.0, 1.0, 5.0, -4.0, 2.0, 8.0]
    points = thin(rows(list(range(7)), doubles(values)), F64, 3)
    assert points.columns[0].tolist() == pytest.approx([0.0, 0.2, 0.3, 0.5, 0.6])
    assert points.columns[1].tolist() == [0.0, 9.0, 5.0, -4.0, 8.0]
    assert (points.open, points.until) == (1, 5)


def test_one_nan_leaves_the_others_of_its_bucket_and_a_bucket_of_them_is_a_gap() -> None:
    values = [math.nan, 2.0, 3.0, math.nan, math.nan, math.nan]
    points = thin(rows(list(range(6)), doubles(values)), F64, 3)
    assert np.array_equal(points.columns[1], [2.0, 3.0, math.nan, math.nan], equal_nan=True)


@given(
    values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60),
    first=st.integers(0, 20),
    size=st.integers(2, 9),
    cut=st.integers(1, 60),
)
def test_points_do_not_depend_on_when_they_are_looked_at(values: list[float], first: int, size: int, cut: int) -> None:
    """What is closed after some of the rows is the beginning of what all of them give."""
    words = rows(list(range(first, first + len(values))), doubles(values))
    early, late = thin(words[:cut], F64, size), thin(words, F64, size)
    closed = early.columns[:, : early.columns.shape[1] - early.open]
    assert np.array_equal(closed, late.columns[:, : closed.shape[1]])
    assert closed[1].size == 0 or closed[0, -1] * 10 == pytest.approx(early.until)
    assert late.columns[1].min() == min(values)
    assert late.columns[1].max() == max(values)
    assert (np.diff(late.columns[0]) > 0).all()
