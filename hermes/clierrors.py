"""How a command ends other than well: in words, with an exit status, and never with what could steer the terminal."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import click

from hermes.errors import HermesError
from hermes.wording import printable


@contextmanager
def errors_told() -> Iterator[None]:
    """Say an error of Hermes in its own words and exit with its status."""
    try:
        yield
    except HermesError as error:
        click.echo(f"hermes: {plain(str(error), breaks=True)}", err=True)
        sys.exit(error.exit_status)
    except KeyboardInterrupt:
        click.echo("hermes: interrupted", err=True)
        sys.exit(130)


@contextmanager
def output_may_end() -> Iterator[None]:
    """End quietly, with status 0, when whoever reads standard output has read enough; heed SIGTERM as an end, too."""
    before = signal.signal(signal.SIGTERM, _terminated)
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the interpreter complains at its exit
        sys.exit(0)
    finally:
        signal.signal(signal.SIGTERM, before)


def plain(text: str, *, breaks: bool = False) -> str:
    """Return text with everything escaped that does not print, line breaks only where they are not kept.

    Names, units and messages come from a server; control characters in them could steer the terminal.
    """
    if breaks:
        return printable(text)
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def _terminated(_number: int, _frame: FrameType | None) -> None:
    sys.exit(143)
