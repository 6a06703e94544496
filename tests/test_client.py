"""The client against a server with a script: what it sends, what it makes of the answers, and of a broken server."""

from __future__ import annotations

import asyncio
import json
import math
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import numpy as np
import pytest
from bounds import PATIENCE
from websockets.asyncio.server import ServerConnection, serve

import hermes
from hermes import asyncclient
from hermes.asyncclient import AsyncClient
from hermes.backplane.signals import Signal, SignalKind, SignalType
from hermes.connectionfile import Address
from hermes.errors import (
    BadJson,
    BadParams,
    BadValue,
    ConnectionFailed,
    ReadOnlySignal,
    SessionClosed,
    TooMany,
    UnknownSignal,
    WiredSignal,
)
from hermes.lifecycle import State
from hermes.remote import link as remote_link
from hermes.remote.session import RemoteStatus, Telemetry

SIGNALS: dict[str, Any] = {
    "plant": {
        "signals": [
            {"name": "x", "type": "f64", "unit": "m", "kind": "output", "writable": False, "description": "East"},
            {"name": "n", "type": "i64", "kind": "output", "writable": False},
            {"name": "push", "type": "f64", "kind": "input", "writable": True, "initial": 0.0},
            {
                "name": "gain.p",
                "type": "f64",
                "kind": "parameter",
                "writable": True,
                "initial": "NaN",
                "limits": ["-Infinity", 5],
                "allow_nonfinite": True,
                "later": "version",
            },
            {"name": "on", "type": "bool", "kind": "parameter", "writable": True, "initial": True},
        ]
    },
    "control": {"signals": [{"name": "u", "type": "f32", "kind": "output", "writable": False}]},
}

SCHEMA: dict[str, Any] = {
    "type": "schema",
    "modules": SIGNALS,
    "protocol": 1,
    "session": "scripted",
    "state": "paused",
    "frame": 3,
    "time": 0.03,
    "rate_hz": 100.0,
    "telemetry_hz": 60.0,
    "wiring": [{"src": "control.u", "dst": "plant.push", "gain": 2.0, "offset": 0.0}],
}


def telemetry(frame: int, *values: float) -> bytes:
    """Return a telemetry message at 100 frames per second."""
    return struct.pack("<IQdI", 0x48455254, frame, frame / 100, len(values)) + struct.pack(f"<{len(values)}d", *values)


class Server:
    """The server's end of one connection, played by the test."""

    def __init__(self, connection: ServerConnection) -> None:
        self.connection = connection

    async def send(self, message: dict[str, Any] | str | bytes) -> None:
        await self.connection.send(json.dumps(message) if isinstance(message, dict) else message)

    async def asked(self) -> dict[str, Any]:
        """Return the next command."""
        message: dict[str, Any] = json.loads(await asyncio.wait_for(self.connection.recv(), PATIENCE))
        return message

    async def ack(self, command: dict[str, Any], **fields: Any) -> None:
        await self.send(
            {"type": "ack", "action": command["action"], "frame": 3, "time": 0.03, **fields} | id_of(command)
        )

    async def event(self, name: str, **fields: Any) -> None:
        await self.send({"type": "event", "event": name, "state": "running", "frame": 3, "time": 0.03, **fields})

    async def subscribed(self, *names: str) -> None:
        """Answer a subscription."""
        await self.ack(await self.asked(), count=len(names), signals=names)

    async def closed(self) -> int | None:
        """Wait until the client has closed; return the code."""
        await asyncio.wait_for(self.connection.wait_closed(), PATIENCE)
        return self.connection.close_code


def id_of(command: dict[str, Any]) -> dict[str, Any]:
    return {"id": command["id"]}


