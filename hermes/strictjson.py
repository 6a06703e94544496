"""JSON as the wire has it: strict in both directions.

Coming in, what other readers would take differently is refused: NaN and infinities, numbers beyond f64, duplicate
keys, lone surrogates, nesting beyond 32. Going out, a non-finite number is the string of `NONFINITE_NAMES`, because
a bare NaN makes the whole message unreadable for a strict client.

Whoever sends a message decides what it costs to read, up to the size that the server accepts. So nothing here runs once
per number or string: the library decodes with its own conversions, and what it lets through is looked for in the text,
by the few string methods and expressions that take linear time.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import Any

from hermes.errors import BadJson, BadMessage
from hermes.wording import shown

DEPTH_LIMIT = 32

CONTAINER_LIMIT = 1_024
"""Arrays and objects in one message: no command needs more, and each costs as much as many numbers."""

_BRACKET = re.compile(r"[\[\]{}]")

_PAIR = re.compile(r"\\u[dD][89abAB]..\\u[dD][c-fC-F]..")
_HALF = re.compile(r"\\u[dD][89a-fA-F]")
"""Escapes of a surrogate pair, and of one half of it, in valid JSON without escaped backslashes."""

_DIGITS = bytes.maketrans(b"123456789E", b"000000000e")
_NUMBERS = bytes(code if chr(code) in "0123456789+-.eE" else ord(" ") for code in range(256))

_COMMAND_KEYS = ("type", "action", "params", "id")


def encode(value: Any) -> str:
    """Return strict JSON for plain values; non-finite floats become strings."""
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":"))
    except ValueError:
        return json.dumps(_finite(value), allow_nan=False, separators=(",", ":"))


def decode(data: str | bytes, containers: int = CONTAINER_LIMIT) -> Any:
    """Return the value in strict JSON; raises BadJson that says what is wrong, or BadMessage for bytes.

    `containers` is how many arrays and objects it may have; a server's schema has one per signal.
    """
    if isinstance(data, bytes):
        raise BadMessage("commands are text messages; found a binary one")
    _check_brackets(data, containers)
    try:
        value = json.loads(data, object_pairs_hook=_unique, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise BadJson(f"{error.msg} at character {error.pos}") from None
    except ValueError as error:  # an integer of more digits than Python converts
        _check_numbers(data, math.inf)
        raise BadJson(str(error)) from None
    _check_numbers(data, value)
    _check_surrogates(data)
    return value


def fields_of(message: Any) -> dict[str, Any]:
    """Return action, params and id of a client's decoded message; raises BadMessage."""
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


def _check_brackets(text: str, containers: int) -> None:
    """Raise BadJson on too many arrays and objects, or on so deep ones that the library would run out of stack.

    What is no JSON at all is left to the library. It stops at the first character that is wrong, so up to there the
    brackets counted here are those that it opens.
    """
    if text.count("[") + text.count("{") <= DEPTH_LIMIT:
        return
    opened = depth = 0
    for bracket in _BRACKET.finditer(_outside(text)):
        if bracket[0] in "[{":
            opened += 1
            depth += 1
            if depth > DEPTH_LIMIT:
                raise BadJson(f"nested deeper than {DEPTH_LIMIT}")
            if opened > containers:
                raise BadJson(f"more than {containers} arrays and objects")
        else:
            depth -= 1
            if depth < 0:
                return


def _check_numbers(text: str, value: Any) -> None:
    """Raise BadJson on the first number beyond f64 in `text`, which is `value` in valid JSON as far as that number."""
    digits = text.encode(errors="replace").translate(_DIGITS)
    if b"0" * 200 not in digits and b"e000" not in digits and b"e+000" not in digits:
        return  # at most 199 digits and an exponent of at most 99
    shortest = len("1e309") if _holds_infinity(value) else 309
    numbers = [
        number
        for number in _outside(text).encode(errors="replace").translate(_NUMBERS).split()
        if len(number) >= shortest
    ]
    for number, read in zip(numbers, map(float, numbers), strict=True):
        if math.isinf(read):
            raise BadJson(f"{shown(number.decode())} is beyond the range of f64")


def _holds_infinity(value: Any) -> bool:
    waiting = [[value]]
    while waiting:
        values = waiting.pop()
        kinds = set(map(type, values))
        if float in kinds:
            floats = [item for item in values if type(item) is float]
            if math.inf in floats or -math.inf in floats:
                return True
        if list in kinds:
            waiting += [item for item in values if type(item) is list]
        if dict in kinds:
            waiting += [list(item.values()) for item in values if type(item) is dict]
    return False


def _check_surrogates(text: str) -> None:
    """Raise BadJson on half a surrogate pair in valid JSON, escaped or not."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadJson("a lone surrogate in a string") from None
    if "\\u" in text and _HALF.search(_PAIR.sub(".", text.replace("\\\\", ".."))):
        raise BadJson("a lone surrogate in a string")


def _outside(text: str) -> str:
    """Return the text with its strings empty."""
    return '""'.join(text.replace("\\\\", "").replace('\\"', "").split('"')[::2])


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise BadJson(f"the key {shown(twice)} appears twice")
    return found


def _no_constant(name: str) -> Any:
    raise BadJson(f"{name} is not JSON; where a signal allows it, send the string {name!r}")


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
