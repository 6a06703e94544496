from __future__ import annotations

import math

import pytest

from hermes.yamlfile import parse_yaml
from hermes.yamlscalars import bad_tag, read_scalar

SCALARS = {
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
    "null": None, "Null": None, "NULL": None, "~": None, "": None,
    "0": 0, "-7": -7, "+7": 7, "0777": 777, "0x1F": 31, "0o17": 15,
    "1e-3": 1e-3, "1E+3": 1e3, "1.": 1.0, ".5": 0.5, "-0.5": -0.5, "59.94": 59.94,
    ".inf": math.inf, "-.INF": -math.inf, "+.Inf": math.inf,
    "no": "no", "yes": "yes", "on": "on", "off": "off", "y": "y", "tRuE": "tRuE", "12:30": "12:30",
    "1_000": "1_000", "0b1": "0b1", "-0x1": "-0x1", "2026-01-01": "2026-01-01", "inf": "inf", "nan": "nan",
    "-.nan": "-.nan", "e3": "e3", ".": ".", "=": "=", "'1'": "1", '"true"': "true", "''": "", '"~"': "~",
    "!!str 1": "1", "!!str": "", "!!int 0x10": 16, "!!float 1": 1.0, "!!bool true": True, "!!null ~": None,
    "!!int '5'": 5, "!<tag:yaml.org,2002:str> 1": "1", "!!seq [1]": [1], "!!map {a: 1}": {"a": 1},
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), SCALARS.items())
def test_scalars_follow_the_core_schema(text: str, expected: object) -> None:
    found = parse_yaml(f"a: {text}\n", "f").value["a"]
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize("text", [".nan", ".NaN", ".NAN"])
def test_nan_is_a_number(text: str) -> None:
    assert math.isnan(parse_yaml(text, "f").value)


@pytest.mark.parametrize(
    ("text", "tag", "is_plain", "found", "complaint"),
    [
        ("1", None, True, 1, None),
        ("1", None, False, "1", None),
        ("1", "tag:yaml.org,2002:str", True, "1", None),
        ("x", "tag:yaml.org,2002:int", True, "x", "the tag '!!int' does not fit 'x'"),
        ("1e999", None, True, math.inf, "the number '1e999' is too large; write .inf for infinity"),
        ("9" * 401, None, True, "9" * 401, "a number of 401 characters; at most 400 are read"),
        (
            "x",
            "!python/name:os.system",
            True,
            "x",
            bad_tag("!python/name:os.system", "'x'"),
        ),
    ],
)
def test_a_scalar_and_what_is_wrong_with_it(
    text: str, tag: str | None, is_plain: bool, found: object, complaint: str | None
) -> None:
    assert read_scalar(text, tag, is_plain=is_plain) == (found, complaint)


def test_a_tag_that_constructs_something_is_refused() -> None:
    accepted = "!!str, !!int, !!float, !!bool, !!null, !!seq and !!map"
    text = f"the tag '!python/name:os.system' is not accepted; the tags that are: {accepted}"
    assert bad_tag("!python/name:os.system", "'x'") == text
