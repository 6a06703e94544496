"""Wires: ``dst = src * gain + offset``, every frame, with the result of routing them one by one in order of definition.

A chain that is written in order passes through within one pass. Gain 1 and offset 0 copy the bits and need equal
types; anything else is computed in f64 between floating-point signals.

Many wires are routed as arrays: `batches` puts wires together that cannot see each other's results, all sources of a
batch are gathered before anything is written, and multiplication and addition are the same two IEEE operations either
way, so that the bits are those of the loop. Few wires are faster as a loop.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from hermes.backplane.layout import CELL
from hermes.backplane.shm import SharedMemoryManager
from hermes.backplane.signals import Signal, SignalKind, SignalRegistry, SignalType
from hermes.engine.plan import WirePlan
from hermes.errors import ConfigurationError, Problem, UnknownSignal

FEW = 16
"""Wires up to which a loop beats arrays: a wire costs 0.08 us, a batch of arrays about 2 us."""

_VIEW = {SignalType.F64: "d", SignalType.F32: "f"}
_ITEMS = {"Q": 1, "d": 1, "f": 2}
"""Items of a memoryview format in a cell."""


class Move(NamedTuple):
    """One wire as indices of live cells in the memory object, counted in cells, and how to read and write them."""

    source: int
    target: int
    reads: str
    writes: str
    gain: float = 1.0
    offset: float = 0.0

    @property
    def copies(self) -> bool:
        """Whether the bits are carried over as they are."""
        return self.reads == "Q"


class Router:
    """The wires of a session, compiled to moves between live cells."""

    def __init__(self, wires: Sequence[WirePlan], shm: SharedMemoryManager) -> None:
        """Check every wire and compile; raises ConfigurationError that lists every problem."""
        problems = [problem for number, wire in enumerate(wires) for problem in _check(number, wire, shm.registry)]
        if problems:
            raise ConfigurationError(problems)
        self._views = {letter: shm.words(letter) for letter in _ITEMS}
        self._arrays = {letter: np.asarray(view) for letter, view in self._views.items()}
        self._moves = [_move(wire, shm) for wire in wires]
        self.route = self.part(range(len(wires)))

    def part(self, numbers: Iterable[int]) -> Callable[[], None]:
        """Return what carries the values of some wires over once, as if one by one in the order given."""
        moves = [self._moves[number] for number in numbers]
        if len(moves) <= FEW:
            return self._loop(moves)
        passes = [self._loop(batch) if len(batch) <= FEW else self._gathered(batch) for batch in batches(moves)]
        return passes[0] if len(passes) == 1 else _in_turn(passes)

    def release(self) -> None:
        """Give up every view of the memory; what `part` returned must not be called again."""
        self._arrays.clear()
        self.route = _nothing
        for view in self._views.values():
            view.release()

    def _loop(self, moves: Sequence[Move]) -> Callable[[], None]:
        """Return the plain loop, which is what every other way must agree with."""
        if all(move.copies for move in moves):
            return _copying(self._views["Q"], [(move.target, move.source) for move in moves])
        steps: list[tuple[Any, int, Any, int, float | None, float]] = [
            (
                self._views[move.writes],
                move.target * _ITEMS[move.writes],
                self._views[move.reads],
                move.source * _ITEMS[move.reads],
                None if move.copies else move.gain,
                move.offset,
            )
            for move in moves
        ]

        def route() -> None:
            for target, to, source, at, gain, offset in steps:
                target[to] = source[at] if gain is None else source[at] * gain + offset

        return route

    def _gathered(self, moves: Sequence[Move]) -> Callable[[], None]:
        """Return the array form of wires that do not depend on each other: gather all, then scatter all."""
        groups: dict[tuple[str, str], list[Move]] = defaultdict(list)
        for move in moves:
            groups[move.reads, move.writes].append(move)
        arrays = self._arrays
        halves = [_halves(arrays[reads], arrays[writes], group) for (reads, writes), group in groups.items()]
        return _in_turn([gather for gather, _ in halves] + [scatter for _, scatter in halves])


def _nothing() -> None:
    """Route no wire."""


def _in_turn(passes: Sequence[Callable[[], None]]) -> Callable[[], None]:
    def route() -> None:
        for one in passes:
            one()

    return route


def _copying(words: memoryview, copies: Sequence[tuple[int, int]]) -> Callable[[], None]:
    def route() -> None:
        for target, source in copies:
            words[target] = words[source]

    return route if copies else _nothing


def _halves(source: Any, target: Any, moves: Sequence[Move]) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return what gathers and computes, and what writes, for wires that read alike and write alike."""
    _, _, reads, writes, _, _ = moves[0]
    at = np.array([move.source * _ITEMS[reads] for move in moves], np.intp)
    to = np.array([move.target * _ITEMS[writes] for move in moves], np.intp)
    found = np.empty(len(moves), source.dtype)

    def copy() -> None:
        source.take(at, out=found, mode="clip")  # "clip" needs no second buffer, and every index is in range

    if moves[0].copies:
        return copy, lambda: target.__setitem__(to, found)
    gain, offset = (np.array([getattr(move, key) for move in moves], np.float64) for key in ("gain", "offset"))
    wide = np.empty(len(moves), np.float64)
    result = wide if writes == "d" else np.empty(len(moves), np.float32)

    def compute() -> None:
        copy()
        with np.errstate(all="ignore"):  # as in the loop: an overflow is an infinity
            np.multiply(found, gain, out=wide, dtype=np.float64)
            np.add(wide, offset, out=wide)
            if result is not wide:
                result[:] = wide

    return compute, lambda: target.__setitem__(to, result)


