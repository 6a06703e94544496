"""What is wrong between modules, workers and the schedule, each in a sentence at its place."""

from __future__ import annotations

import pytest
from bounds import promised, spent

from hermes import HermesConfig
from hermes.configschedule import WORKER_LIMIT
from hermes.engine.plan import ModulePlan, Plan
from hermes.errors import ConfigurationError
from hermes.planning import plan_for

MODULES = """modules:
  plant: {type: script, script: p.q}
  ctl: {type: script, script: p.q}
  log: {type: script, script: p.q}
"""


def problems(text: str) -> list[str]:
    """Return what is said of a configuration; [] where it is accepted."""
    try:
        HermesConfig.from_yaml_text(text, "c.yaml")
    except ConfigurationError as error:
        return [str(problem) for problem in error.problems]
    return []


def scheduled(schedule: str) -> list[str]:
    return problems(f"{MODULES}execution:\n  schedule: {schedule}\n")


ONCE = "it takes each module once"
FIRST = f"{ONCE}; the first is at c.yaml:"
PHASE = "it takes the name of a module, or a list of at least one for those that run in parallel"
KNOWN = "the modules are 'plant', 'ctl', 'log'"


@pytest.mark.parametrize("schedule", ["[plant, ctl, log]", "[[log, ctl], plant]", "[[plant, ctl, log]]", "[]"])
def test_a_schedule_that_has_each_module_once_is_accepted(schedule: str) -> None:
    assert scheduled(schedule) == []


SCHEDULES = [
    ("[plant, ctl, lgo]", [
        f"c.yaml:6:3: execution.schedule leaves out 'log'; {ONCE}",
        "c.yaml:6:26: execution.schedule[2] is 'lgo'; there is no module 'lgo', did you mean 'log'?",
    ]),
    ("[plant, [ctl, zzz], log]", [
        f"c.yaml:6:27: execution.schedule[1][1] is 'zzz'; there is no module 'zzz', {KNOWN}",
    ]),
    ("[plant, [ctl, log], plant]", [
        f"c.yaml:6:33: execution.schedule[2] is 'plant', which the schedule has already; {FIRST}6:14",
    ]),
    ("[plant, [log, log], ctl]", [
        f"c.yaml:6:27: execution.schedule[1][1] is 'log', which the schedule has already; {FIRST}6:22",
    ]),
    ("[log]", [f"c.yaml:6:3: execution.schedule leaves out 'plant', 'ctl'; {ONCE}"]),
    ("[plant, [], [ctl, log]]", [f"c.yaml:6:21: execution.schedule[1] is a list; {PHASE}"]),
    ("[plant, ctl, log, 7]", [f"c.yaml:6:31: execution.schedule[3] is 7; {PHASE}"]),
    ("[plant, [ctl, [log]]]", [
        f"c.yaml:6:3: execution.schedule leaves out 'log'; {ONCE}",
        f"c.yaml:6:21: execution.schedule[1] is a list; {PHASE}",
    ]),
    ("plant", ["c.yaml:6:13: execution.schedule is 'plant'; it takes a list"]),
]  # fmt: skip


@pytest.mark.parametrize(("schedule", "said"), SCHEDULES, ids=[schedule for schedule, _ in SCHEDULES])
def test_a_wrong_schedule_is_refused_in_a_sentence(schedule: str, said: list[str]) -> None:
    assert scheduled(schedule) == said


def test_of_many_modules_left_out_the_first_are_named() -> None:
    modules = "".join(f"  m{n}: {{type: script, script: p.q}}\n" for n in range(12))
    (said,) = problems(f"modules:\n{modules}execution: {{schedule: [m3]}}\n")
    names = ", ".join(f"'m{n}'" for n in range(9) if n != 3)
    assert said == f"c.yaml:14:13: execution.schedule leaves out {names}, ...; {ONCE}"


def working(*workers: str, further: str = "") -> list[str]:
    modules = [f"  m{n}: {{type: script, script: p.q{worker}}}\n" for n, worker in enumerate(workers)]
    return problems(f"modules:\n{''.join(modules)}{further}")


def test_modules_may_share_a_worker_even_by_the_name_of_one_of_them() -> None:
    assert working(", worker: w", ", worker: w", "") == []
    assert working(", worker: m1", ", worker: m1") == []
    assert working(", worker: w, env: {A: x, B: y}", ", worker: w, env: {B: y, A: x}") == []


def test_a_worker_named_like_a_module_in_another_process_is_refused() -> None:
    text = "; that is a module with another process, a worker takes a name of its own"
    assert working(", worker: m1", "") == [f"c.yaml:2:43: modules.m0.worker is 'm1'{text}"]
    assert working(", worker: m1", ", worker: w") == [f"c.yaml:2:43: modules.m0.worker is 'm1'{text}"]


