"""The fields of a panel: rows for the signals that can be set, by module, and a search where there are many.

Rows are made when they are first to be seen and taken away when they no longer are: at most `ROWS` at a time, because
a thousand widgets would take a notebook many seconds.
"""

from __future__ import annotations

import html
from collections.abc import Callable

import ipywidgets

from hermes.backplane.ring import Snapshot
from hermes.backplane.signals import Signal, Value, decode_cell
from hermes.notebook import fields, shown
from hermes.notebook.guard import Guard, Text
from hermes.notebook.outbox import Outbox
from hermes.notebook.rows import Looks, Row
from hermes.run import Run

ROWS = 40
"""Signals that are shown at a time."""

SEARCHED = 12
"""More signals than these get a search."""


class Board:
    """The rows that are shown; used on the session's loop, under the guard, but for the search."""

    def __init__(self, run: Run, guard: Guard, outbox: Outbox, wake: Callable[[], None]) -> None:
        registry = run.memory("controls()").registry
        self._signals = fields.writable(registry, {wire["dst"] for wire in run.wiring})
        self._indices = {signal.qualified: registry.index(signal.qualified) for signal in self._signals}
        self._guard = guard
        self._outbox = outbox
        self._looks = Looks()
        self._newest = run.newest
        self._searched_for: str | None = None
        self._locked = False
        self._renewed: set[str] = set()
        self.rows: dict[str, Row] = {}
        self._headings: dict[str, ipywidgets.HTML] = {}
        self._modules: dict[str, ipywidgets.GridBox] = {}
        self.panel = ipywidgets.Box(_dom_classes=("hermes-fields",))
        self.matches = ipywidgets.HTML(_dom_classes=("hermes-matches",))
        self.search = Text(guard, placeholder="search name or description", _dom_classes=("hermes-search",))
        self.search.observe(lambda _change: wake(), "value")

    @property
    def widgets(self) -> list[ipywidgets.Widget]:
        """What belongs into the panel."""
        if len(self._signals) <= SEARCHED:
            return [self.panel]
        return [ipywidgets.HBox([self.search, self.matches], _dom_classes=("hermes-searching",)), self.panel]

    def listed(self) -> list[tuple[Signal, Value]]:
        """Return every signal that can be set, with its committed value."""
        cells = self._newest().cells
        return [(signal, decode_cell(signal.type, self._cell(signal, cells))) for signal in self._signals]

    def renew(self, name: str) -> None:
        """Show a signal again, though it may not have changed."""
        self._renewed.add(name)

    def show(self, newest: Snapshot, *, locked: bool, typing: int) -> None:
        """Show a frame's values for what is searched; `typing` is the index of the signal in whose field one types."""
        if self.search.value != self._searched_for:
            self._arrange(self.search.value, newest)
        if locked != self._locked:
            self._lock(locked)
        renewed, self._renewed = self._renewed, set()
        for name, row in self.rows.items():
            cell = self._cell(row.signal, newest.cells)
            row.follow(cell, edited=row.index == typing, again=name in renewed)

    def end(self, newest: Snapshot) -> None:
        """Show the last frame, and let nobody set anything any more."""
        self.show(newest, locked=True, typing=-1)
        self.search.disabled = True
        self._newest = lambda: newest

    def _lock(self, locked: bool) -> None:
        self._locked = locked
        for row in self.rows.values():
            row.disable(locked)

    def _arrange(self, search: str, newest: Snapshot) -> None:
        """Show the rows of the signals that a search finds."""
        self._searched_for = search
        matching = fields.found(self._signals, search)
        self.matches.value = shown.matches_text(min(len(matching), ROWS), len(matching))
        wanted = {signal.qualified: signal for signal in matching[:ROWS]}
        before, self.rows = self.rows, {}
        for name, signal in wanted.items():
            self.rows[name] = before.pop(name) if name in before else self._row(signal, newest)
        self._compose()
        for row in before.values():
            row.close()

    def _row(self, signal: Signal, newest: Snapshot) -> Row:
        index = self._indices[signal.qualified]
        row = Row(signal, index, self._cell(signal, newest.cells), self._guard, self._looks, self._outbox)
        row.disable(self._locked)
        return row

    def _compose(self) -> None:
        """Put the rows into their modules' grids."""
        by_module: dict[str, list[ipywidgets.Widget]] = {}
        for row in self.rows.values():
            by_module.setdefault(row.signal.module, []).extend(row.widgets)
        for module in [module for module in self._modules if module not in by_module]:
            for widget in (self._headings.pop(module), self._modules.pop(module)):
                widget.close()
        for module, widgets in by_module.items():
            grid = self._grid(module)
            grid.children = [self._headings[module], *widgets]
        self.panel.children = [self._modules[module] for module in by_module]

    def _grid(self, module: str) -> ipywidgets.GridBox:
        if module not in self._modules:
            self._headings[module] = self._looks.label(html.escape(module), "heading")
            self._modules[module] = ipywidgets.GridBox(layout=self._looks.layout, _dom_classes=("hermes-module",))
        return self._modules[module]

    def _cell(self, signal: Signal, cells: bytes) -> int:
        at = 8 * self._indices[signal.qualified]
        return int.from_bytes(cells[at : at + 8], "little")
