"""A real session and several clients at once against a model of the wire: thousands of messages, good, bad and odd.

Hypothesis draws what is said; nothing it draws depends on what is answered, so a failure shrinks to few messages. Every
message's reply, every event, every telemetry frame and the journal must be what `wiremodel` says. A *turn* is what is
said between two moments at which everything has been answered.
"""

from __future__ import annotations

import json
import logging
import os
import random
import select
import socket
import struct
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
import wiremodel as wm
from bounds import PATIENCE
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from rawframes import BINARY, CLOSE, PING, PONG, TEXT, FrameReader, client_frame, upgrade_request
from wiremodel import SETTABLE, SIGNALS, Model, Sent, same, same_all, shown, telemetry, time_of, verdict

import hermes
from hermes.errors import HermesError
from hermes.strictjson import decode

UNREAD = 32 * 1024
"""Text that may wait for a client, while it says much at once, without costing it a telemetry frame."""

CLIENTS = 3
CONTINUATION = 0x0
TRANSCRIPT = 40
EXAMPLES_PER_SESSION = 25


STATES: dict[str, list[dict[str, Any]]] = {
    "paused": [{"action": "reset"}, {"action": "resume"}, {"action": "pause"}, {"action": "step"}],
    "running": [{"action": "reset"}, {"action": "resume"}],
    "finished": [{"action": "reset"}, {"action": "pause"}, {"action": "step", "params": {"count": 10**9}}],
}
"""What leads to a state."""


class Text(str):
    """A text that is shown by its beginning."""

    def __repr__(self) -> str:
        return f"{self[:60]!r}" + (f"... ({len(self)})" if len(self) > 60 else "")


class Params(dict[str, Any]):
    """Parameters that are shown by their beginning."""

    def __repr__(self) -> str:
        return repr(Text(dict.__repr__(self)))


class Draft(NamedTuple):
    """A message before it is sent: a JSON object that gets an id of a kind, or text or bytes as they are."""

    body: dict[str, Any] | str | bytes
    identity: str = "none"
    fragments: int = 1