def batches(moves: Sequence[Move]) -> list[list[Move]]:
    """Split wires into batches that, gathered and written one batch after the other, equal the loop in order.

    A wire comes in a later batch than one that writes its source or its target before it, and not in an earlier one
    than a wire that reads its target before it; within a batch the order stays.
    """
    written: dict[int, int] = {}
    read: dict[int, int] = {}
    found: dict[int, list[Move]] = defaultdict(list)
    for move in moves:
        after = max(written.get(move.source, -1), written.get(move.target, -1)) + 1
        level = max(after, read.get(move.target, 0))
        found[level].append(move)
        written[move.target] = level
        read[move.source] = max(level, read.get(move.source, 0))
    return [found[level] for level in sorted(found)]


def _move(wire: WirePlan, shm: SharedMemoryManager) -> Move:
    source, target = shm.registry[wire.src], shm.registry[wire.dst]
    at, to = (shm.layout.live(shm.registry.index(name)) // CELL for name in (wire.src, wire.dst))
    if _is_plain(wire):
        return Move(at, to, "Q", "Q")
    return Move(at, to, _VIEW[source.type], _VIEW[target.type], wire.gain, wire.offset)


def _is_plain(wire: WirePlan) -> bool:
    return wire.gain == 1 and wire.offset == 0


def _check(number: int, wire: WirePlan, registry: SignalRegistry) -> Iterator[Problem]:
    found: dict[str, Signal] = {}
    for key, name in (("src", wire.src), ("dst", wire.dst)):
        try:
            found[key] = registry[name]
        except UnknownSignal as error:
            yield Problem(f"wiring.{number}.{key}", str(error))
    if "dst" in found and found["dst"].kind is not SignalKind.INPUT:
        yield Problem(f"wiring.{number}.dst", f"{wire.dst} is {_article(found['dst'])}; a wire drives an input")
    if len(found) == 2:
        yield from _check_types(number, wire, found["src"], found["dst"])


def _check_types(number: int, wire: WirePlan, source: Signal, target: Signal) -> Iterator[Problem]:
    types = f"{wire.src} is {source.type}, {wire.dst} is {target.type}"
    if _is_plain(wire):
        if source.type is not target.type:
            yield Problem(f"wiring.{number}", f"a wire without gain and offset needs equal types: {types}")
    elif not (source.type.is_float and target.type.is_float):
        yield Problem(f"wiring.{number}", f"a wire with gain or offset needs f64 or f32 at both ends: {types}")


def _article(signal: Signal) -> str:
    return "an output" if signal.kind is SignalKind.OUTPUT else f"a {signal.kind}"
