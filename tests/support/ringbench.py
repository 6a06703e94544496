"""A feed over memory that the test itself commits to, and what a drain of it must find."""

from __future__ import annotations

from typing import Any

from hermes.backplane.shm import SharedMemoryManager
from hermes.backplane.signals import Signal, SignalRegistry, SignalType, encode_cell
from hermes.history.feed import Feed

SLOTS = 8


class Bench:
    """Commits frames as an engine does; every slot's cells hold its sequence. Made on a running loop."""

    def __init__(self, budget: int = 1 << 20) -> None:
        kinds = {"m": SignalType.I64, "n": SignalType.F64}
        registry = SignalRegistry(
            Signal(module, name, type=kind, unit="m", initial=0) for module, kind in kinds.items() for name in "xy"
        )
        self.shm = SharedMemoryManager.create(registry, rate=(10, 1), history=SLOTS)
        self.feed = Feed(budget)
        self.running = False
        self.reports: list[int | None] = []
        self.epoch = self.frame = self.sequence = 0
        self.committed: list[tuple[int, int]] = []
        self.feed.open(self.shm, lambda: self.running, self.reports.append)

    def commit(self) -> None:
        """Publish the frame as it stands."""
        self.sequence += 1
        self.committed.append((self.epoch, self.frame))
        for name in ("m.x", "m.y", "n.x", "n.y"):
            index = self.shm.registry.index(name)
            signal = self.shm.registry.at(index)
            value = self.sequence if signal.type is SignalType.I64 else float(self.sequence)
            self.shm.write_cell(index, encode_cell(signal, value))
        self.shm.writer.stage()
        self.shm.writer.publish(self.epoch, self.frame, self.frame / 10)

    def step(self, count: int = 1) -> None:
        """Compute frames."""
        for _ in range(count):
            self.frame += 1
            self.commit()

    def reset(self) -> list[dict[str, Any]]:
        """Begin a new epoch; return what the engine says of it."""
        entry = {"frame": self.frame, "verb": "reset", "origin": "python"}
        self.epoch, self.frame = self.epoch + 1, 0
        self.commit()
        return [{"type": "journal", "entry": entry}, {"type": "event", "event": "reset", "frame": 0}]

    def close(self) -> None:
        """Free the memory."""
        self.feed.close()
        self.shm.close()
