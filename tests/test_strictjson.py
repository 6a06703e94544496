from __future__ import annotations

import json
import math
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes.errors import BadJson, BadMessage, CommandError
from hermes.strictjson import DEPTH_LIMIT, command_fields, decode, encode

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
    assert decode("[" + "[]," * 1_000 + "[]]") == [[]] * 1_001


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
        command_fields(message)
    assert str(caught.value) == text


SIZE = 64 * 1024


def filled(start: str, piece: str, end: str = "") -> str:
    return start + piece * ((SIZE - len(start) - len(end)) // len(piece)) + end


DISTINCT = ",".join(f'"{number:x}":1' for number in range(6_000))
HOSTILE = {
    "open brackets": filled("", "["),
    "closed brackets": filled("", "]"),
    "escaped quotes": filled('"', '\\"'),
    "escaped quotes without a start": filled("", '\\"'),
    "backslashes": filled('"', "\\"),
    "quotes": filled("", '"'),
    "quotes in an array": filled("[", '"",', '""]'),
    "keys, the last one twice": "{" + DISTINCT + ',"176f":1}',
    "one key": filled("{", '"a":1,', '"a":1}'),
    "integers": filled("[", "1" * 4_299 + ",", "1]"),
    "integers in range": filled("[", "1" * 300 + ",", "1]"),
    "one integer": filled("", "1"),
    "one fraction": filled("0.", "1"),
    "one exponent": filled("1e", "1"),
    "surrogates": filled('"', "\\ud800", '"'),
    "spaces": filled("", " "),
    "empty objects": filled("[", "{},", "{}]"),
}


def fastest(text: str) -> float:
    """Return the shortest of three times, in seconds."""
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        with suppress(CommandError):
            command_fields(text)
        times.append(time.perf_counter() - begin)
    return min(times)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_64_kib_of_malice_cost_about_as_much_as_64_kib_of_sense(text: str) -> None:
    sense = filled('{"action":"set","params":{"values":[', '{"a.x":1.5},', "0]}}")
    assert len(text) <= SIZE
    assert fastest(text) < 10 * fastest(sense)
