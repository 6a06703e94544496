"""The lines of a console: which command took effect and who issued it, what happened, and what was refused and why.

Bounded: the newest `LINES` are kept. A line that only goes on with the one before (a slider that is dragged) takes its
place and counts, so that it does not push out everything else. Every text is escaped, whoever wrote it.
"""

from __future__ import annotations

import html
from collections import deque
from collections.abc import Mapping
from itertools import islice
from typing import Any, NamedTuple

from hermes.errors import HermesError
from hermes.frametime import FrameClock

LINES = 200

_SHOWN_VALUES = 4
_TEXT_LIMIT = 2_000
_STANDING = ("state", "frame", "time")
"""What every event carries."""


class Line(NamedTuple):
    """One line: what kind it is (command, event, error), when, who, and what; `times` it came in a row."""

    tone: str
    frame: int
    origin: str
    text: str
    topic: str = ""
    times: int = 1

    def follows(self, other: Line) -> bool:
        """Return whether this line only goes on with another."""
        return bool(self.topic) and self[0] == other.tone and (self.origin, self.topic) == (other.origin, other.topic)


class Console:
    """The newest lines; `version` counts their changes. Used from one thread."""

    def __init__(self, clock: FrameClock) -> None:
        self.version = 0
        self.lines: deque[Line] = deque(maxlen=LINES)
        self._clock = clock

    def journal(self, entry: Mapping[str, Any]) -> None:
        """Add a command that took effect, as the journal has it."""
        topic = "set " + " ".join(entry["values"]) if entry["verb"] == "set" else ""
        self._add(Line("command", entry["frame"], entry["origin"], command_text(entry), topic))

    def event(self, name: str, fields: Mapping[str, Any]) -> None:
        """Add an event."""
        tone = "error" if name == "failed" else "event"
        topic = name if name == "overrun" else ""
        self._add(Line(tone, fields.get("frame", 0), "session", event_text(name, fields), topic))

    def refused(self, frame: int, error: HermesError) -> None:
        """Add why a command of a widget was refused."""
        self._add(Line("error", frame, "widget", _first_line(str(error))))

    def _add(self, line: Line) -> None:
        if self.lines and line.follows(self.lines[-1]):
            line = line._replace(times=self.lines.pop().times + 1)
        self.lines.append(line)
        self.version += 1

    def html(self) -> str:
        """Return the lines as rows of a table, the newest last."""
        return f"<table class='hermes-lines'>{''.join(map(self._row, self.lines))}</table>"

    def _row(self, line: Line) -> str:
        times = f" <span class='hermes-times'>&times;{line.times}</span>" if line.times > 1 else ""
        text = html.escape(line.text[:_TEXT_LIMIT])
        return (
            f"<tr class='hermes-{line.tone}'><td class='hermes-number'>{self._clock.time(line.frame):.3f} s</td>"
            f"<td class='hermes-number'>{line.frame}</td>"
            f"<td>{html.escape(line.origin[:_TEXT_LIMIT])}</td><td>{text}{times}</td></tr>"
        )


def command_text(entry: Mapping[str, Any]) -> str:
    """Return a journal's entry in words: the verb and what it was given."""
    if entry["verb"] == "set":
        values = entry["values"]
        said = ", ".join(f"{name} = {value!r}" for name, value in islice(values.items(), _SHOWN_VALUES))
        return f"set {said}" + (f" and {len(values) - _SHOWN_VALUES} more" if len(values) > _SHOWN_VALUES else "")
    given = [f"{key} {value}" for key, value in entry.items() if key not in ("frame", "verb", "origin", "count")]
    count = [f"{entry['count']} frame{'s' * (entry['count'] != 1)}"] if "count" in entry else []
    return " ".join([entry["verb"], *count, *given])


def event_text(name: str, fields: Mapping[str, Any]) -> str:
    """Return an event in words."""
    match name:
        case "failed":
            return f"failed: {_first_line(str(fields.get('message', '')))}"
        case "overrun":
            took = f"{fields['step_ms']:.2f} ms in {fields['module']}, {fields['work_ms']:.2f} ms in all"
            return f"overrun: {took}; {fields['overruns']} so far"
        case "client_slow":
            return f"client {fields['client']} is slow; frames to it are skipped"
    told = [f"{key} {value}" for key, value in fields.items() if key not in _STANDING]
    return name + (f": {', '.join(told)}" if told else "")


def _first_line(text: str) -> str:
    return text.partition("\n")[0]
