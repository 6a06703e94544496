from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import socket
from itertools import pairwise
from typing import Any

import pytest
from bounds import PATIENCE, promised
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus

from hermes.commands import Command
from hermes.errors import BadValue, EngineDied, HermesError, ModuleDied, PortInUse, ServerExposed, SessionClosed
from hermes.server import websocket


async def test_the_schema_comes_first_and_once(serve: Any) -> None:
    async with serve(ticking=True) as rig, connect(rig.server.url) as connection:
        await connection.send('{"action":"subscribe","params":{"signals":["*"]}}')
        schema, ack, frame = [await connection.recv() for _ in range(3)]
        keys = "type modules protocol wiring session state frame time rate_hz telemetry_hz"
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
                '"telemetry_hz":60.0,"frame":1,"time":0.01,"id":7}'
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
    ('{"action":"set","signal":"plant.armed","value":true}', "bad_message", "set", None),
    ('{"action":"unsubscripe","id":1}', "unknown_action", "unsubscripe", 1),
    ('{"action":"resume","id":"r","when":"now"}', "bad_message", "resume", "r"),
    ('{"action":"get","params":{"signals":["plant.x9"]}}', "unknown_signal", "get", None),
    ('{"action":"unsubscribe","params":{"signals":["x"]},"id":"u"}', "unknown_signal", "unsubscribe", "u"),
    ('{"action":"status","params":{"all":true},"id":"s"}', "bad_params", "status", "s"),
    ('{"action":"step","params":{"count":0},"id":2}', "bad_params", "step", 2),
    ('{"action":"subscribe","params":{"signals":["*"],"telemetry_hz":61}}', "bad_params", "subscribe", None),
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


