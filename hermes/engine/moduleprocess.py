"""One module's process: how it is started, what it has sent, and how it ended.

An exit is learnt from a pidfd, never from an end of file, which a grandchild can hold back.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress

from hermes.backplane.channel import Channel, Record
from hermes.backplane.handshake import signals_in
from hermes.backplane.signals import Signal
from hermes.engine.plan import ModulePlan
from hermes.errors import ModuleDied, ModuleError, ModuleFailed

THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""Thread counts change results between processes, so modules get one thread unless their `env` says otherwise."""


class ModuleProcess:
    """One running module process and its control channel."""

    def __init__(self, plan: ModulePlan, seed: int) -> None:
        """Spawn it; its output is in `stdout` and `stderr` until somebody takes them."""
        self.name = plan.name
        self.signals: tuple[Signal, ...] = ()
        self.declared = False
        self.ready = False
        self._records: list[Record] = []
        self.channel, theirs = Channel.pair()
        own = {"HERMES_FD": str(theirs.fileno()), "HERMES_ENGINE_PID": str(os.getpid()), "PYTHONUNBUFFERED": "1"}
        with theirs:
            self._popen = subprocess.Popen(
                [sys.executable, "-m", "hermes.worker", plan.name],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(theirs.fileno(),),
                process_group=0,
                env={**os.environ, "PYTHONHASHSEED": str(seed), **THREADS, **plan.env, **own},
            )
        self.pid = self._popen.pid
        self.pidfd = os.pidfd_open(self.pid)
        self._send_spec(plan)

    def _send_spec(self, plan: ModulePlan) -> None:
        spec = os.memfd_create("hermes-module", os.MFD_CLOEXEC)
        try:
            os.write(spec, json.dumps(plan.spec).encode())
            with suppress(OSError):  # it died already: its exit says more
                self.channel.send("module", self.name, fds=[spec])
        finally:
            os.close(spec)

    def take_output(self) -> tuple[int, int]:
        """Hand over the read ends of stdout and stderr."""
        assert self._popen.stdout is not None
        assert self._popen.stderr is not None
        with self._popen.stdout as out, self._popen.stderr as err:
            return os.dup(out.fileno()), os.dup(err.fileno())

    @property
    def exited(self) -> bool:
        """Whether the process has ended; it stays unreaped, so that its id cannot be taken by another."""
        return self._exit() is not None

    def _exit(self) -> os.waitid_result | None:
        return os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)

    def read_records(self) -> None:
        """Take what the module has sent: its signals, that it is ready, or its error."""
        while (record := self.channel.receive(wait=False)) is not None:
            for fd in record.fds:
                os.close(fd)
            self._records.append(record)
            if record.verb == "declared":
                self.signals = tuple(signals_in(self.name, self._records))
                self.declared = True
            self.ready = self.ready or record.verb == "ready"

    def failure(self, frame: int, phase: str, last_lines: list[str]) -> ModuleError:
        """Say why the process, which has ended, did so: the error it sent, or its exit code or signal."""
        self.read_records()
        for record in self._records:
            if record.verb == "error":
                message, traceback = (*record.fields, "", "")[:2]
                return ModuleFailed(self.name, frame, phase, message, traceback)
        return ModuleDied(self.name, frame, phase, _reason(self._exit()), last_lines)

    def signal_group(self, number: int) -> None:
        """Send a signal to the module's process group, grandchildren included."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def reap(self) -> None:
        """Kill what is left of the group, reap the process and close its descriptors."""
        self.signal_group(signal.SIGKILL)
        self._popen.wait()
        os.close(self.pidfd)
        self.channel.close()


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
