from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from bounds import promised, spent
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes.errors import BadJson, BadMessage, CommandError
from hermes.strictjson import CONTAINER_LIMIT, DEPTH_LIMIT, decode, encode, fields_of

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
NUMBERS = st.integers(-(2**1023), 2**1023) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=20,
)


def typed(value: Any) -> str:
    """Tell 1 from 1.0 and from True, and -0.0 from 0.0."""
    return repr(value)


@given(VALUES)
def test_what_is_encoded_decodes_to_itself(value: Any) -> None:
    text = encode(value)
    assert typed(decode(text)) == typed(value)
    assert text.isascii()
    assert "\n" not in text


@given(st.text() | st.from_regex(r'[\[\]{}":,\\0-9eE.\-+ aInfityN]{0,40}', fullmatch=True))
def test_any_text_is_decoded_as_the_library_would_or_refused(text: str) -> None:
    try:
        value = decode(text)
    except BadJson:
        return
    assert typed(value) == typed(json.loads(text))


PIECES = [
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    '"',
    "\\",
    "\\u",
    "d83d",
    "DE00",
    "\\ud83d",
    "\\ude00",
    "\ud83d",
    "\ude00",
    "e308",
]
PIECES += [
    "1",
    "-",
    ".5",
    "E+0309",
    "e309",
    "e-400",
    "9" * 150,
    "0" * 310,
    "NaN",
    "true",
    " ",
    "a",
    '"a":',
    "\U0001f600",
]
TOKENS = [
    "1e308",
    "1e309",
    "-2E+308",
    "1e-999",
    "9" * 309,
    "17976931348623157" + "0" * 292,
    "1" * 4_301,
    "true",
    "null",
]
TOKENS += [
    "1.5",
    '"1e999"',
    '"[]\\""',
    '"\\\\"',
    '"\\ud83d\\ude00"',
    '"\\ude00\\ud83d"',
    '"\\\\ud83d"',
    '"\ud83d"',
    "[]",
]


@st.composite
def documents(draw: st.DrawFn) -> str:
    """Draw valid JSON of tokens that are likely to be refused, or to look like ones."""
    items = draw(st.lists(st.sampled_from(TOKENS), max_size=6))
    if draw(st.booleans()):
        return "[" + ", ".join([*items, draw(st.recursive(st.just("0"), lambda inner: inner.map("[{}]".format)))]) + "]"
    return "{" + ",".join(f'"{key}":{item}' for key, item in enumerate(items)) + "}"


def as_defined(text: str) -> Any:
    """Decode as `decode` is meant to, one number and one string at a time; None for what is to be refused."""

    def number(digits: str) -> Any:
        if math.isinf(float(digits)):
            raise ValueError(digits)
        return int(digits) if digits.lstrip("-").isdigit() else float(digits)

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len({name for name, _ in pairs}) == len(pairs)
        return dict(pairs)

    hooks: Any = {"parse_int": number, "parse_float": number, "parse_constant": refusing, "object_pairs_hook": unique}
    try:
        value = json.loads(text, **hooks)
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, AssertionError, RecursionError):
        return None
    return value


@settings(deadline=None)
@given(documents() | st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_text_is_decoded_or_refused_as_if_each_token_were_looked_at(text: str) -> None:
    value = None
    with suppress(BadJson):
        value = decode(text)
    assert typed(value) == typed(as_defined(text))


def refusing(constant: str) -> Any:
    raise AssertionError(constant)


@given(st.recursive(st.floats(), lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner), max_leaves=10))
def test_non_finite_numbers_go_out_as_strings(value: Any) -> None:
    def told(item: Any) -> Any:
        if isinstance(item, float) and not math.isfinite(item):
            return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(item)]
        if isinstance(item, dict):
            return {key: told(inner) for key, inner in item.items()}
        return [told(inner) for inner in item] if isinstance(item, list) else item

    assert json.loads(encode(value), parse_constant=refusing) == told(value)


def test_tuples_and_enumerations_go_out_as_lists_and_strings() -> None:
    assert encode({"a": (1.0, math.nan), "b": {}}) == '{"a":[1.0,"NaN"],"b":{}}'


