from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hermes
from hermes import AsyncSession, HermesConfig, Session
from hermes.errors import ConfigurationError
from hermes.examples.pendulum import Pendulum


class Plant(hermes.Module):
    x = hermes.Output()


def problems(modules: Any, **parts: Any) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        HermesConfig.from_values({"modules": modules, **parts})
    return [str(problem) for problem in caught.value.problems]


def test_a_module_is_a_class_a_mapping_with_one_or_what_yaml_says() -> None:
    mapping = {"module": Plant, "params": {"a": np.float64(2), "b": (1, np.arange(2))}, "every": 2, "worker": "w"}
    modules = {
        "a": Plant,
        "b": mapping,
        "c": "package.thing:C",
        "d": Pendulum,
        "e": {"type": "script", "script": "p.q"},
    }
    config = HermesConfig.from_values({"modules": modules, "wiring": ({"src": "a.x", "dst": "b.u"},)})
    assert sorted(config.classes) == ["a", "b"]
    assert (config.modules["b"].params, config.modules["b"].every) == ({"a": 2.0, "b": [1, [0, 1]]}, 2)
    assert type(config.modules["b"].params["a"]) is float
    assert config.modules["c"].script == "package.thing:C"
    assert config.modules["d"].script == "hermes.examples.pendulum:Pendulum"


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Plant(), "modules.p is an instance of Plant; it takes the class itself, Plant, which its own process makes"),
        (int, "modules.p is the class int; it takes a subclass of hermes.Module, text as 'script' in YAML, or a"),
        (hermes.Module, "modules.p is the class Module; it takes a subclass"),
        (None, "modules.p is a NoneType; it takes a subclass"),
        ({"module": Plant()}, "modules.p.module is an instance of Plant"),
        (
            {"module": "x:Y"},
            "modules.p.module is 'x:Y'; it takes a subclass of hermes.Module; text goes under 'script'",
        ),
        (
            {"module": Plant, "parms": {}},
            "modules.p.parms is not a known key; did you mean params? The keys of modules.p",
        ),
        ({"module": Plant, "script": "x"}, "modules.p.script stands beside modules.p.module; it takes one of the two"),
        ({"module": Plant, "every": 0}, "modules.p.every is 0; it takes a whole number"),
        ({"module": Plant, "params": {"f": {"g": [open]}}}, "modules.p.params.f.g[0] is a builtin_function_or_method"),
        ({"params": {}}, "modules.p.type is missing"),
    ],
)
def test_what_is_no_module_is_named_with_what_is_accepted(module: Any, message: str) -> None:
    assert any(one.startswith((message, f"modules.p: {message}")) for one in problems({"p": module}))


def test_every_problem_is_told_at_once() -> None:
    wiring = [{"src": "plnt.x", "dst": "plant.u"}]
    found = problems({"plant": Plant(), "other": {"module": Plant, "evry": 1}}, wiring=wiring, execution={"rate_hz": 0})
    assert [one.split(" ")[0] for one in found] == [
        "execution.rate_hz",
        "modules.other.evry",
        "modules.plant",
        "wiring[0].src",
    ]


def test_a_file_s_module_is_replaced_with_its_keys_kept(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("modules:\n  plant: {type: script, script: ./gone.py, params: {a: 1}, every: 3}\n")
    with pytest.raises(ConfigurationError, match=r"c\.yaml:2:33: .*there is no such file"):
        HermesConfig.from_yaml(path)
    config = HermesConfig.from_yaml(path, {"plant": Plant})
    assert (config.modules["plant"].every, config.modules["plant"].params) == (3, {"a": 1})
    assert list(config.classes) == ["plant"]
    again = config.with_modules({"plant": {"params": {"a": 2}}})
    assert (again.modules["plant"].params, list(again.classes), again.source) == ({"a": 2}, ["plant"], path)
    assert config.with_modules({"plant": Pendulum}).classes == {}
    with pytest.raises(
        ConfigurationError, match=r"^modules\.plnt has no place; there is no module 'plnt', did you mean"
    ):
        HermesConfig.from_yaml(path, {"plnt": Plant, "plant": Plant})


def test_a_session_takes_a_configuration_or_parts() -> None:
    config = HermesConfig.from_values({"modules": {"p": Plant}, "name": "one"})
    kinds: tuple[Callable[..., Any], ...] = (AsyncSession, lambda *given, **parts: Session(*given, **parts).aio)
    for kind in kinds:
        assert kind(modules={"p": Plant}, name="two", server={"port": 0}).config.server.port == 0
        assert kind(config, modules={"p": Pendulum}).config.classes == {}
        with pytest.raises(TypeError, match="a HermesConfig or name, not both"):
            kind(config, name="three")
        with pytest.raises(TypeError, match="or modules="):
            kind()
