from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import yaml
from bounds import spent
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes import yamlfile
from hermes.errors import ConfigurationError
from hermes.yamlfile import Document, parse_yaml, read_yaml


def refused(text: str | bytes) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        parse_yaml(text, "f")
    return [str(problem) for problem in caught.value.problems]


def value(text: str | bytes) -> Any:
    return parse_yaml(text, "f").value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("# nothing\n", None),
        ("\ufeffa: 1", {"a": 1}),
        (b"\xef\xbb\xbfa: 1", {"a": 1}),
        ("%YAML 1.2\n---\na: 1\n...\n", {"a": 1}),
        ("- a\n- [b, {c: d}]\n", ["a", ["b", {"c": "d"}]]),
        ("a: &x [1, 2]\nb: *x\n", {"a": [1, 2], "b": [1, 2]}),
        ("&x k: 1\nj: *x\n", {"k": 1, "j": "k"}),
        ("a: |\n  x\n  y\n", {"a": "x\ny\n"}),
        ("? a\n: 1\n", {"a": 1}),
    ],
)
def test_documents(text: str | bytes, expected: object) -> None:
    assert value(text) == expected


def test_an_alias_is_a_copy() -> None:
    found = value("a: &x [1]\nb: *x\n")
    found["a"].append(2)
    assert found["b"] == [1]


WHERE = "# c\na:\n  é: [1, {b: x}]\nc: &y\n  d: 1\ne: *y\n"


@pytest.mark.parametrize(
    ("path", "key", "expected"),
    [
        ((), False, "f:2:1"),
        ((), True, "f:2:1"),
        (("a",), False, "f:3:3"),
        (("a",), True, "f:2:1"),
        (("a", "é"), False, "f:3:6"),
        (("a", "é", 0), False, "f:3:7"),
        (("a", "é", 1, "b"), True, "f:3:11"),
        (("a", "é", 1, "b"), False, "f:3:14"),
        (("a", "é", 1), True, "f:3:10"),
        (("e",), False, "f:6:4"),
        (("e", "d"), False, "f:5:6"),
        (("a", "nope"), False, "f:3:3"),
        (("a", "nope", 3), True, "f:2:1"),
        (("a", "é", 9), False, "f:3:6"),
        (("nope",), False, "f:2:1"),
    ],
)
def test_where(path: tuple[str | int, ...], key: bool, expected: str) -> None:
    assert parse_yaml(WHERE, "f").where(path, key=key) == expected


def test_both_parsers_give_the_same_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    def marks(document: Document) -> list[str]:
        paths: list[tuple[str | int, ...]] = [("a",), ("a", "é"), ("a", "é", 1, "b"), ("e",), ("e", "d")]
        return [document.where(path, key) for path in paths for key in (False, True)]

    quick = marks(parse_yaml(WHERE, "f"))
    monkeypatch.setattr(yamlfile, "_LOADER", yaml.SafeLoader)
    assert marks(parse_yaml(WHERE, "f")) == quick


def test_a_document_survives_pickling() -> None:
    assert pickle.loads(pickle.dumps(parse_yaml(WHERE, "f"))).where(("e", "d")) == "f:5:6"


TAGS = "; the tags that are: !!str, !!int, !!float, !!bool, !!null, !!seq and !!map"
FLOW = "not valid YAML: while parsing a flow sequence, did not find expected ',' or ']'"
REFUSED: list[tuple[str | bytes, list[str]]] = [
    (
        "a: !!python/object/apply:os.system ['x']\nb: !mine 1\nc: !!binary aa\nd: ! x\n",
        [
            f"f:1:4: the tag '!!python/object/apply:os.system' is not accepted{TAGS}",
            f"f:2:4: the tag '!mine' is not accepted{TAGS}",
            f"f:3:4: the tag '!!binary' is not accepted{TAGS}",
            f"f:4:4: the tag '!' is not accepted{TAGS}",
        ],
    ),
    (
        "a: !!int x\nb: !!map []\nc: !!seq {}\nd: !!seq x\n",
        [
            "f:1:4: the tag '!!int' does not fit 'x'",
            "f:2:4: the tag '!!map' does not fit a list",
            "f:3:4: the tag '!!seq' does not fit a mapping",
            "f:4:4: the tag '!!seq' does not fit 'x'",
        ],
    ),
    (
        "a: 1\nb: {c: 1, c: 2}\na: 3\n",
        [
            "f:2:11: the key 'c' stands here a second time; the first is at f:2:5",
            "f:3:1: the key 'a' stands here a second time; the first is at f:1:1",
        ],
    ),
    (
        "1: a\ntrue: b\n~: c\n[x]: d\n{y: z}: e\n",
        [f"f:{line}:1: a key that is not text; put it in quotes" for line in range(1, 6)],
    ),
    ("a: &x {}\nb: {<<: *x}\n", ["f:2:5: the merge key '<<' is not supported; write the keys out"]),
    ("a: 1\n---\nb: 2\n", ["f:2:1: a second document starts here; a configuration is one document"]),
    ("---\n---\n", ["f:2:1: a second document starts here; a configuration is one document"]),
    ("a: &x [1, *x]\n", ["f:1:11: the alias '*x' stands inside the value it repeats"]),
    ("a: *x\n", ["f:1:4: the alias '*x' has no anchor before it"]),
    ("a: 1e999\nb: -1e999\n", [f"f:{n}:4: the number '{x}1e999' is too large; write .inf for infinity"
                                for n, x in ((1, ""), (2, "-"))]),
    ("a: " + "9" * 401, ["f:1:4: a number of 401 characters; at most 400 are read"]),
    ("[" * 4000, ["f:1:33: nested more than 32 deep"]),
    ("- " * 4000, ["f:1:65: nested more than 32 deep"]),
    ("%TAG !a! x\n" * 65, ["f:1:1: more than 64 %TAG directives; none is needed"]),
    ("#" * (2**20 + 1), ["f: the file is larger than 1 MiB, the most that is read"]),
    ("a: 1\nb: \0", ["f:2:4: the control character U+0000 (NUL: not text, or not UTF-8) is not allowed"]),
    ("a: \x1b[0m", ["f:1:4: the control character U+001B is not allowed"]),
    ("a: 1".encode("utf-16-le"), ["f:1:2: the control character U+0000 (NUL: not text, or not UTF-8) is not allowed"]),
    ("a: 1".encode("utf-16"), ["f:1:1: the file is UTF-16 or UTF-32; save it as UTF-8"]),
    (b"a: 1\nb\xc3\xa9: \xff", ["f:2:5: byte 0xff is not UTF-8; save the file as UTF-8"]),
    ("a: \ud800", ["f:1:4: byte 0xed is not UTF-8; save the file as UTF-8"]),
    ("a: b: c", ["f:1:5: not valid YAML: mapping values are not allowed in this context"]),
    (
        "a: [1,\n  2\nb: 1",
        [f"f:3:2: {FLOW} (it starts in line 1)"],
    ),
    ("1: a\n1: b: c\n", ["f:2:5: not valid YAML: mapping values are not allowed in this context"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "problems"), REFUSED)
def test_refusals(text: str | bytes, problems: list[str]) -> None:
    assert refused(text) == problems


@pytest.mark.parametrize(
    ("depth", "is_accepted"),
    [(32, True), (33, False)],
)
def test_depth_is_counted_in_collections(depth: int, is_accepted: bool) -> None:
    text = "[" * depth + "]" * depth
    if is_accepted:
        assert parse_yaml(text, "f").value
    else:
        assert refused(text) == ["f:1:33: nested more than 32 deep"]


def test_depth_counts_what_an_alias_repeats() -> None:
    chain = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 40))
    assert refused(chain) == ["f:32:12: nested more than 32 deep"]


