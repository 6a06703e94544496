from __future__ import annotations

import asyncio
import json
import logging
import os
import re
from itertools import pairwise
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus

from hermes.commands import Command
from hermes.errors import BadValue, EngineDied, ModuleDied, PortInUse
from hermes.server import websocket


async def test_the_schema_comes_first_and_once(serve: Any) -> None:
    async with serve(ticking=True) as rig, connect(rig.server.url) as connection:
        await connection.send('{"action":"subscribe","params":{"signals":["*"]}}')
        schema, ack, frame = [await connection.recv() for _ in range(3)]
        keys = "type modules protocol session state frame time rate_hz telemetry_hz wiring"
        assert list(json.loads(schema)) == keys.split()
        assert json.loads(ack)["type"] == "ack"
        assert isinstance(frame, bytes)
        assert connection.response is not None
        assert connection.response.headers.get_all("Connection") == ["Upgrade"]
        assert "Sec-WebSocket-Extensions" not in connection.response.headers


async def test_acks_have_these_fields_in_this_order_and_follow_their_event(serve: Any, view: Any) -> None:
    async with serve() as rig, view(rig) as viewer, view(rig) as other:
        for message in (
            {"action": "pause"},
            {"type": "cmd", "action": "resume", "params": {}, "id": "mine"},
            {"action": "reset", "id": 0},
            {"action": "step", "params": {"count": 3}},
            {"action": "step"},
            {"action": "set", "params": {"signal": "plant.armed", "value": False}},
            {"action": "subscribe", "params": {"signals": ["plant.armed", "plant.x?"]}, "id": 7},
        ):
            await viewer.ask(message)
        at = '"frame":1,"time":0.01'
        now = '"state":"paused",' + at
        assert viewer.messages[1:] == [
            '{"type":"event","event":"paused",' + now + "}",
            '{"type":"ack","action":"pause",' + at + "}",
            '{"type":"event","event":"running",' + now + "}",
            '{"type":"ack","action":"resume",' + at + ',"id":"mine"}',
            '{"type":"event","event":"reset",' + now + "}",
            '{"type":"ack","action":"reset",' + at + ',"id":0}',
            '{"type":"ack","action":"step",' + at + ',"completed":3}',
            '{"type":"ack","action":"step",' + at + ',"completed":1}',
            '{"type":"ack","action":"set",' + at + "}",
            (
                '{"type":"ack","action":"subscribe","count":3,"signals":["plant.armed","plant.x0","plant.x1"],'
                '"frame":1,"time":0.01,"id":7}'
            ),
        ]
        await other.until(lambda: len(other.events) == 3)
        assert [event["event"] for event in other.events] == ["paused", "running", "reset"]
        assert other.messages[1:] == [viewer.messages[1], viewer.messages[3], viewer.messages[5]]
        assert rig.dispatcher.commands[3] == Command("step", {"count": 3})
        assert rig.dispatcher.commands[5] == Command("set", {"values": {"plant.armed": False}})
        assert {re.sub(r"\d+$", "N", origin) for origin in rig.dispatcher.origins} == {"client 127.0.0.1:N"}


REFUSED = [
    ("{", "bad_json", None, None),
    ('{"action":"resume","action":"pause"}', "bad_json", None, None),
    ("\ufeff{}", "bad_json", None, None),
    ("", "bad_json", None, None),
    ("[]", "bad_message", None, None),
    (b"\x00\x01", "bad_message", None, None),
    (b'{"action":"resume"}', "bad_message", None, None),
    ('{"action":"set","signal":"plant.armed","value":true}', "bad_message", None, None),
    ('{"action":"unsubscribe","id":1}', "unknown_action", "unsubscribe", 1),
    ('{"action":"get","params":{"signals":["*"]}}', "unknown_action", "get", None),
    ('{"action":"status","id":"s"}', "unknown_action", "status", "s"),
    ('{"action":"step","params":{"count":0},"id":2}', "bad_params", "step", 2),
    ('{"action":"subscribe","params":{"signals":["*"],"telemetry_hz":10}}', "bad_params", "subscribe", None),
    ('{"action":"subscribe","params":{"signals":["plant.x0","plant.y"]},"id":3}', "unknown_signal", "subscribe", 3),
    (json.dumps({"action": "subscribe", "params": {"signals": ["*"] * 4_097}}), "too_many", "subscribe", None),
    ('{"action":"subscribe","params":{"signals":["' + "*a" * 30_000 + 'b"]}}', "unknown_signal", "subscribe", None),
]


