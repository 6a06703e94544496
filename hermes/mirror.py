"""What a session knows of its run: the state, failure and journal that the engine reports, in the order it does.

The engine decides; this only repeats. It never looks at sockets, memory or clocks.
"""

from __future__ import annotations

import json
import logging
from typing import Any

from hermes.errors import HermesError, from_wire
from hermes.lifecycle import State
from hermes.wording import shown

log = logging.getLogger("hermes.session")

_LINE_LIMIT = 2_000


class Mirror:
    """The run as last reported."""

    def __init__(self) -> None:
        self.state = State.STARTING
        self.failure: HermesError | None = None
        self._journal: list[str] = []

    @property
    def journal(self) -> list[dict[str, Any]]:
        """Every command that took effect, in order; may be read on any thread.

        Kept as text, which takes a tenth of the memory and costs the garbage collector nothing: a client may send
        hundreds of commands a second for hours.
        """
        return [json.loads(line) for line in list(self._journal)]

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
