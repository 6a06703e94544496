"""What a command may set: one rule for whoever asks, a user at run time or a configuration in advance."""

from __future__ import annotations

from collections.abc import Mapping

from hermes.backplane.signals import SignalRegistry, encode_cell
from hermes.errors import ReadOnlySignal, WiredSignal


def settable_cell(registry: SignalRegistry, wired: Mapping[str, str], name: str, value: object) -> tuple[int, int]:
    """Return index and cell for a value to set; `wired` maps each input that a wire drives to the wire's source.

    Raises UnknownSignal, ReadOnlySignal, WiredSignal or BadValue.
    """
    index = registry.index(name)
    signal = registry.at(index)
    if not signal.is_settable:
        raise ReadOnlySignal(name)
    if name in wired:
        raise WiredSignal(name, wired[name])
    return index, encode_cell(signal, value)
