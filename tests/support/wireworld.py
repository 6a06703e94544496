"""A session, the clients that talk to it, and the model that must explain all that they hear.

A *turn* is what is said between two moments at which everything has been answered.
"""

from __future__ import annotations

import json
import select
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bounds import PATIENCE
from errorlog import ErrorLog
from rawframes import CLOSE, TEXT, client_frame
from wireclient import Client, Draft
from wiremodel import Model
from wirereplies import explain
from wiresignals import same_all, time_of
from wireverdicts import ACTIONS, MESSAGE_BYTES, Sent, verdict

import hermes
from hermes.errors import HermesError

CLIENTS = 3
WAITING = 256
TRANSCRIPT = 40
EXAMPLES_PER_SESSION = 25

PYTHON: dict[str, Callable[[hermes.Session, Mapping[str, Any]], object]] = {
    "pause": lambda session, _: session.pause(),
    "resume": lambda session, _: session.resume(),
    "reset": lambda session, _: session.reset(),
    "step": lambda session, params: session.step(**params),
    "run": lambda session, params: session.run(**params),
    "set": lambda session, params: session.set(params.get("values") or {params["signal"]: params["value"]}),
}

HANG_UPS: dict[str, tuple[int, bytes]] = {
    "close": (1000, client_frame(CLOSE, (1000).to_bytes(2, "big"))),
    "huge": (1009, client_frame(TEXT, b" " * (MESSAGE_BYTES + 1))),
    "not UTF-8": (1007, client_frame(TEXT, b'{"action":"resume","id":"\xff"}')),
    "no mask": (1002, b"\x81\x02{}"),
    "no opcode": (1002, client_frame(0x3, b"{}")),
}
"""Ways to end a connection: the close code that must come, and what is sent."""


def command(action: str, params: Any = None) -> dict[str, Any]:
    """Return a command as a message has it."""
    return {"action": action} if params is None else {"action": action, "params": params}


