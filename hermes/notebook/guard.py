"""Who changes a widget: its user, or we who follow the session.

Both are changes of the same trait, on any thread: what the front end sends is taken in on a thread of Jupyter's
choice, what the session does is shown on the session's loop. A change that is ours must never be taken for one of the
user's, else one session would be set by what it shows itself.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ipywidgets


class Guard:
    """Keeps apart, for the widgets of one panel, the front end's changes and those made under `following`."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._thread: int | None = None

    @contextmanager
    def following(self) -> Iterator[None]:
        """Change widgets, on this thread, without that being a user's change."""
        with self.lock:
            self._thread = threading.get_ident()
            try:
                yield
            finally:
                self._thread = None

    @property
    def is_following(self) -> bool:
        """Whether the change that is being told is ours."""
        return self._thread == threading.get_ident()


class _Guarded(ipywidgets.ValueWidget):  # type: ignore[misc]  # ipywidgets has no types
    """A widget that takes in what its front end says under the guard's lock.

    While it does so, ipywidgets holds back every change of the widget's traits, from whatever thread.
    """

    def __init__(self, guard: Guard, **traits: Any) -> None:
        self._guard = guard
        super().__init__(**traits)

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """Take in traits from the front end."""
        with self._guard.lock:
            super().set_state(sync_data)


class Text(_Guarded, ipywidgets.Text):  # type: ignore[misc]
    """A text field."""


class Slider(_Guarded, ipywidgets.FloatSlider):  # type: ignore[misc]
    """A slider."""


class Checkbox(_Guarded, ipywidgets.Checkbox):  # type: ignore[misc]
    """A checkbox."""