def test_at_most_100_problems_are_listed() -> None:
    assert len(refused("a: 1\n" * 5000)) == 100


def test_exactly_the_largest_file_is_read() -> None:
    assert value("#" * 2**20) is None


def _list_of(count: int) -> str:
    return "[" + "x," * (count - 1) + "]"


def test_exactly_100000_values_are_read() -> None:
    assert len(value(_list_of(100_000))) == 99_999
    assert refused(_list_of(100_001)) == ["f:1:200000: more than 100,000 values, counting what aliases repeat"]


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join(['*' + old] * 9)}]\n" for old, new in zip("abcdefghij", "bcdefghijk", strict=True)
)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("[" * 2**20, id="brackets"),
        pytest.param("{a: " * 2**18, id="braces"),
        pytest.param("a: 1\n" * 200_000, id="duplicates"),
        pytest.param(BOMB, id="bomb"),
        pytest.param("a: " + "9" * (2**20 - 3), id="digits"),
        pytest.param("a: 0x" + "f" * (2**20 - 5), id="hex digits"),
        pytest.param("".join(f"%TAG !{i:x}! x\n" for i in range(60_000)) + "--- a", id="tag directives"),
        pytest.param("a: !!python/" + "x" * 10**6 + " b", id="long tag"),
        pytest.param("? ? ? ?\n" * 100_000, id="question marks"),
    ],
)
def test_hostile_files_are_refused_quickly(text: str, reading: float) -> None:
    assert spent(lambda: refused(text), 2) < reading
    assert all(len(problem) < 400 for problem in refused(text))


@pytest.fixture(scope="module")
def reading() -> float:
    """Return what it costs to read half as many values as a file may have, in seconds of the processor."""
    return spent(lambda: value(_list_of(50_000)), 2)


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: 1\n", encoding="utf-8")
    document = read_yaml(path)
    assert (document.value, document.where(("a",))) == ({"a": 1}, f"{path}:1:4")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing.yaml", "No such file or directory"),
        (".", "Is a directory"),
        ("x" * 300, "File name too long"),
        ("a\0b", "embedded null byte"),
    ],
)
def test_unreadable_files(tmp_path: Path, name: str, reason: str) -> None:
    path = tmp_path / name
    with pytest.raises(ConfigurationError) as caught:
        read_yaml(path)
    assert str(caught.value) == f"{path}: the configuration file cannot be read: {reason}"


def test_a_refused_permission_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(ConfigurationError, match="cannot be read: Permission denied"):
        read_yaml(Path("a.yaml"))


def read_or_refused(text: str | bytes) -> tuple[Document | None, list[str]]:
    try:
        return parse_yaml(text, "f"), []
    except ConfigurationError as error:
        return None, [str(problem) for problem in error.problems]


@settings(deadline=None)
@given(st.one_of(st.text(), st.binary(), st.text(alphabet="[]{}:,-?&*!|>'\"% \n#a1~<.")))
def test_any_input_is_read_or_refused(text: str | bytes) -> None:
    document, problems = read_or_refused(text)
    if document:
        assert document.where(()).startswith("f:")
    else:
        assert problems
        assert all(problem.startswith("f:") for problem in problems)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@settings(deadline=None)
@given(PLAIN)
def test_what_a_writer_writes_is_read_back(tree: object) -> None:
    text = yaml.safe_dump(tree, default_style='"')
    document, problems = read_or_refused(text)
    if document:
        assert document.value == tree
    else:
        assert all("'<<'" in problem for problem in problems)
