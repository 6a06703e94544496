"""The modules of a run: the `ProcessManager` starts, watches and ends the worker processes that host them.

Workers are started from the engine's main thread only, because their parent-death signal fires when the thread that
spawned them ends. An exit is learnt from a pidfd, never from an end of file, which a grandchild can hold back.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterable, Sequence

from hermes.backplane.handshake import layout_fields
from hermes.backplane.shm import SharedMemoryManager
from hermes.backplane.signals import Signal, SignalRegistry
from hermes.backplane.sync import AT, DT, DUE, EngineGate, Opcode, float_bits, new_events, readable
from hermes.engine.moduleprocess import WorkerProcess
from hermes.engine.output import OutputDrain
from hermes.engine.plan import ModulePlan, Plan
from hermes.engine.redeclaration import redeclared
from hermes.engine.stacks import StackFile
from hermes.errors import ConfigurationError, ModuleError, ModuleHung, Problem, SystemRefused
from hermes.frametime import FrameClock

_BESIDE = " (new)"
"""Marks, by its worker's name, the output of a process that is not in that worker's place yet."""


def _discard_output(_module: str, _stream: str, _lines: list[bytes]) -> None:
    """Take what modules print where nobody asked for it."""


def _go_on() -> None:
    """Take an interruption that means nothing."""


class ProcessManager:
    """The modules of a run: started and declared on entering, ended on leaving.

    `processes` and `gates` are by the names of the workers; a module without one of its own choice has one to itself,
    by its own name.

    `shm` is the backplane, made when every module has declared its signals. `watched` are further descriptors (the
    engine's owner) that end every wait; `interrupted` is asked when one of them is readable and may raise.
    """

    def __init__(
        self,
        plan: Plan,
        handed_on: Callable[[str, str, list[bytes]], None] = _discard_output,
        watched: Iterable[int] = (),
        interrupted: Callable[[], None] = _go_on,
    ) -> None:
        self.plan = plan
        self._handed_on = handed_on
        self._watched = tuple(watched)
        self._interrupted = interrupted
        self.processes: dict[str, WorkerProcess] = {}
        self.gates: dict[str, EngineGate] = {}
        self._shm: SharedMemoryManager | None = None
        self._drain: OutputDrain | None = None
        self._stacks = StackFile()

    def __enter__(self) -> ProcessManager:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    @property
    def shm(self) -> SharedMemoryManager:
        """The backplane of the started modules."""
        assert self._shm is not None, "not started"
        return self._shm

    def start(self) -> None:
        """Start every module, make the backplane from what they declare, and wait until all are ready.

        Raises ModuleFailed, ModuleDied, ModuleHung, ConfigurationError or SystemRefused.
        """
        self._drain = OutputDrain(self._handed_on)
        limit = time.monotonic() + self.plan.start_timeout
        self._spawn(self._start_order())
        self._await("declared", limit)
        self._shm = self._make_backplane()
        self._make_gates()
        self._send_layouts(list(self.processes), limit)

    def gone(self) -> list[str]:
        """Return the workers that have ended, or wait for what a start that failed for another never gave them."""
        return [name for name in self.plan.workers if self._gone(name)]

    def restart(self, names: Sequence[str]) -> list[Signal]:
        """Start a new process for each of these workers, whatever the old one is doing.

        Returns the signals that it declares with other initial values or descriptions. Raises what `start` raises, and
        ConfigurationError where it declares other signals.
        """
        for name in names:
            self._discard(name)
            self.gates[name].done[AT] = 0  # what the old process was at says nothing of the new one
        limit = time.monotonic() + self.plan.start_timeout
        self._spawn(names)
        self._await("declared", limit)
        declared = [one for name in names for one in self.processes[name].signals.items()]
        changed = [signal for name, signals in declared for signal in redeclared(self.shm.registry, name, signals)]
        self._join(names, limit)
        return changed

    def spawn_beside(self, module: ModulePlan) -> WorkerProcess:
        """Start a process that may take the place of the one that hosts this module alone; the caller's until then.

        Raises SystemRefused.
        """
        assert self._drain is not None
        worker = self.plan.worker_of(module.name)
        process = WorkerProcess(worker, (module,), self.plan.seed, self._stacks.fd)
        try:
            self._drain.add(worker, *process.take_output(), key=worker + _BESIDE)
        except SystemRefused:
            process.reap()
            raise
        return process

    def discard_beside(self, process: WorkerProcess) -> None:
        """End a process that takes nobody's place."""
        process.reap()
        if self._drain is not None:
            self._drain.remove(process.name + _BESIDE)

    def failure_beside(self, process: WorkerProcess) -> ModuleError:
        """Say why a process that was to take another's place has ended."""
        assert self._drain is not None
        return process.failure(0, "start", 0, self._drain.last_lines(process.name + _BESIDE))

    def hung_beside(self, process: WorkerProcess) -> ModuleHung:
        """Say where a process hangs that was to take another's place; it may take a moment only, as frames wait."""
        assert self._drain is not None
        lines, stack = self._drain.last_lines(process.name + _BESIDE), self._stacks.ask(process.pidfd, looks=10)
        return ModuleHung(process.module_at(0), 0, "start", self.plan.start_timeout, lines, stack)

    def succeed(self, process: WorkerProcess, module: ModulePlan) -> None:
        """Let a process that has declared its signals take the place of the present one, which ends first.

        To be called between two frames. Raises ModuleError; the old process is gone then all the same.
        """
        assert self._drain is not None
        self._dismiss(process.name)
        self.gates[process.name].done[AT] = 0
        self.plan = self.plan.with_module(module)
        self.processes[process.name] = process
        self._drain.rename(process.name + _BESIDE, process.name)
        self._join([process.name], time.monotonic() + self.plan.start_timeout)

    def exchange(self, process: WorkerProcess, module: ModulePlan) -> None:
        """Let `module` be what is started at the next reset, in place of what is there; `process` has tried it out.

        Raises ConfigurationError where that declares other signals.
        """
        redeclared(self.shm.registry, module.name, process.signals[module.name])
        self._discard(process.name)
        self.plan = self.plan.with_module(module)

    def _join(self, names: Sequence[str], limit: float) -> None:
        """Join new processes to the memory and the gates of those before them."""
        for name in names:
            self.gates[name].renew()
        self._send_layouts(names, limit)

    def _dismiss(self, name: str) -> None:
        """End one worker: asked, and killed once it has said that it ends or `stop_timeout` is over."""
        process, gate = self.processes[name], self.gates[name]
        if gate.finished and not process.exited:
            gate.release(Opcode.STOP)
            limit = time.monotonic() + self.plan.stop_timeout
            while not (process.left or process.exited) and (remaining := limit - time.monotonic()) > 0:
                readable([process.channel.fileno(), process.pidfd], remaining)
                process.read_records()
        self._discard(name)

    def stop(self) -> None:
        """End every module: asked, then terminated, then killed, within `stop_timeout`; then free the memory."""
        begin = time.monotonic()
        for name, gate in self.gates.items():
            if name in self.processes and gate.finished:
                gate.release(Opcode.STOP)
        self._await_exits(begin + 0.5 * self.plan.stop_timeout if self.gates else begin)
        for process in self.processes.values():
            process.signal_group(signal.SIGTERM)
        self._await_exits(begin + self.plan.stop_timeout)
        for name in list(self.processes):
            self._discard(name)
        if self._drain is not None:
            self._drain.stop()
            self._drain = None
        self._stacks.close()
        for gate in self.gates.values():
            gate.detach()
        self.gates.clear()
        if self._shm is not None:
            self._shm.close()
            self._shm = None

    def failure(self, name: str, frame: int, phase: str) -> ModuleError:
        """Say why a worker that has ended did so."""
        return self.processes[name].failure(frame, phase, self._at(name), self._last_lines(name))

    def kill_hung(self, names: Sequence[str], frame: int, phase: str, timeout: float) -> ModuleHung:
        """End the first of some workers that do not answer, and say so of all."""
        name, process = names[0], self.processes[names[0]]
        lines, at = self._last_lines(name), self._at(name)
        stack = self._stacks.ask(process.pidfd)
        process.signal_group(signal.SIGKILL)
        readable([process.pidfd])
        waiting = [self.processes[one].module_at(self._at(one)) for one in names]
        return ModuleHung(waiting[0], frame, phase, timeout, lines, stack, waiting, **process.shared_at(at))

    def _at(self, name: str) -> int:
        """Return the module that a worker says it is at; 0 before it has memory to say so."""
        return int(self.gates[name].done[AT]) if name in self.gates else 0

    def _start_order(self) -> list[str]:
        names = list(self.plan.workers)
        if self.plan.perturbation is not None:
            random.Random(self.plan.perturbation).shuffle(names)
        return names

    def _gone(self, name: str) -> bool:
        process = self.processes.get(name)
        return process is None or process.exited or not process.ready

    def _last_lines(self, name: str) -> list[str]:
        return self._drain.last_lines(name) if self._drain is not None else []

    def _spawn(self, names: Iterable[str]) -> None:
        assert self._drain is not None
        for name in names:
            process = WorkerProcess(name, self.plan.workers[name], self.plan.seed, self._stacks.fd)
            self.processes[name] = process
            self._drain.add(name, *process.take_output())

    def _discard(self, name: str) -> None:
        process = self.processes.pop(name, None)
        if process is not None:
            process.reap()
            if self._drain is not None:
                self._drain.remove(name)

    def _await(self, attribute: str, limit: float) -> None:
        """Wait until every process has sent its signals, or is ready."""
        while waiting := [process for process in self.processes.values() if not getattr(process, attribute)]:
            remaining = limit - time.monotonic()
            if remaining <= 0:
                raise self.kill_hung([process.name for process in waiting], 0, "start", self.plan.start_timeout)
            of_modules = [fd for process in waiting for fd in (process.channel.fileno(), process.pidfd)]
            if any(fd in self._watched for fd in readable([*self._watched, *of_modules], remaining)):
                self._interrupted()
            for process in waiting:
                process.read_records()
                if not getattr(process, attribute) and process.exited:
                    raise self.failure(process.name, 0, "start")

    def _make_backplane(self) -> SharedMemoryManager:
        declared = {name: signals for process in self.processes.values() for name, signals in process.signals.items()}
        registry = SignalRegistry(signal for module in self.plan.modules for signal in declared[module.name])
        for name, signals in declared.items():
            if not signals:
                raise ConfigurationError([Problem(f"modules.{name}", f"module {name} declares no signal")])
        return SharedMemoryManager.create(registry, rate=self.plan.rate, history=self.plan.history)

    def _make_gates(self) -> None:
        """Give each worker the lines of its first module, and each module the length of its step."""
        blocks = {module.name: module for module in self.shm.layout.modules}
        for worker, modules in self.plan.workers.items():
            for number, module in enumerate(modules):
                memory = self.shm.module_memory(blocks[module.name])
                memory.go[DT] = float_bits(FrameClock(*self.plan.rate).time(module.every))
                if number == 0:
                    memory.go[DUE] = (1 << len(modules)) - 1
                    self.gates[worker] = EngineGate(memory.go, memory.done, *new_events(worker))

    def _send_layouts(self, names: Iterable[str], limit: float) -> None:
        blocks = {module.name: module for module in self.shm.layout.modules}
        for name in names:
            gate, process = self.gates[name], self.processes[name]
            fds = [self.shm.fd, gate.go_event, gate.done_event]
            for module in process.modules:
                fields = layout_fields(self.shm.layout.size, blocks[module])
                process.hand_over(f"hand its memory to module {module}", "layout", *fields, fds=fds)
        self._await("ready", limit)

    def _await_exits(self, limit: float) -> None:
        running = {process.pidfd for process in self.processes.values()}
        while running and (remaining := limit - time.monotonic()) > 0:
            running -= readable(running, remaining)