async def test_a_refused_message_gets_one_error_and_the_connection_stays_open(serve: Any, view: Any) -> None:
    async with serve() as rig, view(rig) as viewer:
        for message, code, action, identity in REFUSED:
            error = await viewer.ask(message)
            told = (error["type"], error["code"], error.get("action"), error.get("id"))
            assert told == ("error", code, action, identity), message
        assert (await viewer.ask({"action": "step", "id": "last"}))["id"] == "last"
        assert [command.id for command in rig.dispatcher.commands] == ["last"]


async def test_what_the_dispatcher_refuses_at_once_or_later_is_an_error(serve: Any, view: Any) -> None:
    async with serve() as rig, view(rig) as viewer:
        rig.dispatcher.refusals = {"set": BadValue("plant.armed", "7", "true"), "resume": EngineDied("exit code 1")}
        rig.dispatcher.failures = {"step": ModuleDied("plant", 1, "step", "exit code 3")}
        assert (await viewer.ask({"action": "set", "params": {"values": {"a": 7}}}))["code"] == "bad_value"
        assert (await viewer.ask({"action": "resume", "id": 5}))["message"] == "the engine process ended: exit code 1"
        died = await viewer.ask({"action": "step", "id": 6})
        assert [died[key] for key in ("code", "module", "reason", "id")] == ["module_failed", "plant", "exit code 3", 6]
        assert (await viewer.ask({"action": "pause"}))["type"] == "ack"


async def test_256_commands_may_wait_and_each_is_answered_once(serve: Any, view: Any) -> None:
    async with serve() as rig, view(rig) as viewer, view(rig) as other:
        rig.dispatcher.holds = True
        for number in range(256):
            await viewer.connection.send(json.dumps({"action": "step", "id": number}))
        refused = await viewer.ask({"action": "step", "id": "over"})
        assert (refused["code"], refused["id"], refused["limit"]) == ("too_many", "over", 256)
        assert (await viewer.subscribe("plant.x0"))["count"] == 1
        await other.connection.send('{"action":"step","id":"another"}')
        async with asyncio.timeout(5):
            while len(rig.dispatcher.commands) < 257:
                await asyncio.sleep(0)
        rig.dispatcher.release()
        assert [(await viewer.reply())["id"] for _ in range(256)] == list(range(256))
        assert (await other.reply())["id"] == "another"
        rig.dispatcher.holds = False
        assert (await viewer.ask({"action": "step", "id": "again"}))["type"] == "ack"


async def test_no_frame_of_another_layout_around_240_switches(serve: Any, view: Any) -> None:
    layouts = [(["plant.x0"], 1), (["*"], 40)]
    async with serve(40, ticking=True, telemetry_hz=500.0) as rig, view(rig) as viewer, view(rig) as other:
        await other.subscribe("plant.x1", "plant.x0")
        sizes = set()
        for burst in range(60):
            for number in range(4 * burst, 4 * burst + 4):
                signals = layouts[number % 2 ^ burst % 2][0]
                command = {"action": "subscribe", "params": {"signals": signals}, "id": number}
                await viewer.connection.send(json.dumps(command))
            for number in range(4 * burst, 4 * burst + 4):
                ack = await viewer.reply()
                assert (ack["id"], ack["count"]) == (number, layouts[number % 2 ^ burst % 2][1])
            seen = len(viewer.frames)
            await viewer.until(lambda seen=seen: len(viewer.frames) >= seen + 2)
            sizes.add(len(viewer.frames[-1][2]))
        assert sizes == {1, 40}
        seen = len(other.frames)
        await other.until(lambda: len(other.frames) > seen + 2)
        assert other.frames[-1][2] == [1.0, 0.0]


async def test_each_client_gets_its_own_signals_in_its_own_order(serve: Any, view: Any) -> None:
    async with serve(4) as rig, view(rig) as one, view(rig) as two, view(rig) as three, view(rig) as silent:
        await one.subscribe("plant.x2", "*")
        await two.subscribe("plant.armed", "plant.x1", "plant.armed")
        assert (await three.subscribe())["signals"] == []
        expected = {one: [2.0, 0.0, 1.0, 1.0], two: [1.0, 1.0], three: []}
        for viewer, values in expected.items():
            await viewer.until(lambda viewer=viewer: len(viewer.frames) >= 5)
            assert [frame[2] for frame in viewer.frames] == [values] * len(viewer.frames)
        await silent.ask({"action": "pause"})
        assert silent.frames == []


async def test_telemetry_keeps_its_rate_and_its_order(serve: Any, view: Any) -> None:
    async with serve(ticking=True) as rig, view(rig) as viewer:
        await viewer.subscribe("*")
        limit = asyncio.get_running_loop().time() + 2.0
        await viewer.until(lambda: asyncio.get_running_loop().time() >= limit)
        assert 110 <= len(viewer.frames) <= 123
        assert all(earlier[0] <= later[0] for earlier, later in pairwise(viewer.frames))
        assert all(time == frame / 100 for frame, time, _ in viewer.frames)


