"""Writes a constant as a Python expression that gives the same again, bit for bit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

_PLAIN = (type(None), bool, int, str, bytes, range)


def literal(value: Any) -> str:
    """Return an expression for numbers, text, arrays of numbers, and containers of those; it may need ``numpy``.

    Raises ValueError for anything else, and for what contains itself.
    """
    try:
        return _written(value)
    except RecursionError:
        raise ValueError("it contains itself") from None


def _written(value: Any) -> str:
    kind = type(value)
    if kind in _PLAIN:
        return repr(value)
    if kind is float:
        return repr(value) if math.isfinite(value) else f'float("{value}")'
    if kind is complex:
        return f"complex({_written(value.real)}, {_written(value.imag)})"
    if kind is dict:
        return "{" + ", ".join(f"{_written(key)}: {_written(one)}" for key, one in value.items()) + "}"
    if kind in (list, tuple, set, frozenset):
        return _sequence(kind, value)
    if isinstance(value, np.generic | np.ndarray):
        return _numbers(value)
    raise ValueError(f"it is a {kind.__qualname__}")


def _sequence(kind: type, value: Any) -> str:
    parts = [_written(one) for one in value]
    if kind is list:
        return f"[{', '.join(parts)}]"
    if kind is tuple:
        return f"({', '.join(parts)}{',' * (len(parts) == 1)})"
    inside = f"[{', '.join(sorted(parts))}]"  # not in the order of this process's hashes
    return f"{kind.__name__}({inside})"


def _numbers(value: np.generic | np.ndarray[Any, Any]) -> str:
    exact = value.dtype.kind in "bui" or value.dtype.str[1:] in ("f2", "f4", "f8", "c8", "c16")
    if not exact or type(value) not in (np.ndarray, value.dtype.type):
        raise ValueError(f"it is a {type(value).__qualname__} of {value.dtype}")
    inside = _written(value.tolist())
    if isinstance(value, np.generic):
        return f"numpy.dtype({value.dtype.str!r}).type({inside})"
    shape = f".reshape({value.shape})" if value.size == 0 else ""
    order = ', order="F"' if value.flags.fnc else ""  # the order of summation, and so the last bit, follows it
    return f"numpy.array({inside}, dtype={value.dtype.str!r}{order}){shape}"
