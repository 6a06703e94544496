"""Read the scalars of the YAML 1.2 core schema, and no others.

So ``no``, ``on`` and ``12:30`` are text and ``1e-3`` is a number. Only text goes in; no document and no place is known
here.
"""

from __future__ import annotations

import math
import re

from hermes.wording import shown

_MAX_DIGITS = 400  # no number needs more, and converting a million digits takes seconds
CORE = "tag:yaml.org,2002:"
_CORE_TAGS = "!!str, !!int, !!float, !!bool, !!null, !!seq and !!map"
_FORMS = {
    "null": r"(?:null|Null|NULL|~)?",
    "bool": r"true|True|TRUE|false|False|FALSE",
    "int": r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+",
    "float": r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
    "str": r"(?s:.*)",
}
_PLAIN = re.compile("|".join(f"(?P<{kind}>{form})" for kind, form in _FORMS.items()))

Scalar = str | int | float | bool | None


def read_scalar(text: str, tag: str | None, *, is_plain: bool) -> tuple[Scalar, str | None]:
    """Return the value of a scalar, and what is wrong with it if anything is; `is_plain` says it has no quotes."""
    kind = "str"
    if tag is not None:
        kind = tag.removeprefix(CORE)
    elif is_plain and (found := _PLAIN.fullmatch(text)):
        kind = str(found.lastgroup)
    if tag is not None and (tag == kind or not re.fullmatch(_FORMS.get(kind, r"(?!)"), text)):
        return text, bad_tag(tag, shown(text))
    if kind in ("int", "float") and len(text) > _MAX_DIGITS:
        return text, f"a number of {len(text)} characters; at most {_MAX_DIGITS} are read"
    value = _converted(kind, text)
    if value in (math.inf, -math.inf) and ".inf" not in text.lower():
        return value, f"the number {shown(text)} is too large; write .inf for infinity"
    return value, None


def _converted(kind: str, text: str) -> Scalar:
    if kind == "int":
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        return int(text if base == 10 else text[2:], base)
    if kind == "float":
        return float(re.sub(r"\.(?=[iInN])", "", text))
    if kind == "bool":
        return text.lower() == "true"
    return None if kind == "null" else text


def bad_tag(tag: str, found: str) -> str:
    """Say what is wrong with `tag` on a value that a message calls `found`."""
    name = shown("!!" + tag.removeprefix(CORE) if tag.startswith(CORE) else tag)
    if tag in {CORE + kind for kind in (*_FORMS, "seq", "map")}:
        return f"the tag {name} does not fit {found}"
    return f"the tag {name} is not accepted; the tags that are: {_CORE_TAGS}"
