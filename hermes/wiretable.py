"""How late every wire is and where modules feed each other in a circle, in words, as ``hermes validate`` prints them.

Lines of text from a plan; nothing here starts a process or knows the terminal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hermes.engine.plan import Plan
from hermes.engine.schedule import Loop, WireDelay, loops, module_of, wire_delays

LISTED_WIRES = 50
"""Wires up to which each has a line unless they are asked for."""

_LISTED_LATE = 5
"""Wires that a feedback loop names, at most."""


def wire_lines(plan: Plan, *, all_of_them: bool = False) -> Iterator[str]:
    """Yield a line per wire, or one with their counts where they are more than 50, then one per feedback loop."""
    delays = wire_delays(plan)
    if len(delays) <= LISTED_WIRES or all_of_them:
        yield from _table(plan, delays)
    else:
        late = sum(delay.frames for delay in delays)
        yield f"  {late} wires arrive 1 frame late, {len(delays) - late} in the same frame (--wires lists them)"
    for loop in loops(plan):
        yield _loop_line(plan, loop)


def _table(plan: Plan, delays: Sequence[WireDelay]) -> Iterator[str]:
    every = {module.name: module.every for module in plan.modules}
    ends = [f"{delay.wire.src} -> {delay.wire.dst}" for delay in delays]
    width = max(map(len, ends), default=0)
    for end, delay in zip(ends, delays, strict=True):
        late = "1 frame" if delay.frames else "same frame"
        yield f"  {end:<{width}}   {late:<12}{_note(every, delay)}".rstrip()


def _note(every: dict[str, int], delay: WireDelay) -> str:
    """Return what modules that are not due in every frame add to a delay."""
    source, target = module_of(delay.wire.src), module_of(delay.wire.dst)
    notes = [f"{source} holds for {every[source]} frames"] if every[source] > 1 else []
    notes += [f"{target} samples every {every[target]} frames"] if every[target] > 1 else []
    return ", ".join(notes)


def _loop_line(plan: Plan, loop: Loop) -> str:
    late = [f"{plan.wires[number].src} -> {plan.wires[number].dst}" for number in loop.delayed]
    more = f" and {len(late) - _LISTED_LATE} more" if len(late) > _LISTED_LATE else ""
    return f"feedback loop {', '.join(loop.modules)}: one frame late at {', '.join(late[:_LISTED_LATE])}{more}"
