"""``hermes signals`` and ``hermes watch``: what a running session has, and how it goes, seen from a terminal or a pipe.

On a terminal they draw; into a pipe or a file they write plain lines for other programs, never cut to a width. The
client has its own thread, so a reader that stops reading (``| less``) stops only this process's main thread.
"""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import click

from hermes.clierrors import errors_told, output_may_end, plain

if TYPE_CHECKING:
    from hermes.backplane.signals import Signal
    from hermes.client import Client
    from hermes.remote.session import Telemetry

COLUMNS = ("name", "kind", "type", "unit", "writable", "description")

_WATCH_HZ = 10.0

_token = click.option(
    "--token", envvar="HERMES_TOKEN", show_envvar=True, help="The session's token, where no connection file has it."
)


@click.command()
@click.argument("target", required=False)
@_token
def signals(target: str | None, token: str | None) -> None:
    """List the signals of a running session.

    TARGET is its URL, its name or the path of its connection file; without it, the only session of this user. Not on
    a terminal: one line per signal, tabs between the columns.
    """
    with errors_told(), output_may_end():
        from hermes.client import Client  # noqa: PLC0415 - help and usage errors need not wait for it

        with Client(target, token=token) as client:
            rows = list(_rows(client))
            name = client.name
        if sys.stdout.isatty():
            from hermes.watchtable import draw_signals  # noqa: PLC0415 - only where it draws

            draw_signals(name, COLUMNS, rows)
        else:
            sys.stdout.writelines("\t".join(row) + "\n" for row in [COLUMNS, *rows])
            sys.stdout.flush()


def _rows(client: Client) -> Iterator[tuple[str, ...]]:
    wired = {wire["dst"] for wire in client.wiring}
    for signal in client.signals:
        writable = "wired" if signal.qualified in wired else "yes" if signal.is_settable else "no"
        texts = (signal.qualified, signal.kind, signal.type, signal.unit, writable, signal.description)
        yield tuple(plain(text) for text in texts)


@click.command()
@click.argument("target", required=False)
@click.argument("patterns", metavar="[PATTERN]...", nargs=-1)
@click.option("--hz", type=click.FloatRange(min=0, min_open=True), help="Frames per second; 10 where left out.")
@click.option("--count", type=click.IntRange(min=1), help="End after so many frames.")
@_token
def watch(
    target: str | None, patterns: tuple[str, ...], hz: float | None, count: int | None, token: str | None
) -> None:
    """Follow the signals of a running session until it closes.

    TARGET is its URL, its name or the path of its connection file; without any argument, the only session of this
    user. The first argument is always the TARGET; every further one is the name of a signal or a PATTERN such as
    'plane.*', and without them all signals are followed.

    Not on a terminal, every frame becomes a line of CSV:

        hermes watch TARGET 'plane.*' > log.csv
    """
    with errors_told(), output_may_end():
        from hermes.client import Client  # noqa: PLC0415

        with Client(target, token=token) as client:
            rate = min(_WATCH_HZ, client.telemetry_hz) if hz is None else hz
            names = client.subscribe(patterns or ["*"], telemetry_hz=rate)
            frames = islice(client.telemetry(), count)
            if sys.stdout.isatty():
                from hermes.watchtable import draw_frames  # noqa: PLC0415

                draw_frames(client, names, frames)
            else:
                _write_frames([client.signals[name] for name in names], frames)
            if client.state == "closed":
                click.echo(f"session {plain(client.name)} has closed", err=True)


def _write_frames(chosen: Sequence[Signal], frames: Iterable[Telemetry]) -> None:
    """Write CSV: a header, then a line for every frame, at once."""
    written = [exact_format(signal) for signal in chosen]
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["time", "frame", *(plain(signal.qualified) for signal in chosen)])
    sys.stdout.flush()
    for frame in frames:
        values = (form(value) for form, value in zip(written, frame.values.tolist(), strict=True))
        table.writerow([repr(frame.time), frame.frame, *values])
        sys.stdout.flush()


def exact_format(signal: Signal) -> Callable[[float], str]:
    """Return what writes a signal's value from telemetry so that reading it gives the same value again."""
    if signal.type.is_float:
        return repr
    return _truth if signal.type == "bool" else _whole


def _truth(value: float) -> str:
    return "true" if value else "false"


def _whole(value: float) -> str:
    return str(int(value)) if math.isfinite(value) else repr(value)
