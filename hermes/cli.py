"""The command line: ``hermes run``, ``validate``, ``verify``, ``signals``, ``watch``, ``demo``.

Also as ``python -m hermes``. Exit: 0 finished, 1 failed, 2 usage or configuration, 130 interrupted, 143 terminated.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hermes import __version__, verifycommand, watching
from hermes.clierrors import errors_told

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermes.asyncsession import AsyncSession

CONFIG = click.Path(path_type=Path)

_PROGRESS_SECONDS = 0.2


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hermes")
@click.option("-v", "--verbose", is_flag=True, help="Log connections and what modules print to standard output.")
def main(verbose: bool) -> None:
    """Run simulations whose modules advance in lock-step and whose signals viewers follow live."""
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(name)s: %(message)s")
    logging.getLogger("hermes.session").setLevel(logging.CRITICAL)  # a failure is this command's own last word


@main.command()
@click.argument("config", type=CONFIG)
@click.option("--no-server", is_flag=True, help="Run without the WebSocket server.")
@click.option("--port", type=click.IntRange(0, 65535), help="Serve on this port; 0 takes a free one.")
@click.option("--paused", is_flag=True, help="Stay paused at frame 0 until a client resumes.")
@click.option("--mode", type=click.Choice(["realtime", "afap", "single_frame"]), help="In place of execution.mode.")
@click.option("--end-time", type=click.FloatRange(min=0, min_open=True), help="In place of execution.end_time, in s.")
def run(
    config: Path, no_server: bool, port: int | None, paused: bool, mode: str | None, end_time: float | None
) -> None:
    """Run the simulation in CONFIG until its end, its failure, or an interrupt."""
    with errors_told():
        from hermes.asyncsession import AsyncSession  # noqa: PLC0415 - help and usage errors need not wait for it
        from hermes.config import HermesConfig  # noqa: PLC0415
        from hermes.planning import first_pause, with_execution  # noqa: PLC0415

        settings = with_execution(HermesConfig.from_yaml(config), mode=mode, end_time=end_time)
        pause = first_pause(settings)
        waits = paused or settings.execution.mode == "single_frame" or pause == 0
        serve = settings.server.enabled and not no_server
        if pause is not None and not serve:
            raise click.UsageError(
                f"without a server nobody can resume after the pause that commands have at frame {pause}: "
                "leave that out, or --no-server (server.enabled: false)"
            )
        if waits and not serve:
            raise click.UsageError("without a server nobody can resume or step: leave out --paused or --no-server")
        session = AsyncSession(settings, port=port, serve=serve)
        sys.exit(asyncio.run(_run(session, waits=waits)))


async def _run(session: AsyncSession, *, waits: bool) -> int:
    """Run to the end and return the exit status."""
    over: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    starting: asyncio.Future[Any] = asyncio.create_task(session.start())

    def end(status: int) -> None:
        if not over.done():
            over.set_result(status)

    def heed(event: str, _fields: Mapping[str, Any]) -> None:
        if event in ("finished", "failed"):
            end(0 if event == "finished" else 1)

    session.observe(heed)
    from hermes.suspending import suspension_heeded  # noqa: PLC0415

    with _signals_heeded(end), suspension_heeded(session):
        try:
            await asyncio.wait({starting, over}, return_when=asyncio.FIRST_COMPLETED)
            if not over.done():
                await starting
                await _begin(session, waits=waits)
                await _until(over, session)
            status: int = over.result()
            _say_end(session, status)
            return status
        finally:
            starting.cancel()
            await asyncio.wait([starting])
            await session.close()


async def _begin(session: AsyncSession, *, waits: bool) -> None:
    modules = ", ".join(session.config.modules)
    address = f", serving on {session.url}" if session.serves else ""
    click.echo(f"{session.name}: {modules}{address}", err=True)
    if session.needs_token:
        click.echo(f"clients need the token in {session.connection_file}", err=True)
    gc.collect()
    gc.freeze()  # what is there now stays to the end; looking through it over and over makes telemetry stutter
    if waits:
        click.echo("paused; a client may resume or step it", err=True)
    else:
        await session.resume()


async def _until(over: asyncio.Future[Any], session: AsyncSession) -> None:
    """Wait for the end; on a terminal, show how far a run with an end is."""
    end = session.config.execution.end_time
    if end is None or not sys.stderr.isatty():
        await over
        return
    from rich.console import Console  # noqa: PLC0415 - only where it draws
    from rich.progress import Progress  # noqa: PLC0415

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(session.name, total=end)
        while not over.done():
            progress.update(task, completed=session.time)
            await asyncio.wait({over}, timeout=_PROGRESS_SECONDS)


def _say_end(session: AsyncSession, status: int) -> None:
    if session.failure is not None:
        click.echo(f"hermes: {session.failure}", err=True)
    elif status == 0:
        click.echo(f"finished at {session.time:g} s, frame {session.frame}, fingerprint {session.fingerprint}")
    else:
        click.echo(f"hermes: {'interrupted' if status == 130 else 'terminated'}", err=True)


@contextmanager
def _signals_heeded(end: Callable[[int], None]) -> Iterator[None]:
    """Let SIGINT and SIGTERM end the run in order."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end, 128 + number)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


@main.command()
@click.argument("config", type=CONFIG)
@click.option("--static", is_flag=True, help="Only read the file; do not start the modules.")
@click.option("--wires", is_flag=True, help="List every wire, also where there are more than 50.")
def validate(config: Path, static: bool, wires: bool) -> None:
    """Check CONFIG: every key, and every wire against the signals that its modules declare.

    Then say how late each wire arrives, and where modules feed each other in a circle.
    """
    with errors_told():
        from hermes.asyncsession import AsyncSession  # noqa: PLC0415
        from hermes.config import HermesConfig  # noqa: PLC0415
        from hermes.planning import plan_for  # noqa: PLC0415
        from hermes.wiretable import wire_lines  # noqa: PLC0415

        settings = HermesConfig.from_yaml(config)
        counts = [_counted(len(settings.modules), "module"), _counted(len(settings.wiring), "wire")]
        if not static:
            signals = asyncio.run(_signal_count(AsyncSession(settings, serve=False)))
            counts.insert(1, _counted(signals, "signal"))
        click.echo(f"{config}: valid: {', '.join(counts)}")
        for line in wire_lines(plan_for(settings), all_of_them=wires):
            click.echo(line)


async def _signal_count(session: AsyncSession) -> int:
    async with session:
        return len(session.signals)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


@main.command()
@click.option("--seconds", type=click.FloatRange(min=1), default=10.0, show_default=True, help="How long to fly.")
@click.option("--picture", type=CONFIG, default="hermes-demo.png", show_default=True, help="Where to draw the flight.")
def demo(seconds: float, picture: Path) -> None:
    """Fly a Cessna 172 in real time, watched by a viewer in another process, and draw what it saw."""
    with errors_told():
        from hermes import demo as demonstration  # noqa: PLC0415

        click.echo(f"Flying the JSBSim Cessna 172 under autopilot for {seconds:g} s ...", err=True)
        report = asyncio.run(demonstration.fly(seconds))
        click.echo(demonstration.described(report))
        demonstration.draw(report, picture)
        click.echo(f"Picture                {picture}")


for _command in (verifycommand.verify, watching.signals, watching.watch):
    main.add_command(_command)
