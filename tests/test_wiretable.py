from __future__ import annotations

from hermes import HermesConfig
from hermes.engine.plan import Plan
from hermes.planning import plan_for
from hermes.wiretable import wire_lines


def plan(text: str) -> Plan:
    return plan_for(HermesConfig.from_yaml_text(text, "w.yaml"))


LOOP = "feedback loop plant, controller: one frame late at "
RATES = """
modules:
  plant: {type: script, script: "package.thing:P"}
  controller: {type: script, script: "package.thing:C", every: 4}
  log: {type: script, script: "package.thing:L"}
wiring:
  - {src: plant.x, dst: controller.measured}
  - {src: controller.u, dst: plant.force}
  - {src: controller.u, dst: log.u}
"""


def test_every_wire_has_its_delay_and_what_slower_modules_add() -> None:
    assert list(wire_lines(plan(RATES))) == [
        "  plant.x -> controller.measured   1 frame     controller samples every 4 frames",
        "  controller.u -> plant.force      1 frame     controller holds for 4 frames",
        "  controller.u -> log.u            1 frame     controller holds for 4 frames",
        LOOP + "plant.x -> controller.measured, controller.u -> plant.force",
    ]


def test_a_schedule_leaves_one_late_wire_in_a_loop() -> None:
    assert list(
        wire_lines(plan(RATES.replace(", every: 4", "") + "execution: {schedule: [plant, controller, log]}"))
    ) == [
        "  plant.x -> controller.measured   same frame",
        "  controller.u -> plant.force      1 frame",
        "  controller.u -> log.u            same frame",
        LOOP + "controller.u -> plant.force",
    ]


def test_without_wires_there_is_nothing_to_say() -> None:
    assert list(wire_lines(plan("modules: {a: {type: script, script: package.thing}}"))) == []


def many(wires: int) -> Plan:
    modules = "modules:\n  a: {type: script, script: package.thing}\n  b: {type: script, script: package.thing}\n"
    ends = [("a", "b"), ("b", "a")]
    rows = [f"  - {{src: {ends[n % 2][0]}.y{n}, dst: {ends[n % 2][1]}.u{n}}}\n" for n in range(wires)]
    return plan(modules + "wiring:\n" + "".join(rows) + "execution: {schedule: [a, b]}")


def test_beyond_fifty_wires_they_are_counted_unless_asked_for() -> None:
    assert len(list(wire_lines(many(50)))) == 51
    summary, loop = wire_lines(many(51))
    assert summary == "  25 wires arrive 1 frame late, 26 in the same frame (--wires lists them)"
    late = ", ".join(f"b.y{n} -> a.u{n}" for n in (1, 3, 5, 7, 9))
    assert loop == f"feedback loop a, b: one frame late at {late} and 20 more"
    lines = list(wire_lines(many(51), all_of_them=True))
    assert len(lines) == 52
    assert lines[:2] == ["  a.y0 -> b.u0     same frame", "  b.y1 -> a.u1     1 frame"]
    assert lines[-1] == loop
