from __future__ import annotations

import functools
import math
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import hermes
from hermes.byvalue import Unsendable, pickled
from hermes.casefiles import module_files, write_case
from hermes.casemodule import case_module, used_names
from hermes.errors import NotExported
from hermes.literals import literal
from hermes.loading import load_class
from hermes.modulesource import class_source

SPAN = 2.0
SQUARE = lambda x: x * x  # noqa: E731 - a notebook has such
LOCK = threading.Lock()


def even(n: int) -> bool:
    return n == 0 or odd(n - 1)


def odd(n: int) -> bool:
    return n != 0 and even(n - 1)


def doubled(function: Any) -> Any:
    @functools.wraps(function)
    def twice(*args: Any) -> Any:
        return SPAN * function(*args)

    return twice


@doubled
def rise(x: float) -> float:
    return math.floor(x) + SPAN


class Wide(hermes.Module):
    x = hermes.Output(SPAN)

    def step(self, time: float, dt: float) -> None:
        self.x = rise(SQUARE(time)) + even(4)


class Bare(Wide):
    y = hermes.Output()


class Locked(hermes.Module):
    x = hermes.Output()

    def step(self, time: float, dt: float) -> None:
        self.x = LOCK.locked()


def made_by(text: str) -> dict[str, Any]:
    space: dict[str, Any] = {"__name__": "case"}
    exec(text, space)
    return space


def test_a_file_of_its_own_defines_the_same_class() -> None:
    text = case_module(Bare)
    found = made_by(text)["Bare"]()
    expected = Bare()
    for module in (found, expected):
        module.step(1.5, 0.1)
    assert (found.x, found["y"]) == (expected.x, expected.y)
    order = ["import functools", "SPAN = 2.0", "def doubled", "@doubled\ndef rise", "class Wide", "class Bare"]
    assert [text.index(one) for one in order] == sorted(text.index(one) for one in order)
    assert "LOCK" not in text


def test_what_cannot_be_written_is_named() -> None:
    with pytest.raises(NotExported, match="class Locked uses LOCK, which cannot be written as source: it is a lock"):
        case_module(Locked)
    factor = 3.0

    class Inner(hermes.Module):
        x = hermes.Output()

        def step(self, time: float, dt: float) -> None:
            self.x = factor

    with pytest.raises(NotExported, match="class Inner uses factor, a variable of the function in which it is defined"):
        case_module(Inner)
    assert class_source(Inner).startswith("class Inner(hermes.Module):\n    x = hermes.Output()\n")


def test_what_cannot_be_pickled_is_named() -> None:
    with pytest.raises(Unsendable, match=r"class Locked uses the variable LOCK \(in Locked\.step\), of type lock"):
        pickled(Locked)
    assert [name for name, _ in pickled(Wide)[1]] == ["test_casemodule.py"]


def test_names_are_told_apart_by_when_they_are_used() -> None:
    used = used_names(
        "@a\nclass B(c):\n    d = e(1)\n    def f(self, g=h):\n        i = j + g\n        return [k for k in l]\n"
    )
    assert sorted(used.now) == ["a", "c", "e", "h"]
    assert sorted(used.later) == ["j", "l"]


@pytest.mark.parametrize(
    "value",
    [
        *(
            1,
            -0.0,
            0.1,
            True,
            None,
            "a\n'b\"",
            b"\x00",
            3 - 2j,
            range(2, 9, 3),
            (1,),
            (),
            [],
            {},
            set(),
            frozenset((2, 1)),
        ),
        *({"a": [1, (2.5, None)]}, float("inf"), [float("-inf")], np.float32(0.1), np.int8(-3), np.bool_(True)),
        *(np.linspace(0, 1, 7).reshape(7, 1), np.zeros((0, 3)), np.asfortranarray(np.arange(6.0).reshape(2, 3))),
    ],
    ids=repr,
)
def test_a_literal_gives_the_same_value_and_type_again(value: Any) -> None:
    again = eval(literal(value), {"numpy": np})
    assert type(again) is type(value)
    assert repr(again) == repr(value)
    if isinstance(value, np.ndarray):
        assert (again.dtype, again.shape, again.flags.fnc) == (value.dtype, value.shape, value.flags.fnc)


def test_what_is_no_constant_has_no_literal() -> None:
    loop: list[Any] = []
    loop.append(loop)
    for value in (loop, open, object(), np.array([object()]), ModuleType("m")):
        with pytest.raises(ValueError, match="it "):
            literal(value)


def test_the_files_of_a_case_are_written_all_or_none(tmp_path: Path) -> None:
    case = tmp_path / "flight.yaml"
    files = module_files(case, ["plant", "math"])
    assert [path.relative_to(tmp_path).as_posix() for path in files.values()] == [
        "flight_modules/plant.py",
        "flight_modules/math_module.py",
    ]
    with pytest.raises(NotExported, match="cannot be written"):
        write_case(tmp_path / "no" / "case.yaml", "x", overwrite=False, modules={files["plant"]: "p"})
    assert list(tmp_path.iterdir()) == []
    write_case(case, "one", overwrite=False, modules={files["plant"]: "p"})
    case.unlink()
    case.mkdir()
    with pytest.raises(NotExported, match="cannot be written"):
        write_case(case, "two", overwrite=True, modules={files["plant"]: "q"})
    assert files["plant"].read_text() == "p"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["flight.yaml", "flight_modules", "plant.py"]


def test_a_pickled_class_brings_its_source_and_its_order() -> None:
    from hermes.moduleclass import class_spec

    found = load_class(class_spec("wide", Bare))
    module = found()
    module.step(1.5, 0.1)
    assert module["x"] == rise(SQUARE(1.5)) + 1
