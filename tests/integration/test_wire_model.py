"""A real session and several clients at once against a model of the wire: thousands of messages, good, bad and odd.

Hypothesis draws what is said; nothing it draws depends on what is answered, so a failure shrinks to few messages. Every
message's reply, every event, every telemetry frame and the journal must be what `wiremodel` says.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from errorlog import ErrorLog
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from wireclient import Client, Draft, Params
from wiresayings import (
    ALL,
    ANYTHING,
    BAD_PARAMS,
    BURST,
    DOUBTFUL_SETS,
    EVERY_VERB,
    LOOKS,
    NOT_COMMANDS,
    ODD_VALUES,
    PIECES,
    PIPELINES,
    SETS,
    TEXTS,
    UNKNOWN,
    UNKNOWN_ACTIONS,
    VALUES,
    VERBS,
    WHO,
    Said,
    drafted,
    drafts,
    set_one,
    several,
    verbatim,
)
from wiresignals import CONFIGURATION, MODULES, SETTABLE, SIGNALS
from wireverdicts import ACTIONS
from wireworld import CLIENTS, HANG_UPS, World, command

STATES: dict[str, list[dict[str, Any]]] = {
    "paused": [{"action": "reset"}, {"action": "resume"}, {"action": "pause"}, {"action": "step"}],
    "running": [{"action": "reset"}, {"action": "resume"}],
    "finished": [{"action": "reset"}, {"action": "pause"}, {"action": "step", "params": {"count": 10**9}}],
}
"""What leads to a state."""

EXPECTED = {
    *(f"{action}: ack" for action in ACTIONS),
    *(f"{action}: bad_params" for action in ACTIONS),
    *(f"{action}: unknown_signal" for action in ("get", "subscribe", "unsubscribe", "set")),
    *(f"{action}: too_many" for action in ("get", "subscribe", "set", "step")),
    *(f"{action}: invalid_state" for action in ("pause", "resume", "step", "run")),
    *(f"set: {code}" for code in ("bad_value", "read_only", "wired")),
    *(f"-: {code}" for code in ("bad_json", "bad_message", "unknown_action")),
    *(f"close {code}" for code in (1000, 1002, 1007, 1009)),
    *(f"event {name}" for name in ("running", "paused", "reset", "finished")),
}
"""What must have come up for the test to mean anything."""


class WireMachine(RuleBasedStateMachine):
    """What clients do, in any order; no rule looks at what came of the ones before."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        self.crowded = False
        self.world.begin()

    def teardown(self) -> None:
        """Compare everything once more; an example that has failed leaves the rest to the next one."""
        if not isinstance(sys.exception(), Exception):
            self.world.finish()

    def _who_says(self, said: Said) -> list[tuple[Client, Draft]]:
        return [(self.world.clients[who], draft) for who, draft in said if draft is not None]

    @rule(said=several(ANYTHING, 8, 12))
    def converse(self, said: Said) -> None:
        """One after the other, each when the one before has its reply: what comes of it is foretold."""
        for client, draft in self._who_says(said):
            self.world.converse(client, draft)
        self.world.settle()

    @rule(said=several(BURST, 10, 30))
    def burst(self, said: Said) -> None:
        """All at once; the journal must be an order that explains every reply."""
        self.world.burst(self._who_says(said))

    @rule(said=several(drafts(SETS, LOOKS, raw=False), 10, 30))
    def burst_of_values(self, said: Said) -> None:
        """Sets and looks only, of all clients at once, so that every look can be placed among them."""
        self.world.burst(self._who_says(said))

    @rule(who=WHO, draft=PIECES)
    def piece(self, who: int, draft: Draft) -> None:
        """The beginning of a message that would be good."""
        self.world.converse(self.world.clients[who], draft)

    @rule(who=WHO, drafts=st.lists(drafts(LOOKS, VERBS, SETS, raw=False), min_size=1, max_size=4))
    def wait_for_telemetry(self, who: int, drafts: list[Draft]) -> None:
        """Look at the telemetry that comes after something was said, on every client that has any."""
        for draft in drafts:
            self.world.converse(self.world.clients[who], draft)
        self.world.settle()
        self.world.watch(3)

    @rule(who=WHO, drafts=st.lists(drafts(SETS, VERBS[:2], raw=False), max_size=5))
    def vanish(self, who: int, drafts: list[Draft]) -> None:
        """Somebody says something and is gone, and comes back; what took effect is in the journal."""
        self.world.vanish(who, drafts)

    @rule(who=WHO, how=st.sampled_from(["close", "huge", "not UTF-8", "no mask", "no opcode"]))
    def hang_up(self, who: int, how: str) -> None:
        """A connection ends with its close code, and nobody else notices."""
        self.world.hang_up(who, how)

    @rule(action=st.one_of([drafts(SETS, VERBS, DOUBTFUL_SETS, raw=False)]))
    def python(self, action: Draft) -> None:
        """The same verbs from Python."""
        assert isinstance(action.body, dict)
        self.world.python(action.body["action"], action.body.get("params", {}))

    @precondition(lambda self: not self.crowded)
    @rule(who=WHO, extra=st.integers(0, 20))
    def crowd(self, who: int, extra: int) -> None:
        """More commands of one client than may wait, behind a step of somebody else's."""
        self.crowded = True
        self.world.crowd(who, extra)


