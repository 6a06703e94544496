"""The client and the watching commands against real sessions, in this process and in others."""

from __future__ import annotations

import asyncio
import csv
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bounds import PATIENCE, promised

import hermes
from hermes import AsyncClient, AsyncSession, Client, Session
from hermes.errors import BadParams, BadValue, ConnectionFailed, Forbidden, NoSession, SessionClosed, UnknownSignal

NAMES = (
    "a.count",
    "a.ramp",
    "a.push",
    "a.gain",
    "b.count",
    "b.ramp",
    "b.push",
    "b.gain",
)


@pytest.fixture
async def session(counters: Path) -> AsyncIterator[AsyncSession]:
    async with AsyncSession.from_yaml(counters) as session:
        yield session


# -- the verbs


async def test_a_client_does_all_that_a_session_does(hermes_run: Callable[..., Any], counters: Path) -> None:
    running = hermes_run(counters, "--paused")
    async with AsyncClient(running.url) as client, AsyncClient("counters") as other:
        events: list[str] = []
        other.observe(lambda event, _fields: None if event == "overrun" else events.append(event))
        assert (client.name, client.state, client.frame, client.rate_hz) == ("counters", "paused", 0, 100.0)
        assert client.signals.names == NAMES
        assert client.signals["a.gain"].limits == (-10.0, 10.0)
        assert client.wiring == ({"src": "a.ramp", "dst": "b.push", "gain": 0.5, "offset": 0.0},)
        await client.set({"a.gain": 3, "a.push": 1.0})
        assert await client.step(10) == 10
        assert (client.frame, client.time) == (10, 0.1)
        assert await client.get(["?.count", "a.ramp"]) == {"a.count": 10, "b.count": 10, "a.ramp": pytest.approx(0.9)}
        assert await client.run(0.1) == 10
        await client.resume()
        assert client.state == "running"
        names = await client.subscribe(["b.*", "a.count"], telemetry_hz=30)
        assert names == ("b.count", "b.ramp", "b.push", "b.gain", "a.count")
        frames = client.telemetry()
        received = [await asyncio.wait_for(anext(frames), PATIENCE) for _ in range(5)]
        assert [frame.values[0] for frame in received] == [frame.frame for frame in received]
        assert [frame.frame for frame in received] == sorted(frame.frame for frame in received)
        assert received[-1].frame > received[0].frame
        assert {frame.names for frame in received} == {names}
        await client.pause()
        status = await client.status()
        assert (status.state, status.clients, status.frame) == ("paused", 2, client.frame)
        assert status.sent >= 5
        assert await client.unsubscribe(["b.*"]) == ("a.count",)
        assert (await asyncio.wait_for(anext(frames), PATIENCE)).values.tolist() == [status.frame]
        assert await client.unsubscribe() == ()
        await client.reset()
        assert (client.frame, client.state) == (0, "paused")
        assert await other.step() == 1
        assert events == ["running", "paused", "running", "paused", "reset"]
        assert other.frame == 1


async def test_errors_are_those_of_the_session(session: AsyncSession) -> None:
    async with AsyncClient(session.url) as client:
        calls: list[Callable[[Any], Any]] = [
            lambda side: side.set({"a.rump": 1.0}),
            lambda side: side.set({"a.ramp": 1.0}),
            lambda side: side.set({"b.push": 1.0}),
            lambda side: side.set({"a.gain": 11}),
            lambda side: side.set({"a.gain": True}),
            lambda side: side.set({"a.gain": "fast"}),
            lambda side: side.set({"a.gain": float("nan")}),
            lambda side: side.set({"a.gain": 10**400}),
            lambda side: side.set({"a.push": 1.0, "a.gain": None}),
            lambda side: side.set({}),
            lambda side: side.step(0),
            lambda side: side.run(0),
            lambda side: side.run("5"),
        ]
        await session.resume()
        calls.append(lambda side: side.step())
        for call in calls:
            errors = []
            for side in (session, client):
                with pytest.raises(hermes.HermesError) as caught:
                    await call(side)
                errors.append((type(caught.value), str(caught.value), caught.value.fields))
            assert errors[0] == errors[1]
        with pytest.raises(UnknownSignal) as asked:
            await client.get(["a.rump", "c.*"])
        with pytest.raises(UnknownSignal) as own:
            session.get(["a.rump", "c.*"])
        assert str(asked.value) == str(own.value)
        with pytest.raises(BadParams, match="telemetry_hz is at most 60 Hz"):
            await client.subscribe(["*"], telemetry_hz=61)


