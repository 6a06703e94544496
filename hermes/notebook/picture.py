"""A plot as a picture, drawn by matplotlib where that is installed."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from io import BytesIO
from typing import Any

from hermes.backplane.signals import Signal, SignalType
from hermes.notebook.thinning import Floats

_WIDTH, _HEIGHT = 9.0, 1.9
"""Inches: of a picture, and of each of its axes."""

_MARGIN = 0.55
_LINE = 125
"""Characters that fit beside one another above an axes."""

_UNITS = 2
"""So many units fit beside an axis; all of them are in the legend."""

_STEPPED = (SignalType.BOOL, SignalType.I32, SignalType.I64)


def picture(
    axes: Sequence[Sequence[Signal]], signals: Sequence[Signal], columns: Floats, window: float
) -> tuple[str | None, str]:
    """Return a PNG in base64 and "", or None and what is missing.

    `columns` are time and then the values of `signals`; each of `axes` shows some of them.
    """
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - an optional dependency, needed here only
    except ImportError:
        return None, 'a static picture needs matplotlib: pip install "hermes-sim[notebook]"'
    figure = Figure(figsize=(_WIDTH, _HEIGHT * len(axes) + _MARGIN), dpi=100, layout="constrained")
    places = {signal: place for place, signal in enumerate(signals, start=1)}
    stacked = figure.subplots(len(axes), 1, sharex=True, squeeze=False)[:, 0]
    for shown, group in zip(stacked, axes, strict=True):
        for signal in group:
            _draw(shown, signal, columns[0], columns[places[signal]])
        _finish(shown, group)
    begin = max(float(columns[0][0]), float(columns[0][-1]) - window)
    stacked[-1].set_xlim(begin, max(float(columns[0][-1]), begin + 1e-9))
    stacked[-1].set_xlabel("time (s)")
    target = BytesIO()
    figure.savefig(target, format="png")
    return b64encode(target.getvalue()).decode(), ""


def _draw(shown: Any, signal: Signal, time: Any, values: Any) -> None:
    style = "steps-post" if signal.type in _STEPPED else "default"
    label = _plain(signal.qualified + (f" ({signal.unit})" if signal.unit else ""))
    shown.plot(time, values, label=label, linewidth=1.4, drawstyle=style)


def _finish(shown: Any, group: Sequence[Signal]) -> None:
    units = dict.fromkeys(signal.unit for signal in group if signal.unit)
    shown.set_ylabel(_plain(", ".join(units)) if len(units) <= _UNITS else "")
    shown.grid(alpha=0.3)
    shown.margins(y=0.1)
    shown.spines[["top", "right"]].set_visible(False)
    longest = max(len(signal.qualified) + len(signal.unit) for signal in group)
    columns = max(1, _LINE // (longest + 9))
    shown.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, frameon=False, fontsize="small")


def _plain(text: str) -> str:
    """Return text in which matplotlib sees no formula."""
    return text.replace("$", r"\$")
