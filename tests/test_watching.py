"""What the watching commands write and draw, without a session."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from io import StringIO
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from hermes.backplane.signals import Signal, SignalRegistry, SignalType
from hermes.clierrors import plain
from hermes.remote.session import Telemetry
from hermes.watching import exact_format
from hermes.watchtable import Pace, Picture


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        (SignalType.F64, 0.1 + 0.2, "0.30000000000000004"),
        (SignalType.F64, 1.0, "1.0"),
        (SignalType.F64, math.nan, "nan"),
        (SignalType.F32, 0.10000000149011612, "0.10000000149011612"),
        (SignalType.I64, 2.0**62, str(2**62)),
        (SignalType.I32, -3.0, "-3"),
        (SignalType.I32, math.inf, "inf"),
        (SignalType.BOOL, 1.0, "true"),
        (SignalType.BOOL, 0.0, "false"),
    ],
)
def test_a_value_is_written_as_what_it_is(kind: SignalType, value: float, text: str) -> None:
    assert exact_format(Signal("m", "x", type=kind))(value) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("m/s\u00b2", "m/s\u00b2"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("a\tb\nc", "a\\tb\\nc"),
        ("\u202egnp", "\\u202egnp"),
        ("\x9b2J", "\\x9b2J"),
    ],
)
def test_nothing_from_a_server_steers_the_terminal(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_an_error_keeps_its_lines() -> None:
    assert plain("one\n\ttwo\x07\nthree", breaks=True) == "one\n        two\\x07\nthree"


def test_the_pace_is_that_of_the_last_seconds_and_of_one_epoch() -> None:
    pace = Pace()
    assert (pace.rate_hz, pace.real_time_factor) == (0.0, 0.0)
    for tick in range(100):
        pace.take(tick * 0.05, tick * 0.1)
    assert pace.rate_hz == pytest.approx(10)
    assert pace.real_time_factor == pytest.approx(0.5)
    for tick in range(100, 121):  # it pauses
        pace.take(99 * 0.05, tick * 0.1)
    assert pace.real_time_factor == pytest.approx(0.0, abs=0.03)
    pace.take(0.0, 12.1)
    assert (pace.rate_hz, pace.real_time_factor) == (0.0, 0.0)


class Following:
    """Stands where a client would."""

    name = "[red]odd\x1b[0m"
    state = "running"
    signals = SignalRegistry(
        [Signal("m", f"x{place}", unit="[b]m[/b]\x07") for place in range(20)]
        + [Signal("m", "on", type=SignalType.BOOL), Signal("m", "count", type=SignalType.I64)]
    )

    def observe(self, observer: Callable[[str, Mapping[str, Any]], None]) -> None:
        self.tell = observer


def drawn(picture: Picture, names: tuple[str, ...], height: int) -> str:
    """Return the picture of a frame as text."""
    frame = Telemetry(7, 0.07, np.arange(len(names)) + 0.123456789, names)
    out = StringIO()
    console = Console(file=out, width=100, height=height, force_terminal=False)
    console.print(picture.drawn(frame, 1.0, height))
    return out.getvalue()


def test_the_picture_fits_the_terminal_and_takes_no_markup() -> None:
    client = Following()
    picture = Picture(client, client.signals.names)  # type: ignore[arg-type]
    for number in range(5):
        client.tell("paused", {"time": float(number)})
    client.tell("failed", {"time": 9.0, "message": "module m [bold]died\x1b[2J\nand more"})
    text = drawn(picture, client.signals.names, 24)
    lines = text.splitlines()
    assert len(lines) <= 24
    assert lines[0].split("   ") == [
        "[red]odd\\x1b[0m",
        "running",
        "0.07 s",
        "frame 7",
        "0.00 x real time",
        "0.0 frames/s received",
    ]
    assert lines[3].split() == ["m.x0", "0.123457", "[b]m[/b]\\x07"]
    assert "... and 9 more; name a PATTERN to choose" in text
    assert [line.rstrip() for line in lines[-3:]] == [
        "3.00 s  paused",
        "4.00 s  paused",
        "9.00 s  failed: module m [bold]died\\x1b[2J",
    ]


def test_the_picture_shows_whole_numbers_and_truth_as_such() -> None:
    client = Following()
    names = ("m.on", "m.count")
    lines = drawn(Picture(client, names), names, 40).splitlines()  # type: ignore[arg-type]
    assert [line.split() for line in lines[3:5]] == [["m.on", "true"], ["m.count", "1"]]
