"""The session as a user of Python meets it: both faces, values, errors, and the same run again."""

from __future__ import annotations

import asyncio
import json
import logging
import stat
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from bounds import PATIENCE, promised
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedOK, InvalidStatus

import hermes
from hermes.connectionfile import resolve
from hermes.errors import (
    BadParams,
    BadValue,
    InvalidState,
    LoopError,
    NotReady,
    PortInUse,
    ReadOnlySignal,
    ServerExposed,
    SessionClosed,
    UnknownSignal,
    WiredSignal,
)
from hermes.lifecycle import State
from hermes.planning import with_execution
from hermes.session import summary_html


def test_the_synchronous_face(counters: Path) -> None:
    with hermes.Session.from_yaml(counters) as session:
        assert (session.state, session.frame, session.time) == (State.PAUSED, 0, 0.0)
        assert session["a.ramp"] == 0.5
        assert session.wiring == [{"src": "a.ramp", "dst": "b.push", "gain": 0.5, "offset": 0.0}]
        assert session.step() == 1
        assert session.step(9) == 9
        assert (session.frame, session.time, session["a.count"]) == (10, 0.1, 10)
        session["a.push"] = 1.0
        assert (session["a.push"], session.frame) == (1.0, 10)
        begin = time.monotonic()
        assert session.run(0.5) == 50
        assert 0.45 < time.monotonic() - begin < promised(2.0)
        assert session["a.ramp"] == pytest.approx(0.5 + 0.1 + 0.5 * 2)
        assert session.get(["a.count", "b.count"]) == {"a.count": 60, "b.count": 60}
        assert list(session.get(["b.count", "a.*", "?.count"])) == ["b.count", "a.count", "a.ramp", "a.push", "a.gain"]
        session.resume()
        assert session.state is State.RUNNING
        session.pause()
        assert session.state is State.PAUSED
        session.reset()
        assert (session.frame, session["a.count"], session["a.push"], session["a.ramp"]) == (0, 0, 0.0, 0.5)
        verbs = [(entry["verb"], entry["origin"]) for entry in session.journal]
        assert verbs == [(verb, "python") for verb in ["step", "step", "set", "run", "resume", "pause", "reset"]]
        assert "<b>counters</b>" in session._repr_html_()
    assert session.state is State.CLOSED
    assert session.frame == 0
    with pytest.raises(SessionClosed, match="counters is closed"):
        session.step()
    session.close()


async def test_the_asynchronous_face_and_its_events(counters: Path) -> None:
    seen: list[tuple[str, int]] = []

    def observer(event: str, fields: Mapping[str, Any]) -> None:
        seen.append((event, fields["frame"]))

    async with hermes.AsyncSession.from_yaml(counters, serve=False) as session:
        session.observe(observer)
        await session.run(0.2)
        await session.step(5)
        await session.reset()
        await session.set({"a.push": 1, "a.gain": 3})
        assert session.get(["a.push", "a.gain"]) == {"a.push": 1.0, "a.gain": 3.0}
    assert seen == [("running", 0), ("paused", 20), ("reset", 0)]


async def test_a_value_is_stored_exactly_or_refused_and_then_nothing_changes(counters: Path) -> None:
    async with hermes.AsyncSession.from_yaml(counters, serve=False) as session:
        before = session.get(list(session.signals.all_signals()))
        for name, value, error, text in [
            ("a.ramp", 1, ReadOnlySignal, "a.ramp is an output"),
            ("b.push", 1, WiredSignal, "b.push is driven by a wire from a.ramp; set that"),
            ("a.gain", 11, BadValue, "a.gain cannot be 11; it takes a number (f64), within -10 to 10"),
            ("a.push", "1", BadValue, "a.push cannot be '1'; it takes a number (f64), in N"),
            ("a.push", float("nan"), BadValue, "a.push cannot be nan"),
            ("a.posh", 1, UnknownSignal, "no signal matches 'a.posh'; did you mean a.push"),
        ]:
            with pytest.raises(error) as caught:
                await session.set({"a.gain": 5, name: value} if name != "a.gain" else {name: value})
            assert str(caught.value).startswith(text)
        assert session.get(list(before)) == before
        assert session.journal == []


