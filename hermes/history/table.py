"""What a query returns: a table of frames with names, units and what is missing from it."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hermes.backplane.signals import Signal
from hermes.errors import HermesError
from hermes.history.missed import Missed
from hermes.history.rows import Table
from hermes.history.store import Decimated

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 20


class History:
    """Frames of one epoch, as `Session.history` returns them.

    `data` is a structured array, a row a frame: `frame` (i8), `time` (f8, seconds of simulation time), then a field
    per signal under its qualified name and with its own type. `missed` names the frames that were lost before they
    could be copied, `decimated` the stretch of which only some frames are kept (None where all are).
    """

    def __init__(
        self, data: Table, signals: Sequence[Signal], epoch: int, missed: Missed, decimated: Decimated | None
    ) -> None:
        self.data = data
        self.epoch = epoch
        self.missed = missed
        self.decimated = decimated
        self.units = units_of(signals)

    @property
    def signals(self) -> tuple[str, ...]:
        """The qualified names of the signals, in the order of the fields."""
        return tuple(self.units)

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.data)

    def __getitem__(self, name: str) -> Table:
        """Return one field: a signal's values, `frame` or `time`; raises KeyError."""
        return field(self.data, name)

    def dataframe(self) -> pd.DataFrame:
        """Return a pandas DataFrame: a column per signal, indexed by time (s), with ``attrs["units"]`` by column.

        Raises HermesError, naming what to install, where pandas is missing.
        """
        return dataframe(self.data, self.units)

    def __repr__(self) -> str:
        thin = self.decimated
        thinned = f", one in {thin.stride} of frames {thin.first}-{thin.last}" if thin else ""
        return f"<History of epoch {self.epoch}: {summary(self.data, self.units)}{thinned}, {self.missed!r}>"

    def _repr_html_(self) -> str:
        return table_html(repr(self), self.data, self.units)


def units_of(signals: Sequence[Signal]) -> dict[str, str]:
    """Return the units of signals ("" where one has none) by qualified name."""
    return {signal.qualified: signal.unit for signal in signals}


def field(data: Table, name: str) -> Table:
    """Return one field of a table; raises KeyError, which says what there is."""
    if name not in (data.dtype.names or ()):
        raise KeyError(f"{name!r} is not in this table; it has {', '.join((data.dtype.names or ())[:_SHOWN])}")
    return data[name]


def dataframe(data: Table, units: dict[str, str], columns: Sequence[str] = ()) -> pd.DataFrame:
    """Return a DataFrame of further `columns` of the table and its signals; raises HermesError without pandas."""
    try:
        import pandas as pd  # noqa: PLC0415 - an optional dependency, needed here only
    except ImportError:
        raise HermesError(message="dataframe() needs pandas: pip install 'hermes-sim[data]'") from None
    names = [*columns, *units]
    index = pd.Index(np.ascontiguousarray(data["time"]), name="time")
    frame = pd.DataFrame({name: np.ascontiguousarray(data[name]) for name in names}, index=index)
    frame.attrs["units"] = {name: units.get(name, "") for name in names}
    return frame


def summary(data: Table, units: dict[str, str]) -> str:
    """Return in words how much a table holds."""
    size = f"{len(data)} {'frame' if len(data) == 1 else 'frames'} of {len(units)} signals"
    return f"{size}, {data['time'][0]:.6g} to {data['time'][-1]:.6g} s" if len(data) else size


def table_html(title: str, data: Table, units: dict[str, str]) -> str:
    """Return the signals with their first, least, greatest and last values as a small table; every text is escaped."""
    rows = [_row("th", ["signal", "unit", "first", "least", "greatest", "last"])]
    for name, unit in list(units.items())[:_SHOWN]:
        column = data[name]
        values = [column[0], column.min(), column.max(), column[-1]] if len(column) else []
        rows.append(_row("td", [name, unit, *(_shown(value) for value in values)]))
    if len(units) > _SHOWN:
        rows.append(_row("td", [f"and {len(units) - _SHOWN} more"]))
    return f"<table><caption>{html.escape(title)}</caption>{''.join(rows)}</table>"


def _shown(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, np.floating) else str(value)


def _row(tag: str, texts: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{tag} style='text-align:left'>{html.escape(text)}</{tag}>" for text in texts) + "</tr>"
