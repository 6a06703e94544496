"""How patterns find signals: globs over all qualified names at once.

Patterns come from clients, so what one costs must follow from the session's names and not from the pattern. No name is
looked at by itself: a set of places in the joined names is one large integer, and each character of a pattern is a
shift and an AND of such integers, each star an addition. A piece between stars is taken at its first place, which is
enough: a later one would only leave less room for the rest.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from hermes.backplane.signals import SignalRegistry
from hermes.errors import UnknownSignal


def expand_pattern(pattern: str, registry: SignalRegistry) -> list[str]:
    """Return the qualified names that a pattern matches, in index order.

    A pattern is an exact name, or a glob over qualified names in which `*` stands for any characters (dots included)
    and `?` for one. Raises UnknownSignal, with the nearest names, when nothing matches.
    """
    return expand_patterns([pattern], registry)


def expand_patterns(patterns: Sequence[str], registry: SignalRegistry) -> list[str]:
    """Return the names that several patterns match, in pattern order, each name once (at its first place).

    Raises UnknownSignal that lists every pattern that matches nothing, with names near the first of them: one look-up
    per error, for each takes milliseconds, and a client may send thousands of patterns.
    """
    found = {pattern: (pattern,) if pattern in registry else _matching(pattern, registry) for pattern in patterns}
    unknown = [pattern for pattern, names in found.items() if not names]
    if unknown:
        raise UnknownSignal(unknown, registry.near(unknown[0]))
    once = dict.fromkeys if len(found) > 1 else list  # one pattern repeats nothing, and a dict of 10,000 takes 1 ms
    return list(once(chain.from_iterable(found.values())))


def _matching(pattern: str, registry: SignalRegistry) -> Sequence[str]:
    """Return what a pattern matches that is no signal's name."""
    if not len(registry) or ("*" not in pattern and "?" not in pattern):
        return ()
    if registry not in _joined:
        _joined[registry] = _JoinedNames(registry.names)
    return _joined[registry].matching(pattern)


class _JoinedNames:
    """All names as one text, a line each; sets of places in the text are integers, bit n for the character n."""

    def __init__(self, names: Sequence[str]) -> None:
        """Join at least one name; a name holds no line break (the handshake sees to it)."""
        text = "\n".join([*names, ""])
        lengths = [len(name) + 1 for name in names]
        self._names = np.array(names, dtype=object)
        self._rows = np.repeat(np.arange(len(names)), lengths)
        self._longest = max(lengths) - 1
        self._codes = np.frombuffer(text.encode("utf-32-le"), np.uint32)
        self._characters = {chr(code) for code in np.flatnonzero(np.bincount(self._codes))} - {"\n"}
        self._places: dict[str, int] = {}
        everywhere = (1 << len(text)) - 1
        self._starts = (self._of("\n") << 1 | 1) & everywhere
        self._places["?"] = everywhere ^ self._of("\n")

    def matching(self, glob: str) -> list[str]:
        """Return the names that a glob matches, in order; each piece is looked for behind the one before."""
        letters = glob.replace("*", "")
        if len(letters) > self._longest or not self._characters.issuperset(letters.replace("?", "")):
            return []
        first, *rest = re.split(r"\*+", f"{glob}\n")
        found, length = self._standing(first, self._starts), len(first)
        for piece in rest:
            found = self._next(piece, found << length)
            length = len(piece)
        names: list[str] = self._names[self._rows[_bits(found)]].tolist()
        return names

    def _next(self, piece: str, begins: int) -> int:
        """Return where `piece` stands first in each line, at or behind that line's one bit in `begins`.

        The addition carries that bit through all places of its line where the piece does not stand, to the first
        where it does, or to the line's end, where it is lost.
        """
        stands = self._standing(piece, self._of("?") | self._of("\n")) if begins else 0
        passed = (self._of("?") | stands) ^ stands
        return (passed + begins) & stands

    def _standing(self, piece: str, among: int) -> int:
        """Return which of the places `among` are such that `piece` stands there, within one line."""
        for offset, char in enumerate(piece):
            among &= self._of(char) >> offset
        return among

    def _of(self, char: str) -> int:
        """Return where a character stands, one of those that occur; for `?`, where any but the line break does."""
        if char not in self._places:
            self._places[char] = int.from_bytes(np.packbits(self._codes == ord(char), bitorder="little"), "little")
        return self._places[char]


def _bits(number: int) -> npt.NDArray[np.int64]:
    octets = number.to_bytes(number.bit_length() // 8 + 1, "little")
    return np.flatnonzero(np.unpackbits(np.frombuffer(octets, np.uint8), bitorder="little").view(np.bool_))


_joined: WeakKeyDictionary[SignalRegistry, _JoinedNames] = WeakKeyDictionary()
"""What the first glob over a registry leaves for the next."""