async def test_parameters_of_verbs_are_checked(counters: Path) -> None:
    async with hermes.AsyncSession.from_yaml(counters, serve=False) as session:
        for bad in (0, -1, 1.5, "3", 1 << 63, True):
            with pytest.raises(BadParams, match="step takes a count"):
                await session.step(bad)  # type: ignore[arg-type]
        for bad in (0, -1.0, float("inf"), float("nan"), "1"):
            with pytest.raises(BadParams, match="run takes seconds"):
                await session.run(bad)  # type: ignore[arg-type]
        await session.resume()
        with pytest.raises(InvalidState, match="cannot step while running; legal now: resume, run, pause, reset, set"):
            await session.step()


async def fingerprint(config: Path, mode: str, drive: Callable[[hermes.AsyncSession], Any]) -> str:
    settings = with_execution(hermes.HermesConfig.from_yaml(config), mode=mode)
    async with hermes.AsyncSession(settings, serve=False) as session:
        await session.set({"a.push": 0.25})
        await drive(session)
        assert session.frame == 60
        return session.fingerprint


async def test_the_same_run_has_the_same_fingerprint_however_it_is_paced(counters: Path) -> None:
    async def free(session: hermes.AsyncSession) -> None:
        await session.run(0.2)
        await session.set({"a.gain": -2})
        await session.run(0.4)

    async def by_hand(session: hermes.AsyncSession) -> None:
        for _ in range(20):
            await session.step()
        await session.set({"a.gain": -2})
        await session.step(40)

    async def otherwise(session: hermes.AsyncSession) -> None:
        await session.step(21)
        await session.set({"a.gain": -2})
        await session.step(39)

    runs = [
        await fingerprint(counters, mode, drive)
        for mode, drive in [("afap", free), ("realtime", free), ("single_frame", by_hand)]
    ]
    assert len(set(runs)) == 1
    assert await fingerprint(counters, "afap", otherwise) != runs[0]


async def test_a_reset_run_is_the_run_again(counters: Path) -> None:
    async with hermes.AsyncSession.from_yaml(counters, serve=False) as session:
        prints = []
        for _ in range(2):
            await session.step(25)
            prints.append(session.fingerprint)
            await session.reset()
        assert prints[0] == prints[1]


async def test_the_end_time_finishes_the_run_and_reset_begins_it_again(counters: Path) -> None:
    settings = with_execution(hermes.HermesConfig.from_yaml(counters), mode="afap", end_time=0.3)
    async with hermes.AsyncSession(settings, serve=False) as session:
        assert await session.run(10) == 30
        assert (session.state, session.time) == (State.FINISHED, 0.3)
        with pytest.raises(InvalidState, match="cannot resume while finished; legal now: reset, set"):
            await session.resume()
        await session.reset()
        assert session.state is State.PAUSED
        assert await session.step(100) == 30
        assert session.state is State.FINISHED


async def test_a_pause_from_elsewhere_ends_a_step_and_a_run_early(counters: Path) -> None:
    async with hermes.AsyncSession.from_yaml(counters, serve=False) as session:
        long_step = asyncio.create_task(session.step(10**9))
        while session.frame < 10 or session.state is not State.RUNNING:
            await asyncio.sleep(0)
        await session.pause()
        assert 10 <= await long_step == session.frame
        long_run = asyncio.create_task(session.run(1000))
        while session.state is not State.RUNNING:
            await asyncio.sleep(0)
        await session.pause()
        assert await long_run < 100_000


