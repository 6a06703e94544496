from __future__ import annotations

import logging
import math

import pytest

from hermes.errors import ModuleDied, to_wire
from hermes.lifecycle import State
from hermes.mirror import Journal, Mirror

NOW = {"state": "running", "frame": 3, "time": 0.05}


def test_the_state_is_the_last_one_reported() -> None:
    mirror = Mirror()
    assert mirror.state is State.STARTING
    assert mirror.take({"type": "started", "state": "paused", "frame": 0, "time": 0.0}) is None
    assert mirror.state is State.PAUSED
    assert mirror.take({"type": "event", "event": "running", **NOW}) == ("running", NOW)
    assert mirror.take({"type": "reply", "id": 1, **NOW, "state": "paused"}) is None
    assert mirror.state is State.PAUSED


def test_the_journal_is_kept_in_order() -> None:
    mirror = Mirror()
    for frame in range(3):
        mirror.take({"type": "journal", "entry": {"frame": frame, "verb": "step", "origin": "python"}})
    assert [entry["frame"] for entry in mirror.journal] == [0, 1, 2]


def test_a_failure_is_rebuilt_told_with_its_fields_logged_in_one_line_and_forgotten_at_reset(
    caplog: pytest.LogCaptureFixture,
) -> None:
    mirror = Mirror()
    error = ModuleDied("plane", 4, "step", "signal SIGSEGV", ["last words"])
    event = mirror.take({"type": "event", "event": "failed", **NOW, "state": "failed", **to_wire(error)})
    assert str(mirror.failure) == str(error)
    assert event is not None
    name, fields = event
    assert name == "failed"
    assert (fields["module"], fields["frame"], fields["code"]) == ("plane", 4, "module_failed")
    assert fields["stderr"] == ["last words"]
    assert fields["message"] == str(error)
    assert [record.getMessage() for record in caplog.records] == ["module plane died in frame 4: signal SIGSEGV"]
    mirror.take({"type": "event", "event": "reset", "state": "paused", "frame": 0, "time": 0.0})
    assert mirror.failure is None


def test_output_is_logged_escaped_under_the_module_s_name(caplog: pytest.LogCaptureFixture) -> None:
    record = {"type": "output", "module": "m", "stream": "stderr", "frame": 7, "lines": ["a\x1b[31m"], "dropped": 2}
    with caplog.at_level(logging.INFO, "hermes.module"):
        Mirror().take(record)
        Mirror().take({**record, "stream": "stdout", "dropped": 0})
    said = [(entry.name, entry.levelname, entry.getMessage()) for entry in caplog.records]
    assert said == [
        ("hermes.module.m", "WARNING", "2 lines of output were dropped"),
        ("hermes.module.m", "WARNING", "frame 7: a\\x1b[31m"),
        ("hermes.module.m", "INFO", "frame 7: a\\x1b[31m"),
    ]


def test_the_journal_keeps_every_value_exactly() -> None:
    mirror = Mirror()
    values = {"a": 2**63 - 1, "b": -(2**53) - 1, "c": -0.0, "d": math.nan, "e": -math.inf, "f": 5e-324, "g": True}
    mirror.take({"type": "journal", "entry": {"frame": 1, "verb": "set", "origin": "python", "values": values}})
    assert repr(mirror.journal[0]["values"]) == repr(values)


def test_the_journal_shows_itself_as_a_table_of_what_is_newest() -> None:
    many = {f"a.s{number}": number for number in range(10)}
    entries = [{"frame": frame, "verb": "step", "origin": "python", "count": 2} for frame in range(200)]
    journal = Journal([*entries, {"frame": 200, "verb": "set", "origin": "<script>", "values": many}])
    text = journal._repr_html_()
    assert text.count("<tr>") == 1 + 100
    assert "the newest 100 of 201" in text
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    assert "count = 2" in text
    assert "a.s7 = 7, and 2 more" in text
    assert "a.s8" not in text
    assert Journal()._repr_html_().count("<tr>") == 1
