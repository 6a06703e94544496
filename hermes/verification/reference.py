"""Every frame of the run that others are held against, in a temporary file without a name.

A row is a frame: its fingerprint, then every signal's cell. The file vanishes with the process, however that ends.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence

import numpy as np

from hermes.backplane.layout import CELL
from hermes.backplane.signals import Signal
from hermes.errors import HermesError
from hermes.history.rows import CELLS, FINGERPRINT, Words

PRINT_WORDS = 2
"""Words of a fingerprint: the first ones of a row."""


class Reference:
    """Rows in the order of frames, from frame 0 on."""

    def __init__(self, signals: Sequence[Signal], frames: int) -> None:
        """Prepare for so many frames; raises HermesError where the disk has no room for them."""
        self.signals = tuple(signals)
        self.count = 0
        self._width = PRINT_WORDS + len(self.signals)
        self._file = tempfile.TemporaryFile(prefix="hermes-verify-")  # noqa: SIM115 - closed by `close`
        self._refuse_too_much(frames)

    def append(self, rows: Words) -> None:
        """Add rows; raises HermesError where the disk is full."""
        try:
            self._file.write(np.ascontiguousarray(rows).tobytes())
            self._file.flush()
        except OSError as error:
            raise HermesError(message=f"cannot keep frames in {tempfile.gettempdir()}: {error.strerror}") from None
        self.count += len(rows)

    def rows(self, first: int, count: int) -> Words:
        """Return the rows of `count` frames from `first` on, fewer where there are fewer."""
        size = CELL * self._width
        data = os.pread(self._file.fileno(), count * size, first * size)
        return np.frombuffer(data[: len(data) // size * size], "<u8").reshape(-1, self._width)

    def close(self) -> None:
        """Give the disk back."""
        self._file.close()

    def _refuse_too_much(self, frames: int) -> None:
        folder = tempfile.gettempdir()
        needed, free = frames * CELL * self._width, shutil.disk_usage(folder).free
        if needed > free:
            self.close()
            raise HermesError(
                message=f"comparing {frames} frames of {len(self.signals)} signals takes {needed / 1e9:.1f} GB "
                f"in {folder}, which has {free / 1e9:.1f} GB free; take an earlier end, or another folder (TMPDIR)"
            )


def rows_of(slots: Words, signals: int) -> Words:
    """Return the words of slots of the ring that are compared: fingerprint and cells."""
    chosen = [*range(FINGERPRINT, FINGERPRINT + PRINT_WORDS), *range(CELLS, CELLS + signals)]
    found: Words = slots[:, chosen]
    return found