class Stage:
    """A server that hands its connections to the test."""

    def __init__(self) -> None:
        self.url = ""
        self.authorizations: list[str | None] = []
        self.refusal: tuple[HTTPStatus, str] | None = None
        self._arriving: asyncio.Queue[Server] = asyncio.Queue()

    async def handle(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        self.authorizations.append(connection.request.headers.get("Authorization"))
        self._arriving.put_nowait(Server(connection))
        await connection.wait_closed()

    def admit(self, connection: ServerConnection, _request: Any) -> Any:
        return connection.respond(*self.refusal) if self.refusal is not None else None

    async def arrived(self) -> Server:
        return await asyncio.wait_for(self._arriving.get(), PATIENCE)

    @asynccontextmanager
    async def attached(self, **changes: Any) -> AsyncIterator[tuple[AsyncClient, Server]]:
        """Connect a client that gets the schema with some changes."""
        client = AsyncClient(self.url)
        connecting = asyncio.create_task(client.connect())
        server = await self.arrived()
        await server.send({**SCHEMA, **changes})
        await asyncio.wait_for(connecting, PATIENCE)
        try:
            yield client, server
        finally:
            await client.close()

    async def connecting(self, first: dict[str, Any] | str | bytes) -> None:
        """Connect a client to which the server first says this, and wait for the outcome."""
        connecting = asyncio.create_task(AsyncClient(self.url).connect())
        await (await self.arrived()).send(first)
        await asyncio.wait_for(connecting, PATIENCE)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    async with serve(stage.handle, "127.0.0.1", 0, process_request=stage.admit, compression=None) as server:
        stage.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield stage


# -- what it is


async def test_the_schema_says_what_the_session_is(stage: Stage) -> None:
    async with stage.attached() as (client, _):
        assert (client.name, client.state, client.frame, client.time) == ("scripted", State.PAUSED, 3, 0.03)
        assert (client.rate_hz, client.telemetry_hz, client.url) == (100.0, 60.0, stage.url)
        assert client.wiring == tuple(SCHEMA["wiring"])
        assert client.signals.names == (
            "plant.x",
            "plant.n",
            "plant.push",
            "plant.gain.p",
            "plant.on",
            "control.u",
        )
        x, n, push, gain, on, u = client.signals
        assert x == Signal("plant", "x", unit="m", description="East")
        assert n == Signal("plant", "n", type=SignalType.I64, initial=0)
        assert push == Signal("plant", "push", SignalKind.INPUT)
        assert gain._replace(initial=0.0) == Signal(
            "plant", "gain.p", SignalKind.PARAMETER, limits=(-math.inf, 5.0), allow_nonfinite=True
        )
        assert isinstance(gain.initial, float)
        assert math.isnan(gain.initial)
        assert on == Signal("plant", "on", SignalKind.PARAMETER, SignalType.BOOL, initial=True)
        assert u == Signal("control", "u", type=SignalType.F32)


async def test_a_schema_may_have_many_signals(stage: Stage) -> None:
    signals = [{"name": f"x{place}", "type": "f64", "kind": "output", "limits": [0, 1]} for place in range(5000)]
    async with stage.attached(modules={"m": {"signals": signals}}, wiring=[]) as (client, _):
        assert len(client.signals) == 5000


async def test_state_frame_and_time_are_the_newest_that_was_said(stage: Stage) -> None:
    async with stage.attached() as (client, server):
        heard = asyncio.Event()
        client.observe(lambda *_: heard.set())

        async def told(name: str, **fields: Any) -> tuple[str, int, float]:
            heard.clear()
            await server.event(name, **fields)
            await asyncio.wait_for(heard.wait(), PATIENCE)
            return client.state, client.frame, client.time

        subscribing = asyncio.create_task(client.subscribe(["plant.x"]))
        await server.subscribed("plant.x")
        await subscribing
        await server.send(telemetry(9, 1.0))
        assert await told("overrun", frame=7, time=0.07) == ("running", 9, 0.09)  # telemetry overtook it
        assert await told("paused", state="paused", frame=12, time=0.12) == ("paused", 12, 0.12)
        await server.send(telemetry(2, 1.0))  # of the new epoch already
        assert await told("overrun", frame=1, time=0.01) == ("running", 2, 0.02)
        assert await told("reset", frame=0, time=0.0) == ("running", 0, 0.0)
        await server.send(telemetry(2, 1.0))
        assert await told("failed", state="failed", frame=4, time=0.03) == ("failed", 2, 0.02)


async def test_without_a_connection_it_says_what_to_do() -> None:
    client = AsyncClient("ws://127.0.0.1:1?ht=secret")
    with pytest.raises(ConnectionFailed) as caught:
        _ = client.frame
    assert str(caught.value) == "ws://127.0.0.1:1: not connected; call connect() first, or use 'with'"
    with pytest.raises(ConnectionFailed):
        await client.step()
    with pytest.raises(ConnectionFailed):
        client.telemetry()
    with pytest.raises(ConnectionFailed):
        _ = hermes.Client()["a.b"]
    await client.close()


# -- the verbs


@pytest.mark.parametrize(
    ("call", "message", "reply", "result"),
    [
        (lambda client: client.resume(), {"action": "resume"}, {}, None),
        (lambda client: client.pause(), {"action": "pause"}, {}, None),
        (lambda client: client.reset(), {"action": "reset"}, {}, None),
        (lambda client: client.step(), {"action": "step", "params": {"count": 1}}, {"completed": 1}, 1),
        (lambda client: client.step(5), {"action": "step", "params": {"count": 5}}, {"completed": 2}, 2),
        (lambda client: client.run(0.5), {"action": "run", "params": {"seconds": 0.5}}, {"completed": 50}, 50),
        (
            lambda client: client.set({"plant.gain.p": np.float64(-math.inf), "plant.on": np.False_}),
            {"action": "set", "params": {"values": {"plant.gain.p": "-Infinity", "plant.on": False}}},
            {},
            None,
        ),
        (
            lambda client: client.get(("plant.*", "control.u")),
            {"action": "get", "params": {"signals": ["plant.*", "control.u"]}},
            {"values": {"plant.x": 1, "plant.n": 2**60 + 1, "plant.on": True, "control.u": "Infinity"}},
            {"plant.x": 1.0, "plant.n": 2**60 + 1, "plant.on": True, "control.u": math.inf},
        ),
        (
            lambda client: client.subscribe(["plant.?"], telemetry_hz=5),
            {"action": "subscribe", "params": {"signals": ["plant.?"], "telemetry_hz": 5.0}},
            {"count": 2, "signals": ["plant.x", "plant.n"], "telemetry_hz": 5.0},
            ("plant.x", "plant.n"),
        ),
        (lambda client: client.unsubscribe(), {"action": "unsubscribe"}, {"count": 0, "signals": []}, ()),
        (
            lambda client: client.unsubscribe(["plant.n"]),
            {"action": "unsubscribe", "params": {"signals": ["plant.n"]}},
            {"count": 1, "signals": ["plant.x"]},
            ("plant.x",),
        ),
    ],
)
async def test_a_verb_is_one_message_and_its_ack(
    stage: Stage, call: Callable[[AsyncClient], Any], message: dict[str, Any], reply: dict[str, Any], result: Any
) -> None:
    async with stage.attached() as (client, server):
        calling = asyncio.create_task(call(client))
        command = await server.asked()
        assert {key: value for key, value in command.items() if key != "id"} == message
        assert isinstance(command["id"], int)
        await server.ack(command, **reply, frame=8, time=0.08)
        found = await asyncio.wait_for(calling, PATIENCE)
        assert found == result
        assert type(found) is type(result)
        assert (client.frame, client.time) == (8, 0.08)


async def test_a_status_has_what_the_wire_has(stage: Stage) -> None:
    counts = {"overruns": 1, "late_wakeups": 2, "loop_stalls": 3, "clients": 4, "sent": 5, "skipped": 6}
    async with stage.attached() as (client, server):
        asking = asyncio.create_task(client.status())
        await server.ack(await server.asked(), state="finished", frame=9, time=0.09, real_time_factor=1.5, **counts)
        assert await asking == RemoteStatus(State.FINISHED, 9, 0.09, 1.5, *range(1, 7))
        assert client.state is State.FINISHED


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (
            lambda client: client.step(0),
            BadParams("step takes a count of frames, a whole number from 1 to 2^53-1; found 0"),
        ),
        (lambda client: client.get("plant.x"), BadParams),
        (lambda client: client.subscribe(["*"], telemetry_hz=0), BadParams),
        (lambda client: client.get(["*"] * 5000), TooMany("entries in one get", 4096)),
        (lambda client: client.get(["x" * 70_000]), TooMany("bytes in one command", 65536)),
        (lambda client: client.get(["\ud800"]), BadJson("a lone surrogate in a string")),
        (lambda client: client.set({}), BadParams),
        (lambda client: client.set({"plant.o": True}), UnknownSignal(["plant.o"], ["plant.on", "plant.x", "plant.n"])),
        (lambda client: client.set({"plant.x": 1.0}), ReadOnlySignal("plant.x")),
        (lambda client: client.set({"plant.push": 1.0}), WiredSignal("plant.push", "control.u")),
        (lambda client: client.set({"plant.on": 1}), BadValue("plant.on", "1", "true or false (bool)")),
        (lambda client: client.set({"plant.gain.p": 10**400}), BadValue),
        (lambda client: client.set({"plant.gain.p": object}), BadValue),
        (lambda client: client.set({"plant.gain.p": 5.1}), BadValue),
    ],
)
async def test_what_must_be_refused_is_never_sent(stage: Stage, call: Callable[[AsyncClient], Any], error: Any) -> None:
    async with stage.attached() as (client, server):
        with pytest.raises(error if isinstance(error, type) else type(error)) as caught:
            await call(client)
        if not isinstance(error, type):
            assert str(caught.value) == str(error)
        pausing = asyncio.create_task(client.pause())
        command = await server.asked()
        assert command["action"] == "pause"
        await server.ack(command)
        await pausing


