"""What identifies a run: the fingerprint, frame by frame, and the journal of the commands that shaped it.

The fingerprint begins with what the run consists of and takes in, per frame, the values that were set before it and
every cell that was committed. Pause, resume, step and wall time never enter, so the same configuration and commands
at the same frames give the same 128 bits, however the run was paced.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import xxhash

from hermes.backplane.ring import PREFIX
from hermes.backplane.signals import SignalRegistry, encode_cell

_REPLACED = b"\xff\xff\xff\xff"
"""Stands where a set has the signal's index."""


class Fingerprint:
    """The running fingerprint: XXH3-128 over the previous value, the cells set since, and the committed cells."""

    def __init__(self, registry: SignalRegistry, rate: tuple[int, int], seed: int) -> None:
        self._numbers = rate, seed
        self.redescribe(registry)
        self.digest = self._origin
        self._sets = bytearray()

    def redescribe(self, registry: SignalRegistry) -> None:
        """Let what begins at the next reset begin with these signals."""
        self._origin = xxhash.xxh3_128_digest(_description(registry, *self._numbers))

    def restart(self) -> None:
        """Begin anew, at reset."""
        self.digest = self._origin
        self._sets.clear()

    def note_set(self, index: int, cell: int) -> None:
        """Take in a command that set the signal at `index`; it counts from the next frame on."""
        self._sets += index.to_bytes(4, "little") + cell.to_bytes(8, "little")

    def note_source(self, module: str, source: str) -> None:
        """Take in a module that was replaced, by the text of its new source; it counts from the next frame on."""
        text = f"{module}\n{source}".encode()
        self._sets += _REPLACED + len(text).to_bytes(8, "little") + text

    def take(self, staged: memoryview) -> bytes:
        """Take in a frame's cells, behind 16 bytes of room for the value before it; return the new value (16 bytes)."""
        if self._sets:
            state = xxhash.xxh3_128(self.digest + self._sets)
            self._sets.clear()
            state.update(staged[PREFIX:])
            self.digest = state.digest()
        else:
            staged[:PREFIX] = self.digest
            self.digest = xxhash.xxh3_128_digest(staged)
        return self.digest


def _description(registry: SignalRegistry, rate: tuple[int, int], seed: int) -> bytes:
    rows = [f"{s.qualified}|{s.kind}|{s.type}|{encode_cell(s, s.initial):016x}" for s in registry]
    return "\n".join([f"{rate[0]}/{rate[1]}|{seed}", *rows]).encode()


def entry(frame: int, verb: str, origin: str, params: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return one line of the journal: a command, who issued it, and the frame at whose boundary it took effect."""
    return {"frame": frame, "verb": verb, "origin": origin, **dict(params)}
