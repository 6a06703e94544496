"""Modules for the tests of the frame loop: plain step functions, and the same as real modules for a worker to load.

Every toy reads what it needs before it writes, so that a plain object serves it as well as shared memory, and keeps
its whole numbers small.
"""

from __future__ import annotations

from typing import Any

import hermes


def keep(_toy: Any) -> None:
    """Keep the initial values at reset."""


def counting(toy: Any, time: float, dt: float) -> None:
    """Count up or down."""
    toy.count = (toy.count + toy.stride * (1 if toy.up else -1)) % 100_003
    toy.odd = toy.count % 2 == 1
    toy.small = toy.count % 127


def integrating(toy: Any, time: float, dt: float) -> None:
    """Integrate with feedback, in f64 and f32."""
    total = toy.total + (toy.u * toy.gain - toy.total * 0.125) * dt
    toy.total, toy.single = total, total / 3


def forget(toy: Any) -> None:
    """Empty the delay, which lies beside the signals, and show another output than the declared one."""
    toy.held, toy.y = 0.5, -2.0


def delaying(toy: Any, time: float, dt: float) -> None:
    """Give out what came in at the last step, times a gain; and a sum in f32."""
    toy.y, toy.held = toy.held, toy.u * toy.gain
    toy.z = toy.s + toy.z / 2


def watching(toy: Any, time: float, dt: float) -> None:
    """Show when it is called, how often, and with what."""
    toy.time, toy.dt, toy.calls = time, dt, toy.calls + 1
    toy.seen, toy.flag = toy.u + toy.calls * 1e-3, not toy.b


class Counter(hermes.Module):
    """Whole numbers and flags."""

    count = hermes.Output(type="i64")
    odd = hermes.Output(type="bool")
    small = hermes.Output(type="i32")
    stride = hermes.Input(3, type="i64")
    up = hermes.Input(True, type="bool")
    n = hermes.Input(0, type="i32")
    step = counting


class Accumulator(hermes.Module):
    """An integrator."""

    total = hermes.Output(0.25)
    single = hermes.Output(type="f32")
    u = hermes.Input(1.0)
    w = hermes.Input(type="f32")
    gain = hermes.Parameter(0.5)
    step = integrating


class Delay(hermes.Module):
    """A module with a state of its own."""

    y = hermes.Output(7.0)
    z = hermes.Output(1.5, type="f32")
    u = hermes.Input()
    s = hermes.Input(0.125, type="f32")
    gain = hermes.Parameter(0.9)
    reset = forget
    step = delaying


class Watch(hermes.Module):
    """A module that tells when it was called."""

    time = hermes.Output(-1.0)
    dt = hermes.Output()
    seen = hermes.Output()
    calls = hermes.Output(type="i32")
    flag = hermes.Output(type="bool")
    u = hermes.Input()
    b = hermes.Input(type="bool")
    step = watching


RULES = {
    "Counter": (counting, keep),
    "Accumulator": (integrating, keep),
    "Delay": (delaying, forget),
    "Watch": (watching, keep),
}
"""The step and reset of each toy as plain functions."""
