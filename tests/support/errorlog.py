"""What is logged as an error while a test listens."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


class ErrorLog(logging.Handler):
    """Keeps what is logged as an error, or with a traceback."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record."""
        if record.levelno >= logging.ERROR or record.exc_info:
            self.found.append(f"{record.name}: {record.getMessage()} {record.exc_info}")

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hear everything while this lasts."""
        own, loop = logging.getLogger("hermes"), logging.getLogger("asyncio")
        level = own.level
        own.setLevel(logging.DEBUG)
        own.addHandler(self)
        loop.addHandler(self)
        try:
            yield
        finally:
            own.setLevel(level)
            own.removeHandler(self)
            loop.removeHandler(self)