async def test_commands_of_many_tasks_find_their_own_replies(stage: Stage) -> None:
    async with stage.attached() as (client, server):
        counts = range(1, 101)
        stepping = [asyncio.create_task(client.step(count)) for count in counts]
        commands = [await server.asked() for _ in counts]
        for command in reversed(commands):
            await server.ack(command, completed=command["params"]["count"])
        assert await asyncio.gather(*stepping) == list(counts)


async def test_an_error_reply_is_raised_and_nothing_else_happens(stage: Stage) -> None:
    async with stage.attached() as (client, server):
        for code, message in (("forbidden", "pause is refused"), ("too_hot", "the room is too hot")):
            pausing = asyncio.create_task(client.pause())
            command = await server.asked()
            await server.send({"type": "error", "action": "pause", "code": code, "message": message} | id_of(command))
            with pytest.raises(hermes.HermesError) as caught:
                await pausing
            assert (caught.value.code, str(caught.value)) == (code, message)


async def test_a_cancelled_step_pauses_and_leaves_the_client_usable(stage: Stage) -> None:
    async with stage.attached() as (client, server):
        stepping = asyncio.create_task(client.step(1_000_000))
        step = await server.asked()
        stepping.cancel()
        pause = await server.asked()
        assert pause["action"] == "pause"
        await server.ack(step, completed=17)
        await server.ack(pause)
        with pytest.raises(asyncio.CancelledError):
            await stepping
        resuming = asyncio.create_task(client.resume())
        await server.ack(await server.asked())
        await resuming


