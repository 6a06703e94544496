from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes.backplane.signals import Signal, SignalKind, SignalRegistry, SignalType
from hermes.engine.plan import CommandPlan, Plan, WirePlan
from hermes.engine.timed import Due, Timed, timed_commands
from hermes.errors import ConfigurationError

REGISTRY = SignalRegistry(
    [
        Signal("a", "y"),
        Signal("a", "u", SignalKind.INPUT),
        Signal("a", "wired", SignalKind.INPUT),
        Signal("a", "n.x", SignalKind.PARAMETER, SignalType.I64, limits=(0, 9)),
    ]
)


def plan(*commands: tuple[int, dict[str, Any] | None]) -> Plan:
    return Plan("p", (), (WirePlan("a.y", "a.wired"),), commands=tuple(CommandPlan(*one) for one in commands))


@given(st.lists(st.integers(0, 6), max_size=8), st.lists(st.integers(0, 9), max_size=4))
def test_every_entry_acts_once_at_its_frame_in_order_and_again_after_each_reset(
    frames: list[int], epochs: list[int]
) -> None:
    entries = [Due(frame, ((number, 0),)) for number, frame in enumerate(frames)]
    timed = Timed(entries)
    for last in [*epochs, 9]:
        acted = [due for frame in range(last + 1) if frame == timed.next_frame for due in timed.take()]
        assert acted == [due for frame in range(last + 1) for due in entries if due.frame == frame]
        timed.rearm()


def test_where_nothing_is_left_no_frame_is_the_next() -> None:
    assert Timed([]).next_frame == -1
    timed = Timed([Due(2)])
    assert timed.next_frame == 2
    assert timed.take() == [Due(2)]
    assert (timed.next_frame, timed.take()) == (-1, [])


def test_commands_become_cells_and_the_values_that_those_hold() -> None:
    timed = timed_commands(plan((4, None), (0, {"a.n.x": 3.0, "a.u": 1})), REGISTRY)
    assert timed.take() == [Due(0, ((3, 3), (1, 0x3FF0000000000000)), {"a.n.x": 3, "a.u": 1.0})]
    assert timed.take() == [Due(4)]


def test_everything_that_does_not_fit_is_told_at_once_with_its_place() -> None:
    with pytest.raises(ConfigurationError) as caught:
        timed_commands(
            plan((0, {"a.uu": 1, "a.u": 1, "a.y": 2}), (1, None), (2, {"a.wired": 1, "a.n.x": 10})), REGISTRY
        )
    assert [str(problem) for problem in caught.value.problems] == [
        "commands.0.set.a.uu: no signal matches 'a.uu'; did you mean a.u?",
        "commands.0.set.a.y: a.y is an output and is written by its module only; set an input or a parameter",
        "commands.2.set.a.wired: a.wired is driven by a wire from a.y; set that, or remove the wire",
        "commands.2.set.a.n.x: a.n.x cannot be 10; it takes a whole number from -2^63 to 2^63-1 (i64), within 0 to 9",
    ]


def test_the_list_of_problems_ends() -> None:
    wrong = dict.fromkeys((f"b.{number}" for number in range(90)), 1)
    with pytest.raises(ConfigurationError) as caught:
        timed_commands(plan((0, wrong), (1, wrong), (2, wrong)), REGISTRY)
    assert len(caught.value.problems) == 100