@pytest.mark.parametrize(
    ("fault", "kind"), [("1 / 0", hermes.ModuleFailed), ("import os; os._exit(3)", hermes.ModuleDied)]
)
async def test_a_module_s_failure_reaches_the_client_as_it_reaches_the_session(
    write: Callable[[str, str], Path], fault: str, kind: type[hermes.ModuleError]
) -> None:
    write(
        "m.py",
        "import hermes\nclass M(hermes.Module):\n    y = hermes.Output()\n    def step(self, time, dt):\n"
        f"        if time > 0.015: {fault}\n",
    )
    config = write("m.yaml", "modules: {m: {type: script, script: ./m.py}}\nserver: {port: 0}\n")
    async with AsyncSession.from_yaml(config) as session, AsyncClient(session.url) as client:
        with pytest.raises(kind) as caught:
            await client.step(10)
        assert isinstance(caught.value, hermes.ModuleError)
        assert str(caught.value) == str(session.failure)
        assert (caught.value.module, client.state, client.frame) == ("m", "failed", 0)
        await client.reset()
        assert client.state == "paused"
        assert await client.step(1) == 1


async def test_a_cancelled_run_pauses_at_a_frame_boundary(session: AsyncSession) -> None:
    async with AsyncClient(session.url) as client:
        running = asyncio.Event()
        client.observe(lambda event, _fields: running.set() if event == "running" else None)
        run = asyncio.create_task(client.run(1000.0))
        await asyncio.wait_for(running.wait(), PATIENCE)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert (client.state, session.state) == ("paused", "paused")
        before = client.frame
        assert await client.step(2) == 2
        assert client.frame == before + 2


async def test_who_may_only_watch_is_told_so(counters: Path) -> None:
    counters.write_text(counters.read_text().replace("port: 0", "port: 0, control: observe"))
    async with AsyncSession.from_yaml(counters) as session, AsyncClient(session.url) as client:
        with pytest.raises(Forbidden, match="step is refused"):
            await client.step()
        assert (await client.get(["a.ramp"])) == {"a.ramp": 0.5}


async def test_a_closing_session_ends_what_its_clients_wait_for(counters: Path) -> None:
    session = AsyncSession.from_yaml(counters)
    await session.start()
    async with AsyncClient(session.connection_file) as client:
        await client.subscribe(["*"])
        frames = client.telemetry()
        await anext(frames)
        running = asyncio.create_task(client.run(1000.0))
        await client.status()
        await session.close()
        with pytest.raises(SessionClosed) as caught:
            await running
        assert str(caught.value) == str(SessionClosed("counters"))
        async for _ in frames:
            pass
        assert client.state == "closed"


async def test_many_commands_at_once_are_all_answered(session: AsyncSession) -> None:
    async with AsyncClient(session.url) as client:
        done = await asyncio.gather(*(client.step() for _ in range(40)), *(client.get(["a.*"]) for _ in range(40)))
        assert sum(count for count in done if isinstance(count, int)) == 40
        assert client.frame == 40


async def test_who_blocks_the_loop_still_gets_the_newest_frame(hermes_run: Callable[..., Any], counters: Path) -> None:
    async with AsyncClient(hermes_run(counters).url) as client:
        await client.subscribe(["a.count"])
        frames = client.telemetry()
        shares = []
        for _ in range(5):
            before = await anext(frames)
            time.sleep(0.5)  # 50 frames, in which nothing of this process runs
            frame = await anext(frames)
            now = (await client.status()).frame
            shares.append((now - frame.frame) / (now - before.frame))  # 1 for the oldest that waits
        assert min(shares) < promised(0.2, slack=2.5)