BEYOND = "is beyond the range of f64"
ALLOWED = "where a signal allows it, send the string"
REFUSED = [
    ("NaN", f"NaN is not JSON; {ALLOWED} 'NaN'"),
    ('{"a":[Infinity]}', f"Infinity is not JSON; {ALLOWED} 'Infinity'"),
    ("-Infinity", f"-Infinity is not JSON; {ALLOWED} '-Infinity'"),
    ("1e400", f"'1e400' {BEYOND}"),
    ('{"a":-1e309}', f"'-1e309' {BEYOND}"),
    ("9" * 400, f"'{'9' * 60}...' {BEYOND}"),
    ("1" * 4_300, f"'{'1' * 60}...' {BEYOND}"),
    ("-" + "1" * 5_000, f"'-{'1' * 59}...' {BEYOND}"),
    ('{"a":1,"b":2,"a":3}', "the key 'a' appears twice"),
    ('[{"x":{"\\n":1,"\\u000a":1}}]', "the key '\\n' appears twice"),
    ('"\\ud800"', "a lone surrogate in a string"),
    ('{"\\udfff":1}', "a lone surrogate in a string"),
    ('["\ud800"]', "a lone surrogate in a string"),
    ("[" * 33 + "]" * 33, "nested deeper than 32"),
    ('{"a":' * 33 + "1" + "}" * 33, "nested deeper than 32"),
    ("[" * 32_000, "nested deeper than 32"),
    ("[" + "[]," * 1_024 + "[]]", "more than 1024 arrays and objects"),
    ('{"a":[' + "{},{}," * 20_000, "more than 1024 arrays and objects"),
    ('["\\\\",' + "[]," * 1_024 + "[]]", "more than 1024 arrays and objects"),
    ('{"a":"1e400","b":1e300,"c":[[1E+0400]]}', f"'1E+0400' {BEYOND}"),
    ('["' + "1" * 400 + '",-' + "2" * 310 + ",1e100]", f"'-{'2' * 59}...' {BEYOND}"),
    ("[" + "1" * 4_301 + ",\ud800 1-e+5555", f"'{'1' * 60}...' {BEYOND}"),
    ("1" * 250 + "e99", f"'{'1' * 60}...' {BEYOND}"),
    ("[1e400,", "Expecting value at character 7"),
    ('"\\ud83d\\\\\\ude00"', "a lone surrogate in a string"),
    ('"\\ud83d\\ud83d\\ude00"', "a lone surrogate in a string"),
    ('"\\ude00\\ud83d"', "a lone surrogate in a string"),
    ("[" * 32, "Expecting value at character 32"),
    ("", "Expecting value at character 0"),
    ("{}{}", "Extra data at character 2"),
    ("01", "Extra data at character 1"),
    ("{'a':1}", "Expecting property name enclosed in double quotes at character 1"),
    ('"abc', "Unterminated string starting at at character 0"),
    ('"a\tb"', "Invalid control character at at character 2"),
    ('"\\x"', "Invalid \\escape at character 1"),
    ("\ufeff{}", "Unexpected UTF-8 BOM (decode using utf-8-sig) at character 0"),
]


@pytest.mark.parametrize(("text", "reason"), REFUSED, ids=[ascii(text[:20]) for text, _ in REFUSED])
def test_what_is_not_strict_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(BadJson) as caught:
        decode(text)
    assert str(caught.value) == f"not strict JSON: {reason}"
    assert len(str(caught.value)) < 200


def test_surrogate_pairs_brackets_in_strings_and_depth_32_are_fine() -> None:
    assert decode('"\\ud83d\\ude00"') == "\U0001f600"
    assert decode('["' + "[" * 100 + '\\"{"]') == ["[" * 100 + '"{']
    assert decode("[" * DEPTH_LIMIT + "]" * DEPTH_LIMIT) is not None
    assert decode('{"a":' * DEPTH_LIMIT + "1" + "}" * DEPTH_LIMIT) is not None
    assert decode("[" + "[]," * 1_022 + "[]]") == [[]] * (CONTAINER_LIMIT - 1)
    assert decode("[" + '"[]{}",' * 2_000 + "0]") == ["[]{}"] * 2_000 + [0]
    assert decode("[" + "[]," * 2_000 + "[]]", containers=2_002) == [[]] * 2_001
    assert decode('"\\\\ud83d \\\\\\ud83d\\ude00"') == "\\ud83d \\\U0001f600"


def test_numbers_that_look_huge_and_are_not() -> None:
    assert decode('["1e999",1e-999,1e308,-0.0e9999]') == ["1e999", 0.0, 1e308, 0.0]
    assert decode("[" + "1" * 308 + ",0." + "1" * 400 + "]") == [int("1" * 308), float("0." + "1" * 400)]
    assert decode("9" * 308 + "e0") == float("9" * 308)