class World:
    """A session, its clients, what they have all heard, and the model that explains it."""

    def __init__(self, path: Path, log: ErrorLog) -> None:
        self.path = path
        self.log = log
        self.clients: list[Client] = []
        self.counts: Counter[str] = Counter()
        self.frames = 0
        self.settled_frames = 0
        self.examples = 0
        self.sessions = 0
        self.first_failure = ""
        self._broken = False
        self._ticks = 0
        self._session: hermes.Session | None = None

    @property
    def session(self) -> hermes.Session:
        """The session that is held against the model."""
        assert self._session is not None
        return self._session

    # -- examples

    def begin(self) -> None:
        """Begin an example: a session at its initial conditions, which nobody watches yet."""
        if self._broken or self.examples % EXAMPLES_PER_SESSION == 0:
            self.end()
            self._session = hermes.Session.from_yaml(self.path, loop="thread")
            self._session.start()
            self.sessions += 1
        self.examples += 1
        self._broken = True  # until the example has ended well
        if self.session.state == "running":
            self.session.pause()
        self.session.reset()
        self.model = Model()
        self.told: list[dict[str, Any]] = []
        self.heard_by_all = 0
        self.replayed = 0
        self.generation = 0
        self.at_rest = True
        self._lines: deque[tuple[str, str, str | bytes]] = deque(maxlen=TRANSCRIPT)
        self._journaled = len(self.session.journal)
        self.reset_count = 0
        self.connect(CLIENTS)
        for client in self.clients[1:]:
            self.converse(client, Draft(command("subscribe", {"signals": ["*"]})))

    def finish(self) -> None:
        """End an example: everything agrees, and nothing more was said to anybody."""
        self.settle()
        self._agree()
        self._disconnect()
        self._broken = False

    def end(self) -> None:
        """Close the session."""
        self._disconnect()
        if self._session is not None:
            self._session.close()
            self._session = None

    def connect(self, count: int) -> None:
        """Connect further clients, and wait for their schemas."""
        found = [Client(self) for _ in range(count)]
        self.clients += found
        self.pump(lambda: all(client.schema is not None for client in found))

    def _disconnect(self) -> None:
        for client in self.clients:
            client.end()
        self.clients.clear()

    def _agree(self) -> None:
        """Check that the session, seen from Python, is what the model is."""
        session, held = self.session, self.model
        if self.at_rest:
            assert (session.state, session.frame) == (held.state, held.simulation.frame)
            assert session.time == time_of(session.frame)
            assert same_all(session.get(["*"]), held.simulation.all)
        assert session.failure is None
        assert not self.log.found, self.log.found

    # -- waiting

    def pump(self, done: Callable[[], bool]) -> None:
        """Let every client take what comes until something is true; fails at the deadline."""
        limit = time.monotonic() + PATIENCE
        while not done():
            assert time.monotonic() < limit, f"waited in vain; {self.transcript}"
            readable, _, _ = select.select([client.sock for client in self.clients], [], [], 0.005)
            for client in [client for client in self.clients if client.sock in readable]:
                try:
                    client.read()
                except AssertionError as error:
                    self._keep(error)
                    raise
                assert client.closed is None or client.waiting == [], f"closed with {client.closed}: {client.waiting}"

    def answered(self) -> bool:
        """Return whether nobody waits for a reply."""
        return not any(client.waiting for client in self.clients)

    # -- what clients report

    def note(self, client: Client, arrow: str, message: str | bytes) -> None:
        """Keep the last things that were said, for whoever reads a failure."""
        self._lines.append((repr(client), arrow, message))

    def _keep(self, error: AssertionError) -> None:
        """Keep the first failure, with what led to it: what depends on the clock may not fail again."""
        error.add_note(self.transcript)
        self.first_failure = self.first_failure or f"{error}\n{self.transcript}"

    @property
    def transcript(self) -> str:
        """What was said last."""
        return "\n".join(["last was said:", *(f"{who} {arrow} {said[:300]!r}" for who, arrow, said in self._lines)])

    def disturb(self) -> None:
        """Note that something is asked for that may change the session."""
        self.generation += 1
        self.at_rest = False

    def tick(self) -> int:
        """Return a number that rises."""
        self._ticks += 1
        return self._ticks

    def count(self, sent: Sent) -> None:
        """Count a message that was answered."""
        assert sent.reply is not None
        outcome = "ack" if sent.is_acked else sent.reply["code"]
        self.counts[f"{sent.verdict.action if sent.verdict.action in ACTIONS else '-'}: {outcome}"] += 1

    def on_event(self, message: dict[str, Any]) -> None:
        """Take an event that nobody has heard before."""
        assert {"state", "frame", "time"} <= message.keys()
        assert message["event"] in ("running", "paused", "reset", "finished", "overrun"), message
        assert message["event"] != "overrun" or message["state"] == "running"
        self.counts[f"event {message['event']}"] += 1
        self.told.append(message)

    # -- turns

    def turn(self, said: Sequence[Sent], unanswered: Sequence[Sent] = ()) -> None:
        """Explain what came of messages that are all answered, and take it over into the model."""
        try:
            self._explain(said, unanswered)
        except AssertionError as error:
            self._keep(error)
            raise

    def _explain(self, said: Sequence[Sent], unanswered: Sequence[Sent]) -> None:
        everything = self.session.journal
        journal, self._journaled = everything[self._journaled :], len(everything)
        self.reset_count += sum(entry["verb"] == "reset" for entry in journal)
        for client in self.clients:
            assert client.resets <= self.reset_count, f"{client}: frame numbers fell without a reset"
        events = [event for event in self.told if event["event"] != "overrun"][self.replayed :]
        crowded = {origin for origin, count in Counter(sent.origin for sent in said).items() if count > WAITING}
        assert all(sent.origin in crowded for sent in said if _is_too_many(sent)), "refused with few commands waiting"
        asked = [sent for sent in said if sent.verdict.is_command and not _is_too_many(sent)]
        self._foretold(asked, journal, events, unanswered)
        self.model.replay(journal, events)
        explain(self.model, asked, unanswered)
        self.replayed += len(events)

    def _foretold(
        self, asked: list[Sent], journal: list[dict[str, Any]], events: list[dict[str, Any]], others: Sequence[Sent]
    ) -> None:
        """Where one command was alone: check that exactly what must come of it did."""
        if len(asked) != 1 or others:
            return
        (sent,) = asked
        assert sent.reply is not None
        heard = [event["event"] for event in events[: sent.seen]]
        found = (sent.reply.get("code"), len(journal), heard)
        state = self.model.state
        legal = [(one.code, int(one.journaled), list(one.events)) for one in self.model.foretell(sent.verdict, state)]
        if state == "running":  # it may have reached its end just before
            ended = self.model.foretell(sent.verdict, "finished")
            legal += [(one.code, int(one.journaled), ["finished", *one.events]) for one in ended]
        assert found in legal, f"{sent} while {state}: expected one of {legal}, found {found}"
        if not journal and state != "running" and sent.is_acked:
            assert sent.reply["frame"] == self.model.simulation.frame

    def settle(self) -> None:
        """Bring everybody to the same moment: each asks, and hears on the way whatever was told before."""
        before, rested = len(self.told), self.at_rest
        said = [client.say(Draft({"action": "status"}, "text")) for client in self.clients]
        self.pump(self.answered)
        for client in self.clients:
            assert client.seen >= self.replayed, f"{client} missed one of {self.told}"
        self.turn(said)
        self.heard_by_all = before
        assert not rested or len(self.told) == before, f"told while nothing moved: {self.told[before:]}"
        self.at_rest = self.model.state != "running"
        self._agree()

    def burst(self, said: Sequence[tuple[Client, Draft]]) -> None:
        """Say everything, then hear everything."""
        for client in self.clients:
            client.unread = 0
        sent = [client.say(draft) for client, draft in said]
        self.pump(self.answered)
        self.turn(self._in_order_of_replies(sent))
        self.settle()

    def watch(self, count: int) -> None:
        """Wait until every client with a subscription has had so many more telemetry frames."""
        subscribed = [client for client in self.clients if client.layout is not None and client.telemetry_hz > 50]
        goal = {client: client.frames + count for client in subscribed}
        self.pump(lambda: all(client.frames >= goal[client] for client in subscribed))
        self.settle()

    def vanish(self, who: int, drafts: Sequence[Draft]) -> None:
        """Say something, end the connection at once, and connect again when the server has noticed."""
        client = self.clients.pop(who)
        lost = [client.say(draft) for draft in drafts]
        client.end()
        self.pump(lambda: len(self.session.status.clients) == len(self.clients))
        other = self.clients[0]
        marker = other.say(Draft(command("set", {"signal": "probe-1.pick", "value": self.generation % 1000})))
        self.pump(self.answered)
        self.turn([marker], [sent for sent in lost if sent.verdict.is_command])
        self._connect_instead(who)

    def hang_up(self, who: int, how: str) -> None:
        """End a connection in a way that has a close code, and connect again."""
        client = self.clients[who]
        code, data = HANG_UPS[how]
        client.sock.sendall(data)
        self.pump(lambda: client.closed is not None)
        assert client.closed == code, f"{how}: closed with {client.closed}"
        self.counts[f"close {client.closed}"] += 1
        self.clients.remove(client)
        client.end()
        self._connect_instead(who)

    def _connect_instead(self, who: int) -> None:
        self.settle()
        self.connect(1)
        self.clients.insert(who, self.clients.pop())
        self.settle()

    def python(self, action: str, params: Mapping[str, Any]) -> None:
        """Issue a command from Python."""
        issued = Sent("python", "", verdict(json.dumps(command(action, dict(params)))), 0)
        state, code = self.model.state, None
        if issued.verdict.is_command:
            self.disturb()
        try:
            PYTHON[action](self.session, params)
        except HermesError as error:
            code = error.code
        said = [client.say(Draft({"action": "status"}, "text")) for client in self.clients]
        self.pump(self.answered)
        self.turn(said, [issued])
        self.counts[f"python {action}: {code or 'ack'}"] += 1
        if issued.verdict.codes:
            assert code in issued.verdict.codes
        else:
            states = (state, "finished") if state == "running" else (state,)
            assert code in {one.code for each in states for one in self.model.foretell(issued.verdict, each)}
        self.settle()

    def crowd(self, who: int, extra: int) -> None:
        """Let more commands wait than may: behind a step, which ends when all are in."""
        self.replace(who)
        client, other = self.clients[who], self.clients[who - 1]
        drag = command("set", {"signal": "knobs.drag", "value": 50})
        for body in (command("reset"), drag, command("resume"), command("pause")):
            self.converse(other, Draft(body))
        step = Draft(command("step"), "number")
        said = [client.say(Draft(command("step", {"count": 10**9}), "text"))]
        said += [client.say(step) for _ in range(WAITING + extra)]
        self.pump(lambda: len(client.waiting) <= WAITING)
        no_drag = command("set", {"signal": "knobs.drag", "value": 0})
        said += [other.say(Draft(no_drag)), other.say(Draft(command("pause")))]
        self.pump(self.answered)
        assert sum(map(_is_too_many, said)) == extra + 1
        self.turn(self._in_order_of_replies(said))
        self.settle()

    def replace(self, who: int) -> None:
        """Give a client a new connection: it may say much at once."""
        self.hang_up(who, "close")

    def _in_order_of_replies(self, said: Sequence[Sent]) -> list[Sent]:
        return sorted(said, key=lambda sent: sent.answered)

    def summary(self) -> str:
        """Say what was said and heard."""
        lines = [f"{count:7} {what}" for what, count in sorted(self.counts.items())]
        total = f"{self.counts.total()} messages, {self.frames} telemetry frames ({self.settled_frames} foretold)"
        first = ["the first failure:", self.first_failure] if self.first_failure else []
        return "\n".join([f"{total} in {self.examples} examples on {self.sessions} sessions:", *lines, *first])

    def converse(self, client: Client, draft: Draft) -> Sent:
        """Say one thing and hear its reply."""
        client.unread = 0
        sent = client.say(draft)
        self.pump(lambda: sent.reply is not None)
        self.turn([sent])
        self.at_rest = self.model.state != "running"
        return sent


def _is_too_many(sent: Sent) -> bool:
    return sent.verdict.is_command and sent.reply is not None and sent.reply.get("code") == "too_many"
