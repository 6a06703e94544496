"""The owner at the other end of the link: the commands it has sent, and what is to be done when it is gone."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from hermes.backplane.link import DRAINED, UNDRAINED, WILL, Link
from hermes.engine.reader import LosslessReader
from hermes.lifecycle import Verb


class OwnerGoneError(Exception):
    """The process that owns the session has disappeared."""


class Closing(Exception):
    """The owner asked the engine to end."""


class Owner:
    """What the owner has sent and the engine has not yet done: `waiting` commands in the order of arrival."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._will: str | None = None
        self.waiting: list[dict[str, Any]] = []
        self.slots = 0  # of the ring, once there is one
        self._reader: LosslessReader | None = None

    def read(self) -> None:
        """Take what the owner has sent; raises Closing and OwnerGoneError."""
        if self._link.backlog:
            self._link.flush()
        self._sort(self._link.receive())
        if self._link.ended:
            raise OwnerGoneError

    def room(self, committed: int) -> int | None:
        """Return how many frames may follow before a reader misses one, None for any number.

        Where half of the ring waits for the reader, the owner has been asked to drain it and will answer.
        """
        return None if self._reader is None else self._reader.room(committed)

    def execute_will(self) -> None:
        """Remove the file that the owner, who can no longer do it, has asked to be removed after its death."""
        if self._will is not None:
            with suppress(OSError):
                Path(self._will).unlink()

    def _sort(self, records: Iterable[dict[str, Any]]) -> None:
        closing = False
        for record in records:
            match record["verb"]:
                case verb if verb == WILL:
                    self._will = record["path"]
                case verb if verb == DRAINED:
                    self._reader = self._reader_at(record["sequence"])
                case Verb.CLOSE:
                    closing = True
                case _:
                    self.waiting.append(record)
        if closing:
            raise Closing

    def _reader_at(self, sequence: int | None) -> LosslessReader | None:
        if sequence is None:
            return None
        return LosslessReader(self.slots, sequence, lambda: self._link.send({"type": UNDRAINED}))
