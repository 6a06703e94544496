from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from hermes.server import client


async def test_a_client_that_never_reads_is_cut_off_and_nobody_else_notices(
    serve: Any, view: Any, deaf: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(client, "STALL_SECONDS", 0.4)
    async with serve(2_000, ticking=True, telemetry_hz=120.0) as rig, view(rig) as viewer:
        await viewer.subscribe("plant.x0")
        async with deaf(rig):
            await viewer.until(lambda: rig.server.clients == 2)
            joined = len(viewer.frames)
            await viewer.until(lambda: rig.server.clients == 1)
        while_stalled = [frame for frame, _, _ in viewer.frames[joined:]]
        assert len(while_stalled) > 0.8 * 120
        assert while_stalled == sorted(while_stalled)
        seen = len(viewer.frames)
        await viewer.until(lambda: len(viewer.frames) > seen + 20)
    assert "cut off: it has read nothing for 0.4 s" in caplog.text


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
                await viewer.connection.send(json.dumps({"action": "subscribe", "params": {"signals": [signals]}}))
            ticks = len(clock.frames)
            await clock.until(lambda ticks=ticks: len(clock.frames) >= ticks + 20)
            assert [(await viewer.reply())["count"] for _ in range(3)] == [1, 1_500, 1]
            await viewer.until(lambda: viewer.frames[-1][2] == [1.0])


async def test_closing_takes_at_most_2_s_with_a_client_that_never_reads(serve: Any, view: Any, deaf: Any) -> None:
    loop = asyncio.get_running_loop()
    async with serve(2_000, ticking=True, telemetry_hz=120.0) as rig, view(rig) as viewer, deaf(rig):
        await viewer.subscribe("plant.x0")
        await viewer.until(lambda: len(viewer.frames) > 2 * 120)
        assert rig.server.clients == 2
        begin = loop.time()
        await rig.server.close()
        assert loop.time() - begin <= 2.0
        assert rig.server.clients == 0


async def test_a_client_that_does_not_take_its_replies_is_cut_off(
    serve: Any, view: Any, deaf: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve(2_000) as rig, view(rig) as viewer, deaf(rig):
        async with asyncio.timeout(10):
            while rig.server.clients < 2:
                await asyncio.sleep(0)
        for number in range(3_000):
            rig.server.tell("paused", {"number": number, "padding": "x" * 500})
            if number % 100 == 0:
                await viewer.until(lambda number=number: viewer.events and viewer.events[-1]["number"] == number)
        await viewer.until(lambda: viewer.events[-1]["number"] == 2_999)
        assert [event["number"] for event in viewer.events] == list(range(3_000))
        assert rig.server.clients == 1
    assert "cut off: it does not read its replies" in caplog.text


async def test_the_65th_client_gets_503_until_a_place_is_free(serve: Any, view: Any) -> None:
    async with serve() as rig, AsyncExitStack() as clients:
        first, *_ = await asyncio.gather(*(clients.enter_async_context(view(rig)) for _ in range(64)))
        assert rig.server.clients == 64
        with pytest.raises(InvalidStatus) as caught:
            await clients.enter_async_context(view(rig))
        assert caught.value.response.status_code == 503
        assert caught.value.response.body == b"64 clients are connected already\n"
        await first.connection.close()
        async with asyncio.timeout(10):
            while rig.server.clients == 64:
                await asyncio.sleep(0)
        await clients.enter_async_context(view(rig))


async def test_of_80_clients_at_once_64_come_in(serve: Any, view: Any) -> None:
    async with serve() as rig, AsyncExitStack() as clients:
        joining = (clients.enter_async_context(view(rig)) for _ in range(80))
        outcomes = await asyncio.gather(*joining, return_exceptions=True)
        refused = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        assert [type(outcome) for outcome in refused] == [InvalidStatus] * 16
        assert rig.server.clients == 64
