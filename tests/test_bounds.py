from __future__ import annotations

import time

import pytest
from bounds import SLACK, promised, spent


def test_a_promise_has_slack_unless_it_is_to_be_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("", "0", "yes"):
        monkeypatch.setenv("HERMES_STRICT_TICKS", value)
        assert (promised(2.5), promised(600, slack=0.5)) == (2.5 * SLACK, 300)
    monkeypatch.delenv("HERMES_STRICT_TICKS")
    assert promised(2.5) == 2.5 * SLACK
    monkeypatch.setenv("HERMES_STRICT_TICKS", "1")
    assert (promised(2.5), promised(600, slack=0.5)) == (2.5, 600)


def test_the_time_spent_is_the_least_of_several(monkeypatch: pytest.MonkeyPatch) -> None:
    instants = iter([0.0, 3.0, 10.0, 11.0, 20.0, 22.0])
    monkeypatch.setattr(time, "process_time", lambda: next(instants))
    calls: list[int] = []
    assert spent(lambda: calls.append(1)) == 1.0
    assert calls == [1, 1, 1]