async def test_a_mistake_in_the_dispatcher_is_internal_logged_once_and_the_connection_goes_on(
    serve: Any, view: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve() as rig, view(rig) as viewer:
        rig.dispatcher.mistakes = {"step": ZeroDivisionError("a mistake"), "to look": KeyError("another")}
        for action, place in (("step", "step"), ("status", "to look")):
            caplog.clear()
            assert await viewer.ask({"action": action, "id": 9}) == {
                "type": "error",
                "action": action,
                "code": "internal",
                "message": f"{action} met a mistake in Hermes; its log says more",
                "id": 9,
            }
            (record,) = caplog.records
            assert record.exc_info is not None
            assert record.exc_info[1] is rig.dispatcher.mistakes[place]
            assert record.message == f"command {action} of client {rig.server.clients[0].name}"
        # also where it is met only when the dispatcher answers
        rig.dispatcher.holds = True
        await viewer.send({"action": "pause"})
        await viewer.send({"action": "status"})
        await rig.until(lambda: len(rig.dispatcher.commands) == 3)
        caplog.clear()
        rig.dispatcher.release()
        assert [(await viewer.reply()).get("code") for _ in range(2)] == [None, "internal"]
        assert len(caplog.records) == 1
        rig.dispatcher.holds, rig.dispatcher.mistakes = False, {}
        assert (await viewer.ask({"action": "step"}))["type"] == "ack"
        assert rig.inside[0].protocol.pending == 0


async def test_256_commands_may_wait_and_each_is_answered_once(serve: Any, view: Any) -> None:
    async with serve() as rig, view(rig) as viewer, view(rig) as other:
        rig.dispatcher.holds = True
        for number in range(256):
            await viewer.send({"action": "step", "id": number})
        for action in ("step", "status"):
            refused = await viewer.ask({"action": action, "id": "over"})
            assert (refused["code"], refused["id"], refused["limit"]) == ("too_many", "over", 256)
        assert (await other.subscribe("plant.x0"))["count"] == 1
        await other.send('{"action":"step","id":"another"}')
        await rig.until(lambda: len(rig.dispatcher.commands) == 257)
        rig.dispatcher.release()
        assert [(await viewer.reply())["id"] for _ in range(256)] == list(range(256))
        assert (await other.reply())["id"] == "another"
        rig.dispatcher.holds = False
        assert (await viewer.ask({"action": "step", "id": "again"}))["type"] == "ack"


# -- looks


async def test_looks_are_answered_at_once_and_the_dispatcher_hears_nothing_of_them(serve: Any, view: Any) -> None:
    async with serve() as rig, view(rig) as viewer:
        rig.dispatcher.holds = True
        at = '"frame":1,"time":0.01'
        for message in (
            {"action": "get", "params": {"signals": ["plant.armed", "plant.x1"]}, "id": 1},
            {"action": "status", "id": 2},
            {"action": "unsubscribe", "id": 3},
        ):
            await viewer.ask(message)
        assert viewer.messages[1:] == [
            '{"type":"ack","action":"get","values":{"plant.armed":true,"plant.x1":1.0},' + at + ',"id":1}',
            (
                '{"type":"ack","action":"status","state":"paused",' + at + ',"real_time_factor":1.5,"overruns":2,'
                '"clients":1,"sent":0,"skipped":0,"id":2}'
            ),
            '{"type":"ack","action":"unsubscribe","count":0,"signals":[],' + at + ',"id":3}',
        ]
        await viewer.subscribe("*")
        await viewer.until(lambda: viewer.frames)
        assert rig.dispatcher.commands == []


async def test_a_look_waits_for_what_the_same_client_asked_before_it_and_sees_what_that_did(
    serve: Any, view: Any
) -> None:
    async with serve() as rig, view(rig) as viewer, view(rig) as other:
        rig.dispatcher.holds = True
        asked = ["step", "get", "subscribe", "status", "unsubscribe", "pause", "get"]
        for action in asked:
            params = {"signals": ["plant.x0"]} if action in ("get", "subscribe") else {}
            await viewer.send({"action": action, "params": params})
        await rig.until(lambda: len(rig.dispatcher.commands) == len(asked))
        assert [command.action for command in rig.dispatcher.commands] == asked
        assert (await other.ask({"action": "status"}))["frame"] == 1  # nobody else waits
        assert len(viewer.messages) == 1
        rig.commit()
        rig.dispatcher.release()
        replies = [await viewer.reply() for _ in asked]
        assert [reply["action"] for reply in replies] == asked
        assert [reply["frame"] for reply in replies] == [2] * len(asked)
        # of the telemetry, only the first frame of the subscription that came and went
        assert [frame for frame, _, _ in viewer.frames] == [2]
        assert isinstance(viewer.messages[4], int)
        rig.dispatcher.failures = {"get": SessionClosed("scripted")}
        await viewer.send({"action": "step"})
        await viewer.send({"action": "get", "params": {"signals": ["*"]}, "id": "g"})
        await rig.until(lambda: len(rig.dispatcher.commands) == len(asked) + 2)
        rig.dispatcher.release()
        assert (await viewer.reply())["action"] == "step"
        refused = await viewer.reply()
        assert (refused["action"], refused["code"], refused["id"]) == ("get", "closed", "g")


async def test_no_frame_follows_an_unsubscribe_and_its_rest_comes_at_once(serve: Any, view: Any) -> None:
    async with serve(ticking=True, telemetry_hz=500.0) as rig, view(rig) as viewer, view(rig) as clock:
        await clock.subscribe("plant.x0")
        for _ in range(20):
            await viewer.subscribe("*")
            await viewer.until(lambda: viewer.frames and len(viewer.frames[-1][2]) == 3)
            ack = await viewer.ask({"action": "unsubscribe", "params": {"signals": ["plant.x?"]}})
            assert ack["signals"] == ["plant.armed"]
            viewer.layout = 1
            await viewer.until(lambda: viewer.frames[-1][2] == [1.0])
            assert (await viewer.ask({"action": "unsubscribe"}))["count"] == 0
            seen = len(viewer.frames)
            ticks = len(clock.frames)
            await clock.until(lambda ticks=ticks: len(clock.frames) > ticks + 5)
            await viewer.ask({"action": "status"})
            assert len(viewer.frames) == seen


async def test_who_may_only_observe_looks_and_is_refused_the_rest(serve: Any, view: Any) -> None:
    async with serve(observe=True) as rig, view(rig) as viewer:
        for message in (
            {"action": "resume", "id": 1},
            {"action": "pause"},
            {"action": "reset"},
            {"action": "step"},
            {"action": "run", "params": {"seconds": 1}},
            {"action": "set", "params": {"signal": "plant.armed", "value": False}},
        ):
            refused = await viewer.ask(message)
            assert (refused["code"], refused["action"]) == ("forbidden", message["action"])
        assert (await viewer.subscribe("*"))["count"] == 3
        await viewer.until(lambda: viewer.frames)
        assert (await viewer.ask({"action": "get", "params": {"signals": ["*"]}}))["values"]["plant.armed"] is True
        assert (await viewer.ask({"action": "status"}))["type"] == "ack"
        assert (await viewer.ask({"action": "unsubscribe"}))["type"] == "ack"
        assert rig.dispatcher.commands == []


# -- telemetry


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
    async with serve(ticking=True) as rig, view(rig) as viewer, view(rig) as slower:
        loop = asyncio.get_running_loop()
        begin = loop.time()
        await slower.subscribe("*", telemetry_hz=10)
        await viewer.subscribe("*")
        await asyncio.gather(viewer.watch(2.0), slower.watch(2.0))
        seconds = loop.time() - begin
        assert promised(90, slack=0.1) <= len(viewer.frames) <= 60 * seconds + 4
        assert promised(15, slack=0.1) <= len(slower.frames) <= 10 * seconds + 3
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


# -- floods


async def test_a_flood_of_commands_is_slowed_and_answered_to_the_last_and_nobody_else_notices(
    serve: Any, view: Any
) -> None:
    flood = 1_600
    async with serve(ticking=True) as rig, view(rig) as viewer, view(rig) as flooding:
        await viewer.subscribe("*")
        before = await viewer.watch(1.0)
        loop, watching = asyncio.get_running_loop(), rig.inside[0]
        begin = loop.time()

        async def send() -> None:
            for number in range(flood):
                await flooding.send({"action": "step", "id": number})

        async def answered() -> list[Any]:
            return [(await flooding.reply())["id"] for _ in range(flood)]

        sending, answers = asyncio.create_task(send()), asyncio.create_task(answered())
        await rig.until(lambda: rig.inside[1].protocol.commands > 400)
        sent = watching.sent
        await viewer.watch(1.0)
        during = watching.sent - sent
        assert not answers.done()
        assert await answers == list(range(flood))
        await sending
        seconds = loop.time() - begin
        assert (flood - 400) / 200 * 0.95 <= seconds < (flood - 400) / 200 + promised(5)
        assert during > promised(0.6, slack=0.1) * before
        assert watching.backlog.skipped == 0
        assert rig.inside[1].protocol.commands == flood


async def test_a_flood_of_errors_is_slowed_too(serve: Any, view: Any) -> None:
    async with serve() as rig, view(rig) as flooding:
        begin = asyncio.get_running_loop().time()
        for _ in range(60):  # eleven tokens each
            await flooding.send('{"action":"get","params":{"signals":["plant.y"]}}')
        codes = {(await flooding.reply())["code"] for _ in range(60)}
        assert codes == {"unknown_signal"}
        assert asyncio.get_running_loop().time() - begin >= (60 * 11 - 400 - 11) / 200 * 0.95


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


# -- who is let in


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


async def test_a_page_that_is_listed_gets_in(serve: Any) -> None:
    page: Any = "https://lab.example"
    async with (
        serve(allowed_origins=[page]) as rig,
        connect(rig.server.url, origin=page) as connection,
    ):
        assert json.loads(await connection.recv())["type"] == "schema"


def has_ipv6() -> bool:
    """Return whether this machine has an IPv6 loopback."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


NEEDS_IPV6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


async def refused(url: str, **options: Any) -> tuple[int, bytes]:
    """Return status and body of the answer to a client that is refused."""
    with pytest.raises(InvalidStatus) as caught:
        await connect(url, **options)
    response = caught.value.response
    return response.status_code, bytes(response.body or b"")


SECRET = "a-token-Of_64.bits~"
NEEDED = (401, b"a token is needed: as 'Authorization: Bearer TOKEN' or '?ht=TOKEN'\n")


async def test_a_token_opens_the_door_in_both_forms_and_nothing_else_does_and_no_log_has_it(
    serve: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with serve(token=SECRET) as rig:
        url = rig.server.url
        for target, headers in (
            (url, {"Authorization": f"Bearer {SECRET}"}),
            (f"{url}/?ht={SECRET}", {}),
            (f"{url}/some/path?a=b&ht={SECRET}", {}),
        ):
            async with connect(target, additional_headers=headers) as connection:
                assert json.loads(await connection.recv())["type"] == "schema"
        for target, headers in (
            (url, {}),
            (f"{url}/?ht=", {}),
            (f"{url}/?ht={SECRET}x", {}),
            (f"{url}/?token={SECRET}", {}),
            (url, {"Authorization": f"Bearer {SECRET[:-1]}"}),
            (url, {"Authorization": f"Basic {SECRET}"}),
            (url, {"Cookie": f"ht={SECRET}"}),
        ):
            assert await refused(target, additional_headers=headers) == NEEDED
        assert await refused(f"{url}/?ht={SECRET}", origin="https://evil.example") != NEEDED
    hermes_log = [record for record in caplog.records if record.name.startswith("hermes")]
    assert len([record for record in hermes_log if "refused" in record.message]) == 2
    for record in hermes_log:
        assert SECRET[:-1] not in record.getMessage() + repr(record.__dict__)


async def test_refusals_of_one_origin_are_logged_once_a_minute(
    serve: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert websocket.REFUSAL_LOG_SECONDS == 60.0
    monkeypatch.setattr(websocket, "REFUSAL_LOG_SECONDS", 0.5)
    origins = ("https://evil.example", "https://worse.example")

    def told(origin: str) -> list[str]:
        return [record.message for record in caplog.records if record.message.endswith(f"Origin ['{origin}'])")]

    async with serve() as rig:
        loop = asyncio.get_running_loop()
        begin, refusals = loop.time(), 0
        async with asyncio.timeout(PATIENCE):
            while refusals < 6 or min(map(len, map(told, origins))) < 3:
                refusals += 1
                for origin in origins:
                    assert (await refused(rig.server.url, origin=origin))[0] == 403
        most = 1 + int((loop.time() - begin) / 0.5)
    for origin in origins:
        assert 3 <= len(told(origin)) <= most
        assert told(origin)[0].startswith("client refused: this Origin is not served; add it to server.allowed_origins")
    assert len(caplog.records) <= 2 * most


async def test_a_log_line_has_no_more_of_a_header_than_fits(serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    async with serve() as rig:
        await refused(rig.server.url, origin="https://" + "x\\" * 2_000)
    (record,) = caplog.records
    assert len(record.message) < 400


@pytest.mark.parametrize("host", ["0.0.0.0", pytest.param("::", marks=NEEDS_IPV6)])
async def test_an_address_that_others_reach_needs_a_token(serve: Any, host: str) -> None:
    async with serve() as rig:
        with pytest.raises(ServerExposed, match=f"host {host} is reachable from other machines"):
            await websocket.HermesServer(rig.shm, rig.dispatcher, host=host, port=0).start()
        async with websocket.HermesServer(rig.shm, rig.dispatcher, host=host, port=0, token=SECRET) as open_to_all:
            loopback = f"ws://127.0.0.1:{open_to_all.port}" if host == "0.0.0.0" else f"ws://[::1]:{open_to_all.port}"
            assert await refused(loopback) == NEEDED
            async with connect(f"{loopback}/?ht={SECRET}") as connection:
                assert json.loads(await connection.recv())["type"] == "schema"


async def test_an_address_that_is_not_this_machine_s_is_said(serve: Any) -> None:
    async with serve() as rig:
        with pytest.raises(HermesError, match=r"^cannot serve on 192\.0\.2\.1:0: "):
            await websocket.HermesServer(rig.shm, rig.dispatcher, host="192.0.2.1", port=0, token=SECRET).start()


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("localhost", "localhost"),
        pytest.param("::1", "[::1]", marks=NEEDS_IPV6),
    ],
)
async def test_the_url_leads_to_the_server(serve: Any, host: str, shown: str) -> None:
    async with serve() as rig, websocket.HermesServer(rig.shm, rig.dispatcher, host=host, port=0) as server:
        assert server.url == f"ws://{shown}:{server.port}"
        async with connect(server.url) as connection:
            assert json.loads(await connection.recv())["type"] == "schema"


async def exchange(port: int, data: bytes) -> bytes:
    """Send bytes and return what comes back until the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    try:
        async with asyncio.timeout(PATIENCE):
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
    monkeypatch.setattr(websocket, "HANDSHAKE_SECONDS", 2.0)
    caplog.set_level(logging.DEBUG)
    async with serve(ticking=True) as rig, view(rig) as viewer:
        await viewer.subscribe("*")
        answers = await asyncio.gather(*(exchange(rig.server.port, data) for data, _ in GARBAGE))
        for (data, start), answer in zip(GARBAGE, answers, strict=True):
            assert answer.startswith(start or (b"HTTP/1.1 4", b"")), data[:40]
            assert b"schema" not in answer
        seen = len(viewer.frames)
        await viewer.until(lambda: len(viewer.frames) > seen + 30)
        assert rig.clients == 1
    assert [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR] == []