# -- whom to connect to


async def test_a_token_is_found_by_name_url_and_file_and_asked_for_otherwise(
    counters: Path,
) -> None:
    counters.write_text(counters.read_text().replace("port: 0", "port: 0, token: auto"))
    async with AsyncSession.from_yaml(counters) as session:
        for target in (None, "counters", session.url, session.connection_file, str(session.connection_file)):
            async with AsyncClient(target) as client:
                assert client.name == "counters"
        with pytest.raises(ConnectionFailed) as caught:
            await AsyncClient(session.url, token="a-wrong-token-of-mine").connect()
        assert "HTTP 401" in str(caught.value)
        assert "give it as token=... (--token), or name the session" in str(caught.value)
        with pytest.raises(ConnectionFailed, match="HTTP 401"):  # no connection file has this address
            await AsyncClient(session.url.replace("127.0.0.1", "localhost")).connect()


async def test_of_several_sessions_one_must_be_named(counters: Path, session: AsyncSession) -> None:
    async with AsyncSession.from_yaml(counters, name="second"):
        with pytest.raises(NoSession, match="2 sessions are running"):
            await AsyncClient().connect()
        async with AsyncClient("second") as client:
            assert client.name == "second"


# -- synchronously


def test_the_synchronous_client_has_the_session_s_words(counters: Path) -> None:
    with Session.from_yaml(counters) as session, Client(session.url) as client:
        client["a.gain"] = 2.0
        assert client["a.gain"] == session["a.gain"] == 2.0
        assert client.step(3) == 3
        assert client["a.count"] == 3
        assert client.run(0.02) == 2
        assert (client.state, client.frame, client.time) == (session.state, 5, 0.05)
        assert client.status.clients == 1
        assert client.subscribe(["a.count"]) == ("a.count",)
        frames = client.telemetry()
        assert [next(frames).values.tolist() for _ in range(3)] == [[5.0]] * 3
        assert client.unsubscribe() == ()
        client.resume()
        client.pause()
        client.reset()
        assert (client.frame, client.rate_hz, client.telemetry_hz) == (0, 100.0, 60.0)
        for name in ("a.rump", "a.*"):
            with pytest.raises(UnknownSignal):
                client[name]
        with pytest.raises(BadValue):
            client["a.gain"] = 11
        client.close()
        client.close()
        with pytest.raises(ConnectionFailed, match="not connected"):
            client.step()
        assert session.step() == 1


async def test_the_synchronous_client_works_under_a_running_loop(
    hermes_run: Callable[..., Any], counters: Path
) -> None:
    with Client(hermes_run(counters, "--paused").url) as client:
        assert client.step(2) == 2


def test_what_does_not_connect_leaves_no_thread(counters: Path) -> None:
    with pytest.raises(NoSession), Client("nobody"):
        pass
    client = Client("ws://127.0.0.1:1")
    with pytest.raises(ConnectionFailed, match="nothing is listening"):
        client.connect()


def test_a_script_may_forget_to_close(hermes_run: Callable[..., Any], counters: Path) -> None:
    hermes_run(counters, "--paused")
    source = (
        "import hermes\nclient = hermes.Client()\nclient.connect()\nclient.subscribe(['a.*'])\n"
        "print(client.step(4), next(client.telemetry()).values[0], client['b.count'])\n"
    )
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", source]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "4 4.0 4\n", "")


def test_an_interrupt_of_a_run_pauses_the_session(hermes_run: Callable[..., Any], counters: Path) -> None:
    hermes_run(counters, "--paused")
    source = (
        "import hermes\n"
        "with hermes.Client() as client:\n"
        "    client.observe(lambda event, _fields: event == 'overrun' or print(event, flush=True))\n"
        "    try:\n        client.run(1000)\n"
        "    except KeyboardInterrupt:\n        print(client.state, client.step(2))\n"
    )
    with subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=PATIENCE)[0] == "paused\npaused 2\n"
        assert process.returncode == 0


# -- the commands


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "hermes", *map(str, arguments)]


