from __future__ import annotations

import re

from hermes.backplane.signals import Signal, SignalKind, SignalRegistry, SignalType

THRUST = Signal(
    "plane", "engine.thrust", SignalKind.INPUT, SignalType.F32, "N", "Pull <of> the propeller", 1.5, (0, 4e3)
)


def texts(table: str) -> list[list[str]]:
    rows = re.findall(r"<tr>(.*?)</tr>", table)
    return [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row) for row in rows]


def test_a_registry_shows_its_signals_module_by_module() -> None:
    registry = SignalRegistry([THRUST, Signal("wind", "north", unit="m/s")])
    table = registry._repr_html_()
    assert texts(table) == [
        ["signal", "kind", "type", "unit", "limits", "description"],
        ["plane"],
        ["engine.thrust", "input", "f32", "N", "0 to 4000", "Pull &lt;of&gt; the propeller"],
        ["wind"],
        ["north", "output", "f64", "m/s", "", ""],
    ]
    assert "2 signals" in table


def test_a_large_registry_shows_where_it_stops() -> None:
    table = SignalRegistry(Signal("m", f"s{number}") for number in range(2000))._repr_html_()
    assert "2000 signals, the first 500 of them" in table
    assert len(texts(table)) == 502


def test_a_signal_shows_what_is_known_of_it() -> None:
    assert texts(THRUST._repr_html_()) == [
        ["kind", "input"],
        ["type", "f32"],
        ["unit", "N"],
        ["limits", "0 to 4000"],
        ["description", "Pull &lt;of&gt; the propeller"],
        ["initial", "1.5"],
    ]
    assert "<b>plane.engine.thrust</b>" in THRUST._repr_html_()