class Client:
    """One connection, read without waiting; it knows what its stream must be like, whoever else is connected."""

    def __init__(self, world: World) -> None:
        target = urlsplit(world.session.url)
        self.world = world
        self.waiting: list[Sent] = []
        self.pongs: list[bytes] = []
        self.schema: dict[str, Any] | None = None
        self.layout: list[str] | None = None
        self.closed: int | None = None
        self.telemetry_hz = 0.0
        self.unread = 0
        self.frames = 0
        self.seen = 0
        self.settled = -1
        self._place: int | None = None
        self._frame_due = False
        self._floor = 0
        self.resets = 0
        self._order = 0
        self._reader = FrameReader()
        self.sock = socket.create_connection((target.hostname, target.port), PATIENCE)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.origin = "client {}:{}".format(*self.sock.getsockname())
        self.sock.sendall(upgrade_request(target.hostname or "", target.port or 0))

    def __repr__(self) -> str:
        return self.origin.rpartition(":")[2]

    # -- saying

    def say(self, draft: Draft) -> Sent:
        """Send a message."""
        message = self._finished(draft)
        sent = Sent(self.origin, message, verdict(message), self._order, not self.waiting)
        self._order += 1
        self.waiting.append(sent)
        self.world.note(self, "->", message)
        if sent.verdict.is_command and sent.action not in wm.VIEWING:
            self.world.disturb()
        opcode = BINARY if isinstance(message, bytes) else TEXT
        payload = message if isinstance(message, bytes) else message.encode("utf-8", "surrogatepass")
        self.sock.sendall(_fragmented(opcode, payload, draft.fragments))
        return sent

    def _finished(self, draft: Draft) -> str | bytes:
        if not isinstance(draft.body, dict):
            return draft.body
        wished: Any = _IDENTITIES[draft.identity](self._order)
        if wished in (0, "") and any(same(wished, sent.verdict.identity) for sent in self.waiting):
            wished = f"instead {self._order}"
        return json.dumps({**draft.body, **({} if wished is None else {"id": wished})})

    # -- hearing

    def read(self) -> None:
        """Take what has arrived."""
        try:
            piece = self.sock.recv(1 << 18)
        except OSError:
            piece = b""
        if not piece and self.closed is None:
            self.closed = 1006
        for opcode, payload in self._reader.feed(piece):
            if opcode == TEXT:
                self._on_text(payload.decode())
            elif opcode == BINARY:
                self._on_telemetry(payload)
            elif opcode == PONG:
                self.pongs.append(payload)
            elif opcode == CLOSE and self.closed is None:
                self.closed = int.from_bytes(payload[:2], "big")
        assert self._reader.status in (None, 101), f"refused with status {self._reader.status}"

    def _on_text(self, text: str) -> None:
        self.world.note(self, "<-", text)
        message = decode(text)
        self.unread += len(text)
        assert isinstance(message, dict)
        assert not self._frame_due, f"no frame right behind the ack of a subscription, but {text}"
        kind = message["type"]
        assert (kind == "schema") == (self.schema is None), f"{kind} came first or a schema came later"
        if kind == "schema":
            self._on_schema(message)
        elif kind == "event":
            assert isinstance(message["event"], str)
            self._on_event(message)
        else:
            self._on_reply(message)
        assert message.get("time") is None or message["time"] == time_of(message["frame"])

    def _on_schema(self, message: dict[str, Any]) -> None:
        self.schema = message
        _check_schema(message)
        model = self.world.model
        natural = model.state == "running" and message["state"] == "finished"
        assert message["state"] == model.state or natural, f"the schema says {message['state']}, not {model.state}"
        if model.state != "running":
            assert message["frame"] == model.simulation.frame
        self.seen = self.world.replayed + natural
        self._floor = message["frame"]
        self.resets = self.world.reset_count

    def _on_event(self, message: dict[str, Any]) -> None:
        told = self.world.told
        if self._place is None:  # it connected meanwhile: the first event that it hears says where it stands
            later = [place for place, event in enumerate(told) if event == message and place >= self.world.heard_by_all]
            self._place = later[0] if later else len(told)
        if self._place == len(told):
            self.world.on_event(message)
        assert told[self._place] == message, f"others heard {told[self._place]}"
        self._place += 1
        self.seen += message["event"] != "overrun"

    def _on_reply(self, message: dict[str, Any]) -> None:
        assert message["type"] in ("ack", "error"), message
        sent = self._asked(message)
        self.waiting.remove(sent)
        sent.reply, sent.seen, sent.answered = message, self.seen - self.world.replayed, self.world.tick()
        self.world.count(sent)
        _check_reply(sent)
        if sent.is_acked:
            self._on_ack(sent, message)

    def _asked(self, message: dict[str, Any]) -> Sent:
        """Return what a reply answers: by its id, or else the first that it can answer."""
        identity = message.get("id")
        for sent in self.waiting:
            if not same(identity, sent.verdict.identity):
                continue
            if identity is not None:
                return sent
            codes = sent.verdict.codes
            if message["type"] == "ack":
                fits = not codes and message["action"] == sent.action
            else:
                fits = message.get("action") == sent.verdict.action and (not codes or message["code"] in codes)
                fits &= bool(codes) or message["code"] in ("invalid_state", "too_many")
            if fits:
                return sent
        raise AssertionError(f"nobody asked for {message}; there wait {self.waiting}")

    def _on_ack(self, sent: Sent, ack: dict[str, Any]) -> None:
        world, action = self.world, sent.action
        if action in wm.VIEWING:
            if world.at_rest:
                self.settled = world.generation
                assert ack["frame"] == world.model.simulation.frame, f"{sent}: nothing moves"
            if sent.is_alone:
                self._see(ack["frame"])
            self._on_look(sent, ack)
        elif action == "reset":
            assert ack["frame"] == 0

    def _on_look(self, sent: Sent, ack: dict[str, Any]) -> None:
        match sent.action:
            case "get":
                _check_values(ack["frame"], ack["values"])
                assert list(ack["values"]) == sent.verdict.params["signals"]
                if self.world.at_rest:
                    held = self.world.model.simulation.all
                    assert same_all(ack["values"], {name: shown(held[name]) for name in ack["values"]}), f"not {held}"
            case "status":
                _check_status(ack)
                if self.world.at_rest:
                    assert ack["state"] == self.world.model.state
                assert ack["clients"] >= len(self.world.clients)
            case "subscribe":
                self.layout = sent.verdict.params["signals"]
                self.telemetry_hz = ack["telemetry_hz"]
                self._frame_due = self.unread < UNREAD
            case _:
                gone = sent.verdict.params.get("signals", SIGNALS)
                self.layout = [name for name in self.layout or () if name not in gone] or None
        if sent.action in ("subscribe", "unsubscribe"):
            assert ack["signals"] == (self.layout or [])
            assert same(ack["count"], len(ack["signals"]))

    def _on_telemetry(self, payload: bytes) -> None:
        layout = self.layout
        self._frame_due = False
        self.world.frames += 1
        self.frames += 1
        assert layout is not None, "telemetry without a subscription"
        magic, frame, at, count = struct.unpack_from("<IQdI", payload)
        assert (magic, count, len(payload)) == (0x48455254, len(layout), 24 + 8 * len(layout))
        assert at == time_of(frame)
        cells = [payload[place : place + 8] for place in range(24, len(payload), 8)]
        self._see(frame)
        numbers = {name: struct.unpack("<d", cell)[0] for name, cell in zip(layout, cells, strict=True)}
        _check_values(frame, numbers)
        if self.world.at_rest and self.settled == self.world.generation:
            self.world.settled_frames += 1
            held = self.world.model.simulation
            assert frame == held.frame
            values = held.all
            for name, number in numbers.items():
                assert telemetry(number) == telemetry(values[name]), f"{name} is {number}, not {values[name]}"

    def _see(self, frame: int) -> None:
        """Take the newest frame that a client was shown: its number falls at a reset only."""
        self.resets += frame < self._floor
        self._floor = frame

    def end(self) -> None:
        """Give the connection up."""
        self.sock.close()