async def test_a_cancelled_command_s_reply_is_nobody_s(stage: Stage) -> None:
    async with stage.attached() as (client, server):
        subscribing = asyncio.create_task(client.subscribe(["plant.x"]))
        command = await server.asked()
        subscribing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await subscribing
        await server.ack(command, count=1, signals=["plant.x"])
        await server.send(telemetry(4, 0.5))
        assert (await anext(client.telemetry())).names == ("plant.x",)


# -- telemetry


@asynccontextmanager
async def following(stage: Stage) -> AsyncIterator[tuple[AsyncClient, Server, Callable[[], Any]]]:
    """Subscribe plant.x; also return what waits until everything sent so far was read."""
    async with stage.attached() as (client, server):
        events: asyncio.Queue[str] = asyncio.Queue()
        client.observe(lambda name, _fields: events.put_nowait(name))
        subscribing = asyncio.create_task(client.subscribe(["plant.x"]))
        await server.subscribed("plant.x")
        await subscribing

        async def read() -> None:
            await server.event("overrun", frame=0)
            while await asyncio.wait_for(events.get(), PATIENCE) != "overrun":
                pass

        yield client, server, read


async def test_who_is_slow_gets_the_newest_frame_and_no_other(stage: Stage) -> None:
    async with following(stage) as (client, server, read):
        frames = client.telemetry()
        for frame in range(10, 60):
            await server.send(telemetry(frame, frame / 2))
        await read()
        first = await anext(frames)
        assert isinstance(first, Telemetry)
        assert (first.frame, first.time, first.values.tolist(), first.names) == (59, 0.59, [29.5], ("plant.x",))
        waiting = asyncio.ensure_future(anext(frames))
        await read()
        assert not waiting.done()
        await server.send(telemetry(59, 29.5))  # a paused session repeats its frame
        assert (await asyncio.wait_for(waiting, PATIENCE)).frame == 59
        assert (await anext(client.telemetry())).frame == 59