def test_modules_of_a_worker_take_one_environment() -> None:
    said = working(", worker: w, env: {A: x}", ", worker: w", ", worker: w, env: {A: z}", ", worker: w, env: {A: x}")
    text = "is 'w'; the modules of a worker are one process and take the same env"
    assert said == [f"c.yaml:3:43: modules.m1.worker {text}", f"c.yaml:4:43: modules.m2.worker {text}"]


def test_a_worker_takes_no_more_modules_than_a_word_has_bits() -> None:
    assert working(*[", worker: w"] * WORKER_LIMIT) == []
    assert working(*[", worker: w"] * WORKER_LIMIT, ", worker: w") == [
        "c.yaml:66:44: modules.m64.worker is 'w'; a worker takes at most 64 modules"
    ]


NAME = "it takes a letter or '_', then at most 63 letters, digits, '_' or '-' (no dot, no blank)"
KEYS = [
    ("worker: 7", f"c.yaml:2:43: modules.m0.worker is 7; {NAME}"),
    ("worker: a.b", f"c.yaml:2:43: modules.m0.worker is 'a.b'; {NAME}"),
    ("every: 0", "c.yaml:2:42: modules.m0.every is 0; it takes a whole number from 1 to 1000000 (frames)"),
    ("every: 1000001", "c.yaml:2:42: modules.m0.every is 1000001; it takes a whole number from 1 to 1000000 (frames)"),
    ("every: 2.0", "c.yaml:2:42: modules.m0.every is 2.0; it takes a whole number from 1 to 1000000 (frames)"),
    ("every: true", "c.yaml:2:42: modules.m0.every is true; it takes a whole number from 1 to 1000000 (frames)"),
]


@pytest.mark.parametrize(("key", "said"), KEYS, ids=[key for key, _ in KEYS])
def test_a_wrong_value_is_refused_in_a_sentence(key: str, said: str) -> None:
    assert working(f", {key}") == [said]


def test_the_keys_reach_the_plan_and_travel_as_json() -> None:
    text = """modules:
  a: {type: script, script: p.q, worker: w, every: 3}
  b: {type: script, script: p.q, worker: w}
  c: {type: script, script: p.q, every: 1000000}
execution: {schedule: [c, [a, b]]}
"""
    plan = plan_for(HermesConfig.from_yaml_text(text, "c.yaml"))
    assert [(one.name, one.worker, one.every) for one in plan.modules] == [
        ("a", "w", 3),
        ("b", "w", 1),
        ("c", "", 10**6),
    ]
    assert plan.schedule == (("c",), ("a", "b"))
    assert {worker: [one.name for one in modules] for worker, modules in plan.workers.items()} == {
        "w": ["a", "b"],
        "c": ["c"],
    }
    assert Plan.from_json(plan.to_json()) == plan
    assert ModulePlan("d", {}, {}) == ("d", {}, {}, "", 1, 0)


def test_without_the_keys_each_module_is_alone_and_in_every_frame() -> None:
    plan = plan_for(HermesConfig.from_yaml_text(MODULES, "c.yaml"))
    assert plan.schedule == ()
    assert {(one.worker, one.every) for one in plan.modules} == {("", 1)}


def test_a_schedule_of_very_many_unknown_names_is_refused_soon() -> None:
    modules = "".join(f"  module_number_{n}: {{type: script, script: p.q}}\n" for n in range(200))
    names = ", ".join(f"modul_nummber_{n}" for n in range(20_000))
    said: list[str] = []
    text = f"modules:\n{modules}execution: {{schedule: [{names}]}}\n"
    assert spent(lambda: said.extend(problems(text)), 1) < promised(5)
    assert len(said) == 100


def test_a_module_is_restarted_as_often_as_it_says() -> None:
    text = "modules:\n  a: {type: script, script: p.q}\n  b: {type: script, script: p.q, on_failure: restart}\n"
    text += "  c: {type: script, script: p.q, worker: w, on_failure: restart, max_restarts: 7}\n"
    config = HermesConfig.from_yaml_text(text, "c.yaml")
    assert [module.restarts for module in plan_for(config).modules] == [0, 3, 7]


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        (
            ", max_restarts: 2",
            "c.yaml:2:49: modules.m0.max_restarts is 2, but nothing is restarted without on_failure: restart",
        ),
        (", on_failure: retry", "c.yaml:2:47: modules.m0.on_failure is 'retry'; it takes fail or restart"),
        (
            ", on_failure: restart, max_restarts: 0",
            "c.yaml:2:70: modules.m0.max_restarts is 0; it takes a whole number from 1 to 1000",
        ),
    ],
)
def test_what_makes_no_sense_about_restarts_is_refused(keys: str, found: str) -> None:
    assert working(keys) == [found]


def test_a_module_that_shares_its_process_is_not_restarted() -> None:
    why = "but worker 'w' hosts other modules too; only a module with a process of its own can be"
    assert working(", worker: w, on_failure: restart", ", worker: w") == [
        f"c.yaml:2:58: modules.m0.on_failure is 'restart', {why}"
    ]
