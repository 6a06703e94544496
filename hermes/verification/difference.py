"""The first frame in which two runs differ: which signals, whose they are, and which modules began it.

Every frame before was equal, so a module whose outputs differ although all that it was given was equal too has drawn
on something else: a clock, a file, memory that a reset left. Those are the culprits; whoever was fed by them within the
frame merely follows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hermes.backplane.signals import Signal, SignalKind, SignalType, decode_cell, encode_cell
from hermes.engine.plan import Plan
from hermes.engine.schedule import module_of, wire_delays
from hermes.frametime import FrameClock
from hermes.history.rows import Words
from hermes.verification.reference import PRINT_WORDS

LISTED = 20
"""Signals that the text lists; `signals` has all of them."""


class Differing(NamedTuple):
    """A signal that differs, with its values in the one run and the other, as text that tells them apart."""

    signal: str
    kind: SignalKind
    first: str
    other: str

    @property
    def module(self) -> str:
        """The module it belongs to."""
        return module_of(self.signal)


class Difference(NamedTuple):
    """Where two runs begin to differ; `time` is in seconds of simulation time.

    `culprits` are the modules whose outputs differ although what they were given does not. `signals` lists the outputs
    of these first; there are none where only what was set differs. Where the signals themselves are others, `layout`
    says how, and no frame was compared.
    """

    frame: int
    time: float
    culprits: tuple[str, ...] = ()
    signals: tuple[Differing, ...] = ()
    layout: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.layout:
            return "\n".join(["the modules declare other signals", *_capped([f"    {line}" for line in self.layout])])
        return "\n".join([f"from frame {self.frame} ({self.time:.9g} s) on (first run, this run)", *self._lines()])

    def _lines(self) -> list[str]:
        if not self.signals:
            return ["  no signal differs, but the fingerprints do: other values were set before this frame"]
        began = [one for one in self.signals if one.kind is SignalKind.OUTPUT and one.module in self.culprits]
        listed = self.signals[:LISTED]
        width, room = (
            max(map(len, column)) for column in zip(*((one.signal, one.first) for one in listed), strict=True)
        )
        rows = [f"    {one.signal:<{width}}  {one.first:<{room}}  {one.other}" for one in listed]
        lines = [f"  begun by {', '.join(self.culprits)}, given the same until then:"] if began else []
        lines += rows[: len(began)]
        if followed := rows[len(began) :]:
            lines += ["  followed by:" if began else "  begun by no module's output; other values were set:", *followed]
        more = len(self.signals) - len(rows)
        return [*lines, f"    and {more} more"] if more else lines


def find_difference(plan: Plan, signals: Sequence[Signal], frame: int, first: Words, other: Words) -> Difference:
    """Return how two rows (fingerprint, then a cell per signal) of a frame differ, all frames before being equal."""
    places = np.flatnonzero(first[PRINT_WORDS:] != other[PRINT_WORDS:]).tolist()
    pairs = [(signals[place], int(first[PRINT_WORDS + place]), int(other[PRINT_WORDS + place])) for place in places]
    found = [Differing(one.qualified, one.kind, *texts(one.type, *cells)) for one, *cells in pairs]
    culprits = _culprits(plan, frame, found)
    found.sort(key=lambda one: one.kind is not SignalKind.OUTPUT or one.module not in culprits)
    return Difference(frame, FrameClock(*plan.rate).time(frame), culprits, tuple(found))


def _culprits(plan: Plan, frame: int, differing: Sequence[Differing]) -> tuple[str, ...]:
    """Return the modules whose outputs differ and whom no wire from an earlier phase brought what differs."""
    names = {one.signal for one in differing}
    early = [delay.wire for delay in wire_delays(plan) if delay.phase is not None and frame > 0]
    fed = {module_of(wire.dst) for wire in early if wire.src in names or wire.dst in names}
    outputs = {one.module for one in differing if one.kind is SignalKind.OUTPUT}
    return tuple(module.name for module in plan.modules if module.name in outputs - fed)


def layout_difference(first: Sequence[Signal], other: Sequence[Signal]) -> Difference | None:
    """Return how the signals of two runs differ; None where they are the same, in the same order."""
    ours, theirs = ({signal.qualified: _fields(signal) for signal in signals} for signals in (first, other))
    lines = [f"{name} is only in the first" for name in ours if name not in theirs]
    lines += [f"{name} is only in the other" for name in theirs if name not in ours]
    for name in (name for name in ours if name in theirs):
        changed = [key for key in ours[name] if ours[name][key] != theirs[name][key]]
        lines += [f"{name}: its {key} is {ours[name][key]} and {theirs[name][key]}" for key in changed]
    if not lines and list(ours) != list(theirs):
        lines = ["they are in another order"]
    return Difference(0, 0.0, layout=tuple(lines)) if lines else None


def _fields(signal: Signal) -> dict[str, str]:
    """Return what a declaration says, as text: NaN is not equal to itself."""
    fields = {key: repr(value) if type(value) is str else str(value) for key, value in signal._asdict().items()}
    return {**fields, "initial": text(signal.type, encode_cell(signal._replace(limits=None), signal.initial))}


def texts(kind: SignalType, first: int, other: int) -> tuple[str, str]:
    """Return two cells that differ as texts that do: numbers, and bits where numbers do not tell them apart."""
    pair = text(kind, first), text(kind, other)
    return pair if pair[0] != pair[1] else (f"{pair[0]} (0x{first:016x})", f"{pair[1]} (0x{other:016x})")


def text(kind: SignalType, cell: int) -> str:
    """Return a cell's value with all its digits, a NaN with its bits."""
    value = decode_cell(kind, cell)
    if isinstance(value, float) and math.isnan(value):
        return f"nan (0x{cell:016x})"
    return str(np.float32(value)) if kind is SignalType.F32 else repr(value)


def _capped(lines: list[str]) -> list[str]:
    more = len(lines) - LISTED
    return [*lines[:LISTED], f"    and {more} more"] if more > 0 else lines
