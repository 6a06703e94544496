"""`SignalTable`: the newest values of signals, module by module, live where a front end answers."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any
from uuid import uuid4

from anywidget import AnyWidget
from traitlets import List, Unicode

from hermes.backplane.signals import Signal, SignalRegistry, Value, decode_cell
from hermes.history.feed import Feed
from hermes.notebook.bundle import WITHOUT, bundled
from hermes.notebook.hub import Hub
from hermes.notebook.streams import TableStream


class SignalTable(AnyWidget):
    """Name, value and unit of signals, as `Session.table` returns it: a widget, as a `Plot` is.

    Floats are shown with six significant digits, integers whole.
    """

    _esm = bundled("table.js") or "export default {}"
    _css = bundled("table.css") or ""
    hub = Unicode().tag(sync=True)
    stream = Unicode().tag(sync=True)
    title = Unicode().tag(sync=True)
    signals: Any = List().tag(sync=True)

    def __init__(self, title: str, signals: Sequence[Signal], feed: Feed, registry: SignalRegistry, hub: Hub) -> None:
        """Show these signals of a session named `title`."""
        self._feed, self._hub = weakref.ref(feed), hub
        order = {module: place for place, module in enumerate(dict.fromkeys(signal.module for signal in signals))}
        self._signals = sorted(signals, key=lambda signal: order[signal.module])
        self._indices = [registry.index(signal.qualified) for signal in self._signals]
        shown = [
            {"module": signal.module, "name": signal.name, "unit": signal.unit, "type": str(signal.type)}
            for signal in self._signals
        ]
        super().__init__(hub=hub.model_id, stream=uuid4().hex, title=title, signals=shown)
        hub.add(self.stream, TableStream(self.stream, self._indices))

    def close(self) -> None:
        """Remove it from the page, and serve it no more."""
        if self.comm is not None:
            self._hub.remove(self.stream)
        super().close()

    def __repr__(self) -> str:
        return f"<SignalTable of {len(self._signals)} signals of {self.title}>"

    def _repr_mimebundle_(self, **_options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the live view, and the values of this moment for those who cannot show it."""
        bundle: dict[str, Any] = {"text/plain": repr(self), "text/html": self._repr_html_()}
        if bundled("table.js") is not None:
            view = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
            bundle["application/vnd.jupyter.widget-view+json"] = view
        return bundle, {}

    def _repr_html_(self) -> str:
        """Return the values of this moment as a table; every text is escaped."""
        without = f"<p>{escape(WITHOUT)}</p>" if bundled("table.js") is None else ""
        return f"<table><thead>{_row('th', 'signal', 'value', 'unit')}</thead>{''.join(self._rows())}</table>{without}"

    def _rows(self) -> Iterator[str]:
        module = None
        for signal, value in zip(self._signals, self._values(), strict=True):
            if signal.module != module:
                module = signal.module
                yield f"<tr><th colspan='3' style='text-align:left'>{escape(module)}</th></tr>"
            yield _row("td", signal.name, value, signal.unit)

    def _values(self) -> list[str]:
        feed = self._feed()
        if feed is None:
            return [""] * len(self._signals)
        cells = feed.rows(self._indices, -1, 0, 0)[1][-1, 2:].tolist()
        pairs = zip(self._signals, cells, strict=True)
        return [_shown(decode_cell(signal.type, cell)) for signal, cell in pairs]


def _shown(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:#.6g}" if isinstance(value, float) else str(value)


def _row(tag: str, name: str, value: str, unit: str) -> str:
    left, right = "style='text-align:left'", "style='text-align:right;font-variant-numeric:tabular-nums'"
    cells = ((left, name), (right, value), (left, unit))
    return "<tr>" + "".join(f"<{tag} {style}>{escape(text)}</{tag}>" for style, text in cells) + "</tr>"
