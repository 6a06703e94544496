"""Signals as a notebook shows them: tables in which every text is escaped. Loaded when one is shown."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from hermes.backplane.signals import Signal

_SHOWN = 500
_COLUMNS = ("signal", "kind", "type", "unit", "limits", "description")


def signals_html(signals: Sequence[Signal]) -> str:
    """Return a table of signals in their order, up to 500 of them, each module under a heading of its own."""
    rows, module = [_row("th", _COLUMNS)], None
    for signal in signals[:_SHOWN]:
        if signal.module != module:
            module = signal.module
            rows.append(f"<tr><th colspan='{len(_COLUMNS)}' style='text-align:left'>{html.escape(module)}</th></tr>")
        rows.append(_row("td", (signal.name, *_words(signal))))
    caption = f"{len(signals)} signals" + (f", the first {_SHOWN} of them" if len(signals) > _SHOWN else "")
    return f"<table><caption>{caption}</caption>{''.join(rows)}</table>"


def signal_html(signal: Signal) -> str:
    """Return a table of what is known of one signal."""
    names = (*_COLUMNS[1:], "initial")
    pairs = zip(names, (*_words(signal), str(signal.initial)), strict=True)
    rows = "".join(_row("td", pair) for pair in pairs if pair[1])
    return f"<table><caption>signal <b>{html.escape(signal.qualified)}</b></caption>{rows}</table>"


def _words(signal: Signal) -> tuple[str, ...]:
    limits = f"{signal.limits[0]:g} to {signal.limits[1]:g}" if signal.limits is not None else ""
    return signal.kind.value, signal.type.value, signal.unit, limits, signal.description


def _row(tag: str, texts: Iterable[str]) -> str:
    return "<tr>" + "".join(f"<{tag} style='text-align:left'>{html.escape(text)}</{tag}>" for text in texts) + "</tr>"
