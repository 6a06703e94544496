"""The session's end of the link to its engine: it starts the process, passes commands on, and hears what happens.

The reader on the loop parses and appends, nothing more; what has arrived is handled by a callback of its own, in
order, so that code which waits for an answer never stands on the stack of whoever would have to read it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from hermes.backplane.link import DRAINED, WILL, Link
from hermes.engine.plan import Plan
from hermes.errors import EngineDied, HermesError, SessionClosed, from_wire
from hermes.system import attempt, missing_descriptors, obtain

log = logging.getLogger("hermes.session")

ENGINE = ("-m", "hermes.engine")
"""What Python runs as the engine process; the descriptor of its link and the process id of its owner follow."""

Outcome = dict[str, Any] | HermesError
"""What answers a command: the fields of its reply, or why it was refused."""

_STDERR_LINES = 20
_RECORDS_A_TURN = 16
_CLOSE_SECONDS = 0.3
"""What the engine gets on top of its modules' stop_timeout before it is killed."""


class EngineClient:
    """One engine process, driven from one loop.

    `on_record` gets every record, a reply's before the reply is passed on; `on_end` is called once when the process has
    ended, with an EngineDied where nobody asked it to.
    """

    def __init__(
        self, plan: Plan, on_record: Callable[[dict[str, Any]], None], on_end: Callable[[EngineDied | None], None]
    ) -> None:
        self._plan = plan
        self._on_record = on_record
        self._on_end = on_end
        self._pending: dict[int, Callable[[Outcome], None]] = {}
        self._next_id = 0
        self._inbox: deque[dict[str, Any]] = deque()
        self._pump_scheduled = False
        self._flush_scheduled = False
        self._closing = False
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process and send it the plan; its parent-death watch is on the calling process.

        Raises SystemRefused; nothing has then been started.
        """
        self._loop = asyncio.get_running_loop()
        self.ended = self._loop.create_future()
        with ExitStack() as undo:
            ours, theirs = obtain("connect to the engine process", socket.socketpair)
            undo.callback(ours.close)
            with theirs:
                self._stderr = obtain(
                    "keep the engine's last words", os.memfd_create, "hermes-engine-stderr", os.MFD_CLOEXEC
                )
                undo.callback(os.close, self._stderr)
                process = self._spawned(theirs.fileno())
            undo.callback(process.wait)
            undo.callback(process.kill)
            self._pidfd = obtain("watch the engine process", os.pidfd_open, process.pid)
            undo.callback(os.close, self._pidfd)
            self._link = Link(ours)
            for fd, heard in ((self._link.fileno(), self._read), (self._pidfd, self._exited)):
                obtain("listen to the engine process", self._loop.add_reader, fd, heard)
                undo.callback(self._loop.remove_reader, fd)
            undo.pop_all()
        self._process = process
        self._send({"plan": self._plan.to_json()})

    def _spawned(self, link: int) -> subprocess.Popen[bytes]:
        return obtain(
            "start the engine process",
            subprocess.Popen,
            [sys.executable, *ENGINE, str(link), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=self._stderr,
            stderr=self._stderr,
            pass_fds=(link,),
            start_new_session=True,
        )

    @property
    def pid(self) -> int | None:
        """The engine's process id, which is also the id of its process session."""
        return self._process.pid if self._process is not None else None

    def submit(self, verb: str, origin: str, reply: Callable[[Outcome], None], **fields: Any) -> None:
        """Send a command; `reply` is called once, on the loop, with its outcome."""
        self._next_id += 1
        self._pending[self._next_id] = reply
        self._send({"verb": verb, "id": self._next_id, "origin": origin, **fields})

    async def request(self, verb: str, origin: str, **fields: Any) -> dict[str, Any]:
        """Send a command and return the fields of its reply; raises the error that refused it."""
        future: asyncio.Future[dict[str, Any]] = self._loop.create_future()

        def reply(outcome: Outcome) -> None:
            if future.done():
                return
            if isinstance(outcome, HermesError):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

        self.submit(verb, origin, reply, **fields)
        return await future

    def bequeath(self, path: Path) -> None:
        """Let the engine remove a file should this process die without being able to."""
        self._send({"verb": WILL, "path": str(path)})

    def drained(self, sequence: int | None) -> None:
        """Let the engine keep every slot after `sequence` until told more; None lets it go on regardless."""
        if not self.ended.done():
            self._send({"verb": DRAINED, "sequence": sequence})

    def take_memory(self) -> int:
        """Return the descriptor of the backplane, which came with the engine's `started`; now the caller's.

        Raises SystemRefused where this process had no descriptor left to take it.
        """
        if not self._link.received_fds:
            raise missing_descriptors("take over the session's shared memory")
        return self._link.received_fds.pop(0)

    async def close(self) -> None:
        """End the engine and its modules: asked first, then killed; returns when no process is left."""
        if self._process is None:
            return
        self._closing = True
        if not self.ended.done():
            self._send({"verb": "close", "id": 0, "origin": "session"})
            try:
                await asyncio.wait_for(asyncio.shield(self.ended), self._plan.stop_timeout + _CLOSE_SECONDS)
            except TimeoutError:
                self._kill_session()
                await self.ended

    def kill(self) -> None:
        """End everything at once, from any thread and without a loop: for the interpreter's last moments."""
        if self._process is not None and not self.ended.done():
            self._kill_session()
            self._process.wait()

    def _send(self, record: dict[str, Any]) -> None:
        """Send with all else that this turn of the loop has to send: every send wakes the engine."""
        self._link.queue(record)
        if not self._flush_scheduled:
            self._flush_scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_scheduled = False
        if self.ended.done():
            return
        self._link.flush()
        if self._link.backlog:
            self._loop.add_writer(self._link.fileno(), self._flush)
        else:
            self._loop.remove_writer(self._link.fileno())

    def _read(self) -> None:
        self._inbox += self._link.receive()
        if self._link.ended:
            self._loop.remove_reader(self._link.fileno())
        self._schedule_pump()

    def _schedule_pump(self) -> None:
        if self._inbox and not self._pump_scheduled:
            self._pump_scheduled = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        """Handle what has arrived, a few records a turn: telemetry must not wait for a thousand replies."""
        self._pump_scheduled = False
        try:
            for _ in range(min(_RECORDS_A_TURN, len(self._inbox))):
                self._handle(self._inbox.popleft())
        finally:
            self._schedule_pump()

    def _handle(self, record: dict[str, Any]) -> None:
        self._on_record(record)
        if record["type"] == "reply" and (reply := self._pending.pop(record["id"], None)) is not None:
            reply(from_wire(record) if "error" in record else _fields(record))

    def _exited(self) -> None:
        """Hear the engine's last words, and settle whatever they are: else nobody could close."""
        self._loop.remove_reader(self._pidfd)
        try:
            self._read()
            while self._inbox:
                self._handle(self._inbox.popleft())
        finally:
            self._settle()

    def _settle(self) -> None:
        """Reap the engine, end whatever it left in its process session, and answer whoever still waits."""
        assert self._process is not None
        status = self._process.wait()
        death = None if self._closing else EngineDied(_reason(status), self._last_lines())
        self._loop.remove_reader(self._link.fileno())
        self._loop.remove_writer(self._link.fileno())
        self._link.close()
        for fd in (self._pidfd, self._stderr, *self._link.received_fds):
            os.close(fd)
        self._kill_session()  # now that there are descriptors to look for it with
        pending, self._pending = self._pending, {}
        for reply in pending.values():
            reply(death or SessionClosed(self._plan.name))
        self.ended.set_result(None)
        self._on_end(death)

    def _kill_session(self) -> None:
        """Kill every process of the engine's process session, itself included.

        Where this process cannot look for them, at least the engine, whose modules then end with it.
        """
        assert self._process is not None
        try:
            entries = attempt(os.listdir, "/proc")
        except OSError as error:
            log.warning("cannot look for processes that modules have left: %s", error.strerror)
            entries = []
            self._process.kill()
        for entry in entries:
            with suppress(ValueError, ProcessLookupError, PermissionError):
                if os.getsid(int(entry)) == self._process.pid:
                    os.kill(int(entry), signal.SIGKILL)

    def _last_lines(self) -> list[str]:
        size = os.fstat(self._stderr).st_size
        text = os.pread(self._stderr, 1 << 16, max(0, size - (1 << 16))).decode("utf-8", "replace")
        return text.splitlines()[-_STDERR_LINES:]


def _fields(record: dict[str, Any]) -> dict[str, Any]:
    """Return what a reply says, without what only carried it."""
    return {key: value for key, value in record.items() if key not in ("type", "id", "state")}


def _reason(status: int) -> str:
    return f"exit code {status}" if status >= 0 else f"signal {signal.Signals(-status).name}"
