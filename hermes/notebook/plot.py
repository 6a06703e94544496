"""`Plot`: time series that move while the simulation does, and a picture of them where nothing can move."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from html import escape
from typing import Any
from uuid import uuid4

from anywidget import AnyWidget
from traitlets import Float, List, Unicode

from hermes.backplane.signals import Signal, SignalRegistry
from hermes.history.feed import Feed
from hermes.notebook.bundle import WITHOUT, bundled
from hermes.notebook.hub import Hub
from hermes.notebook.picture import picture
from hermes.notebook.streams import PlotStream
from hermes.notebook.thinning import thin


class Plot(AnyWidget):
    """Signals over simulation time, one axes above the other, as `Session.plot` returns it.

    It is a widget: display it, as often as wanted, or put it into a box with others. Beyond 2,000 frames in its window
    it draws the least and the greatest value of each of 1,000 equal pieces of time; infinite values are gaps, as NaN
    is. Where no front end answers, as in a saved notebook, one sees a picture of the moment at which it was displayed.
    """

    _esm = bundled("plot.js") or "export default {}"
    _css = bundled("plot.css") or ""
    hub = Unicode().tag(sync=True)
    stream = Unicode().tag(sync=True)
    title = Unicode().tag(sync=True)
    axes: Any = List().tag(sync=True)
    window = Float().tag(sync=True)

    def __init__(
        self,
        title: str,
        axes: Sequence[Sequence[Signal]],
        window: float,
        frames: int,
        feed: Feed,
        registry: SignalRegistry,
        hub: Hub,
    ) -> None:
        """Show each of `axes` over the newest `window` seconds, which are `frames` frames."""
        self._axes, self._frames = axes, frames
        self._feed, self._hub = weakref.ref(feed), hub
        signals = list(dict.fromkeys(signal for group in axes for signal in group))
        self._signals = signals
        self._indices = [registry.index(signal.qualified) for signal in signals]
        places = {signal: place for place, signal in enumerate(signals)}
        shown = [[_described(signal, places[signal]) for signal in group] for group in axes]
        super().__init__(hub=hub.model_id, stream=uuid4().hex, title=title, axes=shown, window=window)
        hub.add(self.stream, PlotStream(self.stream, self._indices, self._types, frames))

    @property
    def _types(self) -> list[Any]:
        return [signal.type for signal in self._signals]

    def close(self) -> None:
        """Remove it from the page, and serve it no more."""
        if self.comm is not None:
            self._hub.remove(self.stream)
        super().close()

    def __repr__(self) -> str:
        names = "; ".join(", ".join(signal.qualified for signal in group) for group in self._axes)
        return f"<Plot of {names}, {self.window:g} s>"

    def _repr_mimebundle_(self, **_options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the live view, and the picture for those who cannot show it."""
        image, missing = self._picture()
        bundle: dict[str, Any] = {"text/plain": repr(self) + (f" ({missing})" if missing else "")}
        if image is not None:
            bundle["image/png"] = image
        if bundled("plot.js") is None:
            shown = f'<img alt="{escape(repr(self))}" src="data:image/png;base64,{image}">' if image else ""
            bundle["text/html"] = f"{shown}<p>{escape(WITHOUT)}{escape('; ' + missing if missing else '')}</p>"
        else:
            view = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
            bundle["application/vnd.jupyter.widget-view+json"] = view
        return bundle, {}

    def _picture(self) -> tuple[str | None, str]:
        """Return a PNG in base64 of what the window holds now, or None and why there is none."""
        feed = self._feed()
        if feed is None:
            return None, "its session is gone"
        _, words = feed.rows(self._indices, -1, 0, self._frames)
        stream = PlotStream("", self._indices, self._types, self._frames)
        return picture(self._axes, self._signals, thin(words, self._types, stream.bucket).columns, self.window)


def _described(signal: Signal, place: int) -> dict[str, Any]:
    """Return what the page needs to know of a signal; `place` is its column in the plot's data."""
    return {"name": signal.qualified, "unit": signal.unit, "type": str(signal.type), "place": place}
