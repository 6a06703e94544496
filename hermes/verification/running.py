"""`verify`: run a configuration in every way, one session after the other and without a server, and compare.

One session's end of it: it starts the run, has every frame handed to a `Witness`, goes on after every timed pause, and
ends when the run has, when a frame differs, or when the run cannot be judged.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from hermes.config import HermesConfig
from hermes.errors import ConfigurationError, HermesError
from hermes.history.lossless import engine_waits
from hermes.hosting import choose_host
from hermes.lifecycle import State, Verb
from hermes.planning import plan_for, with_execution
from hermes.run import Run
from hermes.verification.comparison import Comparer, Keeper, Witness
from hermes.verification.difference import find_difference, layout_difference
from hermes.verification.reference import Reference
from hermes.verification.report import RunReport, Verification
from hermes.verification.ways import FEWEST_RUNS, FIRST, Way, step_counts, ways

DEFAULT_SECONDS = 10.0
"""Simulated time to compare, where neither the caller nor the configuration says."""

_RING_SLOTS = 1024
"""Frames that the ring is to hold at least: what does not wait for its reader must not overtake it."""


def verify(
    config: HermesConfig | str | Path,
    *,
    runs: int = FEWEST_RUNS,
    end_time: float | None = None,
    heard: Callable[[RunReport], None] | None = None,
) -> Verification:
    """Run a configuration in `runs` ways and compare every frame; a path is read first.

    `end_time` (s of simulated time) takes the place of execution.end_time; where neither is given it is 10 s. One of
    the runs is in real time and takes as long. `heard` gets each report as its run ends. Raises ConfigurationError and
    BadParams; whatever else goes wrong in a run is in its report.
    """
    host = choose_host("verify", None)()
    try:
        return host.call(verify_async(config, runs=runs, end_time=end_time, heard=heard))
    finally:
        host.end(_nothing, lambda: None)


async def verify_async(
    config: HermesConfig | str | Path,
    *,
    runs: int = FEWEST_RUNS,
    end_time: float | None = None,
    heard: Callable[[RunReport], None] | None = None,
) -> Verification:
    """Do what `verify` does, on the running loop."""
    settings = config if isinstance(config, HermesConfig) else HermesConfig.from_yaml(config)
    verifier = _Verifier(with_end(settings, end_time), heard or (lambda _report: None))
    try:
        for together in ways(runs):
            await verifier.session(together)
            if not verifier.reports[0].equal:  # there is nothing to compare with
                break
    finally:
        verifier.close()
    return Verification(tuple(verifier.reports))


def with_end(config: HermesConfig, end_time: float | None) -> HermesConfig:
    """Return the configuration with an end: this one, its own, or 10 s."""
    wanted = config.execution.end_time if end_time is None else end_time
    return with_execution(config, end_time=DEFAULT_SECONDS if wanted is None else wanted)


class _Verifier:
    """Runs one way after the other and keeps what was found."""

    def __init__(self, config: HermesConfig, heard: Callable[[RunReport], None]) -> None:
        ring = config.backplane.model_copy(update={"history": max(_RING_SLOTS, config.backplane.history)})
        self._config = config.model_copy(update={"backplane": ring})
        self._plan = plan_for(self._config)
        self._heard = heard
        self._reference: Reference | None = None
        self.reports: list[RunReport] = []

    def close(self) -> None:
        """Give back the disk."""
        if self._reference is not None:
            self._reference.close()

    async def session(self, together: tuple[Way, ...]) -> None:
        """Run some ways in one session, up to the first that is not equal; nothing is left running."""
        way = together[0]
        config = with_execution(self._config, mode=way.mode)
        run = Run(config, None, False, way.perturbation)
        try:
            await run.start()
            for way in together:
                if way.after_reset:
                    await run.request(Verb.RESET)
                report = await self._watch(run, way)
                self._tell(report)
                if not report.equal:
                    return
        except HermesError as error:
            if isinstance(error, ConfigurationError) and not self.reports:
                raise
            self._tell(RunReport(way.name, error=error))
        finally:
            await run.close()

    def _tell(self, report: RunReport) -> None:
        self.reports.append(report)
        self._heard(report)

    async def _watch(self, run: Run, way: Way) -> RunReport:
        """Let a run that is paused at frame 0 go to its end, and judge every frame of it."""
        news = asyncio.Event()
        signals = list(run.memory("verify").registry)
        assert self._plan.end_frame is not None
        frames = self._plan.end_frame + 1
        if way is FIRST:
            self._reference = Reference(signals, frames)
        assert self._reference is not None
        if (other := layout_difference(self._reference.signals, signals)) is not None:
            return RunReport(way.name, difference=other)
        kind = Keeper if way is FIRST else Comparer
        witness = kind(self._reference, lossless=way.mode == "afap", over=news.set)
        run.observers.append(lambda _event, _fields: news.set())
        async with engine_waits(run.feed, lambda: run.request(Verb.LOOK)) if witness.lossless else nullcontext():
            run.feed.attach(witness)
        begin = time.monotonic()
        try:
            await (_step(run, witness) if way.mode == "single_frame" else _go(run, witness, news))
        except HermesError:
            if run.mirror.failure is None:
                raise
        seconds = time.monotonic() - begin
        run.feed.drain()
        run.feed.detach(witness)
        witness.finish(frames)
        return self._judged(way, witness, seconds, run.mirror.failure)

    def _judged(self, way: Way, witness: Witness, seconds: float, failure: HermesError | None) -> RunReport:
        assert self._reference is not None
        frame = max(0, witness.frames - 1)
        difference = None
        if isinstance(witness, Comparer) and witness.differing is not None:
            difference = find_difference(self._plan, self._reference.signals, *witness.differing)
            failure = None  # whatever came after, it was another run by then
        return RunReport(way.name, frame, seconds, witness.fingerprint, difference, failure or witness.error)


async def _go(run: Run, witness: Witness, news: asyncio.Event) -> None:
    """Resume, and again after every timed pause, until the run has ended or no more is wanted."""
    while not witness.stopped and run.mirror.state in (State.PAUSED, State.RUNNING):
        news.clear()
        if run.mirror.state is State.PAUSED:
            await run.request(Verb.RESUME)
        await news.wait()


async def _step(run: Run, witness: Witness) -> None:
    """Step by irregular counts until the run has ended or no more is wanted; see to it that no frame is missed."""
    slots = run.memory("verify").layout.slots
    undrained = 0
    for count in step_counts(slots // 4):
        if witness.stopped or run.mirror.state is not State.PAUSED:
            return
        await run.request(Verb.STEP, count=count)
        undrained += count
        if undrained > slots // 2:
            run.feed.drain()
            undrained = 0


async def _nothing() -> None:
    """Close what has been closed already."""
