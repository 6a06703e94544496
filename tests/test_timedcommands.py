from __future__ import annotations

import math

import pytest

from hermes.config import HermesConfig
from hermes.errors import ConfigurationError, Problem
from hermes.planning import first_pause, located, plan_for

HEAD = "modules: {a: {type: script, script: m}}\n"
WHOLE = "a whole number from 0 to 9007199254740991 (frames since the start or reset)"
SECONDS = "a number from 0 to 1e9 (simulated seconds)"
ONE_MOMENT = "it takes exactly one of them, to say when it acts"
ONE_ACT = "it takes exactly one of them, to say what it does"
NEVER = "a reset would begin the list anew, and the run would never end"
PAUSED = "while paused no frame comes at which it could act"


def read(*entries: str, execution: str = "{rate_hz: 60}") -> HermesConfig:
    lines = [f"  - {entry}\n" for entry in entries]
    return HermesConfig.from_yaml_text(f"{HEAD}execution: {execution}\ncommands:\n{''.join(lines)}", "f")


def test_values_are_read_exactly_and_in_order() -> None:
    entry = "{frame: 3, set: {a.z: -0.0, a.y.x: 9223372036854775807, a.b: true, a.n: .nan, a.i: -.inf, a.e: 1e-3}}"
    (plan,) = plan_for(read(entry)).commands
    assert plan.frame == 3
    expected = "{'a.z': -0.0, 'a.y.x': 9223372036854775807, 'a.b': True, 'a.n': nan, 'a.i': -inf, 'a.e': 0.001}"
    assert repr(plan.set) == expected


@pytest.mark.parametrize(
    ("moment", "rate", "frame"),
    [
        ("frame: 0", "60", 0),
        ("time: 0", "60", 0),
        ("time: 1.2", "60", 72),
        ("time: 1.2000001", "60", 73),
        ("time: 3", "60", 180),
        ("time: 0.3", "10", 3),
        ("time: 1.001", "60000/1001", 60),
        ("time: 3.0001", "'1/3'", 2),
        ("time: 1e9", "1", 10**9),
    ],
)
def test_a_time_is_the_first_frame_that_is_not_earlier(moment: str, rate: str, frame: int) -> None:
    config = read(f"{{{moment}, pause: true}}", execution=f"{{rate_hz: {rate}}}")
    assert plan_for(config).commands == ((frame, None),)


REFUSED = [
    ("{frame: -1, pause: true}", [f"f:4:13: commands[0].frame is -1; it takes {WHOLE}"]),
    ("{frame: 1.0, pause: true}", [f"f:4:13: commands[0].frame is 1.0; it takes {WHOLE}"]),
    ("{frame: true, pause: true}", [f"f:4:13: commands[0].frame is true; it takes {WHOLE}"]),
    ("{frame: null, pause: true}", [f"f:4:13: commands[0].frame is null; it takes {WHOLE}"]),
    ("{frame: 9007199254740992, pause: true}", [f"f:4:13: commands[0].frame is 9007199254740992; it takes {WHOLE}"]),
    ("{time: -0.1, pause: true}", [f"f:4:12: commands[0].time is -0.1; it takes {SECONDS}"]),
    ("{time: .nan, pause: true}", [f"f:4:12: commands[0].time is nan; it takes {SECONDS}"]),
    ("{time: 1:30, pause: true}", [f"f:4:12: commands[0].time is '1:30'; it takes {SECONDS}"]),
    ("{frame: 1, pause: false}", ["f:4:23: commands[0].pause is false; it takes true"]),
    ("{frame: 1, pause: 1}", ["f:4:23: commands[0].pause is 1; it takes true"]),
    ("{frame: 1, pause: null}", ["f:4:23: commands[0].pause is null; it takes true"]),
    ("{frame: 1, set: {}}", ["f:4:16: commands[0].set is empty; it takes at least one entry"]),
    ("{frame: 1, set: [a.x, 1]}", ["f:4:21: commands[0].set is a list; it takes a mapping"]),
    ("{frame: 1, set: {x: 1}}", ["f:4:22: commands[0].set has the name 'x'; a name takes 'module.signal'"]),
    ("{frame: 1, set: {a.x: one}}", ["f:4:27: commands[0].set.'a.x' is 'one'; it takes a number, true or false"]),
    ("{frame: 1, set: {a.x: null}}", ["f:4:27: commands[0].set.'a.x' is null; it takes a number, true or false"]),
    ("{pause: true}", [f"f:4:5: commands[0] has neither frame nor time; {ONE_MOMENT}"]),
    ("{frame: 1, time: 1, pause: true}", [f"f:4:5: commands[0] has both frame and time; {ONE_MOMENT}"]),
    ("{frame: 1}", [f"f:4:5: commands[0] has neither set nor pause; {ONE_ACT}"]),
    ("{time: 1, set: {a.x: 1}, pause: true}", [f"f:4:5: commands[0] has both set and pause; {ONE_ACT}"]),
    (
        "{frame: 1, reset: true}",
        [f"f:4:16: commands[0].reset is not accepted; it takes set or pause; {NEVER}"],
    ),
    ("{frame: 1, step: 5}", [f"f:4:16: commands[0].step is not accepted; it takes set or pause; {PAUSED}"]),
    ("{frame: 1, resume: true}", [f"f:4:16: commands[0].resume is not accepted; it takes set or pause; {PAUSED}"]),
    ("{frame: 1, run: 5}", [f"f:4:16: commands[0].run is not accepted; it takes set or pause; {PAUSED}"]),
    ("pause", ["f:4:5: commands[0] is 'pause'; it takes a mapping"]),
]