async def test_the_last_frame_precedes_finished(serve: Any, view: Any) -> None:
    async with serve(telemetry_hz=0.1) as rig, view(rig) as viewer:
        await viewer.subscribe("*")
        await viewer.until(lambda: viewer.frames)
        rig.commit()
        rig.server.tell("finished", rig.dispatcher.now())
        await viewer.until(lambda: viewer.events)
        assert viewer.messages[-2:] == [2, '{"type":"event","event":"finished","state":"paused","frame":2,"time":0.02}']


async def test_closing_is_told_and_the_connection_ends_with_1001(serve: Any, view: Any) -> None:
    async with serve() as rig, view(rig) as viewer, view(rig) as other:
        await viewer.subscribe("*")
        await rig.server.close()
        for client in (viewer, other):
            with pytest.raises(ConnectionClosed) as caught:
                await client.until(lambda: False)
            assert (client.events[-1]["event"], client.events[-1]["frame"]) == ("closing", 1)
            assert caught.value.rcvd is not None
            assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (1001, "the session ends")
        await rig.server.close()
        with pytest.raises(OSError, match="Connect call failed"):
            await connect(rig.server.url)


async def test_a_message_over_64_kib_closes_with_1009(serve: Any, view: Any) -> None:
    async with serve() as rig, view(rig) as viewer, view(rig) as other:
        assert (await viewer.ask(" " * 65_536))["code"] == "bad_json"
        await viewer.connection.send(" " * 65_537)
        with pytest.raises(ConnectionClosedError) as caught:
            await viewer.reply()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1009
        assert (await other.ask({"action": "pause"}))["type"] == "ack"


async def test_a_taken_port_is_named_with_the_way_out(serve: Any) -> None:
    async with serve() as rig:
        port = rig.server.port
        with pytest.raises(PortInUse) as caught:
            await websocket.HermesServer(rig.shm, rig.dispatcher, port=port).start()
        assert str(caught.value).startswith(f"port {port} on 127.0.0.1 is taken; choose another, or port=0 for a free")
        assert rig.server.url == f"ws://127.0.0.1:{port}"


@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
async def test_who_is_refused_gets_403_and_no_schema(serve: Any, origin: Any) -> None:
    async with serve() as rig:
        with pytest.raises(InvalidStatus) as caught:
            await connect(rig.server.url, origin=origin)
        assert caught.value.response.status_code == 403
        assert b"schema" not in caught.value.response.body


async def test_a_native_client_sends_its_target_as_origin(serve: Any) -> None:
    async with serve() as rig, connect(rig.server.url, origin=rig.server.url) as connection:
        assert json.loads(await connection.recv())["type"] == "schema"


async def exchange(port: int, data: bytes) -> bytes:
    """Send bytes and return what comes back until the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    try:
        async with asyncio.timeout(5):
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


UPGRADE = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n"
TWO_ORIGINS = b"GET / HTTP/1.1\r\nHost: localhost\r\nOrigin: http://a\r\nOrigin: http://b\r\n" + UPGRADE + b"\r\n"
GARBAGE = [
    (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"HTTP/1.1 426"),
    (b"GET / HTTP/1.1\r\nHost: evil.example\r\n" + UPGRADE + b"\r\n", b"HTTP/1.1 403"),
    (TWO_ORIGINS, b"HTTP/1.1 400"),
    (b"GET / HTTP/1.0\r\n\r\n", b""),
    (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc", b""),
    (bytes.fromhex("16030100c8010000c40303") + bytes(32), b""),
    (b"\r\n\r\n", b""),
    (b"", b""),
    *((os.urandom(4096), b"") for _ in range(20)),
]


async def test_garbage_on_the_port_neither_crashes_nor_logs_a_traceback(
    serve: Any, view: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(websocket, "HANDSHAKE_SECONDS", 0.3)
    caplog.set_level(logging.DEBUG)
    async with serve(ticking=True) as rig, view(rig) as viewer:
        await viewer.subscribe("*")
        answers = await asyncio.gather(*(exchange(rig.server.port, data) for data, _ in GARBAGE))
        for (data, start), answer in zip(GARBAGE, answers, strict=True):
            assert answer.startswith(start or (b"HTTP/1.1 4", b"")), data[:40]
            assert b"schema" not in answer
        seen = len(viewer.frames)
        await viewer.until(lambda: len(viewer.frames) > seen + 30)
        assert rig.server.clients == 1
    assert [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR] == []
