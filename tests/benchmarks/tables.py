"""How measurements are chosen, shown and kept: tables on the terminal or in Markdown, and a JSON file."""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"

Row = dict[str, Any]


class Bench(NamedTuple):
    """One table: `measure` gets the command line and returns its rows; `options` adds to it what only this one has."""

    name: str
    title: str
    measure: Callable[[argparse.Namespace], list[Row]]
    options: Callable[[argparse.ArgumentParser], None] | None = None


def run(benches: Sequence[Bench], name: str, description: str | None) -> None:
    """Measure what the command line chooses, print each table when it is there, and write them all as `name`.json."""
    options = command_line(benches, description)
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))  # so that children end with us
    found = circumstances(options.quick)
    say(f"load before: {found['load_before']:.2f} on {found['cores']} cores; what else runs is in the numbers\n")
    RESULTS.mkdir(exist_ok=True)
    for bench in benches:
        if bench.name in options.only:
            begin = time.monotonic(), *busy_seconds()
            found[bench.name] = rows = bench.measure(options)
            (print_markdown if options.markdown else shown)(bench.title, rows)
            found["others_%"][bench.name] = others = others_percent(*begin)
            say(f"{bench.name}: {time.monotonic() - begin[0]:.0f} s, others used {others:.0f} % of the machine\n")
            (RESULTS / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
    say(f"written to {RESULTS / name}.json")


def busy_seconds() -> tuple[float, float]:
    """Return the processor time that the machine has used, time taken by other machines on it included, and we have.

    Ours is this process's and that of its children that have ended, and so on down.
    """
    spent = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    idle = spent[3] + spent[4]
    ours = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return (sum(spent) - idle) / os.sysconf("SC_CLK_TCK"), sum(use.ru_utime + use.ru_stime for use in ours)


def others_percent(begin: float, machine: float, ours: float) -> float:
    """Return how much of the machine others have used since then, in %."""
    now_machine, now_ours = busy_seconds()
    used = (now_machine - machine) - (now_ours - ours)
    return 100 * max(0.0, used) / ((time.monotonic() - begin) * (os.cpu_count() or 1))


def command_line(benches: Sequence[Bench], description: str | None) -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [bench.name for bench in benches]
    parser.add_argument("--quick", action="store_true", help="less steady, and in a fraction of the time")
    parser.add_argument("--markdown", action="store_true", help="tables to paste into docs/performance.md")
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="TABLE", help=", ".join(names))
    for bench in benches:
        if bench.options is not None:
            bench.options(parser)
    return parser.parse_args()


def say(text: str) -> None:
    """Tell something that belongs to no table."""
    print(text, file=sys.stderr, flush=True)


def shown(title: str, rows: list[Row]) -> None:
    """Print rows as a table."""
    columns = columns_of(rows)
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    for column in columns:
        table.add_column(column.replace("_", " "), justify="right")
    for row in rows:
        table.add_row(*(cell(row.get(column)) for column in columns))
    Console(width=None if sys.stdout.isatty() else 200).print(table)


def print_markdown(title: str, rows: list[Row]) -> None:
    """Print rows as a table in Markdown."""
    columns = columns_of(rows)
    lines = [[column.replace("_", " ") for column in columns], ["---"] * len(columns)]
    lines += [[cell(row.get(column)) for column in columns] for row in rows]
    print(f"### {title}\n", *("| " + " | ".join(line) + " |" for line in lines), "", sep="\n", flush=True)


def columns_of(rows: Sequence[Row]) -> list[str]:
    """Return the columns of all rows, in the order in which they first appear."""
    return list(dict.fromkeys(column for row in rows for column in row))


def cell(value: object) -> str:
    """Return a value as a cell of a table."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}" if abs(value) < 100 else f"{value:.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def circumstances(quick: bool) -> Row:
    """Return when, where and on what the numbers were measured."""
    cpu = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "")
    return {
        "at": datetime.now().astimezone().isoformat(timespec="seconds"),
        "quick": quick,
        "cpu": cpu.partition(":")[2].strip(),
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0],
        "kernel": platform.release(),
        "python": platform.python_version(),
        "websockets": version("websockets"),
        "others_%": {},
    }
