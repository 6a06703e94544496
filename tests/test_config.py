from __future__ import annotations

import inspect
import pickle
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from hermes import config as config_file
from hermes.config import ExecutionConfig, HermesConfig, ModuleConfig, WireConfig
from hermes.errors import ConfigurationError

GOOD = """\
name: flight
modules:
  plant:
    type: script
    script: ./plant.py:Plant
    params: {mass: 2.0, gains: [1, 2]}
    env: {OMP_NUM_THREADS: "1"}
    signals:
      - {name: wind.x, type: f32, unit: m/s, writable: true, initial: 1, limits: [-5, 5.5], description: gust}
      - {name: ok, type: bool, initial: false, allow_nonfinite: false}
  ctl: {type: script, script: package.ctl:Controller}
wiring:
  - {src: plant.x, dst: ctl.measured/x, gain: 2, offset: -1.5}
  - {src: ctl.u, dst: plant.force}
execution: {mode: afap, rate_hz: 60000/1001, end_time: 10, seed: 7, step_timeout: 0}
backplane: {history: 8, history_mib: 2}
server: {enabled: false, host: "::1", port: 0, telemetry_hz: 30, control: observe, token: a-text-of-my-own,
         allowed_origins: ["http://localhost:8888"], allowed_hosts: [box.lan]}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "plant.py").touch()
    return tmp_path


def read(text: str) -> HermesConfig:
    return HermesConfig.from_yaml_text(text, "f")


def refused(text: str, base: Path | None = None) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        HermesConfig.from_yaml_text(text, "f", base)
    return [str(problem) for problem in caught.value.problems]


MODULES = "modules: {a: {type: script, script: m}, b: {type: script, script: m}}\n"


def test_a_whole_file(folder: Path) -> None:
    path = folder / "case.yaml"
    path.write_text(GOOD, encoding="utf-8")
    config = HermesConfig.from_yaml(path)
    plant = config.modules["plant"]
    wind = plant.signals[0]
    assert (config.name, config.source, config.base) == ("flight", path, folder)
    assert list(config.modules) == ["plant", "ctl"]
    assert plant.params == {"mass": 2.0, "gains": [1, 2]}
    assert plant.env == {"OMP_NUM_THREADS": "1"}
    assert (wind.name, wind.type, wind.unit, wind.writable) == ("wind.x", "f32", "m/s", True)
    assert (wind.initial, wind.limits, wind.allow_nonfinite, wind.description) == (1, (-5, 5.5), None, "gust")
    assert plant.signals[1].initial is False
    assert [(wire.src, wire.dst, wire.gain, wire.offset) for wire in config.wiring] == [
        ("plant.x", "ctl.measured/x", 2.0, -1.5),
        ("ctl.u", "plant.force", 1.0, 0.0),
    ]
    assert (config.execution.mode, config.execution.rate) == ("afap", Fraction(60000, 1001))
    assert (config.execution.seed, config.execution.step_timeout) == (7, 0.0)
    assert (config.backplane.history, config.backplane.history_mib) == (8, 2)
    assert (config.server.enabled, config.server.host, config.server.port) == (False, "::1", 0)
    assert (config.server.control, config.server.token) == ("observe", "a-text-of-my-own")
    assert config.server.allowed_origins == ["http://localhost:8888"]
    assert config.server.allowed_hosts == ["box.lan"]
    assert config.where(("modules", "plant", "script")) == f"{path}:5:13"


def test_defaults() -> None:
    config = read("modules: {a: {type: script, script: m}}")
    module = config.modules["a"]
    assert (module.params, module.env, module.signals, config.wiring) == ({}, {}, [], [])
    assert config.execution.model_dump() == {
        "mode": "realtime",
        "rate_hz": 60,
        "end_time": None,
        "seed": 0,
        "start_timeout": 10.0,
        "step_timeout": 5.0,
        "stop_timeout": 1.0,
        "schedule": [],
    }
    assert config.execution.end_frame is None
    assert (config.backplane.history, config.backplane.history_mib) == (1024, 64)
    assert config.server.model_dump() == {
        "enabled": True,
        "host": "127.0.0.1",
        "port": 8765,
        "telemetry_hz": 60.0,
        "control": "all",
        "token": None,
        "allowed_origins": [],
        "allowed_hosts": [],
    }


def test_relative_paths_start_at_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "case.yaml").write_text("modules: {a: {type: script, script: plant.py}}", encoding="utf-8")
    monkeypatch.chdir(folder)
    config = HermesConfig.from_yaml("case.yaml")
    assert (config.name, config.source, config.base) == ("case", folder / "case.yaml", folder)
    assert config.where(("modules", "a")) == "case.yaml:1:14"


def test_text_starts_here(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.chdir(folder)
    config = HermesConfig.from_yaml_text("modules: {a: {type: script, script: ./plant.py}}")
    assert (config.source, config.base, config.name) == (None, folder, "text")
    assert config.where(("modules",)) == "<text>:1:10"


@pytest.mark.parametrize(
    ("file", "name"),
    [("case.yaml", "case"), ("3dof.yaml", "_3dof"), ("a b.c.yaml", "a_b_c"), ("é", "session"), ("x" * 99, "x" * 63)],
)
def test_the_name_comes_from_the_file(file: str, name: str) -> None:
    assert HermesConfig.from_yaml_text(MODULES, file).name == name


@pytest.mark.parametrize(
    ("script", "target"),
    [
        ("package.module", (None, "package.module", None)),
        ("module:Class", (None, "module", "Class")),
        ("./f.py", (Path("f.py"), None, None)),
        ("f.py:Class", (Path("f.py"), None, "Class")),
        ("../a/f:Class", (Path("../a/f"), None, "Class")),
        ("/abs/f.py", (Path("/abs/f.py"), None, None)),
    ],
)
def test_script_targets(script: str, target: tuple[object, ...]) -> None:
    assert ModuleConfig(type="script", script=script).target == target


@pytest.mark.parametrize(
    ("written", "rate"),
    [
        ("60", Fraction(60)),
        ("59.94", Fraction(5994, 100)),
        ("0.1", Fraction(1, 10)),
        ("1e-3", Fraction(1, 1000)),
        ("60000/1001", Fraction(60000, 1001)),
        ("'59.94'", Fraction(2997, 50)),
        ("100000", Fraction(100000)),
    ],
)
def test_the_rate_is_exact(written: str, rate: Fraction) -> None:
    assert read(MODULES + f"execution: {{rate_hz: {written}}}").execution.rate == rate


@pytest.mark.parametrize(
    ("end_time", "rate", "frame"),
    [(10, 60, 600), (0.1, 10, 1), (0.3, 10, 3), (0.30000000000000004, 10, 4), (1.1, 100, 110), (1, "60000/1001", 60),
     (1e9, 100_000, 10**14), (1e-9, 1, 1)],
)  # fmt: skip
def test_the_end_is_an_exact_frame(end_time: float, rate: float | str, frame: int) -> None:
    assert ExecutionConfig(end_time=end_time, rate_hz=rate).end_frame == frame


def test_several_wires_may_drive_one_signal_and_keep_their_order() -> None:
    wiring = read(MODULES + "wiring:\n- {src: a.y, dst: b.x}\n- {src: a.x, dst: b.x, gain: 2}\n").wiring
    assert [(wire.src, wire.dst, wire.gain) for wire in wiring] == [("a.y", "b.x", 1.0), ("a.x", "b.x", 2.0)]


def test_models_are_frozen() -> None:
    config = read(MODULES)
    with pytest.raises(ValidationError, match="frozen"):
        config.name = "b"


def test_a_configuration_crosses_processes() -> None:
    config = pickle.loads(pickle.dumps(read(MODULES)))
    assert config.where(("modules", "a", "script")) == "f:1:37"
    assert config.modules["a"].target.module == "m"


def test_models_made_in_python_are_checked_too() -> None:
    modules = {"a": ModuleConfig(type="script", script="m")}
    config = HermesConfig(modules=modules)
    assert (config.name, config.source, config.base) == ("session", None, Path.cwd())
    assert config.where(("modules", "a")) == "modules.a"
    with pytest.raises(ValidationError, match="there is no module 'b', the modules are 'a'"):
        HermesConfig(modules=modules, wiring=[WireConfig(src="b.x", dst="a.x")])
    with pytest.raises(ValidationError, match="it takes a whole number from 0 to 4294967295"):
        ExecutionConfig(seed=-1)


def _models() -> Iterator[type[BaseModel]]:
    for _, found in inspect.getmembers(config_file, inspect.isclass):
        if issubclass(found, BaseModel) and found.__module__ == config_file.__name__:
            yield found


def test_every_field_is_described() -> None:
    fields = [(model, name, field) for model in _models() for name, field in model.model_fields.items()]
    assert len(fields) > 30
    assert [(model, name) for model, name, field in fields if not field.description] == []


KEYS = st.sampled_from([*(key for model in _models() for key in model.model_fields), "a", "b", "x y"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["a.x", "b.x", "script", "m", "f64", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=25,
)


@settings(deadline=None)
@given(st.dictionaries(KEYS, VALUES, max_size=6), st.sampled_from(["modules", "wiring", "execution", "server"]))
def test_any_tree_is_accepted_or_refused_in_plain_words(tree: dict[str, Any], section: str) -> None:
    import yaml

    text = yaml.safe_dump({section: tree, **tree}, sort_keys=False)
    problems: list[str] = []
    try:
        HermesConfig.from_yaml_text(text, "f")
    except ConfigurationError as error:
        problems = [str(problem) for problem in error.problems]
    leaks = ("Input should", "not permitted", "Field required", "Value error", "another value")
    assert [problem for problem in problems if any(leak in problem for leak in leaks)] == []
    assert all(problem.startswith("f:") for problem in problems)
