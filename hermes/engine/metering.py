"""How long modules and frames take, kept so that measuring costs a frame about a microsecond whatever the modules are.

Per frame the modules' step times are gathered into one row of a table; when the table is full, or somebody asks, it is
folded into histograms whose bins are 2 % wide. Paced frames are all measured, of others about one in
`Meter.SAMPLED`, at random gaps: with equal ones a module that steps in every other frame might never be seen.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from hermes.backplane.layout import CELL
from hermes.backplane.shm import SharedMemoryManager
from hermes.backplane.sync import STEP_NS
from hermes.engine.plan import Plan
from hermes.engine.schedule import phases
from hermes.frametime import FrameClock

_ROWS = 512
_BINS_PER_OCTAVE = 32
_OCTAVES = 48  # to 2^48 ns, three days
_LONGEST = np.uint64(2**_OCTAVES)  # what a module writes into its word may be anything


class Histogram:
    """Durations in nanoseconds by bins of equal ratio; quantiles are exact to half a bin, 1.1 %, the maximum fully."""

    def __init__(self) -> None:
        self._counts = np.zeros(_OCTAVES * _BINS_PER_OCTAVE, np.int64)
        self.count = 0
        self.max = 0

    def add(self, values: np.ndarray[Any, Any]) -> None:
        """Take in durations; what is below 1 ns counts as 1."""
        if len(values):
            bins = (np.log2(np.maximum(values, 1)) * _BINS_PER_OCTAVE).astype(np.intp)
            self._counts += np.bincount(np.minimum(bins, len(self._counts) - 1), minlength=len(self._counts))
            self.count += len(values)
            self.max = max(self.max, int(values.max()))

    def quantile(self, share: float) -> int:
        """Return the duration that this share of all durations does not exceed; 0 where there is none."""
        if not self.count:
            return 0
        place = int(np.searchsorted(np.cumsum(self._counts), max(1, share * self.count)))
        return min(self.max, round(2 ** ((place + 0.5) / _BINS_PER_OCTAVE)))

    def summary(self) -> dict[str, int]:
        """Return count, median, 99th percentile and maximum."""
        return {"count": self.count, "p50": self.quantile(0.5), "p99": self.quantile(0.99), "max": self.max}


class Meter:
    """The step times of all modules and the durations of frames since the last reset."""

    SAMPLED = 16
    """Where nothing is paced, one frame of about this many is measured."""

    def __init__(self, plan: Plan, shm: SharedMemoryManager) -> None:
        self._names = [module.name for module in plan.modules]
        lines = {block.name: block.done // CELL + STEP_NS for block in shm.layout.modules}
        self._at = np.array([lines[name] for name in self._names], np.intp)
        self._period_ns = FrameClock(*plan.rate).time_ns(1)
        self._every = np.array([module.every for module in plan.modules], np.int64)
        self._view = shm.words("Q")
        self._words: np.ndarray[Any, Any] | None = np.asarray(self._view)
        self._steps = np.zeros((_ROWS, len(self._names)), np.uint64)
        self._rows = list(self._steps)
        self._frames = np.zeros(_ROWS, np.int64)
        self._work = np.zeros(_ROWS, np.int64)
        self._late = np.zeros(_ROWS, np.int64)
        columns = {name: column for column, name in enumerate(self._names)}
        self._phases = [
            [held for worker in plan.workers.values() if (held := [columns[m.name] for m in worker if m.name in phase])]
            for phase in phases(plan)
        ]
        self.restart()

    def restart(self) -> None:
        """Forget everything, at reset."""
        self.next = 1
        self._gap = random.Random(0).randrange
        self._count = self._late_count = self._late_wakeups = 0
        self._module_steps = [Histogram() for _ in self._names]
        self._frame_work, self._critical, self._lateness = Histogram(), Histogram(), Histogram()
        self._share = np.zeros(len(self._names))
        self._overruns = dict.fromkeys(self._names, 0)

    def take(self, frame: int, work_ns: int) -> None:
        """Take in the frame that has just been computed, now the `frame`-th; set `next`, to be measured if unpaced."""
        if self._count == _ROWS:
            self._fold()
        row = self._count
        self._words.take(self._at, out=self._rows[row], mode="clip")  # type: ignore[union-attr]
        self._frames[row] = frame
        self._work[row] = work_ns
        self._count = row + 1
        self.next = frame + self._gap(1, 2 * self.SAMPLED)

    def late(self, late_ns: int) -> None:
        """Take in how long after its deadline the engine was woken."""
        self._late[self._late_count] = late_ns
        self._late_count += 1
        if self._late_count == _ROWS:
            self._fold()

    def overran(self) -> tuple[str, int]:
        """Count an overrun of the newest frame; return the module most at fault and its step time in nanoseconds."""
        assert self._count, "a paced frame is measured before it is judged"
        steps = self._due_steps(slice(self._count - 1, self._count))
        column = max(self._critical_columns(steps), key=lambda one: int(steps[0, one]))
        name = self._names[column]
        self._overruns[name] += 1
        return name, int(steps[0, column])

    def report(self) -> dict[str, Any]:
        """Return what has been measured as JSON values, durations in nanoseconds."""
        self._fold()
        whole = max(1.0, float(self._share.sum()))
        rows = [
            {"module": name, **steps.summary(), "share": float(share) / whole, "overruns": self._overruns[name]}
            for name, steps, share in zip(self._names, self._module_steps, self._share, strict=True)
        ]
        frames = {"work": self._frame_work, "critical": self._critical, "late": self._lateness}
        spreads = {name: found.summary() for name, found in frames.items()}
        return {"modules": rows, "late_wakeups": self._late_wakeups, **spreads}

    def release(self) -> None:
        """Give up every view of the memory."""
        self._words = None
        self._view.release()

    def _fold(self) -> None:
        """Take the rows gathered so far into the histograms."""
        if self._late_count:
            late = self._late[: self._late_count]
            self._lateness.add(late)
            self._late_wakeups += int((late > self._period_ns).sum())
            self._late_count = 0
        if not self._count:
            return
        steps = self._due_steps(slice(0, self._count))
        for column, histogram in enumerate(self._module_steps):
            histogram.add(steps[:, column][self._is_due(slice(0, self._count))[:, column]])
        self._frame_work.add(self._work[: self._count])
        self._critical.add(self._critical_path(steps))
        self._count = 0

    def _is_due(self, rows: slice) -> np.ndarray[Any, Any]:
        due: np.ndarray[Any, Any] = (self._frames[rows, None] - 1) % self._every == 0
        return due

    def _due_steps(self, rows: slice) -> np.ndarray[Any, Any]:
        """Return the step times of some rows, 0 where a module was not due and its word is that of an earlier frame."""
        return np.where(self._is_due(rows), np.minimum(self._steps[rows], _LONGEST), 0).astype(np.int64)

    def _critical_path(self, steps: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Credit the modules on each frame's critical path with their steps; return the paths' lengths."""
        length = np.zeros(len(steps), np.int64)
        for workers in self._phases:
            sums = np.stack([steps[:, columns].sum(axis=1) for columns in workers])
            slowest = sums.argmax(axis=0)
            length += sums.max(axis=0)
            for number, columns in enumerate(workers):
                self._share[columns] += steps[slowest == number][:, columns].sum(axis=0)
        return length

    def _critical_columns(self, steps: np.ndarray[Any, Any]) -> list[int]:
        """Return the modules on the critical path of the one frame in `steps`."""
        slowest = [max(workers, key=lambda columns: int(steps[0, columns].sum())) for workers in self._phases]
        return [column for columns in slowest for column in columns]