KEYS = "a message has the keys type, action, params, id; found "
NOT_COMMANDS = [
    (b'{"action":"resume"}', "commands are text messages; found a binary one"),
    (b"", "commands are text messages; found a binary one"),
    ("[]", "a message is an object with an action; found []"),
    ("null", "a message is an object with an action; found None"),
    ('"resume"', "a message is an object with an action; found 'resume'"),
    ("{}", "action is a string such as 'subscribe'; found None"),
    ('{"action":7}', "action is a string such as 'subscribe'; found 7"),
    ('{"type":"ack","action":"resume"}', "type is 'cmd' or absent; found 'ack'"),
    ('{"type":null,"action":"resume"}', "type is 'cmd' or absent; found None"),
    ('{"action":"set","signal":"a.x","value":1}', KEYS + "'signal'"),
    ('{"action":"resume","token":"secret"}', KEYS + "'token'"),
    ('{"action":"resume","params":null}', "params is an object or absent; found None"),
    ('{"action":"resume","params":[]}', "params is an object or absent; found []"),
    ('{"action":"resume","id":1.5}', "id is a string or an integer; found 1.5"),
    ('{"action":"resume","id":true}', "id is a string or an integer; found True"),
    ('{"action":"resume","id":[]}', "id is a string or an integer; found []"),
]


@pytest.mark.parametrize(("message", "text"), NOT_COMMANDS)
def test_what_is_no_command_is_refused_with_what_is_accepted(message: str | bytes, text: str) -> None:
    with pytest.raises(BadMessage) as caught:
        fields_of(decode(message))
    assert str(caught.value) == text
    if isinstance(message, str):
        with pytest.raises(BadMessage) as caught:
            fields_of(decode(message))
        assert str(caught.value) == text


def test_the_fields_of_a_decoded_command() -> None:
    assert fields_of({"type": "cmd", "action": "step"}) == {"action": "step", "params": {}, "id": None}
    assert fields_of({"id": 7, "action": "x", "params": {"a": 1}}) == {"action": "x", "params": {"a": 1}, "id": 7}


SIZE = 64 * 1024


def filled(start: str, piece: str, end: str = "") -> str:
    return start + piece * ((SIZE - len(start) - len(end)) // len(piece)) + end


DISTINCT = ",".join(f'"{number:x}":1' for number in range(6_000))
HOSTILE = {
    "open brackets": filled("", "["),
    "closed brackets": filled("", "]"),
    "closed and open brackets": "]" * 60_000 + "[" * 5_000,
    "empty arrays": filled("[", "[],", "[]]"),
    "empty objects": filled("[", "{},", "{}]"),
    "brackets in strings": filled("[", '"[",', "0]"),
    "escaped quotes": filled('"', '\\"'),
    "escaped quotes without a start": filled("", '\\"'),
    "backslashes": filled('"', "\\"),
    "quotes": filled("", '"'),
    "quotes in an array": filled("[", '"",', '""]'),
    "keys": "{" + DISTINCT + "}",
    "keys, the last one twice": "{" + DISTINCT + ',"176f":1}',
    "one key": filled("{", '"a":1,', '"a":1}'),
    "small integers": filled("[", "1,", "1]"),
    "small integers and a huge one": filled("[1e100,", "1,", "1]"),
    "long integers": filled("[", "1" * 4_299 + ",", "1]"),
    "integers in range": filled("[", "1" * 300 + ",", "1]"),
    "one integer": filled("", "1"),
    "fractions": filled("[", "0.1,", "1]"),
    "one fraction": filled("0.", "1"),
    "small exponents": filled("[", "1e9,", "1]"),
    "exponents": filled("[", "1e100,", "1]"),
    "exponents, the last one too large": filled("[", "1e308,", "1e309]"),
    "one exponent": filled("1e", "1"),
    "surrogates": filled('"', "\\ud800", '"'),
    "raw surrogates": filled('"', "\ud800", '"'),
    "surrogate pairs": filled('"', "\\ud83d\\ude00", '"'),
    "escapes": filled('"', "\\u0041", '"'),
    "spaces": filled("", " "),
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_64_kib_of_malice_cost_little_more_than_64_kib_of_numbers(text: str) -> None:
    """What the library needs for numbers without any check is the floor; 50 ms are ten times the aim."""
    numbers = filled("[", "1e308,", "0]")
    assert len(text) <= SIZE
    took = fastest(lambda: fields_of(decode(text)))
    assert took < promised(0.05)
    assert took < 10 * fastest(lambda: json.loads(numbers))


def fastest(call: Callable[[], object]) -> float:
    """Return the shortest of five times, in seconds of the processor, whether a call is refused or not."""

    def refusable() -> None:
        with suppress(CommandError):
            call()

    return spent(refusable, 5)
