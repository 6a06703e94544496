"""Timed commands: what the configuration wants done at which frame, in order, and again after every reset.

Values only; the engine asks after each commit whether the frame is `next_frame`, and applies what `take` returns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from hermes.backplane.setting import settable_cell
from hermes.backplane.signals import SignalRegistry, decode_cell
from hermes.engine.plan import Plan
from hermes.errors import CommandError, ConfigurationError, Problem

_NEVER = -1
_MAX_PROBLEMS = 100


class Due(NamedTuple):
    """One timed command: at `frame` set `cells` (index and cell; `values` by name), or pause where there are none."""

    frame: int
    cells: tuple[tuple[int, int], ...] = ()
    values: dict[str, Any] = {}  # noqa: RUF012 - never changed


class Timed:
    """Timed commands in the order in which they act, and how far a run has come in them.

    `next_frame` is the frame at which the next one acts, -1 where none is left. A run asks at every frame from 0 on.
    """

    def __init__(self, entries: Sequence[Due]) -> None:
        """Order the entries by frame; those of one frame stay in the order given."""
        self._entries = sorted(entries, key=lambda entry: entry.frame)
        self.rearm()

    def rearm(self) -> None:
        """Begin again, for a run that is back at frame 0."""
        self._cursor = 0
        self._look_ahead()

    def take(self) -> list[Due]:
        """Return all that acts at `next_frame`, in order, and go on to the frame after it that has any."""
        begin, frame = self._cursor, self.next_frame
        while self._cursor < len(self._entries) and self._entries[self._cursor].frame == frame:
            self._cursor += 1
        self._look_ahead()
        return self._entries[begin : self._cursor]

    def _look_ahead(self) -> None:
        left = self._cursor < len(self._entries)
        self.next_frame = self._entries[self._cursor].frame if left else _NEVER


def timed_commands(plan: Plan, registry: SignalRegistry) -> Timed:
    """Return the plan's timed commands, checked against the signals there are.

    Raises ConfigurationError with the first 100 problems, at key paths such as ``commands.3.set.plane.throttle``.
    """
    wired = {wire.dst: wire.src for wire in plan.wires}
    problems: list[Problem] = []
    entries = []
    for number, (frame, values) in enumerate(plan.commands):
        cells = tuple(_cells(number, values or {}, registry, wired, problems))
        exact = {registry.at(index).qualified: decode_cell(registry.at(index).type, cell) for index, cell in cells}
        entries.append(Due(frame, cells, exact))
        if len(problems) >= _MAX_PROBLEMS:
            break
    if problems:
        raise ConfigurationError(problems[:_MAX_PROBLEMS])
    return Timed(entries)


def _cells(
    number: int, values: dict[str, Any], registry: SignalRegistry, wired: dict[str, str], problems: list[Problem]
) -> Iterator[tuple[int, int]]:
    for name, value in values.items():
        try:
            yield settable_cell(registry, wired, name, value)
        except CommandError as error:
            problems.append(Problem(f"commands.{number}.set.{name}", str(error)))
        if len(problems) >= _MAX_PROBLEMS:
            return
