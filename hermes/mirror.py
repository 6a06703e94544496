"""What a session knows of its run: the state, failure and journal that the engine reports, in the order it does.

The engine decides; this only repeats. It never looks at sockets, memory or clocks.
"""

from __future__ import annotations

import html
import json
import logging
from itertools import islice
from typing import Any

from hermes.errors import HermesError, from_wire
from hermes.lifecycle import State
from hermes.wording import shown

log = logging.getLogger("hermes.session")

_LINE_LIMIT = 2_000
_SHOWN_ENTRIES = 100
_SHOWN_VALUES = 8


class Journal(list[dict[str, Any]]):
    """The commands that took effect, in order, each with its frame, verb, origin and parameters."""

    def _repr_html_(self) -> str:
        """Return the newest of them as a table; every text is escaped."""
        left_out = (
            f"<caption>the newest {_SHOWN_ENTRIES} of {len(self)}</caption>" if len(self) > _SHOWN_ENTRIES else ""
        )
        head = "".join(f"<th style='text-align:left'>{name}</th>" for name in ("frame", "verb", "what", "origin"))
        rows = (_row(entry) for entry in self[-_SHOWN_ENTRIES:])
        return f"<table>{left_out}<tr>{head}</tr>{''.join(rows)}</table>"


def _row(entry: dict[str, Any]) -> str:
    given = entry.get("values", {key: entry[key] for key in entry if key not in ("frame", "verb", "origin")})
    what = ", ".join(f"{name} = {value!r}" for name, value in islice(given.items(), _SHOWN_VALUES))
    what += f", and {len(given) - _SHOWN_VALUES} more" if len(given) > _SHOWN_VALUES else ""
    texts = (str(entry["frame"]), entry["verb"], what, entry["origin"])
    return "<tr>" + "".join(f"<td style='text-align:left'>{html.escape(text)}</td>" for text in texts) + "</tr>"


class Mirror:
    """The run as last reported."""

    def __init__(self) -> None:
        self.state = State.STARTING
        self.failure: HermesError | None = None
        self._journal: list[str] = []

    @property
    def journal(self) -> Journal:
        """Every command that took effect, in order; may be read on any thread.

        Kept as text, which takes a tenth of the memory and costs the garbage collector nothing: a client may send
        hundreds of commands a second for hours.
        """
        return Journal(json.loads(line) for line in list(self._journal))

    def newest_entries(self, count: int) -> list[dict[str, Any]]:
        """Return the last `count` entries of the journal, in order."""
        return [json.loads(line) for line in self._journal[-count:]]

    def take(self, record: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
        """Take over one record of the engine; return the event it is, with its fields, or None."""
        if "state" in record:
            self.state = State(record["state"])
        match record["type"]:
            case "journal":
                self._journal.append(json.dumps(record["entry"]))
            case "output":
                _log_output(record)
            case "event":
                return self._event(record)
        return None

    def fail(self, error: HermesError) -> None:
        """Enter `failed` for a reason that the engine cannot report itself."""
        self.state, self.failure = State.FAILED, error
        log.error("%s", str(error).partition("\n")[0])

    def _event(self, record: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        fields = {key: value for key, value in record.items() if key not in ("type", "event", "error", "fields")}
        if record["event"] == "failed":
            error = from_wire(record)
            self.fail(error)
            fields |= failure_fields(error)
        elif record["event"] == "reset":
            self.failure = None
        return record["event"], fields


def failure_fields(error: HermesError) -> dict[str, Any]:
    """Return what a `failed` event says of an error: its own fields, code and message."""
    return {**error.fields, "code": error.code, "message": str(error)}


def _log_output(record: dict[str, Any]) -> None:
    level = logging.WARNING if record["stream"] == "stderr" else logging.INFO
    logger = logging.getLogger(f"hermes.module.{record['module']}")
    if record["dropped"]:
        logger.warning("%d lines of output were dropped", record["dropped"])
    for line in record["lines"]:
        logger.log(level, "frame %d: %s", record["frame"], shown(line, _LINE_LIMIT)[1:-1])
