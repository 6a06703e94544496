"""What the engine has measured, as values and as tables."""

from __future__ import annotations

import re
from typing import Any

import pytest

from hermes.timing import Spread, Timing

NONE = {"count": 0, "p50": 0, "p99": 0, "max": 0}


def spread(count: int, p50: int, p99: int, longest: int) -> dict[str, int]:
    return {"count": count, "p50": p50, "p99": p99, "max": longest}


def report(**changes: Any) -> dict[str, Any]:
    modules = [
        {"module": "plant", **spread(100, 12_300, 45_600, 1_234_567), "share": 0.75, "overruns": 2},
        {"module": "ctl<b>", **spread(50, 999, 2_000_000_000, 3_000_000_000), "share": 0.25, "overruns": 1},
    ]
    return {
        "modules": modules,
        "work": spread(100, 50_000, 200_000, 4_000_000),
        "critical": spread(100, 20_000, 100_000, 3_000_000),
        "late": spread(90, 80_000, 150_000, 20_000_000),
        "late_wakeups": 4,
        **changes,
    }


TABLE = """\
                   p50      p99      max  critical path  overruns
plant          12.3 us  45.6 us  1.23 ms            75%         2
ctl<b>          999 ns      2 s      3 s            25%         1
critical path    20 us   100 us     3 ms
whole frame      50 us   200 us     4 ms                        3
late wake-up     80 us   150 us    20 ms                        4
100 frames measured; 99 % of them could hold 5,000 Hz, configured are 60 Hz."""


def test_the_engine_s_report_is_values_in_seconds() -> None:
    timing = Timing.from_engine(report(), 60.0)
    assert timing.modules[0] == ("plant", Spread(100, 12.3e-6, 45.6e-6, 1.234567e-3), 0.75, 2)
    assert timing.work == Spread(100, 50e-6, 200e-6, 4e-3)
    assert timing.critical_path == Spread(100, 20e-6, 100e-6, 3e-3)
    assert timing.late == Spread(90, 80e-6, 150e-6, 20e-3)
    assert (timing.rate_hz, timing.overruns, timing.late_wakeups) == (60.0, 3, 4)
    assert timing.attainable_hz == pytest.approx(5_000)


def test_the_table_for_a_terminal() -> None:
    assert str(Timing.from_engine(report(), 60.0)) == TABLE


def test_what_was_not_paced_has_no_line_for_late_wake_ups() -> None:
    text = str(Timing.from_engine(report(late=NONE), 1000 / 7))
    assert "late wake-up" not in text
    assert text.endswith("configured are 142.857 Hz.")


def test_before_the_first_frame_there_is_nothing_to_say() -> None:
    timing = Timing.from_engine(report(work=NONE, critical=NONE, late=NONE, modules=[]), 60.0)
    assert timing.attainable_hz == 0.0
    assert str(timing).endswith("\nNo frame has been measured yet.")
    assert "<p>No frame has been measured yet.</p>" in timing._repr_html_()


def cells(*texts: str) -> str:
    return "<tr>" + "".join(f"<td style='text-align:right'>{text}</td>" for text in texts) + "</tr>"


def test_the_table_for_a_notebook_is_the_same_and_escaped() -> None:
    assert Timing.from_engine(report(), 60.0)._repr_html_() == (
        "<table><thead>"
        + cells("", "p50", "p99", "max", "critical path", "overruns")
        + "</thead><tbody>"
        + cells("plant", "12.3 us", "45.6 us", "1.23 ms", "75%", "2")
        + cells("ctl&lt;b&gt;", "999 ns", "2 s", "3 s", "25%", "1")
        + cells("critical path", "20 us", "100 us", "3 ms", "", "")
        + cells("whole frame", "50 us", "200 us", "4 ms", "", "3")
        + cells("late wake-up", "80 us", "150 us", "20 ms", "", "4")
        + "</tbody></table><p>100 frames measured; 99 % of them could hold 5,000 Hz, configured are 60 Hz.</p>"
    )


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0 ns"),
        (1, "1 ns"),
        (999, "999 ns"),
        (1_000, "1 us"),
        (1_234, "1.23 us"),
        (999_400, "999 us"),
        (999_999, "1 ms"),
        (999_999_999, "1 s"),
        (59_940_000_000, "59.9 s"),
        (3_600_000_000_000, "3600 s"),
    ],
)
def test_durations_have_three_digits_and_a_unit(ns: int, text: str) -> None:
    line = str(Timing.from_engine(report(work=spread(1, ns, ns, ns), modules=[], late=NONE), 60.0)).splitlines()[2]
    assert re.split("  +", line)[:4] == ["whole frame", text, text, text]
