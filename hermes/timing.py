"""How long modules and frames take, as `Session.timing` shows it: values and their tables, measured by the engine."""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import Any, NamedTuple


class Spread(NamedTuple):
    """Durations in seconds: how many were measured, their median, 99th percentile (both to 1.1 %) and maximum."""

    samples: int
    p50: float
    p99: float
    max: float

    @classmethod
    def from_ns(cls, values: dict[str, int]) -> Spread:
        """Return the spread that the engine reports in nanoseconds."""
        return cls(values["count"], *(values[key] / 1e9 for key in ("p50", "p99", "max")))


class ModuleTiming(NamedTuple):
    """One module's steps.

    `share` is its part of the critical path, from 0 to 1: the path goes, phase by phase, through the worker that took
    longest. `overruns` counts the frames longer than their time in which its step was the longest on that path.
    """

    module: str
    steps: Spread
    share: float
    overruns: int


class Timing(NamedTuple):
    """What has been measured since the last reset: every frame in real time, otherwise at least about one of 16.

    `work` is the time from a frame's start to its commit, `critical_path` the part of it that the modules' steps
    account for, `late` how long after its deadline the engine was woken for a frame in real time. `rate_hz` is the
    configured rate, `overruns` and `late_wakeups` count frames whose work, and wake-ups whose delay, took longer than
    a frame time.
    """

    modules: tuple[ModuleTiming, ...]
    work: Spread
    critical_path: Spread
    late: Spread
    rate_hz: float
    overruns: int
    late_wakeups: int

    @classmethod
    def from_engine(cls, report: dict[str, Any], rate_hz: float) -> Timing:
        """Return the engine's report as values in seconds."""
        modules = tuple(
            ModuleTiming(row["module"], Spread.from_ns(row), row["share"], row["overruns"]) for row in report["modules"]
        )
        work, critical, late = (Spread.from_ns(report[key]) for key in ("work", "critical", "late"))
        overruns = sum(row.overruns for row in modules)
        return cls(modules, work, critical, late, rate_hz, overruns, report["late_wakeups"])

    @property
    def attainable_hz(self) -> float:
        """The rate in Hz that 99 % of the measured frames could hold, 1 / p99 of the work; 0.0 where none was."""
        return 1 / self.work.p99 if self.work.p99 else 0.0

    def __str__(self) -> str:
        """Return a table for a terminal."""
        rows = [[*cells] for cells in self._rows()]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows]
        return "\n".join([*lines, self._sentence()])

    def _repr_html_(self) -> str:
        head, *body = ("".join(map(_cell, row)) for row in self._rows())
        rows = "".join(f"<tr>{row}</tr>" for row in body)
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        return f"{table}<p>{html.escape(self._sentence())}</p>"

    def _rows(self) -> Iterator[tuple[str, ...]]:
        yield ("", "p50", "p99", "max", "critical path", "overruns")
        for row in self.modules:
            yield (row.module, *_shown(row.steps), f"{row.share:.0%}", str(row.overruns))
        yield ("critical path", *_shown(self.critical_path), "", "")
        yield ("whole frame", *_shown(self.work), "", str(self.overruns))
        if self.late.samples:
            yield ("late wake-up", *_shown(self.late), "", str(self.late_wakeups))

    def _sentence(self) -> str:
        if not self.work.samples:
            return "No frame has been measured yet."
        return (
            f"{self.work.samples} frames measured; 99 % of them could hold {self.attainable_hz:,.0f} Hz, "
            f"configured are {self.rate_hz:g} Hz."
        )


def _cell(text: str) -> str:
    return f"<td style='text-align:right'>{html.escape(text)}</td>"


def _shown(spread: Spread) -> tuple[str, str, str]:
    return _duration(spread.p50), _duration(spread.p99), _duration(spread.max)


def _duration(seconds: float) -> str:
    """Return a duration with three digits and its unit."""
    for unit, size in (("ns", 1e-9), ("us", 1e-6), ("ms", 1e-3), ("s", 1.0)):
        number = f"{seconds / size:.3g}"
        if float(number) < 1000:
            return f"{number} {unit}"
    return f"{seconds:.0f} s"
