"""What the wire promises, as tables and as JSON: encoding, many clients, large frames, and the engine flat out.

    .venv/bin/python tests/benchmarks/wire.py [--quick]

Goals stand beside the numbers; nothing asserts. Ratios are of one run on one machine; the rest is that machine's.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
from collections.abc import Callable
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from clients import large_frames, many_clients
from encode import COUNTS, encoding
from flatout import commands_beside_the_engine, telemetry_beside_the_engine
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

CLIENTS = [1, 10, 100, 1_000]
RESULTS = Path(__file__).parent / "results" / "wire.json"

Row = dict[str, Any]


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="under 30 s, less steady, and without the largest")
    quick = parser.parse_args().quick
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))  # so that children end with us
    seconds = 1.0 if quick else 10.0
    counts, clients = (COUNTS[:4], CLIENTS[::2]) if quick else (COUNTS, CLIENTS)
    found = circumstances(quick)
    print(f"load before: {found['load_before']:.2f} on {found['cores']} cores; what else runs is in the numbers\n")
    measurements: list[tuple[str, str, Callable[[], list[Row]]]] = [
        ("encode", "Encoding one telemetry frame", lambda: encoding(counts, seconds / 500)),
        ("clients", "Clients of 100 signals at 60 Hz", lambda: many_clients(clients, seconds)),
        ("large", "One client of 10,000 signals at 60 Hz", lambda: large_frames(seconds)),
        ("telemetry", "Telemetry at 60 Hz, engine flat out", lambda: telemetry_beside_the_engine(seconds)),
        ("commands", "Round trip of a set, engine flat out", lambda: commands_beside_the_engine(seconds)),
    ]
    RESULTS.parent.mkdir(exist_ok=True)
    for name, title, measure in measurements:
        found[name] = shown(title, measure())
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    print(f"written to {RESULTS}")


def shown(title: str, rows: list[Row]) -> list[Row]:
    """Print rows as a table and return them."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    for column in columns:
        table.add_column(column.replace("_", " "), justify="right")
    for row in rows:
        table.add_row(*(cell(row.get(column)) for column in columns))
    Console(width=None if sys.stdout.isatty() else 200).print(table)
    return rows


def cell(value: object) -> str:
    """Return a value as a cell of a table."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def circumstances(quick: bool) -> dict[str, Any]:
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
    }


if __name__ == "__main__":
    main()