async def test_a_resume_or_reset_at_any_boundary_of_a_run_leaves_its_length_exact(counters: Path) -> None:
    async with hermes.AsyncSession.from_yaml(counters, serve=False) as session:
        for verb in (session.resume, session.reset):
            for _ in range(5):
                run = asyncio.create_task(session.run(0.03))
                while session.state is not State.RUNNING and not run.done():  # begin and end may be heard at once
                    await asyncio.sleep(0)
                async with asyncio.timeout(PATIENCE):
                    while not run.done() and session.state is State.RUNNING:
                        await verb()  # many times a frame, its last one included
                    assert await run == 3
                if session.state is State.RUNNING:  # a resume came just after the end
                    await session.pause()


async def test_cancelling_a_run_pauses_it_at_a_boundary_and_leaves_the_session_usable(counters: Path) -> None:
    async with hermes.AsyncSession.from_yaml(counters, serve=False) as session:
        running = asyncio.create_task(session.run(1000))
        while session.state is not State.RUNNING:
            await asyncio.sleep(0)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(running, 0.1)
        assert session.state is State.PAUSED
        assert session.journal[-1]["verb"] == "pause"
        frame = session.frame
        assert await session.step() == 1
        assert session.frame == frame + 1


async def test_what_cannot_work_is_said(counters: Path) -> None:
    with pytest.raises(LoopError, match=r"use hermes\.AsyncSession and await it"):
        hermes.Session.from_yaml(counters)
    session = hermes.AsyncSession.from_yaml(counters)
    with pytest.raises(NotReady, match="needs a started session"):
        await session.step()
    async with session, hermes.AsyncSession.from_yaml(counters, name="other") as other:
        port = int(session.url.rpartition(":")[2])
        assert other.url != session.url
        with pytest.raises(PortInUse, match=f"port {port} on 127.0.0.1 is taken; choose another, or port=0"):
            await hermes.AsyncSession.from_yaml(counters, port=port).start()
        with pytest.raises(InvalidState, match="cannot start while paused"):
            await session.start()


def test_what_is_set_while_running_is_read_at_once(counters: Path) -> None:
    with hermes.Session.from_yaml(counters, serve=False) as session:
        session.resume()
        for number in range(100):
            session["a.push"] = number / 8
            assert session["a.push"] == number / 8
            session.set({"a.gain": -number / 16, "a.push": 0.0})
            assert session.get(["a.gain", "a.push"]) == {"a.gain": -number / 16, "a.push": 0.0}
        assert session.state is State.RUNNING
        assert session.frame > 0


TOKEN = "a-token-0f_64.bits~"


def with_server(config: Path, **settings: Any) -> hermes.HermesConfig:
    read = hermes.HermesConfig.from_yaml(config)
    return read.model_copy(update={"server": read.server.model_copy(update=settings)})


