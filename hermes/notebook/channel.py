"""The hidden widget through which a session's hub talks to the pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ipywidgets import Widget
from traitlets import Unicode


class Channel(Widget):  # type: ignore[misc]  # ipywidgets has no types
    """A plain widget model, which every front end has: a page need not load anything before it can listen."""

    _model_name = Unicode("WidgetModel").tag(sync=True)
    _model_module = Unicode("@jupyter-widgets/base").tag(sync=True)
    _model_module_version = Unicode("2.0.0").tag(sync=True)

    def __init__(self) -> None:
        super().__init__()
        self._unpin()

    def listen(self, heard: Callable[[Any], None]) -> None:
        """Call `heard` with what a page says, on any thread."""
        self.on_msg(lambda _widget, content, _buffers: heard(content))

    def post(self, header: dict[str, Any], payload: bytes) -> None:
        """Send to every page; on any thread."""
        self.send(header, [payload])
        self._unpin()

    def _unpin(self) -> None:
        """Let pages decide on which of the kernel's threads they are heard.

        Else ipykernel sends their answers to the thread of the cell in whose name the last message went out, and
        there they wait until that cell, and all that are queued behind it, have run.
        """
        self.comm.__dict__.pop("_reply_subshell_id", None)
