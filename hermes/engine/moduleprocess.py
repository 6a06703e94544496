"""One worker process and the modules in it: how it is started, what it has sent, and how it ended.

An exit is learnt from a pidfd, never from an end of file, which a grandchild can hold back.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import Any

from hermes.backplane.channel import Channel, Record
from hermes.backplane.handshake import signals_in
from hermes.backplane.signals import Signal
from hermes.engine.plan import ModulePlan
from hermes.errors import ModuleDied, ModuleError, ModuleFailed, SystemRefused
from hermes.system import obtain

WORKER = ("-m", "hermes.worker")
"""What Python runs as a module's process; the names of its modules follow."""

THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""Thread counts change results between processes, so modules get one thread unless their `env` says otherwise."""


class WorkerProcess:
    """One running process, which hosts one module or several, and its control channel."""

    def __init__(self, name: str, modules: Sequence[ModulePlan], seed: int, stacks: int) -> None:
        """Spawn it; its output is in `stdout` and `stderr` until somebody takes them. Raises SystemRefused.

        `stacks` is the descriptor into which it writes where it is when it is asked.
        """
        self.name = name
        self.modules = tuple(module.name for module in modules)
        self.signals: dict[str, tuple[Signal, ...]] = {}
        self.ready = False
        self.left = False
        self._records: list[Record] = []
        with ExitStack() as undo:
            self.channel, theirs = Channel.pair()
            undo.callback(self.channel.close)
            with theirs:
                env = {"PYTHONHASHSEED": str(seed), **THREADS, **modules[0].env}
                self._popen = self._spawned(theirs.fileno(), stacks, env)
            self.pid = self._popen.pid
            undo.callback(self._end)
            self.pidfd = obtain(f"watch the process of {self._shown}", os.pidfd_open, self.pid)
            undo.callback(os.close, self.pidfd)
            for module in modules:
                self._send_spec(module)
            undo.pop_all()

    @property
    def _shown(self) -> str:
        return f"module{'s' * (len(self.modules) > 1)} {', '.join(self.modules)}"

    def _spawned(self, fd: int, stacks: int, env: dict[str, str]) -> subprocess.Popen[bytes]:
        numbers = {"HERMES_FD": str(fd), "HERMES_ENGINE_PID": str(os.getpid()), "HERMES_STACK_FD": str(stacks)}
        own = {**numbers, "PYTHONUNBUFFERED": "1"}
        return obtain(
            f"start the process of {self._shown}",
            subprocess.Popen,
            [sys.executable, *WORKER, *self.modules],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(fd, stacks),
            process_group=0,
            env={**os.environ, **env, **own},
        )

    def _send_spec(self, module: ModulePlan) -> None:
        needed = f"hand its specification to module {module.name}"
        spec = obtain(needed, os.memfd_create, "hermes-module", os.MFD_CLOEXEC)
        try:
            obtain(needed, os.write, spec, json.dumps(module.spec).encode())
            self.hand_over(needed, "module", module.name, fds=[spec])
        finally:
            os.close(spec)

    def hand_over(self, needed: str, verb: str, *fields: str, fds: Sequence[int]) -> None:
        """Send a record with descriptors that are `needed` for something; raises SystemRefused."""
        try:
            self.channel.send(verb, *fields, fds=fds)
        except ConnectionError:  # it died already: its exit says more
            return
        except SystemRefused as error:
            raise SystemRefused(**{**error.fields, "needed": needed}) from error

    def take_output(self) -> tuple[int, int]:
        """Hand over the read ends of stdout and stderr; raises SystemRefused."""
        assert self._popen.stdout is not None
        assert self._popen.stderr is not None
        needed = f"read what {self._shown} prints"
        with self._popen.stdout as out, self._popen.stderr as err, ExitStack() as undo:
            first = obtain(needed, os.dup, out.fileno())
            undo.callback(os.close, first)
            second = obtain(needed, os.dup, err.fileno())
            undo.pop_all()
        return first, second

    @property
    def exited(self) -> bool:
        """Whether the process has ended; it stays unreaped, so that its id cannot be taken by another."""
        return self._exit() is not None

    def _exit(self) -> os.waitid_result | None:
        return os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)

    @property
    def declared(self) -> bool:
        """Whether every module of the process has sent its signals."""
        return len(self.signals) == len(self.modules)

    def read_records(self) -> None:
        """Take what the process has sent: each module's signals in turn, that all are ready, an error, a farewell."""
        while (record := self.channel.receive(wait=False)) is not None:
            for fd in record.fds:
                os.close(fd)
            self._records.append(record)
            if record.verb == "declared" and not self.declared:
                name = self.modules[len(self.signals)]
                self.signals[name] = tuple(signals_in(name, self._records))
                self._records.clear()
            self.ready = self.ready or record.verb == "ready"
            self.left = self.left or record.verb == "bye"

    def failure(self, frame: int, phase: str, at: int, last_lines: list[str]) -> ModuleError:
        """Say why the process, which has ended, did so: the error it sent, or its exit code or signal.

        `at` is the module it was at, counted from 1; 0 where that is not known.
        """
        self.read_records()
        for record in self._records:
            if record.verb == "error":
                message, traceback, name = (*record.fields, "", "", "")[:3]
                named = name if name in self.modules else self.module_at(at)
                return ModuleFailed(named, frame, phase, message, traceback)
        return ModuleDied(self.module_at(at), frame, phase, _reason(self._exit()), last_lines, **self.shared_at(at))

    def shared_at(self, at: int) -> dict[str, Any]:
        """Return the fields by which an error names the whole process, where no module of several is known to be it."""
        unknown = at == 0 and len(self.modules) > 1 and self.declared
        return {"worker": self.name, "modules": self.modules} if unknown else {}

    def module_at(self, at: int) -> str:
        """Return the module that the process was at; while it starts, the first that has not declared its signals."""
        if 1 <= at <= len(self.modules):
            return self.modules[at - 1]
        return self.modules[len(self.signals) % len(self.modules)]

    def signal_group(self, number: int) -> None:
        """Send a signal to the module's process group, grandchildren included."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def reap(self) -> None:
        """Kill what is left of the group, reap the process and close its descriptors."""
        self._end()
        os.close(self.pidfd)
        self.channel.close()

    def _end(self) -> None:
        self.signal_group(signal.SIGKILL)
        self._popen.wait()
        for pipe in (self._popen.stdout, self._popen.stderr):
            if pipe is not None:
                pipe.close()


def _reason(ended: os.waitid_result | None) -> str:
    """Say how a process ended: by its exit code or by a signal."""
    if ended is None:
        return "its control channel closed"
    if ended.si_code == os.CLD_EXITED:
        return f"exit code {ended.si_status}"
    try:
        return f"signal {signal.Signals(ended.si_status).name}"
    except ValueError:
        return f"signal {ended.si_status}"
