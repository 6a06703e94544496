"""What clients cost the server and what they get: many small ones beside the bare library, and one large one."""

from __future__ import annotations

from typing import Any

from children import Server, cpu_percent, measured, served

SIGNALS = 100
GOALS = {100: {"goal_hz": "60 +- 0.2", "goal_cpu": "<= 10"}, 1_000: {"goal_hz": ">= 59", "goal_cpu": "<= 65"}}
"""By the number of clients."""


def many_clients(counts: list[int], seconds: float) -> list[dict[str, Any]]:
    """Return rows for so many clients of 100 signals at 60 Hz, of Hermes and of one shared constant frame each.

    `us_per_frame` is what a frame to one client costs the server, what it uses without clients left out; `ratio` is
    that of Hermes over that of the bare library, and still means something where a busy machine lowers the rates.
    """
    with served("--signals", SIGNALS) as server:
        idle = cpu_percent(server.pid, seconds)
    rows: list[dict[str, Any]] = [{"server": "hermes", "clients": 0, "server_cpu": idle}]
    for count in counts:
        with served("--signals", SIGNALS, "--limit", count) as server:
            hermes = loaded(server, count, seconds, idle)
        with served("--signals", SIGNALS, "--reference") as server:
            library = loaded(server, count, seconds, 0.0)
        ratio = hermes["us_per_frame"] / library["us_per_frame"] if library["us_per_frame"] else None
        rows += [{"server": "hermes", **hermes, "ratio": ratio, **GOALS.get(count, {})}]
        rows += [{"server": "library", **library}]
    return rows


def large_frames(seconds: float, signals: int = 10_000) -> list[dict[str, Any]]:
    """Return the row of one client that follows many signals."""
    with served("--signals", signals) as server:
        return [{"signals": signals, **loaded(server, 1, seconds), "goal_hz": "60 +- 0.2"}]


def loaded(server: Server, count: int, seconds: float, idle: float = 0.0) -> dict[str, Any]:
    """Return what so many clients got, and what it cost beyond the server's `idle` use of its core (%)."""
    found = measured(server, seconds, "--clients", count)
    rate, gap = found["rate_hz"], found["gap_ms"]
    return {
        "clients": count,
        "min_hz": rate["min"],
        "median_hz": rate["p50"],
        "max_hz": rate["max"],
        "gap_p99_ms": gap["p99"],
        "gap_max_ms": gap["max"],
        "lost": found["lost"],
        "server_cpu": found["server_cpu"],
        "generator_cpu": found["generator_cpu"],
        "us_per_frame": 1e4 * (found["server_cpu"] - idle) / (count * rate["p50"]),
    }
