"""``hermes verify``: what it says while it runs, and how it ends."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click

from hermes.clierrors import errors_told, output_may_end, plain


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--runs", type=click.IntRange(5, 1000), default=5, show_default=True, help="Beyond 5: perturbed.")
@click.option("--end-time", type=click.FloatRange(min=0, min_open=True), help="In place of execution.end_time, in s.")
def verify(config: Path, runs: int, end_time: float | None) -> None:
    """Run CONFIG in several ways and compare every frame of every signal, bit for bit.

    The ways: as fast as possible; after a reset; stepped by hand; with its modules started and released in another
    order and with random delays; in real time. Without --end-time and execution.end_time it compares 10 s. Exit status
    0: equal, 1: a difference was found or a run failed.
    """
    with errors_told(), output_may_end():
        from hermes.config import HermesConfig  # noqa: PLC0415 - help and usage errors need not wait for it
        from hermes.verification.report import RunReport  # noqa: PLC0415
        from hermes.verification.running import verify_async, with_end  # noqa: PLC0415

        def heard(report: RunReport) -> None:
            click.echo(report.line)
            sys.stdout.flush()

        settings = with_end(HermesConfig.from_yaml(config), end_time)
        execution = settings.execution
        until = f"{execution.end_time:g} s (frame {execution.end_frame})"
        click.echo(f"{settings.name}: {runs} runs to {until}, the last one in real time", err=True)
        found = asyncio.run(verify_async(settings, runs=runs, heard=heard))
        for run in found.runs:
            if run.details:
                click.echo(f"\n{plain(run.details, breaks=True)}")
        click.echo(f"{'' if found.equal else chr(10)}{found.verdict}")
        sys.exit(0 if found.equal else 1)
