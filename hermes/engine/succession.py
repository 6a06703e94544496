"""New processes in the place of old ones while the run goes on: a module that is replaced, or restarted as it failed.

The memory, the other modules and the count of frames stay; the new process begins at its initial conditions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hermes.backplane.signals import Signal, SignalKind, encode_cell
from hermes.backplane.sync import GO, EngineGate, Opcode
from hermes.engine.journal import Fingerprint
from hermes.engine.moduleprocess import WorkerProcess
from hermes.engine.plan import ModulePlan
from hermes.engine.process import ProcessManager
from hermes.engine.redeclaration import redeclared
from hermes.engine.rendezvous import Rendezvous
from hermes.errors import ModuleError


class Succession:
    """What changes who computes; everything here happens between two frames, or while one waits for it.

    `restarted` learns why a module was started anew and how often that was since the reset, `redeclared` which signals
    have another initial value or description now.
    """

    def __init__(
        self,
        manager: ProcessManager,
        rendezvous: Rendezvous,
        fingerprint: Fingerprint,
        restarted: Callable[[ModuleError, int], None],
        redeclared: Callable[[Sequence[Signal]], None],
    ) -> None:
        self._manager = manager
        self._rendezvous = rendezvous
        self._fingerprint = fingerprint
        self._tell_restart = restarted
        self._tell_redeclared = redeclared
        self._restarts: dict[str, int] = {}
        rendezvous.recover = self.recover

    def revive(self) -> None:
        """Start every worker anew that has ended, before a reset; raises ModuleError and ConfigurationError."""
        gone = self._manager.gone()
        if gone:
            self._redeclare(self._manager.restart(gone))
        if gone or not self._rendezvous.watching:
            self._rendezvous.watch()
        self._restarts.clear()

    def replace(self, process: WorkerProcess, module: ModulePlan, source: str) -> None:
        """Let a process that has declared its signals take a module's place, from its initial conditions on.

        Its inputs keep their values, its parameters and outputs get their initial ones. Raises ModuleError, and
        ConfigurationError where it declares other signals; then nothing has changed.
        """
        (signals,) = process.signals.values()
        changed = redeclared(self._manager.shm.registry, module.name, signals)
        self._manager.succeed(process, module)
        self._redeclare(changed)
        for index, signal in enumerate(self._manager.shm.registry):
            if signal.module == module.name and signal.kind is SignalKind.PARAMETER:
                self._manager.shm.write_cell(index, encode_cell(signal, signal.initial))
        self._fingerprint.note_source(module.name, source)
        self._take_up(process.name)

    def _redeclare(self, signals: Sequence[Signal]) -> None:
        """Take over other initial values and descriptions; they count from the next reset on."""
        if signals:
            for signal in signals:
                self._manager.shm.registry.redeclare(signal)
            self._fingerprint.redescribe(self._manager.shm.registry)
            self._tell_redeclared(signals)

    def recover(self, error: ModuleError, gates: Sequence[EngineGate] = ()) -> None:
        """Start a module that failed anew, if it may be; raises the error where not, or what prevents it.

        Its inputs and parameters keep their values. Where its gate is among `gates`, which are at a step, it makes
        that step again.
        """
        worker = self._manager.plan.worker_of(error.module)
        times = self._restarts.get(worker, 0) + 1
        if times > self._manager.plan.workers[worker][0].restarts:
            raise error
        self._restarts[worker] = times
        self._redeclare(self._manager.restart([worker]))
        self._take_up(worker)
        self._tell_restart(error, times)
        gate = self._manager.gates[worker]
        if gate in gates:
            self._rendezvous.release([gate], Opcode.STEP)

    def _take_up(self, worker: str) -> None:
        """Let a worker's new process return to its initial conditions."""
        self._rendezvous.watch()
        gate = self._manager.gates[worker]
        self._rendezvous.stamp = max(self._rendezvous.stamp, gate.go[GO])
        self._rendezvous.let([gate], Opcode.RESET)
