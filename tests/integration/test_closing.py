"""Close at any time, from anywhere, however often; a start that fails half-way; two sessions side by side."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from bounds import PATIENCE, promised
from faults import held, until
from loadclients import Client, Flooding, run

import hermes
from hermes.connectionfile import ConnectionFile
from hermes.errors import PortInUse, SessionClosed
from hermes.lifecycle import State
from hermes.server.websocket import HermesServer


def test_two_threads_close_at_once_while_others_call_and_clients_send(counters: Path) -> None:
    def call(session: hermes.Session) -> None:
        while True:
            session["a.push"] = 1.0

    for _ in range(3):
        session = hermes.Session.from_yaml(counters)
        session.start()
        flood, viewer = Flooding(session.url, "a.gain"), Client(session.url)
        with held([flood, viewer]), ThreadPoolExecutor(4) as pool:
            calls = [pool.submit(call, session) for _ in range(2)]
            run([flood, viewer], 0.1)
            begin = time.monotonic()
            for closing in [pool.submit(session.close) for _ in range(2)]:
                closing.result(PATIENCE)
            assert time.monotonic() - begin < promised(2, slack=10)
            assert session.state is State.CLOSED
            assert [type(ended.exception(PATIENCE)) for ended in calls] == [SessionClosed] * 2
            run([flood, viewer], PATIENCE, lambda one=flood, two=viewer: None not in (one.closed, two.closed))
            assert viewer.closed == 1001  # to whom still sends, a reset may come before it
        session.close()


def test_a_session_may_be_closed_by_one_of_its_own_observers(counters: Path) -> None:
    session = hermes.Session.from_yaml(counters, serve=False)
    tasks: list[asyncio.Task[None]] = []

    def heed(event: str, _fields: Mapping[str, Any]) -> None:
        if event == "paused":
            tasks.append(asyncio.ensure_future(session.aio.close()))

    session.observe(heed)
    session.start()
    session.run(0.01)
    until(lambda: session.state is State.CLOSED)
    with pytest.raises(SessionClosed):
        session.step()
    session.close()
    assert len(tasks) == 1


@pytest.mark.parametrize(("target", "method"), [(HermesServer, "start"), (ConnectionFile, "create")])
def test_an_exception_in_the_middle_of_a_start_leaves_nothing(
    counters: Path, target: type, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise RuntimeError("in the middle")

    session = hermes.Session.from_yaml(counters)
    with monkeypatch.context() as patch:
        patch.setattr(target, method, fail)
        with pytest.raises((RuntimeError, SessionClosed)):
            session.start()
    assert session.state is State.CLOSED
    session.close()


def test_stopping_one_of_two_sessions_leaves_the_other_s_run_as_it_is(counters: Path) -> None:
    def of_40_frames(session: hermes.Session) -> str:
        session["a.push"] = 0.5
        session.step(20)
        session["a.gain"] = 2.0
        session.step(20)
        return session.fingerprint

    with hermes.Session.from_yaml(counters, serve=False) as alone:
        expected = of_40_frames(alone)
    with hermes.Session.from_yaml(counters, name="other") as other, hermes.Session.from_yaml(counters) as session:
        other.resume()
        session["a.push"] = 0.5
        session.step(20)
        other.close()
        session["a.gain"] = 2.0
        session.step(20)
        assert session.fingerprint == expected


def test_a_taken_default_port_is_named_with_the_way_out_and_nothing_is_left(counters: Path) -> None:
    with hermes.Session.from_yaml(counters) as first:
        port = int(first.url.rpartition(":")[2])
        second = hermes.Session.from_yaml(counters, name="second", port=port)
        with pytest.raises(PortInUse, match=f"port {port} on 127.0.0.1 is taken; choose another, or port=0"):
            second.start()
        assert second.state is State.CLOSED
        second.close()
        with hermes.Session.from_yaml(counters, name="third", port=0) as third:
            assert third.url != first.url


def test_asyncio_run_in_a_script_is_all_that_the_asynchronous_face_needs(counters: Path) -> None:
    source = (
        "import asyncio, hermes, sys\n"
        "async def main():\n"
        "    async with hermes.AsyncSession.from_yaml(sys.argv[1]) as session:\n"
        "        print(await session.run(0.1), session.frame)\n"
        "asyncio.run(main())\n"
    )
    command = [sys.executable, "-c", source, str(counters)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "10 10\n", "")