async def test_several_iterators_and_one_that_was_given_up_do_not_disturb_each_other(stage: Stage) -> None:
    async with following(stage) as (client, server, read):
        one, other = client.telemetry(), client.telemetry()
        waiting = [asyncio.ensure_future(anext(frames)) for frames in (one, other, one)]
        await read()
        waiting[0].cancel()
        await server.send(telemetry(5, 1.0))
        assert [(await frame).frame for frame in waiting[1:]] == [5, 5]


async def test_no_frame_of_an_old_layout_comes_with_new_names(stage: Stage) -> None:
    async with following(stage) as (client, server, read):
        frames = client.telemetry()
        await server.send(telemetry(5, 1.0))
        await read()
        subscribing = asyncio.create_task(client.subscribe(["plant.n"]))
        await server.subscribed("plant.n")
        await subscribing
        waiting = asyncio.ensure_future(anext(frames))
        await read()
        assert not waiting.done()
        await server.send(telemetry(6, 2.0))
        frame = await asyncio.wait_for(waiting, PATIENCE)
        assert (frame.frame, frame.names, frame.values.tolist()) == (6, ("plant.n",), [2.0])


async def test_no_frame_is_older_than_what_a_reply_or_a_reset_has_told(stage: Stage) -> None:
    async with following(stage) as (client, server, read):
        frames = client.telemetry()
        await server.send(telemetry(5, 1.0))
        stepping = asyncio.create_task(client.step(2))
        await server.ack(await server.asked(), completed=2, frame=7, time=0.07)
        await stepping
        waiting = asyncio.ensure_future(anext(frames))
        await read()
        assert not waiting.done()
        await server.send(telemetry(7, 1.0))
        assert (await asyncio.wait_for(waiting, PATIENCE)).frame == 7
        await server.send(telemetry(8, 1.0))
        await server.event("reset", frame=0, time=0.0)
        waiting = asyncio.ensure_future(anext(frames))
        await read()
        assert not waiting.done()
        await server.send(telemetry(0, 1.0))
        assert (await asyncio.wait_for(waiting, PATIENCE)).frame == 0