@pytest.mark.parametrize("token", [None, "auto", TOKEN])
def test_a_session_is_found_by_its_connection_file_and_its_token_is_nowhere_else(
    counters: Path, token: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    session = hermes.Session(with_server(counters, token=token))
    with pytest.raises(NotReady, match="connection_file"):
        session.connection_file.exists()
    with session:
        path = session.connection_file
        content = json.loads(path.read_text())
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert resolve("counters") == resolve(str(path)) == (session.url, content["token"])
        assert session.aio.needs_token == (token is not None)
        shown = session._repr_html_() + repr(session) + repr(session.status)
        if token is None:
            assert content["token"] is None
            assert str(path) not in shown
        else:
            assert len(content["token"]) >= 16
            assert token in ("auto", content["token"])
            assert str(path) in session._repr_html_()
            assert content["token"] not in shown
            assert content["token"] not in caplog.text + repr([record.__dict__ for record in caplog.records])
    assert not path.exists()


def test_a_session_without_a_server_has_no_connection_file(counters: Path) -> None:
    with hermes.Session.from_yaml(counters, serve=False) as session:
        with pytest.raises(NotReady, match=r"connection_file \(with a server\)"):
            session.connection_file.exists()
        assert "token" not in session._repr_html_()


async def test_who_has_no_token_is_refused_and_who_has_it_gets_in(counters: Path) -> None:
    async with hermes.AsyncSession(with_server(counters, token=TOKEN)) as session:
        with pytest.raises(InvalidStatus) as caught:
            await connect(session.url)
        assert caught.value.response.status_code == 401
        async with connect(session.url, additional_headers={"Authorization": f"Bearer {TOKEN}"}) as connection:
            assert json.loads(await connection.recv())["session"] == "counters"


async def test_on_a_jupyterhub_there_is_a_token_unless_it_is_turned_off(
    counters: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTERHUB_USER", "ada")
    for token, needed in ((None, True), ("none", False)):
        async with hermes.AsyncSession(with_server(counters, token=token)) as session:
            assert session.needs_token == needed


async def test_a_server_for_other_machines_needs_a_token_and_else_nothing_starts(counters: Path) -> None:
    session = hermes.AsyncSession(with_server(counters, host="0.0.0.0"))
    with pytest.raises(ServerExposed, match=r"host 0\.0\.0\.0 is reachable from other machines"):
        await session.start()
    async with hermes.AsyncSession(with_server(counters, host="0.0.0.0", token="auto")) as session:
        assert session.url.startswith("ws://0.0.0.0:")
    async with hermes.AsyncSession(with_server(counters, host="0.0.0.0"), serve=False) as session:
        assert await session.step() == 1


async def test_clients_that_may_only_observe_are_told_apart_and_python_still_commands(
    counters: Path, client: Callable[[str], Any]
) -> None:
    async with (
        hermes.AsyncSession(with_server(counters, control="observe")) as session,
        client(session.url) as viewer,
        client(session.url) as other,
    ):
        assert (await viewer.command("resume"))["code"] == "forbidden"
        assert (await viewer.command("subscribe", signals=["a.*"], telemetry_hz=30))["count"] == 4
        assert await session.step(3) == 3
        assert (await viewer.command("get", signals=["a.count"]))["values"] == {"a.count": 3}
        assert (await viewer.command("status"))["clients"] == 2
        first, second = session.status.clients
        name = "{}:{}".format(*viewer.connection.local_address)
        assert (first.name, first.signals, first.telemetry_hz, first.commands) == (name, 4, 30.0, 4)
        assert (second.signals, second.telemetry_hz, second.sent, second.commands) == (0, 0.0, 0, 0)
        assert "<td style='text-align:left;white-space:pre-wrap'>2</td>" in summary_html(session)
        await other.connection.close()


def test_a_session_that_is_dropped_ends(counters: Path) -> None:
    session = hermes.Session.from_yaml(counters)
    session.start()
    del session  # the fixture that watches over all tests sees whether anything is left


async def test_closing_is_idempotent_quick_and_possible_at_any_time(counters: Path) -> None:
    session = hermes.AsyncSession.from_yaml(counters)
    starting = asyncio.create_task(session.start())
    await asyncio.sleep(0)
    begin = time.monotonic()
    await asyncio.gather(session.close(), session.close())
    assert time.monotonic() - begin < promised(2.5)
    with pytest.raises(SessionClosed):
        await starting


async def test_closing_answers_what_waits_then_says_closing_then_closes_with_1001(
    counters: Path, client: Callable[[str], Any]
) -> None:
    async with hermes.AsyncSession.from_yaml(counters) as session, client(session.url) as viewer:
        await viewer.command("subscribe", signals=["*"])
        await viewer.connection.send('{"action": "step", "params": {"count": 1000000000}}')
        await viewer.until(lambda: viewer.frames and viewer.frames[-1][0] > 0)
        own = asyncio.create_task(session.step())
        await asyncio.sleep(0)
        closing = asyncio.create_task(session.close())
        with pytest.raises(ConnectionClosedOK) as closed:
            await viewer.until(lambda: False)
        await closing
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001
        said = [(text["type"], text.get("action"), text.get("code"), text.get("event")) for text in viewer.texts[-2:]]
        assert said == [("error", "step", "closed", None), ("event", None, None, "closing")]
        with pytest.raises(SessionClosed):
            await own