@contextmanager
def _world(tmp_path: Path) -> Iterator[World]:
    (tmp_path / "modules.py").write_text(MODULES)
    (tmp_path / "wire.yaml").write_text(CONFIGURATION)
    log = ErrorLog()
    world = World(tmp_path / "wire.yaml", log)
    with log.listening():
        try:
            yield world
        finally:
            world.end()
            print(world.summary())
    assert not log.found, log.found


def _recite(world: World) -> None:
    """Say once whatever is known to be wrong or odd, in every state, and every verb."""
    world.begin()
    wrong = [command(action, Params(params)) for action, bad in BAD_PARAMS.items() for params in bad]
    wrong += [*NOT_COMMANDS, *map(command, UNKNOWN_ACTIONS)]
    wrong += [command(look, {"signals": ["*", bad]}) for bad in UNKNOWN for look in ("get", "subscribe", "unsubscribe")]
    sets = [[set_one((name, value)) for name in (*UNKNOWN[:4], *SIGNALS)] for value in ODD_VALUES]
    sets += [[set_one((name, value)) for name, spec in SETTABLE.items() for value in VALUES[spec.type]]]
    for state, entry in STATES.items():
        _replace_all(world)
        drafts = [*(_draft_of(body) for body in [*EVERY_VERB, *entry, *wrong]), *map(verbatim, TEXTS)]
        for place, draft in enumerate(drafts):
            world.converse(world.clients[place % CLIENTS], draft)
        several = sets if state == "paused" else sets[-2:]
        for place, bodies in enumerate([entry, *several]):
            if place % 10 == 0:
                _replace_all(world)
            client = world.clients[place % CLIENTS]
            world.burst([(client, _draft_of(body)) for body in bodies])
            world.converse(client, _draft_of(ALL))
            world.converse(client, _draft_of(command("subscribe", {"signals": ["knobs.*", "plant.gain"]})))
    for bodies in PIPELINES:
        for told in ([0], [0, 1, 2]):
            world.burst([(world.clients[who], _draft_of(body)) for body in bodies for who in told])
    for how in HANG_UPS:
        world.hang_up(0, how)
    world.crowd(0, 3)
    world.watch(3)
    world.finish()


def _replace_all(world: World) -> None:
    """Let every client say much at once."""
    for who in range(CLIENTS):
        world.replace(who)


def _draft_of(body: dict[str, Any]) -> Draft:
    return drafted(body, "text", 1)


def _hold_against_model(tmp_path: Path, how: settings, number: int | None = None) -> World:
    with _world(tmp_path) as world:
        _recite(world)
        machine = type("WireMachine", (WireMachine,), {"world": world})
        run_state_machine_as_test(machine if number is None else seed(number)(machine), settings=how)
    return world


_SETTINGS = settings(
    deadline=None,
    database=None,
    print_blob=False,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate, Phase.shrink],
)


@pytest.mark.filterwarnings("ignore:Generating overly large repr")
def test_a_real_session_agrees_with_the_model_of_the_wire(tmp_path: Path) -> None:
    world = _hold_against_model(tmp_path, settings(_SETTINGS, max_examples=8, stateful_step_count=14, derandomize=True))
    assert world.counts.total() >= 2_000
    assert world.settled_frames >= 100
    assert set(world.counts) >= EXPECTED


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.filterwarnings("ignore:Generating overly large repr")
def test_a_real_session_agrees_with_the_model_of_the_wire_for_long(tmp_path: Path) -> None:
    number = int(os.environ.get("HERMES_WIRE_SEED", random.SystemRandom().randrange(2**32)))
    print(f"HERMES_WIRE_SEED={number}")
    world = _hold_against_model(tmp_path, settings(_SETTINGS, max_examples=300, stateful_step_count=30), number)
    assert world.counts.total() >= 50_000