# -- the end


async def test_a_closing_session_ends_everything_with_its_own_error(stage: Stage) -> None:
    async with following(stage) as (client, server, _):
        frames = client.telemetry()
        stepping = asyncio.create_task(client.step())
        await server.asked()
        await server.send(telemetry(5, 1.0))
        await server.event("closing", state="paused", session="scripted")
        await server.connection.close(1001, "the session ends")
        with pytest.raises(SessionClosed) as caught:
            await stepping
        assert str(caught.value) == str(SessionClosed("scripted"))
        assert [frame.frame async for frame in frames] == [5]
        assert client.state is State.CLOSED
        with pytest.raises(SessionClosed):
            await client.pause()


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (lambda server: server.connection.transport.abort(), "the connection was lost"),
        (lambda server: server.connection.close(1001), "the server closed the connection (code 1001)"),
        (
            lambda server: server.connection.close(1008, "no\x1b"),
            r"the server closed the connection (code 1008, no\x1b)",
        ),
    ],
)
async def test_a_lost_connection_is_named_to_all_that_wait(stage: Stage, end: Any, reason: str) -> None:
    async with following(stage) as (client, server, read):
        await read()
        waiting = [asyncio.create_task(client.step()), asyncio.ensure_future(anext(client.telemetry()))]
        await server.asked()
        ended = end(server)
        if ended is not None:
            await ended
        for waiter in waiting:
            with pytest.raises(ConnectionFailed) as caught:
                await waiter
            assert str(caught.value) == f"{stage.url}: {reason}"
        with pytest.raises(ConnectionFailed, match="connection"):
            await client.pause()
        assert client.frame == 3


async def test_closing_the_client_ends_what_waits_and_connecting_again_begins_anew(stage: Stage) -> None:
    async with stage.attached() as (client, server):
        pausing = asyncio.create_task(client.pause())
        await server.asked()
        following = asyncio.ensure_future(anext(client.telemetry(), None))
        await client.connect()
        await client.close()
        with pytest.raises(ConnectionFailed, match="this client has closed it"):
            await pausing
        assert await following is None
        assert await server.closed() == 1000
        connecting = asyncio.create_task(client.connect())
        await (await stage.arrived()).send({**SCHEMA, "frame": 77})
        await connecting
        assert client.frame == 77


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("{", "not strict JSON: "),
        ('{"type":"event","x":NaN}', "not strict JSON: NaN is not JSON"),
        ("[1]", "a message that is no object but [1]"),
        ({"type": "news"}, "a message of type 'news'"),
        (SCHEMA, "a message of type 'schema'"),
        ({"type": "event", "event": 3}, "event is 3, which is no str"),
        ({"type": "event", "event": "paused", "frame": True, "time": 0.0}, "frame is True, which is no int"),
        ({"type": "event", "event": "paused", "frame": 1, "time": "now"}, "'now', which is no f64"),
        ({"type": "event", "event": "e", "frame": 1, "time": 0, "state": "odd"}, "'odd' is not a valid State"),
        ({"type": "ack", "action": "pause", "frame": 0, "time": 0.0}, "id is None, which is no int"),
        ({"type": "ack", "action": "pause", "id": 99}, "a reply to 'pause' number 99, which was not asked"),
        ({"type": "ack", "action": "pause", "id": 2}, "a reply to 'pause' number 2, which was not asked"),
        ({"type": "error", "action": "get", "id": 2, "message": "no"}, "code is None, which is no str"),
        ({"type": "ack", "action": "get", "id": 2, "frame": 0, "time": 0, "values": {"a": 1}}, "a value of 'a', which"),
        (
            {"type": "ack", "action": "get", "id": 2, "frame": 0, "time": 0, "values": {"plant.on": 1}},
            "1, which is no bool",
        ),
        (
            {"type": "ack", "action": "get", "id": 2, "frame": 0, "time": 0, "values": {"plant.n": 1.5}},
            "1.5, which is no i64",
        ),
        (b"", "0 bytes are too short for telemetry"),
        (b"x" * 32, "not telemetry: magic 0x78787878"),
        (telemetry(1, 2.0)[:-1], "not telemetry: magic 0x48455254, 31 bytes for 1 values"),
        (telemetry(1, 2.0, 3.0), "telemetry with 2 values where 1 are subscribed"),
    ],
)
async def test_a_broken_protocol_ends_the_connection_and_is_named(stage: Stage, message: Any, reason: str) -> None:
    async with following(stage) as (client, server, _):
        asking = asyncio.create_task(client.get(["plant.x"]))
        assert (await server.asked())["id"] == 2
        await server.send(message)
        with pytest.raises(ConnectionFailed) as caught:
            await asyncio.wait_for(asking, PATIENCE)
        assert str(caught.value).startswith(f"{stage.url}: the server broke the protocol: {reason}")
        assert await server.closed() == 1002