def outcome(*arguments: object) -> tuple[int, str, str]:
    done = subprocess.run(command(*arguments), capture_output=True, text=True, timeout=PATIENCE, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def started() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Return what starts a command with its output in pipes; ended after the test."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_signals_are_lines_for_other_programs(hermes_run: Callable[..., Any], counters: Path) -> None:
    url = hermes_run(counters, "--paused").url
    status, out, errors = outcome("signals")
    assert (status, errors) == (0, "")
    rows = list(csv.reader(out.splitlines(), delimiter="\t"))
    assert rows[0] == ["name", "kind", "type", "unit", "writable", "description"]
    assert [row[0] for row in rows[1:]] == list(NAMES)
    assert rows[1][1:5] == ["output", "i64", "", "no"]
    assert rows[3][1:5] == ["input", "f64", "N", "yes"]
    assert rows[7][1:5] == ["input", "f64", "N", "wired"]
    assert outcome("signals", url) == outcome("signals", "counters") == (status, out, errors)


def test_watch_writes_every_frame_exactly(hermes_run: Callable[..., Any], counters: Path) -> None:
    url = hermes_run(counters).url
    status, out, errors = outcome("watch", url, "a.count", "b.ramp", "--count", "5", "--hz", "50")
    assert (status, errors) == (0, "")
    header, *rows = csv.reader(out.splitlines())
    assert header == ["time", "frame", "a.count", "b.ramp"]
    assert len(rows) == 5
    for at, frame, count, ramp in rows:
        assert count == frame == str(int(frame))
        assert float(at) == int(frame) / 100
        assert repr(float(ramp)) == ramp


def test_watch_alone_follows_everything_of_the_only_session(hermes_run: Callable[..., Any], counters: Path) -> None:
    hermes_run(counters, "--paused")
    assert outcome("watch", "--count", 1) == (
        0,
        f"time,frame,{','.join(NAMES)}\n0.0,0,0,0.5,0.0,1.0,0,0.5,0.25,2.0\n",
        "",
    )


def test_a_reader_that_has_enough_ends_the_watch_quietly(
    hermes_run: Callable[..., Any], counters: Path, started: Callable[..., Any]
) -> None:
    hermes_run(counters)
    watching = started("watch", "counters", "a.*", "--hz", 50)
    assert watching.stdout.readline() == "time,frame,a.count,a.ramp,a.push,a.gain\n"
    watching.stdout.close()
    assert watching.wait(PATIENCE) == 0
    assert watching.stderr.read() == ""


def test_the_watch_ends_with_the_session(
    hermes_run: Callable[..., Any], counters: Path, started: Callable[..., Any]
) -> None:
    running = hermes_run(counters)
    watching = started("watch", "counters")
    for _ in range(3):
        watching.stdout.readline()
    running.end(signal.SIGINT)
    _, errors = watching.communicate(timeout=PATIENCE)
    assert (watching.returncode, errors) == (0, "session counters has closed\n")


def test_a_session_that_vanishes_is_a_failure(
    hermes_run: Callable[..., Any], counters: Path, started: Callable[..., Any]
) -> None:
    running = hermes_run(counters)
    watching = started("watch", running.url)
    for _ in range(3):
        watching.stdout.readline()
    running.end(signal.SIGKILL)
    _, errors = watching.communicate(timeout=PATIENCE)
    assert (watching.returncode, errors) == (1, f"hermes: {running.url}: the connection was lost\n")


@pytest.mark.parametrize(
    ("number", "status", "words"), [(signal.SIGINT, 130, "hermes: interrupted\n"), (signal.SIGTERM, 143, "")]
)
def test_a_watch_can_be_ended_at_any_time(
    hermes_run: Callable[..., Any],
    counters: Path,
    started: Callable[..., Any],
    number: int,
    status: int,
    words: str,
) -> None:
    hermes_run(counters)
    watching = started("watch")
    for _ in range(3):
        watching.stdout.readline()
    watching.send_signal(number)
    _, errors = watching.communicate(timeout=PATIENCE)
    assert (watching.returncode, errors) == (status, words)


def test_wrong_usage_is_status_2_and_no_connection_status_1(hermes_run: Callable[..., Any], counters: Path) -> None:
    status, _, errors = outcome("watch")
    assert (status, errors.startswith("hermes: no session")) == (2, True)
    hermes_run(counters, "--paused")
    for arguments, expected, words in (
        (("watch", "nobody"), 2, "hermes: no session 'nobody' is running"),
        (("watch", "counters", "c.*"), 2, "hermes: no signal matches 'c.*'"),
        (("watch", "counters", "--hz", "61"), 2, "hermes: telemetry_hz is at most 60 Hz"),
        (("watch", "counters", "--count", "0"), 2, "Usage: "),
        (("watch", "ws://127.0.0.1:1"), 1, "hermes: ws://127.0.0.1:1: nothing is listening there"),
        (("signals", "ws://127.0.0.1:1"), 1, "hermes: ws://127.0.0.1:1: nothing is listening there"),
    ):
        status, out, errors = outcome(*arguments)
        assert (status, out) == (expected, ""), errors
        assert errors.startswith(words)
        assert "Traceback" not in errors


# -- on a terminal

TAKE_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "os.execv(sys.executable, [sys.executable, '-m', 'hermes', *sys.argv[1:]])"
)


