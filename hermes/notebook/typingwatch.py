"""Tells in which field of a panel somebody is typing, which ipywidgets does not.

A front end says what a field holds only when the user is done with it. Meanwhile the session may change the value, and
showing that would take away what is being typed.
"""

from __future__ import annotations

import anywidget
import traitlets

from hermes.notebook.guard import Guard

_ESM = """
export default {
  render({ model }) {
    const mine = (target) => target.closest?.(".hermes-field")?.closest("." + model.get("panel"))
      ? target.closest(".hermes-field") : null;
    const tell = (index) => {
      if (model.get("index") !== index) { model.set("index", index); model.save_changes(); }
    };
    let before = "";
    const focused = ({ target }) => { if (mine(target)) before = target.value; };
    const typed = ({ target }) => {
      const mark = mine(target) && [...mine(target).classList].find((name) => name.startsWith("hermes-signal-"));
      if (mark) tell(Number(mark.slice("hermes-signal-".length)));
    };
    const done = ({ target }) => { if (mine(target)) { before = target.value; tell(-1); } };
    const pressed = ({ key, target }) => {
      if (key === "Escape" && mine(target)) { target.value = before; tell(-1); target.select(); }
    };
    const heard = { focusin: focused, input: typed, change: done, focusout: done, keydown: pressed };
    for (const [name, hear] of Object.entries(heard)) document.addEventListener(name, hear, true);
    return () => {
      for (const [name, hear] of Object.entries(heard)) document.removeEventListener(name, hear, true);
      tell(-1);
    };
  },
};
"""


class TypingWatch(anywidget.AnyWidget):
    """The row, by its signal's index, in which somebody types; -1 for none."""

    _esm = _ESM
    panel = traitlets.Unicode().tag(sync=True)
    index = traitlets.Int(-1).tag(sync=True)

    def __init__(self, guard: Guard, panel: str) -> None:
        self._guard = guard
        super().__init__(panel=panel)

    def set_state(self, sync_data: dict[str, object]) -> None:
        """Take in traits from the front end."""
        with self._guard.lock:
            super().set_state(sync_data)