async def test_telemetry_without_a_subscription_breaks_the_protocol(stage: Stage) -> None:
    async with stage.attached() as (client, server):
        waiting = asyncio.ensure_future(anext(client.telemetry()))
        await server.send(telemetry(1))
        with pytest.raises(ConnectionFailed, match="telemetry with 0 values where none are subscribed"):
            await asyncio.wait_for(waiting, PATIENCE)


@pytest.mark.parametrize(
    "reply",
    [{"count": 2, "signals": ["plant.x"]}, {"count": 1, "signals": [["plant.x"]]}, {"count": 1, "signals": ["q"]}],
)
async def test_a_subscription_to_what_there_is_not_breaks_the_protocol(stage: Stage, reply: dict[str, Any]) -> None:
    async with stage.attached() as (client, server):
        subscribing = asyncio.create_task(client.subscribe(["*"]))
        await server.ack(await server.asked(), **reply)
        with pytest.raises(ConnectionFailed, match="signals that are not the session's"):
            await asyncio.wait_for(subscribing, PATIENCE)


# -- connecting


def schema_with(**signal: Any) -> dict[str, Any]:
    entry = {"name": "x", "type": "f64", "kind": "input", "writable": True, **signal}
    return {**SCHEMA, "modules": {"m": {"signals": [entry]}}, "wiring": []}


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        ("hello", "not strict JSON"),
        (telemetry(1), "commands are text messages; found a binary one"),
        ({"type": "event", "event": "paused"}, "its first message is no schema but of type 'event'"),
        ({**SCHEMA, "protocol": 2}, "it speaks version 2; this client knows 1"),
        ({**SCHEMA, "session": None}, "session is None, which is no str"),
        ({**SCHEMA, "modules": []}, "modules is [], which is no dict"),
        ({**SCHEMA, "modules": {"m": {"signals": {}}}}, "signals is {}, which is no list"),
        ({**SCHEMA, "modules": {"m": {"signals": ["x"]}}}, "'x' in signals, which is no object"),
        ({**SCHEMA, "wiring": [{"src": "a.b"}]}, "dst is None, which is no str"),
        (schema_with(type="f16"), "signal 'x' of 'm': 'f16' is not a valid SignalType"),
        (schema_with(kind="state"), "signal 'x' of 'm': 'state' is not a valid SignalKind"),
        (schema_with(limits=[1]), "signal 'x' of 'm': not enough values"),
        (schema_with(limits=[1, "b"]), "'b', which is no f64"),
        (schema_with(initial=True), "True, which is no f64"),
        (schema_with(unit=3), "unit is 3, which is no str"),
    ],
)
async def test_a_wrong_first_message_is_named(stage: Stage, first: Any, reason: str) -> None:
    with pytest.raises(ConnectionFailed) as caught:
        await stage.connecting(first)
    assert str(caught.value).startswith(f"{stage.url}: the server broke the protocol: ")
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("status", "sentence", "text"),
    [
        (401, "a token is needed", "; give it as token=... (--token), or name the session or its connection file"),
        (403, "this Origin is not served\x1b[2J", ""),
        (503, "64 clients are connected already", ""),
    ],
)
async def test_a_refused_client_learns_status_and_sentence(stage: Stage, status: int, sentence: str, text: str) -> None:
    stage.refusal = (HTTPStatus(status), sentence + "\n")
    with pytest.raises(ConnectionFailed) as caught:
        await AsyncClient(stage.url).connect()
    said = sentence.replace("\x1b", r"\x1b")
    assert str(caught.value) == f"{stage.url}: the server refuses with HTTP {status}: {said}{text}"