@pytest.mark.parametrize(("entry", "problems"), REFUSED, ids=[entry for entry, _ in REFUSED])
def test_everything_else_is_refused(entry: str, problems: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(entry)
    assert [str(problem) for problem in caught.value.problems] == problems


def test_an_unknown_key_is_told_with_a_near_one() -> None:
    with pytest.raises(ConfigurationError, match="did you mean set") as caught:
        read("{frame: 1, sett: {a.x: 1}}")
    assert str(caught.value.problems[1]).endswith("The keys of commands[0] are frame, time, set, pause")


END = "{rate_hz: 60, end_time: 1.2}"


def test_what_acts_at_the_end_or_before_is_accepted() -> None:
    read("{frame: 72, set: {a.x: 1}}", "{time: 1.2, set: {a.x: 1}}", "{frame: 71, pause: true}", execution=END)


@pytest.mark.parametrize(
    ("entry", "found", "last"),
    [
        ("{frame: 73, set: {a.x: 1}}", "frame is 73", 72),
        ("{time: 1.20001, set: {a.x: 1}}", "time is 1.20001 (frame 73)", 72),
        ("{frame: 72, pause: true}", "frame is 72", 71),
        ("{time: 1.2, pause: true}", "time is 1.2 (frame 72)", 71),
    ],
)
def test_what_would_never_take_effect_is_refused(entry: str, found: str, last: int) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read("{frame: 0, set: {a.x: 1}}", entry, execution=END)
    (problem,) = caught.value.problems
    assert problem.message == (
        f"commands[1].{found} and would never take effect; "
        f"execution.end_time ends the run at frame 72, so it takes frame {last} at most"
    )
    assert problem.where == f"f:5:{entry.index(': ') + 7}"


def test_late_commands_are_found_beside_other_mistakes() -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(
            "{frame: 1, set: {a.x: null}}",
            "{frame: 99, pause: true}",
            "{frame: 99}",
            "{frame: 98, pause: 3}",
            execution=END,
        )
    assert [problem.where for problem in caught.value.problems] == ["f:4:27", "f:5:13", "f:6:5", "f:6:13", "f:7:24"]
    with pytest.raises(ConfigurationError) as caught:
        read("{frame: 99, pause: true}", execution="{end_time: 0}")
    assert [problem.where for problem in caught.value.problems] == ["f:2:23"], "nobody knows the end"


def test_a_configuration_made_in_python_has_them_too() -> None:
    modules = {"a": {"type": "script", "script": "m"}}
    made = HermesConfig(modules=modules, commands=[{"time": 0.5, "set": {"a.x": math.inf}}])  # type: ignore[arg-type, list-item]
    assert plan_for(made).commands == ((30, {"a.x": math.inf}),)
    assert HermesConfig.model_validate(made) == made


def test_the_first_pause_before_the_end() -> None:
    config = read("{frame: 9, pause: true}", "{time: 0.1, pause: true}", "{frame: 1, set: {a.x: 1}}")
    assert first_pause(config) == 6
    for end_frame, pause in ((5, None), (6, None), (7, 6)):
        execution = config.execution.model_copy(update={"end_time": end_frame / 60})
        assert first_pause(config.model_copy(update={"execution": execution})) == pause


def test_what_the_engine_refuses_is_located_also_where_names_have_dots() -> None:
    config = read("{frame: 1, set: {a.x: 1}}", "{frame: 1, set: {a.x: 1, a.deep.name.2: 3}}")
    error = ConfigurationError([Problem("commands.1.set.a.deep.name.2", "no")])
    assert str(located(error, config)) == "f:5:45: no"
