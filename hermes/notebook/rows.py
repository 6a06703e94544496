"""One signal's row: its name, what it is set with, its unit.

A row hands on what its user says and shows what is committed. While a value is on its way, the widget that it came
from is left alone, and so is a field in which somebody types.
"""

from __future__ import annotations

from typing import Any

import ipywidgets

from hermes.backplane.signals import Signal, Value, decode_cell
from hermes.errors import BadValue
from hermes.notebook import fields, shown
from hermes.notebook.guard import Checkbox, Guard, Slider, Text
from hermes.notebook.outbox import Outbox


class Looks:
    """The layout and the styles that all rows share: each widget would else make models of its own for them."""

    def __init__(self) -> None:
        self.layout = ipywidgets.Layout()
        kinds = (ipywidgets.HTML, ipywidgets.Text, ipywidgets.FloatSlider, ipywidgets.Checkbox)
        self.html, self.text, self.slider, self.check = (kind.class_traits()["style"].klass() for kind in kinds)

    def label(self, value: str, kind: str) -> ipywidgets.HTML:
        """Return a piece of text; its kind says in which column it stands."""
        return ipywidgets.HTML(value=value, layout=self.layout, style=self.html, _dom_classes=(f"hermes-{kind}",))


class Row:
    """A signal, its widgets, and the cell that they show."""

    def __init__(self, signal: Signal, index: int, cell: int, guard: Guard, looks: Looks, outbox: Outbox) -> None:
        self.signal = signal
        self.index = index
        self._guard = guard
        self._outbox = outbox
        self._shown: int | None = None
        self._grid = fields.grid(signal)
        self._source: ipywidgets.Widget | None = None
        self._mark = f"hermes-signal-{index}"
        self.text: Text | None = None
        self.slider: Slider | None = None
        self.checkbox: Checkbox | None = None
        self._make(looks, decode_cell(signal.type, cell))
        given = (self.slider, self.text, self.checkbox)
        self.inputs: list[Any] = [widget for widget in given if widget is not None]
        self.widgets = [
            looks.label(shown.name_html(signal), "name"),
            *self.inputs,
            looks.label(shown.unit_html(signal), "unit"),
        ]
        self.follow(cell)

    def follow(self, cell: int, *, edited: bool = False, again: bool = False) -> None:
        """Show a committed cell where it is not shown yet (or `again`); `edited` spares the text that is being typed.

        Called under the guard.
        """
        source = self._source if self._outbox.holds(self.signal.qualified) else None
        if cell == self._shown and not again and not edited and source is None:
            return
        value = decode_cell(self.signal.type, cell)
        for widget in self.inputs:
            if widget is not source and not (edited and widget is self.text):
                self._show(widget, value)
        self._shown = None if source is not None or edited else cell

    def disable(self, disabled: bool) -> None:
        """Let nobody set it, or everybody."""
        for widget in self.inputs:
            widget.disabled = disabled

    def close(self) -> None:
        """Take its widgets away."""
        for widget in self.widgets:
            widget.close()

    def _make(self, looks: Looks, value: Value) -> None:
        common: dict[str, Any] = {"guard": self._guard, "tooltip": shown.hint(self.signal)}
        if fields.suited(self.signal) is fields.Suited.CHECKBOX:
            self.checkbox = Checkbox(
                value=bool(value), indent=False, layout=looks.layout, style=looks.check,
                _dom_classes=("hermes-checkbox", self._mark), **common,
            )  # fmt: skip
            self.checkbox.observe(self._checked, "value")
            return
        if self._grid is not None:
            self.slider = Slider(
                min=float(self._grid.low), max=float(self._grid.high), step=float(self._grid.step),
                value=float(self._grid.value(self._grid.position(value))), readout=False, layout=looks.layout,
                style=looks.slider, _dom_classes=("hermes-slider", self._mark), **common,
            )  # fmt: skip
            self.slider.observe(self._slid, "value")
        alone = ("hermes-alone",) if self.slider is None else ()
        self.text = Text(
            value=fields.text_of(value), continuous_update=False, layout=looks.layout, style=looks.text,
            _dom_classes=("hermes-field", self._mark, *alone), **common,
        )  # fmt: skip
        self.text.observe(self._typed, "value")

    def _show(self, widget: Any, value: Value) -> None:
        if isinstance(widget, Slider):
            assert self._grid is not None
            position = self._grid.position(value)
            if self._grid.position(widget.value) != position:
                widget.value = float(self._grid.value(position))
        else:
            widget.value = value if widget is self.checkbox else fields.text_of(value)

    # -- what the user does, on any thread

    def _typed(self, change: dict[str, Any]) -> None:
        if self._guard.is_following:
            return
        self._source = self.text
        try:
            self._outbox.set(self.signal.qualified, fields.value_of(self.signal, change["new"]))
        except BadValue as error:
            self._outbox.refuse(error, self.signal.qualified)

    def _slid(self, change: dict[str, Any]) -> None:
        """Take a new position; the front end also tells one when it only moves a value of ours onto its own grid."""
        assert self._grid is not None
        position = self._grid.position(change["new"])
        if self._guard.is_following or position == self._grid.position(change["old"]):
            return
        self._source = self.slider
        self._outbox.set(self.signal.qualified, self._grid.value(position))

    def _checked(self, change: dict[str, Any]) -> None:
        if not self._guard.is_following:
            self._source = self.checkbox
            self._outbox.set(self.signal.qualified, bool(change["new"]))
