"""Wires: ``dst = src * gain + offset``, all of them, every frame, in the order in which they are defined.

A chain that is written in order passes through within one pass. Gain 1 and offset 0 copy the bits and need equal
types; anything else is computed in f64 between floating-point signals.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hermes.backplane.shm import SharedMemoryManager
from hermes.backplane.signals import Signal, SignalKind, SignalRegistry, SignalType
from hermes.engine.plan import WirePlan
from hermes.errors import ConfigurationError, Problem, UnknownSignal

_FLOAT_VIEW = {SignalType.F64: "d", SignalType.F32: "f"}


class Router:
    """The wires of a session, compiled to moves between live cells."""

    def __init__(self, wires: Sequence[WirePlan], shm: SharedMemoryManager) -> None:
        """Check every wire and compile; raises ConfigurationError that lists every problem."""
        problems = [problem for number, wire in enumerate(wires) for problem in _check(number, wire, shm.registry)]
        if problems:
            raise ConfigurationError(problems)
        self._moves = [_compile(wire, shm) for wire in wires]

    def route(self) -> None:
        """Carry every wire's value over once, in definition order."""
        for target, source, gain, offset in self._moves:
            if gain is None:
                target[0] = source[0]
            else:
                target[0] = source[0] * gain + offset  # type: ignore[call-overload]

    def release(self) -> None:
        """Give up every view of the memory."""
        for target, source, _, _ in self._moves:
            target.release()
            source.release()


def _compile(wire: WirePlan, shm: SharedMemoryManager) -> tuple[memoryview, memoryview, float | None, float]:
    source, target = shm.registry[wire.src], shm.registry[wire.dst]
    plain = _is_plain(wire)
    letters = ["Q" if plain else _FLOAT_VIEW[signal.type] for signal in (target, source)]
    indices = (shm.registry.index(wire.dst), shm.registry.index(wire.src))
    views = [shm.live_cells(index, letter) for index, letter in zip(indices, letters, strict=True)]
    return views[0], views[1], None if plain else wire.gain, wire.offset


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