class Terminal:
    """A terminal in which one command runs."""

    def __init__(self, *arguments: object) -> None:
        self.output = ""
        self._own, self._its = pty.openpty()
        fcntl.ioctl(self._own, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
        self.settings = termios.tcgetattr(self._its)
        self.process = subprocess.Popen(
            [sys.executable, "-c", TAKE_TERMINAL, *map(str, arguments)],
            stdin=self._its,
            stdout=self._its,
            stderr=self._its,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color"},
        )

    def until(self, condition: Callable[[], object]) -> None:
        """Take what the command writes until a condition holds."""
        limit = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < limit, self.output
            self._read()

    def type(self, keys: bytes) -> None:
        os.write(self._own, keys)

    def ended(self) -> int:
        """Take what the command still writes; return its status."""
        self.until(lambda: self.process.poll() is not None)
        while self._read():
            pass
        assert termios.tcgetattr(self._its) == self.settings
        return self.process.returncode

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._own)
        os.close(self._its)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._own], [], [], 0.05)
        if ready:
            self.output += os.read(self._own, 65536).decode()
        return bool(ready)


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def run(*arguments: object) -> Terminal:
        opened.append(Terminal(*arguments))
        return opened[-1]

    yield run
    for one in opened:
        one.close()


def test_on_a_terminal_the_watch_draws_and_ctrl_c_ends_it(
    hermes_run: Callable[..., Any], counters: Path, terminal: Callable[..., Terminal]
) -> None:
    hermes_run(counters)
    screen = terminal("watch", "counters", "a.*")
    screen.until(lambda: screen.output.count("frames/s received") >= 3)
    with Client("counters") as client:
        client.pause()
    screen.until(lambda: "s  paused" in screen.output)
    for word in ("counters", "x real time", "a.count", "a.push", "N"):
        assert word in screen.output
    assert "b.ramp" not in screen.output
    screen.type(b"\x03")
    assert screen.ended() == 130
    assert screen.output.endswith("\x1b[?25hhermes: interrupted\r\n")
    assert "Traceback" not in screen.output


def test_on_a_terminal_the_watch_says_when_the_session_has_closed(
    hermes_run: Callable[..., Any], counters: Path, terminal: Callable[..., Terminal]
) -> None:
    running = hermes_run(counters)
    screen = terminal("watch")
    screen.until(lambda: screen.output.count("frames/s received") >= 2)
    running.end(signal.SIGINT)
    assert screen.ended() == 0
    assert screen.output.endswith("\x1b[?25hsession counters has closed\r\n")


def test_on_a_terminal_signals_are_a_table(
    hermes_run: Callable[..., Any], counters: Path, terminal: Callable[..., Terminal]
) -> None:
    hermes_run(counters, "--paused")
    screen = terminal("signals")
    assert screen.ended() == 0
    assert "signals of counters" in screen.output
    assert all(name in screen.output for name in NAMES)
    assert "\t" not in screen.output
