"""An innocent viewer in a process of its own, which says how telemetry reached it while somebody else misbehaved.

It prints a line when its window begins and one of JSON with what it saw when its standard input ends, so that the
window is exactly as long as what it watches (but never below `LEAST_SECONDS`).

    python tests/support/watcher.py ws://127.0.0.1:8765
"""

from __future__ import annotations

import json
import select
import sys
import time

from loadclients import SETTLE_SECONDS, Client, get_ready, results, run

HERTZ = 60.0
LEAST_SECONDS = 3.0


def main(url: str) -> None:
    """Watch everything at `url` until standard input ends."""
    clients = [Client(url)]
    get_ready(clients)
    run(clients, SETTLE_SECONDS)
    begin = time.perf_counter()
    print("watching", flush=True)

    def over() -> bool:
        return time.perf_counter() - begin > LEAST_SECONDS and bool(select.select([sys.stdin], [], [], 0)[0])

    run(clients, 3600, over)
    print(json.dumps(results(clients, begin, time.perf_counter(), HERTZ)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
