"""How tests bound time: by what is promised where that is to be measured, and with slack where it is only to be kept.

`make test` runs anywhere, also on a machine that is several times slower than ours and busy with something else; there
a bound must catch what has collapsed, and nothing else. With HERMES_STRICT_TICKS=1, as in `make soak`, on a machine of
its own, the promised numbers are asserted themselves.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

PATIENCE = 120.0
"""Seconds for which a test waits for what is no matter of time: to give up only makes a failure end."""

SLACK = 8.0
"""How many times a promise is stretched unless the test says otherwise."""


def promised(value: float, slack: float = SLACK) -> float:
    """Return the bound that a measured number must keep: the promised value, or `slack` times as much.

    A slack above 1 is for what may be at most so much, one between 0 and 1 for what must be at least so much.
    """
    return value if os.environ.get("HERMES_STRICT_TICKS") == "1" else slack * value


def unhurried(execution: str) -> str:
    """Return the text of an `execution:` with the patience of tests, where it does not say itself how long to wait."""
    missing = [name for name in ("start_timeout", "step_timeout") if name not in execution]
    return ", ".join([execution, *(f"{name}: {PATIENCE:g}" for name in missing)])


def spent(call: Callable[[], object], times: int = 3) -> float:
    """Return the seconds of processor time that a call takes at best, what it leaves for the next not counted."""
    found = []
    for _ in range(times):
        begin = time.process_time()
        call()
        found.append(time.process_time() - begin)
    return min(found)
