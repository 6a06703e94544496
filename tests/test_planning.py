from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

import hermes
from hermes import HermesConfig, examples
from hermes.engine.plan import Plan
from hermes.errors import BadParams, ConfigurationError, NotExported, Problem
from hermes.loading import load_class
from hermes.modulesource import class_source, target_source
from hermes.planning import located, module_plan, plan_for, with_code, with_execution

TEXT = """name: two
modules:
  a: {type: script, script: "package.thing:A", params: {x: 1}, env: {K: v}, signals: [{name: s, writable: true}]}
  b: {type: script, script: "package.thing"}
wiring:
  - {src: a.y, dst: b.u, gain: 2}
execution: {mode: afap, rate_hz: "30000/1001", end_time: 1.2, seed: 7, step_timeout: 0}
backplane: {history: 64}
commands: [{time: 0.1, set: {a.s: .inf}}, {frame: 2, pause: true}]
"""


def test_a_plan_says_what_the_configuration_says_and_travels_as_json() -> None:
    plan = plan_for(HermesConfig.from_yaml_text(TEXT, "two.yaml"))
    assert (plan.name, plan.rate, plan.mode, plan.end_frame, plan.seed) == ("two", (30000, 1001), "afap", 36, 7)
    assert (plan.step_timeout, plan.history, plan.single_frame) == (0, 64, False)
    assert plan.modules[0].spec == {
        "file": None,
        "module": "package.thing",
        "class": "A",
        "params": {"x": 1},
        "signals": [{"name": "s", "writable": True}],
        "rng": [7, "a"],
    }
    assert plan.modules[0].env == {"K": "v"}
    assert plan.wires == (("a.y", "b.u", 2.0, 0.0),)
    assert plan.commands == ((3, {"a.s": math.inf}), (2, None))
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    assert plan.perturbation is None
    assert plan_for(HermesConfig.from_yaml_text(TEXT, "two.yaml"), 3) == plan._replace(perturbation=3)


def test_scripts_are_found_beside_their_configuration() -> None:
    path = examples.path("c172x")
    plan = plan_for(HermesConfig.from_yaml(path))
    assert plan.modules[1].spec["file"] == str(path.parent / "autopilot.py")
    assert Path(plan.modules[1].spec["file"]).is_absolute()


def test_some_of_the_execution_can_be_replaced_and_is_checked() -> None:
    config = HermesConfig.from_yaml_text(TEXT, "two.yaml")
    changed = with_execution(config, mode="realtime", end_time=None)
    assert (changed.execution.mode, changed.execution.end_time, changed.execution.seed) == ("realtime", 1.2, 7)
    with pytest.raises(ConfigurationError, match=r"execution\.end_time: it takes a number above 0"):
        with_execution(config, end_time=-1.0)


def test_an_error_of_the_engine_is_located_in_the_file() -> None:
    config = HermesConfig.from_yaml_text(TEXT, "two.yaml")
    error = located(ConfigurationError([Problem("wiring.0.dst", "no"), Problem("modules.b", "none")]), config)
    assert str(error) == "2 problems:\ntwo.yaml:6:21: no\ntwo.yaml:4:6: none"
    other = BadParams("as it was")
    assert located(other, config) is other


class Gain(hermes.Module):
    """Shipped by value: this file is not installed."""

    y = hermes.Output()
    a = hermes.Output()

    def step(self, time: float, dt: float) -> None:
        self.y = time


def module_spec(config: HermesConfig, name: str, *code: Any) -> dict[str, Any]:
    return module_plan(with_code(config, name, *code), name).spec


def test_a_module_s_spec_with_another_class_or_path_keeps_what_is_not_given() -> None:
    config = HermesConfig.from_yaml(examples.path("c172x"))
    before = plan_for(config).modules[1].spec
    assert module_spec(config, "autopilot", "./autopilot.py:Autopilot") == {**before, "class": "Autopilot"}
    changed = {"file": None, "module": "package.thing", "class": "A", "params": {"x": 1}}
    assert module_spec(config, "autopilot", "package.thing:A", {"x": 1}) == {**before, **changed}
    spec = module_spec(config, "autopilot", Gain)
    assert (spec["class"], spec["params"], spec["rng"]) == ("Gain", before["params"], before["rng"])
    found = load_class(json.loads(json.dumps(spec)))
    assert [name for name, value in vars(found).items() if isinstance(value, hermes.Output)] == ["y", "a"]
    assert plan_for(config) == plan_for(HermesConfig.from_yaml(examples.path("c172x")))


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("./nowhere.py", "modules.autopilot.script is './nowhere.py'; there is no such file"),
        (3, "modules.autopilot.script is 3; it takes './file.py'"),
        (int, "modules.autopilot.module is the class int; it takes a subclass of hermes.Module"),
    ],
)
def test_what_is_no_module_has_no_spec(target: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        module_spec(HermesConfig.from_yaml(examples.path("c172x")), "autopilot", target)


def test_the_source_of_a_target_is_its_class_statement(tmp_path: Path) -> None:
    text = "import hermes\n\nclass A(hermes.Module):\n    x = hermes.Output()\n"
    (tmp_path / "one.py").write_text(text + "\nSPAN = 3\n")
    (tmp_path / "two.py").write_text(text + "\nclass B(A):\n    pass\n")
    statement = text.removeprefix("import hermes\n\n")
    assert target_source("./one.py", tmp_path) == target_source("./two.py:A", tmp_path) == statement
    assert target_source("hermes.examples.pendulum:Pendulum", tmp_path).startswith("class Pendulum(hermes.Module):\n")
    assert target_source(Gain, tmp_path) == class_source(Gain)
    assert class_source(Gain).endswith("    def step(self, time: float, dt: float) -> None:\n        self.y = time\n")
    with pytest.raises(NotExported, match="name one of those it defines: A, B"):
        target_source("./two.py", tmp_path)
    with pytest.raises(NotExported, match=r"nowhere\.py cannot be read"):
        target_source("./nowhere.py", tmp_path)
