"""Commands of many clients at once, and of clients that vanish, make one history: the journal's."""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faults
import pytest
from bounds import PATIENCE
from loadclients import Client, get_ready, run

from hermes import Session


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    """Run a session, paused, in this process, where its journal can be read."""
    with Session.from_yaml(faults.plants(tmp_path), loop="thread") as running:
        yield running


SET = ("a.push", "a.loose", "a.long", "b.long", "b.loose", "b.short")
LOOKING: list[tuple[str, dict[str, Any]]] = [
    ("get", {"signals": ["a.*"]}),
    ("status", {}),
    ("subscribe", {"signals": ["a.long", "b.*"]}),
    ("subscribe", {"signals": ["*"], "telemetry_hz": 7}),
    ("unsubscribe", {"signals": ["a.*"]}),
    ("unsubscribe", {}),
]
AT_ONCE: list[tuple[str, dict[str, Any]]] = [
    ("set", {"signal": "a.short", "value": 1.5}),
    ("set", {"values": {"a.long": -1, "a.count": 1}}),
    ("set", {"signal": "b.push", "value": 1}),
    ("step", {"count": 0}),
    ("get", {}),
    ("fly", {}),
]
TURNING: list[tuple[str, dict[str, Any]]] = [("pause", {}), ("resume", {})]
STEPPING: list[tuple[str, dict[str, Any]]] = [*TURNING, ("step", {"count": 3}), ("step", {}), ("reset", {})]
IN_FLIGHT = 48


class Commanding(Client):
    """Sends random commands, a few dozen ahead of the replies, and keeps both."""

    def __init__(self, url: str, number: int, count: int, moves: list[tuple[str, dict[str, Any]]]) -> None:
        super().__init__(url, ())
        self._random = random.Random(number)
        self._number = number
        self._count = count
        self._moves = moves
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.answered: list[dict[str, Any]] = []

    @property
    def name(self) -> str:
        return f"client 127.0.0.1:{self.own_port}"

    @property
    def over(self) -> bool:
        return len(self.answered) >= self._count

    def on_ready(self) -> None:
        assert self.sock is not None
        self.own_port = self.sock.getsockname()[1]
        for _ in range(IN_FLIGHT):
            self._ask()

    def on_text(self, text: bytes) -> None:
        reply = json.loads(text)
        if reply["type"] in ("ack", "error"):
            self.answered.append(reply)
            self._ask()

    def _ask(self) -> None:
        identity = len(self.asked)
        if identity >= self._count:
            return
        kind = self._random.choices(("set", "look", "refused", "move"), (60, 20, 5, 15))[0]
        action, params = self._setting(identity)
        if kind != "set":
            action, params = self._random.choice({"look": LOOKING, "refused": AT_ONCE, "move": self._moves}[kind])
        self.asked.append((action, params))
        self.send(faults.command(action, identity, **params))

    def _setting(self, identity: int) -> tuple[str, dict[str, Any]]:
        """Return a set of values that nobody else sets at any time."""
        unique = 1_000_000 * self._number + identity
        names = self._random.sample(SET, self._random.choice((1, 1, 2)))
        return "set", {"values": dict.fromkeys(names, unique)}


@pytest.mark.parametrize(
    "count",
    [pytest.param(400, id="short"), pytest.param(5_000, id="full", marks=[pytest.mark.soak, pytest.mark.timeout(900)])],
)
@pytest.mark.parametrize("moves", [TURNING, STEPPING], ids=["without steps", "with steps"])
def test_eight_clients_make_one_history(session: Session, count: int, moves: list[tuple[str, dict[str, Any]]]) -> None:
    initial = session.get(SET)
    clients = [Commanding(session.url, number, count, moves) for number in range(1, 9)]
    begin = time.perf_counter()
    get_ready(clients)
    run(clients, PATIENCE, lambda: all(client.over for client in clients))
    print(
        f"measured: 8 x {count} commands in {time.perf_counter() - begin:.1f} s, {len(session.journal)} journal entries"
    )
    session.pause()
    for client in clients:
        check_replies(client, count, in_order=moves is TURNING)
    check_history(session, clients, initial)
    with faults.Rude(session.url) as one, faults.Rude(session.url) as other:
        seen = [viewer.command("get", signals=["*"]) for viewer in (one, other)]
        assert seen[0] == seen[1]
        assert seen[0]["values"] == session.get(["*"])
    for client in clients:
        client.close()


def check_replies(client: Commanding, count: int, *, in_order: bool) -> None:
    """Check that each command has one reply of its own kind, and their order as far as it is promised.

    What is refused without asking the session may be answered before what was sent earlier; without steps, nothing
    else may.
    """
    assert len(client.asked) == len(client.answered) == count
    assert Counter(reply["id"] for reply in client.answered) == Counter(range(count))
    highest = -1
    for reply in client.answered:
        action, params = client.asked[reply["id"]]
        assert reply["action"] == action
        refused = (action, params) in AT_ONCE
        assert (reply["type"] == "error") >= refused
        assert reply["type"] == "ack" or refused or (action == "step" and reply["code"] == "invalid_state"), reply
        if in_order and not refused:
            assert reply["id"] > highest
            highest = reply["id"]


def check_history(session: Session, clients: list[Commanding], initial: dict[str, Any]) -> None:
    """Check that the journal holds every acknowledged set once, at its frame, and leads to the values there are."""
    journal = session.journal
    for client in clients:
        acks = sorted(
            (reply for reply in client.answered if reply["type"] == "ack"), key=lambda reply: int(reply["id"])
        )
        sets = [reply for reply in acks if reply["action"] == "set"]
        told = [(reply["frame"], client.asked[reply["id"]][1]["values"]) for reply in sets]
        noted = [entry for entry in journal if entry["origin"] == client.name and entry["verb"] == "set"]
        assert [(entry["frame"], entry["values"]) for entry in noted] == told
        verbs = Counter(entry["verb"] for entry in journal if entry["origin"] == client.name)
        for verb in ("step", "reset"):
            assert verbs[verb] == sum(reply["action"] == verb for reply in acks)
    values = dict(initial)
    for entry in journal:
        values = dict(initial) if entry["verb"] == "reset" else values | entry.get("values", {})
    assert values == session.get(SET)


def test_a_client_that_vanishes_has_its_command_carried_out_at_most_once(
    session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    frame = faults.command("step", "the last wish", count=1)
    chance = random.Random(7)
    for cut in [*range(len(frame)), *[len(frame)] * 120]:
        before = len(session.journal)
        with faults.Rude(session.url) as victim:
            own = victim.sock.getsockname()[1]
            victim.send(frame[:cut])
            if cut == len(frame):
                spend(chance.uniform(0, 0.004))
            if chance.random() < 0.7:
                victim.reset()
        faults.until(lambda: not session.status.clients)
        session.set({"a.long": cut})  # behind all that the session has been asked before
        entries = [entry for entry in session.journal[before:] if entry["verb"] == "step"]
        assert len(entries) <= (cut == len(frame))
        assert all(entry["origin"] == f"client 127.0.0.1:{own}" for entry in entries)
    done = sum(entry["verb"] == "step" for entry in session.journal)
    assert session.frame == done
    print(f"measured: {done} of 120 were carried out")
    assert done > 0
    assert [record.getMessage() for record in caplog.records if record.exc_info or record.levelname == "ERROR"] == []


def spend(seconds: float) -> None:
    """Let a time pass that is shorter than a sleep can be, while the session's own thread goes on."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        os.sched_yield()
