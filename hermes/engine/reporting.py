"""What the owner learns: events, answers, journal and output, in the order in which they happened."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hermes.backplane.link import Link
from hermes.backplane.signals import Signal, encode_cell
from hermes.engine import journal
from hermes.engine.output import LineBudget, text
from hermes.errors import HermesError, ModuleError, to_wire

_OUTPUT_BACKLOG = 1 << 18
"""Bytes waiting for the owner beyond which the output of modules is dropped (and counted)."""


class Reporter:
    """Tells the owner over `link`; `now` gives state, frame and time, which stand in every event and answer."""

    def __init__(self, link: Link, now: Callable[[], dict[str, Any]]) -> None:
        self._link = link
        self._now = now
        self._budget = LineBudget()

    def state(self) -> None:
        """Tell the state where it changed without an event."""
        self._link.send({"type": "state", **self._now()})

    def event(self, name: str, **fields: Any) -> None:
        """Tell that something happened."""
        self._link.send({"type": "event", "event": name, **self._now(), **fields})

    def reply(self, identity: int, **fields: Any) -> None:
        """Answer a command that was obeyed."""
        self._link.send({"type": "reply", "id": identity, **self._now(), **fields})

    def refuse(self, identity: int, error: HermesError) -> None:
        """Answer a command that was not."""
        self._link.send({"type": "reply", "id": identity, **self._now(), **to_wire(error)})

    def note(self, command: dict[str, Any], frame: int, **params: Any) -> None:
        """Write a line of the journal: a command and the frame at whose boundary it took effect."""
        line = journal.entry(frame, command["verb"], command["origin"], params.items())
        self._link.send({"type": "journal", "entry": line})

    def restarted(self, error: ModuleError, times: int) -> None:
        """Tell that a module was started anew, why, and how often that was since the reset."""
        facts = {"module": error.module, "restarts": times, "reason": str(error).partition("\n")[0]}
        self.note({"verb": "restart", "origin": "engine"}, self._now()["frame"], **facts)
        self.event("restarted", **facts)

    def redeclared(self, signals: Sequence[Signal]) -> None:
        """Tell that signals have another initial value or description now."""
        rows = [[one.qualified, encode_cell(one, one.initial), one.description] for one in signals]
        self._link.send({"type": "redeclared", "signals": rows})

    def output(self, module: str, stream: str, lines: list[bytes]) -> None:
        """Hand on what a module printed, unless it is too much; called on the drain's thread."""
        taken, dropped = self._budget.take(lines, room=self._link.backlog < _OUTPUT_BACKLOG)
        if taken:
            texts = [text(line) for line in taken]
            record = {"module": module, "stream": stream, "frame": self._now()["frame"], "lines": texts}
            self._link.send({"type": "output", **record, "dropped": dropped})
