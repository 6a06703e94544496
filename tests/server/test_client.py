"""Clients that do not take what they are given, and what that may cost anybody else: nothing."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import struct
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest
from bounds import PATIENCE, promised
from rawframes import FrameReader
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from hermes.server import client, flow, websocket
from hermes.server.client import SEND_BUFFER, TEXT_CAP, ClientStatus

ALL = {"action": "subscribe", "params": {"signals": ["*"]}}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a client that takes nothing half a second."""
    for module in (flow, websocket):
        monkeypatch.setattr(module, "CHECK_SECONDS", 0.1)
        monkeypatch.setattr(module, "STALL_SECONDS", 0.5)


async def read(sock: socket.socket, enough: int) -> bytes:
    """Read until there is enough, or until the connection ends."""
    sock.setblocking(False)
    found = b""
    async with asyncio.timeout(PATIENCE):
        while len(found) < enough:
            try:
                piece = await asyncio.get_running_loop().sock_recv(sock, 1 << 20)
            except ConnectionResetError:
                piece = b""
            if not piece:
                break
            found += piece
    return found


@pytest.mark.usefixtures("impatient")
async def test_a_client_that_never_reads_is_cut_off_and_nobody_else_notices(
    serve: Any, view: Any, deaf: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve(2_000, ticking=True, telemetry_hz=100.0) as rig, view(rig) as viewer:
        await viewer.subscribe("plant.x0")
        async with deaf(rig):
            await viewer.until(lambda: rig.clients == 2)
            loop = asyncio.get_running_loop()
            joined, begin = len(viewer.frames), loop.time()
            await viewer.until(lambda: rig.clients == 1)
            stalled = loop.time() - begin
        while_stalled = [frame for frame, _, _ in viewer.frames[joined:]]
        assert stalled > 0.4
        assert len(while_stalled) > promised(0.6, slack=0.1) * 100 * stalled
        assert while_stalled == sorted(while_stalled)
        await viewer.watch(0.2)
    cut_off = [record for record in caplog.records if "cut off" in record.message]
    assert [record.message.partition("cut off")[2] for record in cut_off] == [": it has taken nothing for 0.5 s"]


async def test_a_client_that_stops_reading_in_earnest_is_cut_off_after_5_seconds(
    serve: Any, view: Any, deaf: Any
) -> None:
    async with serve(2_000, ticking=True) as rig, view(rig) as viewer, deaf(rig):
        await viewer.subscribe("plant.x0")
        await rig.until(lambda: rig.clients == 2)
        begin = asyncio.get_running_loop().time()
        await viewer.until(lambda: rig.clients == 1)
        assert 4.5 < asyncio.get_running_loop().time() - begin < promised(9.0)
        assert await viewer.watch(1.0) > promised(40, slack=0.1)


async def test_a_slow_client_is_told_of_once_to_the_others_and_to_the_session(
    serve: Any, view: Any, deaf: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve(2_000, ticking=True) as rig, view(rig) as viewer, view(rig) as other, deaf(rig) as sock:
        await viewer.until(lambda: viewer.events)
        name = rig.server.clients[2].name
        event = viewer.events[0]
        assert list(event) == ["type", "event", "state", "frame", "time", "client", "skipped"]
        assert (event["event"], event["client"], event["state"]) == ("client_slow", name, "paused")
        assert event["skipped"] > 0
        # it catches up, and falls behind again: nobody wants to hear that for ever
        taken = b""
        while rig.inside[2].backlog.slow:
            taken += await read(sock, 10_000)
        await rig.until(lambda: rig.inside[2].backlog.slow)
        await asyncio.gather(viewer.ask({"action": "status"}), other.ask({"action": "status"}))
        assert [event["event"] for event in viewer.events + other.events] == ["client_slow", "client_slow"]
        noticed = [(event, fields["client"]) for event, fields in rig.dispatcher.noticed]
        assert noticed == [("client_slow", name)]
        assert len(taken) > 60_000
        assert b"client_slow" not in taken
        assert rig.server.clients[2].skipped > event["skipped"]
        assert rig.server.clients[0].skipped == 0
    lines = [record.message for record in caplog.records if "does not keep up" in record.message]
    assert lines == [f"client {name} does not keep up with its telemetry; frames to it are skipped"]


async def test_who_reads_a_tenth_of_its_stream_keeps_its_connection_and_gets_frames_that_are_not_old(
    serve: Any, view: Any, deaf: Any
) -> None:
    async with serve(4_000, ticking=True) as rig, deaf(rig) as sock:
        sock.setblocking(False)
        loop, reader, behind = asyncio.get_running_loop(), FrameReader(), []
        size = 24 + 8 * 4_000
        begin = loop.time()
        async with asyncio.timeout(PATIENCE):
            while loop.time() < begin + 7.0:  # longer than it takes to be given up
                for opcode, payload in reader.feed(await loop.sock_recv(sock, size // 10)):
                    if opcode == 2 and loop.time() > begin + 3.0:
                        behind.append(rig.frame - int.from_bytes(payload[4:12], "little"))
                await asyncio.sleep(1 / 60)
        assert rig.clients == 1
        assert rig.inside[0].backlog.skipped > promised(100, slack=0.1)
        committed_per_second = rig.frame / (loop.time() - begin)
        assert behind
        assert min(behind) < 3.0 * committed_per_second


async def test_no_old_frame_follows_an_ack_that_a_late_reader_has_not_taken(serve: Any, view: Any) -> None:
    async with (
        serve(1_500, ticking=True, telemetry_hz=500.0) as rig,
        view(rig) as clock,
        view(rig, late=True) as viewer,
    ):
        await clock.subscribe("plant.x0")
        for _ in range(8):
            await viewer.subscribe("*")
            ticks = len(clock.frames)
            await clock.until(lambda ticks=ticks: len(clock.frames) >= ticks + 50)
            for signals in ("plant.x0", "plant.*", "plant.x1"):
                await viewer.send({"action": "subscribe", "params": {"signals": [signals]}})
            ticks = len(clock.frames)
            await clock.until(lambda ticks=ticks: len(clock.frames) >= ticks + 20)
            assert [(await viewer.reply())["count"] for _ in range(3)] == [1, 1_500, 1]
            await viewer.until(lambda: viewer.frames[-1][2] == [1.0])


async def test_text_that_piles_up_behind_a_client_that_never_reads_cuts_it_off(
    serve: Any, view: Any, deaf: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve() as rig, view(rig) as viewer, deaf(rig, b'{"action":"status"}'):
        await rig.until(lambda: rig.clients == 2)
        (silent,) = [one for one in rig.inside if one.name != rig.server.clients[0].name]
        most = 0
        for number in range(3_000):
            rig.server.tell("paused", {"number": number, "padding": "x" * 500})
            most = max(most, silent.unsent())
            if number % 100 == 0:
                await viewer.until(lambda number=number: viewer.events and viewer.events[-1]["number"] == number)
        await viewer.until(lambda: viewer.events[-1]["number"] == 2_999)
        assert [event["number"] for event in viewer.events] == list(range(3_000))
        assert rig.clients == 1
        assert TEXT_CAP < most < TEXT_CAP + 10_000
    assert [record.message.partition("cut off")[2] for record in caplog.records] == [": it does not read its messages"]


async def test_a_schema_beyond_the_cap_is_still_delivered_with_what_follows(
    serve: Any, view: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "TEXT_CAP", 1_000)
    async with serve(3_000) as rig, view(rig) as viewer:
        assert len(str(viewer.messages[0])) > 100_000
        for number in range(20):
            rig.server.tell("paused", {"number": number, "padding": "x" * 900})
        await viewer.until(lambda: len(viewer.events) == 20)


@pytest.mark.usefixtures("impatient")
async def test_a_client_that_asks_and_asks_and_never_reads_is_no_longer_read_and_then_cut_off(
    serve: Any, view: Any, deaf: Any
) -> None:
    texts = [b'{"action":"get","params":{"signals":["*"]}}'] * 300
    async with serve(150) as rig, view(rig) as viewer, deaf(rig, *texts):
        await rig.until(lambda: rig.clients == 2)
        asking = rig.inside[1]
        most = 0
        while rig.clients == 2:
            most = max(most, asking.unsent())
            await viewer.ask({"action": "status"})
            await asyncio.sleep(0.01)
        assert asking.protocol.commands < 300
        assert most < TEXT_CAP / 2


async def test_what_a_client_is_given_is_counted_to_the_byte(serve: Any, deaf: Any) -> None:
    lengths = [*range(60, 80), *range(65_470, 65_500), 0, 1, 200, 100_000]
    async with serve() as rig, deaf(rig, b'{"action":"status"}', buffer=1 << 20) as sock:
        await rig.until(lambda: rig.clients == 1 and rig.inside[0].protocol.commands == 1)
        reader, sizes, taken = FrameReader(), [], b""
        for length in lengths:
            rig.server.tell("paused", {"padding": "x" * length})
            while not sizes or sizes[-1] < length:
                piece = await read(sock, 1)
                taken += piece
                sizes += [len(payload) for _, payload in reader.feed(piece)]
            del sizes[:]
        assert rig.inside[0].unsent() == 0
        assert len(taken.partition(b"\r\n\r\n")[2]) == rig.inside[0].backlog.given


async def test_how_each_client_is_doing(serve: Any, view: Any) -> None:
    async with serve(4) as rig, view(rig) as one, view(rig) as two:
        await one.subscribe("plant.x0", "plant.x1", telemetry_hz=20)
        await one.send("{")
        await one.until(lambda: len(one.frames) >= 3)
        names = ["{}:{}".format(*viewer.connection.local_address) for viewer in (one, two)]
        first, second = rig.server.clients
        assert first == ClientStatus(names[0], 2, 20.0, first.sent, 0, 2)
        assert len(one.frames) <= first.sent <= len(one.frames) + 2
        assert second == ClientStatus(names[1], 0, 0.0, 0, 0, 0)


async def test_a_client_s_buffers_in_the_kernel_are_bounded_and_a_vanished_one_is_given_up(
    serve: Any, view: Any
) -> None:
    async with serve() as rig, view(rig):
        sock = rig.inside[0].connection.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) <= 2 * SEND_BUFFER
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 10_000
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 5


# -- clients that are gone


async def test_an_answer_to_a_client_that_has_gone_goes_nowhere_and_hurts_nobody(serve: Any, view: Any) -> None:
    async with serve() as rig, view(rig) as viewer:
        rig.dispatcher.holds = True
        async with view(rig) as leaving:
            await leaving.send({"action": "step"})
            await leaving.send({"action": "status"})
            await leaving.send(ALL)
            await rig.until(lambda: len(rig.dispatcher.commands) == 3)
            gone = rig.inside[1]
        await rig.until(lambda: rig.clients == 1)
        rig.dispatcher.release()  # raises where an answer does
        assert gone.unsent() == 0
        gone.post("{}")
        gone.abort("it has gone")
        gone.send_frame(b"\x82\x00")
        assert gone.unsent() == 0
        rig.dispatcher.holds = False
        assert (await viewer.ask({"action": "pause"}))["type"] == "ack"
        assert viewer.frames == []


async def test_events_go_on_while_clients_come_and_vanish(serve: Any, view: Any, deaf: Any) -> None:
    async with serve(ticking=True) as rig, view(rig) as viewer:
        await viewer.subscribe("*")
        told: list[int] = []

        async def vanish() -> None:
            async with deaf(rig) as sock:
                await asyncio.sleep(0.002)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, not a goodbye

        for _ in range(40):
            vanishing = asyncio.create_task(vanish())
            while not vanishing.done():
                rig.server.tell("paused", {"number": len(told)})
                told.append(len(told))
                await asyncio.sleep(0)
            await vanishing
            await viewer.until(lambda: len(viewer.events) == len(told))
        await rig.until(lambda: rig.clients == 1)
        assert [event["number"] for event in viewer.events] == told


# -- the end


async def test_closing_takes_at_most_2_s_whatever_the_clients_do(
    serve: Any, view: Any, deaf: Any, handshake: Any
) -> None:
    loop = asyncio.get_running_loop()
    flood = [b'{"action":"pause"}'] * 700
    tasks = asyncio.all_tasks()
    async with AsyncExitStack() as stack:
        rig = await stack.enter_async_context(serve(2_000, ticking=True))
        viewer = await stack.enter_async_context(view(rig))
        await viewer.subscribe("plant.x0")
        for _ in range(3):
            await stack.enter_async_context(deaf(rig))
        await stack.enter_async_context(deaf(rig, *flood))  # owes tokens, and its messages wait
        for data in (b"", b"GET / HTT", handshake(rig.server.port)[:-2]):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", rig.server.port)))
            sock.sendall(data)
        await viewer.until(lambda: rig.clients == 5 and any(one.protocol.commands >= 400 for one in rig.inside))
        await viewer.watch(0.7)  # until the deaf ones are full
        during = asyncio.all_tasks()
        begin = loop.time()
        await rig.server.close()
        assert loop.time() - begin <= promised(2.0)
        assert rig.clients == 0
        left = {task for task in asyncio.all_tasks() & during if task.get_name().startswith("hermes-")}
        assert left == set()
        assert viewer.connection.close_code == 1001 or await viewer.connection.wait_closed() is None
    assert {task for task in asyncio.all_tasks() - tasks if not task.done()} == set()


async def test_a_connection_that_comes_while_the_server_closes_is_dropped(serve: Any) -> None:
    tasks = asyncio.all_tasks()
    for turns in range(12):
        async with serve() as rig:
            with socket.create_connection(("127.0.0.1", rig.server.port)) as sock:
                for _ in range(turns):
                    await asyncio.sleep(0)
                await rig.server.close()
                assert asyncio.all_tasks() - tasks == set(), f"after {turns} turns of the loop"
                assert await read(sock, 1) == b""


# -- too many of them


async def test_the_65th_client_gets_503_until_a_place_is_free(serve: Any, view: Any) -> None:
    async with serve() as rig, AsyncExitStack() as clients:
        first, *_ = await asyncio.gather(*(clients.enter_async_context(view(rig)) for _ in range(64)))
        assert rig.clients == 64
        with pytest.raises(InvalidStatus) as caught:
            await clients.enter_async_context(view(rig))
        assert caught.value.response.status_code == 503
        assert caught.value.response.body == b"64 clients are connected already\n"
        await first.connection.close()
        await rig.until(lambda: rig.clients == 63)
        await clients.enter_async_context(view(rig))


async def test_of_80_clients_at_once_64_come_in_and_16_see_no_schema(serve: Any) -> None:
    async with serve(500) as rig, AsyncExitStack() as clients:
        joining = (clients.enter_async_context(connect(rig.server.url, compression=None)) for _ in range(80))
        outcomes = await asyncio.gather(*joining, return_exceptions=True)
        refused = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        assert [type(outcome) for outcome in refused] == [InvalidStatus] * 16
        for outcome in refused:
            assert isinstance(outcome, InvalidStatus)
            assert outcome.response.status_code == 503
            assert b"schema" not in (outcome.response.body or b"")
        await rig.until(lambda: rig.clients == 64)


@pytest.mark.parametrize("turns", range(8))
async def test_a_place_is_not_lost_with_a_client_that_vanishes_in_its_handshake(
    serve: Any, view: Any, handshake: Any, turns: int
) -> None:
    async with serve(client_limit=2) as rig:
        for _ in range(10):
            with socket.create_connection(("127.0.0.1", rig.server.port)) as sock:
                for _ in range(turns % 4):
                    await asyncio.sleep(0)
                sock.sendall(handshake(rig.server.port))
                for _ in range(turns // 4):
                    await asyncio.sleep(0)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        async with AsyncExitStack() as clients, asyncio.timeout(PATIENCE):
            while rig.clients < 2:
                with suppress(InvalidStatus):  # until the server has seen that the others are gone
                    await clients.enter_async_context(view(rig))


@pytest.fixture
def few_half_open(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(websocket, "HALF_OPEN_LIMIT", 10)
    monkeypatch.setattr(websocket, "HANDSHAKE_SECONDS", 0.5)
    return


@pytest.mark.usefixtures("few_half_open")
async def test_half_open_connections_are_bounded_and_dropped_in_time(serve: Any, view: Any) -> None:
    async with serve(client_limit=2) as rig, AsyncExitStack() as stack:
        first = await stack.enter_async_context(view(rig))
        for _ in range(30):
            stack.enter_context(socket.create_connection(("127.0.0.1", rig.server.port)))
        await rig.until(lambda: len(rig.server._open) == 12)
        await rig.until(lambda: len(rig.server._open) == 1)
        second = await stack.enter_async_context(view(rig))
        for viewer in (first, second):
            assert (await viewer.ask({"action": "pause"}))["type"] == "ack"


async def test_who_comes_and_goes_is_logged_with_what_it_got(
    serve: Any, view: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hermes.server")
    async with serve() as rig:
        async with view(rig) as viewer:
            await viewer.subscribe("*")
            await viewer.until(lambda: len(viewer.frames) > 3)
            name = "{}:{}".format(*viewer.connection.local_address)
        await rig.until(lambda: rig.clients == 0)
    came, went = (record for record in caplog.records if record.message.startswith("client "))
    assert (came.message, came.__dict__["remote"], came.__dict__["clients"]) == ("client connected", name, 1)
    assert (went.message, went.__dict__["remote"], went.__dict__["clients"]) == ("client disconnected", name, 0)
    assert went.__dict__["sent_frames"] > 3
    assert went.__dict__["skipped_frames"] == 0
    assert json.loads(str(viewer.messages[0]))["type"] == "schema"
