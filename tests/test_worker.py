from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hermes.backplane.signals import SignalKind
from hermes.errors import BadValue
from hermes.loading import build, load_class
from hermes.module import Declaration, Input, Module, Output, Parameter, declare_all
from hermes.worker import merge

ONE = "import hermes\nclass Plant(hermes.Module):\n    x = hermes.Output(3.0)\n"
TWO = ONE + "class Other(Plant):\n    pass\n"


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(sys, "path", list(sys.path))

    def write(text: str, name: str = "own_script.py") -> str:
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    yield write
    for name in [name for name in sys.modules if name.startswith("own")]:
        del sys.modules[name]


def test_the_only_subclass_needs_no_name(script: Any) -> None:
    found = load_class({"file": script("from hermes.module import Module, Parameter\n" + ONE)})
    assert found.__name__ == "Plant"
    assert found().x == 3.0  # type: ignore[attr-defined]


def test_an_alias_is_not_a_second_class(script: Any) -> None:
    assert load_class({"file": script(ONE + "Alias = Plant\n")}).__name__ == "Plant"


def test_several_need_a_name(script: Any) -> None:
    file = script(TWO)
    assert load_class({"file": file, "class": "Other"}).__name__ == "Other"
    with pytest.raises(ImportError) as caught:
        load_class({"file": file})
    assert str(caught.value) == f"{file} holds 2 Module subclasses (Plant, Other); name one: '{file}:NAME'"


@pytest.mark.parametrize("wanted", ["Nope", "value"])
def test_a_missing_class(script: Any, wanted: str) -> None:
    file = script(ONE + "value = 1\n")
    with pytest.raises(ImportError) as caught:
        load_class({"file": file, "class": wanted})
    assert str(caught.value) == f"{file} has no Module subclass '{wanted}'; it holds: Plant"


def test_no_class_at_all(script: Any) -> None:
    file = script("from hermes.module import Module\n")
    with pytest.raises(ImportError) as caught:
        load_class({"file": file})
    assert str(caught.value) == f"{file} holds 0 Module subclasses (none); name one: '{file}:NAME'"


def test_a_file_that_is_no_python_file(script: Any) -> None:
    with pytest.raises(ImportError, match=r"own\.txt is not a Python file$"):
        load_class({"file": script(ONE, "own.txt")})


def test_errors_of_the_file_come_through(script: Any) -> None:
    with pytest.raises(ZeroDivisionError):
        load_class({"file": script("1 / 0\n")})
    with pytest.raises(FileNotFoundError):
        load_class({"file": script(ONE) + "x.py"})


def test_a_file_imports_its_neighbours(script: Any) -> None:
    script("START = 4.0\n", "own_neighbour.py")
    found = load_class({"file": script("import own_neighbour\n" + ONE.replace("3.0", "own_neighbour.START"))})
    assert found().x == 4.0  # type: ignore[attr-defined]


def test_a_package(script: Any) -> None:
    assert load_class({"module": "hermes.modules.injection"}).__name__ == "Injection"
    with pytest.raises(ImportError, match=r"^hermes\.frametime holds 0 Module subclasses"):
        load_class({"module": "hermes.frametime"})


class Tunable(Module):
    mass = Parameter(2.0, unit="kg", limits=(0.0, 5.0))
    axes = Parameter(labels=("a", "b"))
    x = Output()

    def __init__(self, table: dict[str, float], *, scale: float = 1.0) -> None:
        self.table, self.scale = table, scale


def test_params_fill_parameters_and_keywords() -> None:
    module = build(Tunable, {"mass": 3.0, "axes": [1, 2], "table": {"a": 1.0}, "scale": 4})
    assert isinstance(module, Tunable)
    assert (module.mass, module.axes.tolist(), module.table, module.scale) == (3.0, [1.0, 2.0], {"a": 1.0}, 4)
    assert declare_all(module)["mass"].initials == (3.0,)
    assert isinstance(build(Module, {}), Module)


def test_unknown_params_list_what_is_accepted() -> None:
    with pytest.raises(TypeError) as caught:
        build(Tunable, {"mas": 3.0, "x": 1.0})
    accepted = "axes, mass, scale, table"
    assert str(caught.value) == f"params: mas, x: Tunable accepts {accepted}; did you mean mass?"
    with pytest.raises(TypeError, match=r"^params: x: Module accepts none$"):
        build(Module, {"x": 1})


def test_params_of_the_wrong_value() -> None:
    with pytest.raises(BadValue, match=r"^Tunable\.mass cannot be 9\.0; it takes .* within 0 to 5, in kg$"):
        build(Tunable, {"mass": 9.0, "table": {}})
    with pytest.raises(TypeError, match="table"):
        build(Tunable, {})


def test_the_configuration_adds_signals() -> None:
    listed = [
        {"name": "u.1", "writable": True, "unit": "N", "initial": 2.0, "limits": [0, 5], "allow_nonfinite": None},
        {"name": "y", "writable": None, "type": "i32", "description": "a count"},
    ]
    declared: dict[str, Declaration] = {"x": Output()}
    merged = merge(declared, listed)
    assert list(merged) == ["x", "u.1", "y"]
    assert list(declared) == ["x"]
    assert isinstance(merged["u.1"], Input)
    (u,) = merged["u.1"].signals("m", "u.1")
    assert (u.unit, u.initial, list(u.limits or ()), u.allow_nonfinite) == ("N", 2.0, [0, 5], False)
    (y,) = merged["y"].signals("m", "y")
    assert (y.kind, y.type, y.initial, y.description) == (SignalKind.OUTPUT, "i32", 0, "a count")


def test_the_configuration_checks_and_sets_declared_signals() -> None:
    declared: dict[str, Declaration] = {"u": Input(unit="N"), "k": Parameter(1.0)}
    entry = {"name": "u", "type": "f64", "unit": "N", "writable": True, "initial": 4.0, "limits": [0, 5]}
    merged = merge(declared, [entry, {"name": "k", "writable": True, "allow_nonfinite": True}])
    assert (merged["u"].initials, merged["u"].limits) == ((4.0,), [0, 5])
    assert isinstance(merged["k"], Parameter)
    assert merged["k"].allow_nonfinite


@pytest.mark.parametrize(
    ("claim", "text"),
    [
        ({"type": "i32"}, "signals: u: type is 'f64' in the module, 'i32' in the configuration"),
        ({"unit": "m"}, "signals: u: unit is 'N' in the module, 'm' in the configuration"),
        ({"writable": False}, "signals: u: writable is True in the module, False in the configuration"),
    ],
)
def test_a_contradiction_is_refused(claim: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=r"^signals: u") as caught:
        merge({"u": Input(unit="N")}, [{"name": "u", **claim}])
    assert str(caught.value) == text
