from __future__ import annotations

import pytest
from ringbench import SLOTS, Bench

from hermes.config import HermesConfig
from hermes.errors import CommandError, ConfigurationError, InvalidState
from hermes.history.lossless import record_lossless


def config(mode: str) -> HermesConfig:
    return HermesConfig.model_validate(
        {"modules": {"a": {"type": "script", "script": "package.module"}}, "execution": {"mode": mode}}
    )


async def test_it_begins_when_the_engine_is_known_to_wait_so_that_nothing_before_counts_as_missed() -> None:
    bench = Bench()
    bench.commit()

    async def settled() -> None:
        assert bench.reports == [1], "the engine is told first"
        bench.step(3 * SLOTS)  # what it had computed before it heard

    recording = await record_lossless(bench.feed, config("afap"), "m.x", settled)
    bench.step()
    assert recording["frame"].tolist() == [3 * SLOTS, 3 * SLOTS + 1]
    assert recording.missed.count == 0
    assert recording.lossless
    assert bench.reports == [1, 3 * SLOTS + 1]
    bench.close()


async def test_a_beginning_that_fails_holds_nobody_up() -> None:
    bench = Bench()
    bench.commit()

    async def settled() -> None:
        raise InvalidState("look", "closed", "no way out")

    with pytest.raises(CommandError):
        await record_lossless(bench.feed, config("afap"), "*", settled)
    assert bench.reports == [1, None]
    with pytest.raises(
        ConfigurationError, match=r"execution\.mode: a lossless recording .* needs execution.mode afap; fo"
    ):
        await record_lossless(bench.feed, config("realtime"), "*", settled)
    assert bench.reports == [1, None]
    bench.close()