_IDENTITIES: dict[str, Callable[[int], Any]] = {
    "none": lambda _order: None,
    "number": lambda order: order,
    "text": lambda order: f"q{order}",
    "zero": lambda _order: 0,
    "empty": lambda _order: "",
    "negative": lambda order: -order - 1,
    "huge": lambda order: 10**40 + order,
    "odd": lambda order: f'"\\\u0000\u2028\U0001f680 {order}',
    "long": lambda order: f"{order}" * 1000,
}


def _fragmented(opcode: int, payload: bytes, count: int) -> bytes:
    """Return a message in several WebSocket frames, a ping between the first two."""
    if count < 2 or len(payload) < count:
        return client_frame(opcode, payload)
    size = -(-len(payload) // count)
    pieces = [payload[place : place + size] for place in range(0, len(payload), size)]
    frames = [bytearray(client_frame(opcode if at == 0 else CONTINUATION, piece)) for at, piece in enumerate(pieces)]
    for frame in frames[:-1]:
        frame[0] &= 0x7F
    return bytes(frames[0]) + client_frame(PING, b"between") + b"".join(frames[1:])


# -- what holds for every message


def _check_schema(message: dict[str, Any]) -> None:
    found = {}
    for module, content in message["modules"].items():
        for entry in content["signals"]:
            found[f"{module}.{entry['name']}"] = entry
    assert list(found) == list(SIGNALS)
    for name, entry in found.items():
        spec = SIGNALS[name]
        writable = spec.kind != "output"
        assert (entry["type"], entry["kind"], entry["writable"]) == (spec.type, spec.kind, writable)
        assert entry.get("limits") == (list(spec.limits) if spec.limits else None)
        assert entry.get("allow_nonfinite", False) == spec.nonfinite
        assert not writable or same(entry["initial"], spec.initial)
    wires = {wire["dst"]: wire["src"] for wire in message["wiring"]}
    assert wires == {name: one.source for name, one in SIGNALS.items() if one.source}
    rates = (message["rate_hz"], message["telemetry_hz"])
    assert (message["protocol"], message["session"], rates) == (1, "wire", (wm.RATE, wm.TELEMETRY_HZ))


def _check_reply(sent: Sent) -> None:
    """Check what a reply must be by its message alone."""
    reply, asked = sent.reply, sent.verdict
    assert reply is not None
    if reply["type"] == "ack":
        assert asked.is_command, f"{sent} is wrong by itself: {asked.codes}"
        assert reply["action"] == asked.action
        assert same(type(reply["frame"]), int), reply
        assert reply["frame"] >= 0
        assert isinstance(reply["time"], float)
        return
    assert isinstance(reply["message"], str), reply
    assert reply["message"]
    assert reply["code"] in (asked.codes or ("invalid_state", "too_many")), f"{sent}, not {sorted(asked.codes)}"
    assert reply.get("action") == asked.action
    if reply["code"] == "unknown_signal":
        assert set(reply["signals"]) <= set(asked.unknown), reply
        assert asked.action == "set" or reply["signals"] == asked.unknown, reply
        assert set(reply["near"]) <= SIGNALS.keys()
    if reply["code"] == "wired":
        assert SIGNALS[reply["signal"]].source == reply["source"]


def _check_status(ack: dict[str, Any]) -> None:
    assert ack["state"] in ("paused", "running", "finished")
    for key in ("overruns", "late_wakeups", "loop_stalls", "clients", "sent", "skipped"):
        assert same(type(ack[key]), int), ack
    assert isinstance(ack["real_time_factor"], float), ack


def _check_values(frame: int, values: Mapping[str, Any]) -> None:
    """Check what holds between the values of any one frame: it is whole, and its wires carry."""
    for name, value in values.items():
        if name.endswith(".count"):
            assert value == frame, f"{name} is {value} in frame {frame}"
        source = SIGNALS[name].source
        if (
            source is not None
            and source in values
            and not isinstance(value, str)
            and not isinstance(values[source], str)
        ):
            scaled = values[source] * wm.DRIVE_GAIN + wm.DRIVE_OFFSET if name == "plant.drive" else values[source]
            assert telemetry(scaled) == telemetry(value), f"{name} is {value}, its source {values[source]}"
    assert values.get("probe-1.odd", frame % 2) == frame % 2


# -- everything together


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
            self.converse(client, Draft(_command("subscribe", {"signals": ["*"]})))

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
        self.counts[f"{sent.verdict.action if sent.verdict.action in wm.ACTIONS else '-'}: {outcome}"] += 1

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
        crowded = {origin for origin, count in Counter(sent.origin for sent in said).items() if count > wm.WAITING}
        assert all(sent.origin in crowded for sent in said if _is_too_many(sent)), "refused with few commands waiting"
        asked = [sent for sent in said if sent.verdict.is_command and not _is_too_many(sent)]
        self._foretold(asked, journal, events, unanswered)
        self.model.replay(journal, events)
        self.model.explain(asked, unanswered)
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
        marker = other.say(Draft(_command("set", {"signal": "probe-1.pick", "value": self.generation % 1000})))
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
        command = Sent("python", "", verdict(json.dumps(_command(action, dict(params)))), 0)
        state, code = self.model.state, None
        if command.verdict.is_command:
            self.disturb()
        try:
            PYTHON[action](self.session, params)
        except HermesError as error:
            code = error.code
        said = [client.say(Draft({"action": "status"}, "text")) for client in self.clients]
        self.pump(self.answered)
        self.turn(said, [command])
        self.counts[f"python {action}: {code or 'ack'}"] += 1
        if command.verdict.codes:
            assert code in command.verdict.codes
        else:
            states = (state, "finished") if state == "running" else (state,)
            assert code in {one.code for each in states for one in self.model.foretell(command.verdict, each)}
        self.settle()

    def crowd(self, who: int, extra: int) -> None:
        """Let more commands wait than may: behind a step, which ends when all are in."""
        self.replace(who)
        client, other = self.clients[who], self.clients[who - 1]
        drag = _command("set", {"signal": "knobs.drag", "value": 50})
        for body in (_command("reset"), drag, _command("resume"), _command("pause")):
            self.converse(other, Draft(body))
        step = Draft(_command("step"), "number")
        said = [client.say(Draft(_command("step", {"count": 10**9}), "text"))]
        said += [client.say(step) for _ in range(wm.WAITING + extra)]
        self.pump(lambda: len(client.waiting) <= wm.WAITING)
        no_drag = _command("set", {"signal": "knobs.drag", "value": 0})
        said += [other.say(Draft(no_drag)), other.say(Draft(_command("pause")))]
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


EXPECTED = {
    *(f"{action}: ack" for action in wm.ACTIONS),
    *(f"{action}: bad_params" for action in wm.ACTIONS),
    *(f"{action}: unknown_signal" for action in ("get", "subscribe", "unsubscribe", "set")),
    *(f"{action}: too_many" for action in ("get", "subscribe", "set", "step")),
    *(f"{action}: invalid_state" for action in ("pause", "resume", "step", "run")),
    *(f"set: {code}" for code in ("bad_value", "read_only", "wired")),
    *(f"-: {code}" for code in ("bad_json", "bad_message", "unknown_action")),
    *(f"close {code}" for code in (1000, 1002, 1007, 1009)),
    *(f"event {name}" for name in ("running", "paused", "reset", "finished")),
}
"""What must have come up for the test to mean anything."""


class ErrorLog(logging.Handler):
    """Keeps what is logged as an error, or with a traceback."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record."""
        if record.levelno >= logging.ERROR or record.exc_info:
            self.found.append(f"{record.name}: {record.getMessage()} {record.exc_info}")

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hear everything while this lasts."""
        own, loop = logging.getLogger("hermes"), logging.getLogger("asyncio")
        level = own.level
        own.setLevel(logging.DEBUG)
        own.addHandler(self)
        loop.addHandler(self)
        try:
            yield
        finally:
            own.setLevel(level)
            own.removeHandler(self)
            loop.removeHandler(self)


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
    "huge": (1009, client_frame(TEXT, b" " * (wm.MESSAGE_BYTES + 1))),
    "not UTF-8": (1007, client_frame(TEXT, b'{"action":"resume","id":"\xff"}')),
    "no mask": (1002, b"\x81\x02{}"),
    "no opcode": (1002, client_frame(0x3, b"{}")),
}
"""Ways to end a connection: the close code that must come, and what is sent."""


# -- what is said

_NAMES = [*SIGNALS]
_PATTERNS = ["*", "**", "knobs.*", "plant.*", "?nobs.*", "*.count", "*place.?", "knobs.seen/*", "*-1.*", "?*", "*.s*e*"]
_UNKNOWN = ["", "knobs", "knobs.", "knobs.levle", "KNOBS.level", "nobody.*", "knobs.level ", "knobs.level?", "é?*", "?",
            "knobs.*\n", "[a-z]*", "x" * 300]  # fmt: skip
_KINDS = ["none", "none", "number", "number", "text", "text", "text", "zero", "empty", "negative", "huge", "odd"]
_VALUES: dict[str, list[Any]] = {
    "f64": [0, -0.0, 1, -1.5, 0.1, 5e-324, 1.7976931348623157e308, 2**53, -(2**60), 10, -10, 9.999999999999998],
    "f32": [0, -0.0, 0.5, -3, 2**24, 3.4028234663852886e38, 2**-149, 100, -100, 99.5],
    "i64": [0, -1, 2**63 - 1, -(2**63), 2**53 + 1, 1000, -5, 7.0, 1e18, -0.0],
    "i32": [0, -1, 2**31 - 1, -(2**31), 77, -7, 1, 12.0],
    "bool": [True, False],
}
_ODD_VALUES: list[Any] = [
    None, "1", "", "NaN", "Infinity", "-Infinity", "nan", "inf", [], [1], {}, {"a": 1}, True, 2, 0.1, 1e-46, 16777217,
    3.5e38, 10.000000000000002, 101, 1001, -8, 2**31, 2**53 + 1, 2**63, -(2**63) - 1, 9.223372036854775807e18, 1.5,
    10**22, 10**23, 10**300 + 1, "true", "0x10", -1e-300,
]  # fmt: skip
_BAD_COUNTS: list[Any] = [0, -1, 1.5, "3", True, None, [], 2**53, 10**300, 1e300]
_BAD_SECONDS: list[Any] = [0, -1, "1", True, None, 1e10, [1], "NaN"]
_BAD_HERTZ: list[Any] = [0, -1, "60", True, None, 250.5, 1e308, []]
_ONE = {"signal": "knobs.level", "value": 1}
_BAD_PARAMS: dict[str, list[dict[str, Any]]] = {
    "pause": [{"now": True}, {"count": 1}, {"": None}],
    "resume": [{"seconds": 1}],
    "reset": [{"frame": 0}],
    "status": [{"signals": ["*"]}, {"a": {"b": [[[]]]}}],
    "step": [{"Count": 1}, *({"count": bad} for bad in _BAD_COUNTS)],
    "run": [{}, {"seconds": 1, "count": 1}, *({"seconds": bad} for bad in _BAD_SECONDS)],
    "get": [{}, {"signals": "*"}, {"signals": None}, {"signals": [1]}, {"signals": ["*", None]}, {"signals": {}},
            {"signals": ["*"], "telemetry_hz": 1}, {"signals": ["knobs.level"] * 4097}],
    "subscribe": [{}, {"signals": "*"}, {"signals": [["*"]]}, {"names": ["*"]}, {"signals": ["*"], "hz": 1},
                  {"signals": [f"*{number}*" for number in range(33)]}, {"signals": ["nobody.*"], "telemetry_hz": 0},
                  *({"signals": ["*"], "telemetry_hz": bad} for bad in _BAD_HERTZ)],
    "unsubscribe": [{"signals": "*"}, {"signals": [0]}, {"all": True}],
    "set": [{}, {"signal": "knobs.level"}, {"value": 1}, {"signal": 1, "value": 1}, {"signal": ["a"], "value": 1},
            {"values": {}}, {"values": []}, {"values": [["knobs.level", 1]]}, {"values": None}, {**_ONE, "frame": 7},
            {**_ONE, "values": {"knobs.level": 1}}, {"signal": "knobs.level", "values": 1}, {"knobs.level": 1},
            {"values": {f"{number}": 0 for number in range(4097)}}],
}  # fmt: skip
_NOT_COMMANDS: list[Any] = [
    {}, {"action": None}, {"action": 5}, {"action": ["pause"]}, {"Action": "pause"}, {"type": "cmd"},
    {"action": "pause", "type": "ack"}, {"action": "pause", "type": None}, {"action": "pause", "params": None},
    {"action": "pause", "params": []}, {"action": "step", "params": 5}, {"action": "set", "signal": "a", "value": 1},
    {"action": "pause", "id": True}, {"action": "pause", "id": 1.0}, {"action": "reset", "id": []},
    {"action": "pause", "id": {"a": 1}}, {"action": "resume", "x": 1, "id": 5}, {"": ""},
]  # fmt: skip
_UNKNOWN_ACTIONS = [
    "", "Pause", "pause ", "stop", "close", "look", "started", "finish", "fail", "stat", "__class__", "é",
]  # fmt: skip


def _deep(depth: int) -> str:
    """Return a command of so many levels, whose parameters are wrong in any case."""
    inner = depth - 2
    return '{"action":"pause","params":{"a":' + "[" * inner + "]" * inner + "}}"


_BAD_JSON = [
    "", " ", "{", "}", "[", "nul", "{'action':'pause'}", '{"action":"pause",}', '{"action":"pause"}}', "\x00",
    '{"action":"pause"} x', '{"action":"pause"}{"action":"pause"}', '{"action":"step","params":{"count":NaN}}',
    '{"id":-Infinity,"action":"pause"}', '{"action":"set","params":{"signal":"knobs.wild","value":Infinity}}',
    '{"action":"run","params":{"seconds":1e400}}', '{"action":"set","params":{"signal":"knobs.wild","value":-1e999}}',
    '{"action":"pause","action":"pause"}', '{"action":"set","params":{"values":{"knobs.level":1,"knobs.level":1}}}',
    '{"action":"pause","id":"\\ud800"}', '{"action":"pause","id":"\\udc00\\ud800"}', '{"action":"pause","id":"a\nb"}',
    '{"action":"pause","id":01}', '{"action":"pause","id":+1}', '{"action":"pause","id":.5}', '{"action":"pa',
    '{"action":"pause","id":0x1}', "\ufeff{}", '{"action":"pause" /* why */}', '{action:"pause"}',
    '{"action":"pause","id":"\\x41"}', '{"action":"pause","id":' + "9" * 400 + "}",
    '{"action":"pause","id":' + "9" * 5000 + "}", "[" * 30_000, '{"a":' * 9_000, _deep(33), _deep(40),
    "[" + "[]," * 1_023 + "[],[]]", "[" * 40 + "]" * 40, "\t" * 60_000,
]  # fmt: skip
_ODD_TEXTS = [
    "[]", "null", "true", "1", '"pause"', '[{"action":"pause"}]', "[" * 32 + "]" * 32, _deep(32), _deep(31),
    '{"action":"' + "p" * 60_000 + '"}', '{"action":"get","params":{"signals":["' + "x" * 60_000 + '"]}}',
    ' \n\t{"action" : "status" , "params" : { } } \r\n', '{"\\u0061ction":"status","id":"\\ud83d\\ude80"}',
    '{"action":"status","id":-0}', '{"action":"set","params":{"signal":"knobs.level","value":1E2}}',
    '{"action":"set","params":{"signal":"knobs.big","value":9007199254740993}}',
    '{"action":"set","params":{"signal":"knobs.big","value":9007199254740993.0}}',
    '{"action":"set","params":{"signal":"knobs.small","value":1e0}}',
    '{"action":"set","params":{"signal":"knobs.level","value":1e-400}}', "[" + "[]," * 1_022 + "[]]",
    '{"action":"status","id":"' + "i" * 60_000 + '"}',
]  # fmt: skip
_BINARY = [b"", b"{}", b'{"action":"resume"}', b"\xff" * 100, bytes(24)]


def _signals(bad: bool) -> st.SearchStrategy[list[str]]:
    pools = [_NAMES, _NAMES, _PATTERNS]
    found = st.lists(st.one_of([st.sampled_from(pool) for pool in pools]), max_size=5)
    if not bad:
        return found
    return st.tuples(found, st.sampled_from(_UNKNOWN), found).map(lambda parts: [*parts[0], parts[1], *parts[2]])


@st.composite
def _good_value(draw: st.DrawFn) -> tuple[str, Any]:
    """Draw a signal and a value that often fits it."""
    name = draw(st.sampled_from([*SETTABLE]))
    spec = SETTABLE[name]
    if spec.nonfinite and draw(st.booleans()):
        return name, draw(st.sampled_from(["NaN", "Infinity", "-Infinity"]))
    return name, draw(st.sampled_from(_VALUES[spec.type]))


@st.composite
def _fitting_value(draw: st.DrawFn, names: Sequence[str] = tuple(SETTABLE)) -> tuple[str, Any]:
    """Draw a signal and a value that fits it."""
    name = draw(st.sampled_from(names))
    spec = SETTABLE[name]
    pool = [*_VALUES[spec.type], "NaN", "Infinity", "-Infinity"]
    return name, draw(st.sampled_from([value for value in pool if wm.stored(spec, value) is not None]))


_any_value = st.tuples(st.sampled_from(_NAMES + _UNKNOWN[:4]), st.sampled_from(_ODD_VALUES))
_wide_value = st.one_of(
    st.tuples(
        st.sampled_from(["knobs.level", "knobs.wild", "plant.gain"]), st.floats(allow_nan=False, allow_infinity=False)
    ),
    st.tuples(
        st.sampled_from(["knobs.single", "knobs.tame"]), st.floats(allow_nan=False, allow_infinity=False, width=32)
    ),
    st.tuples(st.sampled_from(["knobs.big", "knobs.ranged", "knobs.level"]), st.integers(-(2**64), 2**64)),
)


def _command(action: str, params: Any = None) -> dict[str, Any]:
    return {"action": action} if params is None else {"action": action, "params": params}


def _set_one(pair: tuple[str, Any]) -> dict[str, Any]:
    return _command("set", {"signal": pair[0], "value": pair[1]})


def _set_many(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return _command("set", {"values": dict(pairs)})


_SETS = [
    _fitting_value().map(_set_one),
    st.lists(_fitting_value(), min_size=1, max_size=6).map(_set_many),
]
_DOUBTFUL_SETS = [
    _good_value().map(_set_one),
    _any_value.map(_set_one),
    _wide_value.map(_set_one),
    st.tuples(st.lists(_fitting_value(), min_size=1, max_size=4), _any_value).map(
        lambda two: _set_many([*two[0], two[1]])
    ),
]
_SLOWER: list[dict[str, Any]] = [{}, {}, {}, {"telemetry_hz": 250}, {"telemetry_hz": 100.5}, {"telemetry_hz": 1}]
_HERTZ = st.sampled_from(_SLOWER)
_LOOKS = [
    st.tuples(_signals(False), _HERTZ).map(lambda two: _command("subscribe", {"signals": two[0], **two[1]})),
    _signals(False).map(lambda names: _command("get", {"signals": names})),
    st.sampled_from([_command("get", {"signals": ["*"]}), _command("status"), _command("unsubscribe")]),
    _signals(False).map(lambda names: _command("unsubscribe", {"signals": names})),
]
_LOST_LOOKS = [
    st.tuples(st.sampled_from(["get", "subscribe", "unsubscribe"]), _signals(True)).map(
        lambda two: _command(two[0], {"signals": two[1]})
    )
]
_COUNTS = st.sampled_from([1, 2, 3, 10, 77, 300])
_SECONDS = st.sampled_from([0.001, 0.0005, 0.0021, 0.01, 0.025, 1e-9])
_VERBS = [
    st.sampled_from(
        [_command("pause"), _command("resume"), _command("reset", {}), {"type": "cmd", "action": "resume"}]
    ),
    st.sampled_from([_command("pause", {}), _command("resume", {}), _command("reset"), _command("step")]),
    _COUNTS.map(lambda count: _command("step", {"count": count})),
    _SECONDS.map(lambda seconds: _command("run", {"seconds": seconds})),
]
_ENDING = [st.just(_command("step", {"count": 10**9}))]
_WRONG = [
    st.sampled_from([_command(action, Params(params)) for action, bad in _BAD_PARAMS.items() for params in bad]),
    st.sampled_from([*_NOT_COMMANDS, *map(_command, _UNKNOWN_ACTIONS)]),
]
_TEXTS: list[str | bytes] = [*map(Text, _BAD_JSON), *map(Text, _ODD_TEXTS), *_BINARY]
_RAW = st.sampled_from(_TEXTS)
_FRAGMENTS = st.sampled_from([1, 1, 1, 1, 2, 5])


@st.composite
def _mixed(draw: st.DrawFn, seldom: st.SearchStrategy[Any], often: st.SearchStrategy[Any]) -> Any:
    """Draw from one strategy or the other, and shrink towards the first (each is named once: shorter than one_of)."""
    return draw(often if draw(st.integers(0, 3)) else seldom)


def _drafts(*pools: list[st.SearchStrategy[dict[str, Any]]], raw: bool = True) -> st.SearchStrategy[Draft]:
    bodies = st.one_of([one for pool in pools for one in pool])
    found = st.builds(_draft, bodies, st.sampled_from(_KINDS), _FRAGMENTS)
    return _mixed(_RAW.map(_raw), found) if raw else found


def _draft(body: dict[str, Any], identity: str, fragments: int) -> Draft:
    return Draft(body, "none" if "id" in body else identity, fragments)


def _raw(text: str | bytes) -> Draft:
    return Draft(text)


def _cut(text: str, place: int) -> Draft:
    return Draft(text[: place % len(text)])


_WHO = st.integers(0, CLIENTS - 1)
_ANYTHING = _drafts(_SETS, _DOUBTFUL_SETS, _LOOKS, _LOOKS, _LOST_LOOKS, _VERBS, _VERBS, _ENDING, _WRONG, _WRONG)
_BURST = _drafts(_SETS, _SETS, _DOUBTFUL_SETS, _LOOKS, _LOST_LOOKS, _VERBS, _ENDING, _WRONG)
_PIECES = st.builds(_cut, st.one_of(_SETS).map(json.dumps), st.integers(0, 10_000))


Said = list[tuple[int, Draft | None]]
"""Who says what; None is nothing."""


def _several(drafts: st.SearchStrategy[Draft], low: int, high: int) -> st.SearchStrategy[Said]:
    """Return what draws many messages; each can shrink to nothing (a list without a least size stays short)."""
    return st.lists(st.tuples(_WHO, _mixed(st.none(), drafts)), min_size=low, max_size=high)


_LONG = _command("step", {"count": 10**9})
_LEVELS = [_set_one(("knobs.level", value)) for value in (0.5, 1e300, -2)]
_ALL = _command("get", {"signals": ["*"]})
_AGAIN = [_command("reset"), _command("pause")]
_PAUSE, _RESUME, _STEP = _command("pause"), _command("resume"), _command("step")
_SHORT = [_command("run", {"seconds": 0.005})] * 3
_EVERY_VERB = [
    *(_PAUSE, _PAUSE, _STEP, _RESUME, _RESUME, _STEP, _PAUSE, _command("run", {"seconds": 0.002}), _LONG),
    *map(_command, PYTHON),
    *(_command("run", {"seconds": 0.01}), _command("reset"), _command("step", {"count": wm.END_FRAME - 10})),
    *[_command("run", {"seconds": 10})] * 2,
]
_NEAR_THE_END = [_command("step", {"count": wm.END_FRAME - 5}), *[_command("step", {"count": 2})] * 3]
PIPELINES = [
    [*_AGAIN, _LONG, _LEVELS[0], _ALL, _PAUSE, _ALL, _RESUME, _LEVELS[1], _ALL, _PAUSE],
    [*_AGAIN, _LEVELS[0], _ALL, _LEVELS[1], _ALL, _command("status"), _LEVELS[2], _ALL, _STEP, _ALL],
    [*_AGAIN, _command("run", {"seconds": 0.05}), _STEP, _RESUME, _command("reset"), _ALL, _LONG],
    [*_AGAIN, *_SHORT, _LEVELS[0], _ALL, _PAUSE, _ALL, _STEP],
    [*_AGAIN, *_NEAR_THE_END, *_AGAIN, _RESUME, _ALL],
    [_command("subscribe", {"signals": ["*"]}), *_AGAIN, _LONG, _command("subscribe", {"signals": ["plant.*"]}),
     _LEVELS[1], _command("unsubscribe", {"signals": ["*.count"]}), _PAUSE, _command("subscribe", {"signals": []})],
]  # fmt: skip
"""What one client may say without waiting."""


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

    @rule(said=_several(_ANYTHING, 8, 12))
    def converse(self, said: Said) -> None:
        """One after the other, each when the one before has its reply: what comes of it is foretold."""
        for client, draft in self._who_says(said):
            self.world.converse(client, draft)
        self.world.settle()

    @rule(said=_several(_BURST, 10, 30))
    def burst(self, said: Said) -> None:
        """All at once; the journal must be an order that explains every reply."""
        self.world.burst(self._who_says(said))

    @rule(said=_several(_drafts(_SETS, _LOOKS, raw=False), 10, 30))
    def burst_of_values(self, said: Said) -> None:
        """Sets and looks only, of all clients at once, so that every look can be placed among them."""
        self.world.burst(self._who_says(said))

    @rule(who=_WHO, draft=_PIECES)
    def piece(self, who: int, draft: Draft) -> None:
        """The beginning of a message that would be good."""
        self.world.converse(self.world.clients[who], draft)

    @rule(who=_WHO, drafts=st.lists(_drafts(_LOOKS, _VERBS, _SETS, raw=False), min_size=1, max_size=4))
    def wait_for_telemetry(self, who: int, drafts: list[Draft]) -> None:
        """Look at the telemetry that comes after something was said, on every client that has any."""
        for draft in drafts:
            self.world.converse(self.world.clients[who], draft)
        self.world.settle()
        self.world.watch(3)

    @rule(who=_WHO, drafts=st.lists(_drafts(_SETS, _VERBS[:2], raw=False), max_size=5))
    def vanish(self, who: int, drafts: list[Draft]) -> None:
        """Somebody says something and is gone, and comes back; what took effect is in the journal."""
        self.world.vanish(who, drafts)

    @rule(who=_WHO, how=st.sampled_from(["close", "huge", "not UTF-8", "no mask", "no opcode"]))
    def hang_up(self, who: int, how: str) -> None:
        """A connection ends with its close code, and nobody else notices."""
        self.world.hang_up(who, how)

    @rule(action=st.one_of([_drafts(_SETS, _VERBS, _DOUBTFUL_SETS, raw=False)]))
    def python(self, action: Draft) -> None:
        """The same verbs from Python."""
        assert isinstance(action.body, dict)
        self.world.python(action.body["action"], action.body.get("params", {}))

    @precondition(lambda self: not self.crowded)
    @rule(who=_WHO, extra=st.integers(0, 20))
    def crowd(self, who: int, extra: int) -> None:
        """More commands of one client than may wait, behind a step of somebody else's."""
        self.crowded = True
        self.world.crowd(who, extra)


@contextmanager
def _world(tmp_path: Path) -> Iterator[World]:
    (tmp_path / "modules.py").write_text(wm.MODULES)
    (tmp_path / "wire.yaml").write_text(wm.CONFIGURATION)
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
    wrong = [_command(action, Params(params)) for action, bad in _BAD_PARAMS.items() for params in bad]
    wrong += [*_NOT_COMMANDS, *map(_command, _UNKNOWN_ACTIONS)]
    wrong += [
        _command(look, {"signals": ["*", bad]}) for bad in _UNKNOWN for look in ("get", "subscribe", "unsubscribe")
    ]
    sets = [[_set_one((name, value)) for name in (*_UNKNOWN[:4], *SIGNALS)] for value in _ODD_VALUES]
    sets += [[_set_one((name, value)) for name, spec in SETTABLE.items() for value in _VALUES[spec.type]]]
    for state, entry in STATES.items():
        _replace_all(world)
        drafts = [*(_draft_of(body) for body in [*_EVERY_VERB, *entry, *wrong]), *map(_raw, _TEXTS)]
        for place, draft in enumerate(drafts):
            world.converse(world.clients[place % CLIENTS], draft)
        several = sets if state == "paused" else sets[-2:]
        for place, bodies in enumerate([entry, *several]):
            if place % 10 == 0:
                _replace_all(world)
            client = world.clients[place % CLIENTS]
            world.burst([(client, _draft_of(body)) for body in bodies])
            world.converse(client, _draft_of(_ALL))
            world.converse(client, _draft_of(_command("subscribe", {"signals": ["knobs.*", "plant.gain"]})))
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
    return _draft(body, "text", 1)


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


@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore:Generating overly large repr")
def test_a_real_session_agrees_with_the_model_of_the_wire(tmp_path: Path) -> None:
    world = _hold_against_model(
        tmp_path, settings(_SETTINGS, max_examples=12, stateful_step_count=14, derandomize=True)
    )
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
