from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from bounds import promised, spent
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes.backplane.patterns import expand_pattern, expand_patterns
from hermes.backplane.signals import Signal, SignalRegistry
from hermes.errors import UnknownSignal


def registry(*names: str) -> SignalRegistry:
    return SignalRegistry(Signal(*name.split(".", 1)) for name in names)  # type: ignore[misc, arg-type]


def test_patterns() -> None:
    known = registry("a.x", "a.y.z", "b.x", "b.x1")
    assert expand_pattern("*", known) == ["a.x", "a.y.z", "b.x", "b.x1"]
    assert expand_pattern("**", known) == ["a.x", "a.y.z", "b.x", "b.x1"]
    assert expand_pattern("a.*", known) == ["a.x", "a.y.z"]
    assert expand_pattern("*.x", known) == ["a.x", "b.x"]
    assert expand_pattern("?.x", known) == ["a.x", "b.x"]
    assert expand_pattern("???", known) == ["a.x", "b.x"]
    assert expand_pattern("*x?", known) == ["b.x1"]
    assert expand_pattern("*b.x1*", known) == ["b.x1"]
    assert expand_pattern("a.x", known) == ["a.x"]
    assert expand_patterns([], known) == []
    assert expand_patterns(["b.*", "*.x", "b.x", "b.*"], known) == ["b.x", "b.x1", "a.x"]


LITERALS = [
    "[ab].x",
    "a.x|b.x",
    "a.",
    "A.x",
    "",
    ".",
    "a.x\n",
    "(?i)A.x*",
    "*\n*",
    "a.x\n*",
    "*x\na*",
    "????????",
    "é*",
]


@pytest.mark.parametrize("pattern", [*LITERALS, "*\ud800", "*\U0001f600*", "\0*", "*x*x*", "a.x?", "?a.x"])
def test_what_matches_nothing(pattern: str) -> None:
    known = registry("a.x", "a.y.z", "b.x", "b.x1")
    with pytest.raises(UnknownSignal) as caught:
        expand_pattern(pattern, known)
    assert caught.value.fields["signals"] == [pattern]


def test_a_session_without_signals() -> None:
    assert expand_patterns([], registry()) == []
    for pattern in ("*", "?", "a.x", "", "**"):
        with pytest.raises(UnknownSignal):
            expand_pattern(pattern, registry())


def test_names_beyond_ascii_and_names_of_stars() -> None:
    known = registry("é.\U0001f600", "é.*", "e.?")
    assert expand_pattern("?.\U0001f600", known) == ["é.\U0001f600"]
    assert expand_pattern("é.?", known) == ["é.\U0001f600", "é.*"]
    assert expand_pattern("é.*", known) == ["é.*"], "an exact name comes first"
    assert expand_pattern("e.?", known) == ["e.?"]


def test_every_pattern_without_a_match_is_listed_once_with_names_near_the_first() -> None:
    known = registry("plant.mass", "plant.x", "wind.speed")
    with pytest.raises(UnknownSignal) as caught:
        expand_patterns(["plant.mas", "plant.x", "zzz*", "plant.mas", "wind.spee"], known)
    assert caught.value.fields == {"signals": ["plant.mas", "zzz*", "wind.spee"], "near": ["plant.mass", "plant.x"]}
    with pytest.raises(UnknownSignal, match=r"^no signal matches 'q\*', 'plant\.mas'$"):
        expand_patterns(["q*", "plant.mas"], known)


NAMES = st.lists(st.text("ab.", min_size=1, max_size=8), min_size=1, unique=True)


@settings(deadline=None)
@given(st.text("ab.?*", max_size=8), NAMES)
def test_globs_agree_with_a_backtracking_reference(pattern: str, names: list[str]) -> None:
    known = registry(*(f"m.{name}" for name in names))
    for glob in (f"m{pattern}", pattern):
        expected = [f"m.{name}" for name in names if fnmatchcase(f"m.{name}", glob)]
        assert matched([glob], known) == (expected or None)


@settings(deadline=None)
@given(st.lists(st.text("mab.?*", max_size=6), max_size=5), NAMES)
def test_several_globs_give_what_each_gives_once_and_in_order(patterns: list[str], names: list[str]) -> None:
    known = registry(*(f"m.{name}" for name in names))
    each = [[name for name in known.names if fnmatchcase(name, pattern)] for pattern in patterns]
    expected = list(dict.fromkeys(name for found in each for name in found))
    assert matched(patterns, known) == (expected if all(each) else None)


def matched(patterns: list[str], known: SignalRegistry) -> list[str] | None:
    try:
        return expand_patterns(patterns, known)
    except UnknownSignal:
        return None


HOSTILE = [
    "*a*a*a*b",
    "*a" * 100 + "*b",
    "*a" * 30_000,
    "*?" * 100 + "b",
    "*" * 60_000 + "b",
    "?" * 60_000,
    "a" * 249 + "?",
]
HOSTILE += ["*" + "a?" * 120 + "*", "*".join(map(chr, range(256, 500))) + "*"]


@pytest.mark.parametrize("pattern", HOSTILE, ids=[pattern[:12] for pattern in HOSTILE])
def test_a_hostile_pattern_takes_bounded_time(pattern: str) -> None:
    known = registry(*(f"m.{'a' * 250}{number}" for number in range(100)))
    assert spent(lambda: matched([pattern], known)) < promised(0.05)


LARGE = registry(*(f"module{number % 10}.group{number % 97}.signal_{number}" for number in range(10_000)))


@pytest.mark.parametrize(
    "pattern", ["*", "module3.*", "*_77", "*o*u*i*g*7?*", "m?" * 10 + "*", "*?" * 20 + "*", "*a*a*a*b"]
)
def test_a_glob_over_ten_thousand_names_takes_bounded_time(pattern: str) -> None:
    assert matched([pattern], LARGE) == ([name for name in LARGE.names if fnmatchcase(name, pattern)] or None)
    assert spent(lambda: matched([pattern], LARGE)) < promised(0.05)


def test_many_patterns_take_bounded_time() -> None:
    names = list(LARGE.names[:4_096])
    assert expand_patterns(names, LARGE) == names
    assert spent(lambda: expand_patterns(names, LARGE)) < promised(0.05)
    unknown = [f"{name}q" for name in names]
    assert spent(lambda: matched(unknown, LARGE)) < promised(0.1)
