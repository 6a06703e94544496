"""JSON as the wire has it: strict in both directions.

Coming in, what other readers would take differently is refused: NaN and infinities, numbers beyond f64, duplicate
keys, lone surrogates, nesting beyond 32. Going out, a non-finite number is the string of `NONFINITE_NAMES`, because
a bare NaN makes the whole message unreadable for a strict client.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import Any

from hermes.errors import BadJson, BadMessage, shown

DEPTH_LIMIT = 32

_STRUCTURE = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)
"""A string (one that never ends takes the rest: no second attempt may begin inside it), or a bracket."""

_COMMAND_KEYS = ("type", "action", "params", "id")


def encode(value: Any) -> str:
    """Return strict JSON for plain values; non-finite floats become strings."""
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":"))
    except ValueError:
        return json.dumps(_finite(value), allow_nan=False, separators=(",", ":"))


def decode(data: str | bytes) -> Any:
    """Return the value in strict JSON; raises BadJson that says what is wrong."""
    if isinstance(data, bytes):
        raise BadMessage("commands are text messages; found a binary one")
    if data.count("[") + data.count("{") > DEPTH_LIMIT and _too_deep(data):
        raise BadJson(f"nested deeper than {DEPTH_LIMIT}")
    try:
        value = _loads(data)
        json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise BadJson(f"{error.msg} at character {error.pos}") from None
    except UnicodeEncodeError:
        raise BadJson("a lone surrogate in a string") from None
    except ValueError as error:
        raise BadJson(str(error)) from None
    return value


def command_fields(data: str | bytes) -> dict[str, Any]:
    """Return action, params and id of a client's message; raises BadJson or BadMessage."""
    message = decode(data)
    if not isinstance(message, dict):
        raise BadMessage(f"a message is an object with an action; found {shown(message)}")
    unknown = [key for key in message if key not in _COMMAND_KEYS]
    if unknown:
        raise BadMessage(f"a message has the keys {', '.join(_COMMAND_KEYS)}; found {shown(unknown[0])}")
    if message.get("type", "cmd") != "cmd":
        raise BadMessage(f"type is 'cmd' or absent; found {shown(message['type'])}")
    action, params, identity = message.get("action"), message.get("params", {}), message.get("id")
    if not isinstance(action, str):
        raise BadMessage(f"action is a string such as 'subscribe'; found {shown(action)}")
    if not isinstance(params, dict):
        raise BadMessage(f"params is an object or absent; found {shown(params)}")
    if isinstance(identity, bool) or not isinstance(identity, str | int | None):
        raise BadMessage(f"id is a string or an integer; found {shown(identity)}")
    return {"action": action, "params": params, "id": identity}


def _loads(data: str) -> Any:
    return json.loads(
        data,
        object_pairs_hook=_unique,
        parse_constant=_no_constant,
        parse_float=_finite_float,
        parse_int=_bounded_int,
    )


def _too_deep(text: str) -> bool:
    depth = 0
    for found in _STRUCTURE.finditer(text):
        token = found[0]
        if token in "[{":
            depth += 1
            if depth > DEPTH_LIMIT:
                return True
        elif token in "]}":
            depth -= 1
    return False


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {shown(twice)} appears twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON; where a signal allows it, send the string {name!r}")


def _finite_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{shown(text)} is beyond the range of f64")
    return value


def _bounded_int(text: str) -> int:
    _finite_float(text)
    return int(text)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
