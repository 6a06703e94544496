"""Calls that wait for a loop on another thread: interrupts, and loops that end before the call does."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator

import pytest
from bounds import PATIENCE

from hermes.crossing import Crossing, interrupts_held
from hermes.errors import LoopError
from hermes.hosting import ThreadHost


async def nothing() -> None:
    """End at once."""


@pytest.fixture
def host() -> Iterator[ThreadHost]:
    made = ThreadHost("test")
    yield made
    made.end(nothing, lambda: None)


def test_an_interrupt_cancels_the_call_waits_for_its_end_and_is_raised(host: ThreadHost) -> None:
    order: list[str] = []

    async def call() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.05)
            order.append("ended")

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        host.call(call())
    assert order == ["ended"]
    assert signal.getsignal(signal.SIGINT) is handler


def test_an_interrupt_that_comes_too_late_to_cancel_anything_is_raised_all_the_same(host: ThreadHost) -> None:
    async def call() -> int:
        os.kill(os.getpid(), signal.SIGINT)
        return 1

    with pytest.raises(KeyboardInterrupt):
        host.call(call())


def test_a_second_interrupt_cancels_what_the_first_one_began(host: ThreadHost) -> None:
    reached = threading.Event()

    async def call() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            os.kill(os.getpid(), signal.SIGINT)
            reached.set()
            await asyncio.Event().wait()

    with pytest.raises(KeyboardInterrupt):
        host.call(call())
    assert reached.is_set()


def test_a_cancellation_without_an_interrupt_is_none() -> None:
    with pytest.raises(asyncio.CancelledError), interrupts_held(lambda: None):
        raise asyncio.CancelledError


def test_on_another_thread_signals_are_not_touched() -> None:
    def act() -> None:
        with interrupts_held(lambda: None):
            handlers.append(signal.getsignal(signal.SIGINT))

    handlers: list[object] = []
    thread = threading.Thread(target=act)
    thread.start()
    thread.join(PATIENCE)
    assert handlers == [signal.getsignal(signal.SIGINT)]


def test_who_waits_for_a_loop_that_ends_and_who_comes_later_is_told(host: ThreadHost) -> None:
    waits = Crossing(asyncio.sleep(1000), host.loop)
    host.end(nothing, lambda: None)
    late = Crossing(asyncio.sleep(0), host.loop)
    for crossing in (waits, late):
        with pytest.raises(LoopError, match="the session has been closed, and its loop has ended"):
            crossing.outcome.result(PATIENCE)
        crossing.cancel()


def test_many_threads_that_cross_while_the_loop_ends_all_get_an_answer() -> None:
    for _ in range(20):
        host, outcomes = ThreadHost("test"), list[str]()

        def cross(host: ThreadHost = host, outcomes: list[str] = outcomes) -> None:
            try:
                while True:
                    host.call(asyncio.sleep(0))
            except LoopError as error:
                outcomes.append(str(error))

        threads = [threading.Thread(target=cross) for _ in range(4)]
        for thread in threads:
            thread.start()
        host.end(nothing, lambda: None)
        for thread in threads:
            thread.join(PATIENCE)
        assert len(outcomes) == 4
