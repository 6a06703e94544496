"""What the panel says in HTML: the state, why a session failed, its signals, and the same as a table without widgets.

Plain functions that return text; whatever comes from a session is escaped.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from typing import Any

from hermes.backplane.signals import Signal, Value
from hermes.errors import HermesError
from hermes.lifecycle import State, Verb, legal
from hermes.notebook.fields import text_of

STATIC_ROWS = 40
"""Signals that the table without widgets lists."""

_COLUMNS = ("signal", "value", "unit", "limits", "description")
_LEFT = "style='text-align:left'"


def enabled(state: State, *, single_frame: bool) -> frozenset[Verb]:
    """Return the verbs whose buttons and fields work in a state."""
    return frozenset(legal(state, single_frame=single_frame))


def status_html(status: Mapping[str, Any]) -> str:
    """Return state, time, frame, real-time factor, overruns and clients as one line; `status` as a client gets it."""
    parts = [
        _session(status["session"]),
        badge(status["state"]),
        _part("time", f"{status['time']:.3f}", "s"),
        _part("frame", str(status["frame"]), "frame", before=True),
        _part("factor", f"{status['real_time_factor']:.2f}", "&times; real time"),
        _part("overruns", str(status["overruns"]), "overrun" if status["overruns"] == 1 else "overruns"),
        _part("clients", str(status["clients"]), "client" if status["clients"] == 1 else "clients"),
    ]
    return "".join(parts)


def closed_html(name: str, time: float, frame: int) -> str:
    """Return the line of a session that is closed."""
    at = _part("time", f"{time:.3f}", "s") + _part("frame", str(frame), "frame", before=True)
    note = "<span class='hermes-note'>this session is closed; make a new one to go on</span>"
    return _session(name) + badge(State.CLOSED) + at + note


def _session(name: str) -> str:
    return f"<span class='hermes-session' title='{html.escape(name, quote=True)}'>{html.escape(name)}</span>"


def badge(state: str) -> str:
    """Return a state as a coloured badge."""
    return f"<span class='hermes-badge hermes-is-{html.escape(state)}'>{html.escape(state)}</span>"


def _part(kind: str, number: str, words: str, *, before: bool = False) -> str:
    figures = f"<b class='hermes-number'>{number}</b>"
    said = f"{words}&nbsp;{figures}" if before else f"{figures}&nbsp;{words}"
    return f"<span class='hermes-part hermes-{kind}'>{said}</span>"


def failure_html(failure: HermesError | None) -> str:
    """Return why a session failed: the sentence, and behind it, folded, whatever more there is; "" for none."""
    if failure is None:
        return ""
    sentence, _, more = str(failure).partition("\n")
    details = f"<details><summary>more</summary><pre>{html.escape(more)}</pre></details>" if more else ""
    return f"<div class='hermes-why'>{html.escape(sentence)}</div>{details}"


def name_html(signal: Signal) -> str:
    """Return a signal's name inside its module; what it is shows beneath the pointer."""
    return f"<span title='{html.escape(hint(signal), quote=True)}'>{html.escape(signal.name)}</span>"


def unit_html(signal: Signal) -> str:
    """Return a signal's unit and limits."""
    limits = "" if signal.limits is None else f"{signal.limits[0]:g} &hellip; {signal.limits[1]:g}"
    return f"{html.escape(signal.unit)} <span class='hermes-limits'>{limits}</span>"


def hint(signal: Signal) -> str:
    """Return in a sentence what a field sets."""
    return signal.qualified + (f": {signal.description}" if signal.description else "") + f"\ntakes {signal.accepted}"


def matches_text(shown: int, matching: int) -> str:
    """Return what a search found, and what to do where that is too much."""
    if matching > shown:
        return f"{matching} signals match; the first {shown} are shown: narrow the search"
    return (
        "no signal matches" if not matching else f"{matching} {'signal matches' if matching == 1 else 'signals match'}"
    )


def static_html(name: str, now: Mapping[str, Any], signals: Iterable[tuple[Signal, Value]]) -> str:
    """Return state and writable signals as tables, for wherever there are no widgets."""
    rows = list(signals)
    head = "".join(f"<th {_LEFT}>{column}</th>" for column in _COLUMNS)
    body = "".join(_static_row(signal, value) for signal, value in rows[:STATIC_ROWS])
    rest = f"<p>and {len(rows) - STATIC_ROWS} more</p>" if len(rows) > STATIC_ROWS else ""
    about = f"{html.escape(now['state'])}, {now['time']:.3f} s, frame {now['frame']}"
    caption = f"<caption {_LEFT}>Controls of <b>{html.escape(name)}</b>: {about}</caption>"
    return f"<table>{caption}<tr>{head}</tr>{body}</table>{rest}"


def _static_row(signal: Signal, value: Value) -> str:
    limits = "" if signal.limits is None else f"{signal.limits[0]:g} to {signal.limits[1]:g}"
    texts = (signal.qualified, text_of(value), signal.unit, limits, signal.description)
    return "<tr>" + "".join(f"<td {_LEFT}>{html.escape(text)}</td>" for text in texts) + "</tr>"
