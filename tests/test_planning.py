from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from hermes import HermesConfig, examples
from hermes.engine.plan import Plan
from hermes.errors import BadParams, ConfigurationError, Problem
from hermes.planning import located, plan_for, with_execution

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
