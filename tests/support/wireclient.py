"""A client of the wire's tests: it says messages, good or not, and holds what it hears against what it must hear."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from bounds import PATIENCE
from rawframes import BINARY, CLOSE, PING, PONG, TEXT, FrameReader, client_frame, upgrade_request
from wirechecks import check_reply, check_schema, check_status, check_values
from wiresignals import SIGNALS, same, same_all, shown, telemetry, time_of
from wireverdicts import VIEWING, Sent, verdict

from hermes.strictjson import decode

if TYPE_CHECKING:
    from wireworld import World

UNREAD = 32 * 1024
"""Text that may wait for a client, while it says much at once, without costing it a telemetry frame."""

CONTINUATION = 0x0


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
        if sent.verdict.is_command and sent.action not in VIEWING:
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
        check_schema(message)
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
        check_reply(sent)
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
        if action in VIEWING:
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
                check_values(ack["frame"], ack["values"])
                assert list(ack["values"]) == sent.verdict.params["signals"]
                if self.world.at_rest:
                    held = self.world.model.simulation.all
                    assert same_all(ack["values"], {name: shown(held[name]) for name in ack["values"]}), f"not {held}"
            case "status":
                check_status(ack)
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
        check_values(frame, numbers)
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