async def test_where_nothing_listens_it_says_so(stage: Stage) -> None:
    async with serve(stage.handle, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
    for host in ("127.0.0.1", "localhost"):
        with pytest.raises(ConnectionFailed) as caught:
            await AsyncClient(f"ws://{host}:{port}").connect()
        assert str(caught.value) == f"ws://{host}:{port}: nothing is listening there; is the session still running?"


async def test_what_is_no_websocket_server_is_said() -> None:
    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail\x1b[2J ready\r\n")
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        with pytest.raises(ConnectionFailed, match="cannot connect: ") as caught:
            await AsyncClient(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}").connect()
    assert "\x1b" not in str(caught.value)
    with pytest.raises(ConnectionFailed, match="cannot connect: "):
        await AsyncClient("ws://").connect()


async def test_silence_ends_with_its_time(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_link, "SCHEMA_SECONDS", 0.05)
    with pytest.raises(ConnectionFailed, match=r"the server sent no schema within 0\.05 s"):
        await AsyncClient(stage.url).connect()
    monkeypatch.setattr(remote_link, "OPEN_SECONDS", 0.05)
    writers = []
    async with await asyncio.start_server(lambda _reader, writer: writers.append(writer), "127.0.0.1", 0) as server:
        with pytest.raises(ConnectionFailed, match=r"no answer within 0\.05 s"):
            await AsyncClient(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}").connect()
        async with asyncio.timeout(PATIENCE):
            while not writers:
                await asyncio.sleep(0.001)
        for writer in writers:
            writer.close()


async def test_a_server_that_leaves_at_once_is_lost(stage: Stage) -> None:
    connecting = asyncio.create_task(AsyncClient(stage.url).connect())
    await (await stage.arrived()).connection.close(1013, "later")
    with pytest.raises(ConnectionFailed, match=r"the server closed the connection \(code 1013, later\)"):
        await connecting


async def test_the_token_comes_from_the_target_unless_it_is_given(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets = []

    def resolve(target: str | None) -> Address:
        targets.append(target)
        return Address(f"{stage.url}/?ht=hidden", "from-the-file")

    monkeypatch.setattr(asyncclient, "resolve", resolve)
    for token in (None, "given"):
        client = AsyncClient("flight", token=token)
        connecting = asyncio.create_task(client.connect())
        await (await stage.arrived()).send(SCHEMA)
        await connecting
        assert client.url == f"{stage.url}/"
        await client.close()
    assert stage.authorizations == ["Bearer from-the-file", "Bearer given"]
    assert targets == ["flight", "flight"]
    with pytest.raises(BadParams, match="a token is printable ASCII text"):
        await AsyncClient(token="a\r\nX: y").connect()


async def test_connecting_that_is_cancelled_leaves_nothing(stage: Stage) -> None:
    client = AsyncClient(stage.url)
    connecting = asyncio.create_task(client.connect())
    server = await stage.arrived()
    connecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connecting
    await server.closed()
    connecting = asyncio.create_task(client.connect())
    await (await stage.arrived()).send(SCHEMA)
    await connecting
    await client.close()
