from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from bounds import PATIENCE
from ringbench import Bench

from hermes.notebook.hub import TICK_HZ, Hub, next_deadline
from hermes.notebook.streams import PlotStream, TableStream


class Page:
    """A page and the way to it: keeps what it is sent, and answers where it was told to."""

    model_id = "hub"

    def __init__(self, shows: list[str], *, answers: bool = True) -> None:
        self.shows, self.answers = shows, answers
        self.messages: list[dict[str, Any]] = []

    def listen(self, heard: Callable[[Any], None]) -> None:
        self.say = heard

    def post(self, header: dict[str, Any], _payload: bytes) -> None:
        self.messages.append(header)
        if self.answers:
            self.speak(header["number"])

    def speak(self, drawn: int = 0, *asks: str) -> None:
        self.say({"page": "a", "shows": self.shows, "drawn": drawn, "asks": list(asks)})

    def sizes(self, name: str) -> list[tuple[bool, int]]:
        """Return for each message that has a plot's block: whether it is a full one, and its points."""
        blocks = [block for header in self.messages for block in header["blocks"] if block["id"] == name]
        return [(block["full"], block["points"]) for block in blocks]


def hub_for(bench: Bench, page: Page) -> Hub:
    hub = Hub(bench.feed, asyncio.get_running_loop(), page)
    hub.add("plot", PlotStream("plot", [2], [bench.shm.registry.at(2).type], 50))
    hub.add("table", TableStream("table", [0, 1]))
    return hub


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.005)


async def ticks(count: int) -> None:
    await asyncio.sleep(count / TICK_HZ)


async def test_nothing_is_sent_before_a_page_has_spoken_nor_while_nothing_moves() -> None:
    bench, page = Bench(), Page(["plot", "table"])
    bench.commit()
    hub = hub_for(bench, page)
    bench.step(3)
    await ticks(3)
    assert page.messages == []
    page.speak(0, "plot", "table")
    await until(lambda: page.messages)
    await ticks(5)
    assert len(page.messages) == 1, "one message for all, and none while no frame is committed"
    assert {block["id"] for block in page.messages[0]["blocks"]} == {"plot", "table"}
    bench.step(2)
    await until(lambda: len(page.messages) == 2)
    assert page.sizes("plot") == [(True, 4), (False, 3)]
    hub.close_down()
    bench.close()


def test_deadlines_do_not_drift_and_late_ticks_do_not_crowd() -> None:
    period = 1 / TICK_HZ
    assert next_deadline(1.0, 1.0) == next_deadline(1.0, 1.0 + 0.4 * period) == 1.0 + period
    assert next_deadline(1.0, 1.0 + 0.6 * period) == pytest.approx(1.0 + 1.1 * period)
    assert next_deadline(1.0, 1.0 + 3 * period) == pytest.approx(1.0 + 4 * period)
    late, now, sent = 1.0, 1.0, 0
    while now < 101.0:  # a tick that is always late by a tenth of a period
        late, sent = next_deadline(late, now), sent + 1
        now = late + 0.1 * period
    assert sent == 100 * TICK_HZ


async def test_an_answer_lets_go_what_waited_for_it_without_another_tick() -> None:
    bench, page = Bench(), Page(["plot"], answers=False)
    bench.commit()
    hub = hub_for(bench, page)
    page.speak(0, "plot")
    for count in (1, 2):
        bench.step()
        await until(lambda count=count: len(page.messages) == count)  # type: ignore[misc]
    bench.step()
    await until(lambda: hub._held)
    page.speak(1)
    for _ in range(3):  # turns of the loop: the word is handed over, the tick follows
        await asyncio.sleep(0)
    assert len(page.messages) == 3
    hub.close_down()
    bench.close()


async def test_a_second_view_gets_everything_and_who_shows_nothing_gets_nothing() -> None:
    bench, page = Bench(), Page(["plot"])
    bench.commit()
    bench.step(3)
    hub = hub_for(bench, page)
    page.speak(0, "plot")
    await until(lambda: page.messages)
    page.speak(1, "plot")
    await until(lambda: len(page.messages) == 2)
    assert page.sizes("plot") == [(True, 4), (True, 4)]
    page.shows = []
    page.speak(2)
    await until(lambda: hub._timer is None)
    bench.step(3)
    await ticks(3)
    assert len(page.messages) == 2
    bench.close()


async def test_a_page_that_does_not_answer_gets_two_and_then_everything_again() -> None:
    bench, page = Bench(), Page(["plot"], answers=False)
    bench.commit()
    hub = hub_for(bench, page)
    page.speak(0, "plot")
    stepping = asyncio.get_running_loop().create_task(step_on(bench))
    await until(lambda: len(page.messages) == 3)
    assert [full for full, _ in page.sizes("plot")] == [True, False, True]
    stepping.cancel()
    hub.close_down()
    bench.close()


async def step_on(bench: Bench) -> None:
    while True:
        bench.step()
        await asyncio.sleep(0.01)


async def test_the_end_brings_what_is_missing_and_leaves_no_timer_and_a_reload_afterwards_is_answered() -> None:
    bench, page = Bench(), Page(["plot"])
    bench.commit()
    hub = hub_for(bench, page)
    page.speak(0, "plot")
    await until(lambda: page.messages)
    bench.step(2)
    bench.close()
    hub.close_down()
    assert page.sizes("plot") == [(True, 1), (False, 3)]
    assert hub._timer is None
    page.answers = False
    page.speak(0)
    assert len(page.messages) == 2, "who asks for nothing gets nothing"
    elsewhere = threading.Thread(target=page.speak, args=(0, "plot"))
    elsewhere.start()
    elsewhere.join()
    assert page.sizes("plot")[2:] == [(True, 3)]
    assert hub._timer is None


async def test_pages_are_heard_on_any_thread() -> None:
    bench, page = Bench(), Page(["plot"])
    bench.commit()
    hub = hub_for(bench, page)
    elsewhere = threading.Thread(target=page.speak, args=(0, "plot"))
    elsewhere.start()
    await until(lambda: page.messages)
    elsewhere.join()
    hub.close_down()
    bench.close()


async def test_a_hub_does_not_keep_a_session_s_history_in_memory() -> None:
    bench, page = Bench(), Page(["plot"])
    bench.commit()
    hub = hub_for(bench, page)
    bench.close()
    hub.close_down()
    gone = weakref.ref(bench.feed)
    del bench
    gc.collect()
    assert gone() is None
    page.speak(0, "plot")
    assert page.messages == []
