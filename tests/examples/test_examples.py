from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from hermes import examples
from hermes.backplane.signals import SignalKind
from hermes.config import HermesConfig
from hermes.module import Declaration, Input, Module, class_declarations

NAMES = ["c172x", "pendulum", "servo"]


def configuration(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(examples.path(name).read_text())
    return loaded


def module_class(script: str, folder: Path) -> type[Module]:
    place, _, wanted = script.partition(":")
    if place.endswith(".py"):
        spec = importlib.util.spec_from_file_location(f"examples_{Path(place).stem}", folder / place)
        assert spec is not None
        assert spec.loader is not None
        source = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(source)
    else:
        source = importlib.import_module(place)
    found = [c for c in vars(source).values() if isinstance(c, type) and issubclass(c, Module) and c is not Module]
    if wanted:
        found = [c for c in found if c.__name__ == wanted]
    (only,) = found
    return only


def signals_of(name: str) -> dict[str, Declaration]:
    """Return all declarations of a configuration by qualified name."""
    found: dict[str, Declaration] = {}
    for module, entry in configuration(name)["modules"].items():
        declared = class_declarations(module_class(entry["script"], examples.path(name).parent))
        for signal in entry.get("signals", []):
            assert signal["writable"] is True
            declared[signal["name"]] = Input(signal["initial"], unit=signal["unit"], limits=signal["limits"])
        found.update({f"{module}.{signal}": declaration for signal, declaration in declared.items()})
    return found


def test_names_lists_what_path_finds() -> None:
    assert examples.names() == NAMES
    for name in NAMES:
        assert examples.path(name).is_file()
        assert examples.path(name).name == f"{name}.yaml"


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"no example 'c172'; there are: c172x, pendulum, servo"):
        examples.path("c172")


def test_import_is_light() -> None:
    program = "import sys, hermes.examples; print(*(m for m in ('numpy', 'jsbsim', 'yaml') if m in sys.modules))"
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert output.stdout.strip() == ""


@pytest.mark.parametrize("name", NAMES)
def test_is_a_valid_configuration(name: str) -> None:
    assert HermesConfig.from_yaml(examples.path(name)).name == name


@pytest.mark.parametrize("name", NAMES)
def test_uses_only_what_exists(name: str) -> None:
    loaded = configuration(name)
    assert set(loaded) <= {"modules", "wiring", "execution"}
    assert set(loaded["execution"]) == {"mode", "rate_hz"}
    for entry in loaded["modules"].values():
        assert set(entry) <= {"type", "script", "params", "signals"}
    for wire in loaded.get("wiring", []):
        assert set(wire) <= {"src", "dst", "gain", "offset"}


@pytest.mark.parametrize("name", NAMES)
def test_wires_join_signals_that_fit(name: str) -> None:
    signals = signals_of(name)
    wires = configuration(name).get("wiring", [])
    for wire in wires:
        source, target = signals[wire["src"]], signals[wire["dst"]]
        is_injected = wire["src"].startswith("inputs.")
        assert source.kind is (SignalKind.INPUT if is_injected else SignalKind.OUTPUT)
        assert target.kind is SignalKind.INPUT
        assert "gain" in wire or source.unit == target.unit
    targets = [wire["dst"] for wire in wires]
    assert len(set(targets)) == len(targets)


@pytest.mark.parametrize("name", NAMES)
def test_params_are_parameters_or_constructor_keywords(name: str) -> None:
    for entry in configuration(name)["modules"].values():
        cls = module_class(entry["script"], examples.path(name).parent)
        parameters = {n for n, d in class_declarations(cls).items() if d.kind is SignalKind.PARAMETER}
        keywords = {n: v for n, v in entry.get("params", {}).items() if n not in parameters}
        cls(**keywords)


@pytest.mark.parametrize("name", NAMES)
def test_every_signal_has_a_description(name: str) -> None:
    declared = {n: d for n, d in signals_of(name).items() if not n.startswith("inputs.")}
    assert [n for n, d in declared.items() if not d.description] == []
