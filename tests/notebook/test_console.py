from __future__ import annotations

import pytest

from hermes.errors import BadParams
from hermes.frametime import FrameClock
from hermes.notebook.console import LINES, Console, command_text, event_text

AT = {"state": "running", "frame": 50, "time": 0.5}


@pytest.fixture
def console() -> Console:
    return Console(FrameClock(100, 1))


def entry(verb: str, origin: str = "python", frame: int = 12, **given: object) -> dict[str, object]:
    return {"frame": frame, "verb": verb, "origin": origin, **given}


def test_a_command_says_what_it_was_given() -> None:
    assert command_text(entry("pause")) == "pause"
    assert command_text(entry("step", count=1)) == "step 1 frame"
    assert command_text(entry("run", count=250)) == "run 250 frames"
    assert command_text(entry("set", values={"a.gain": 2.5, "a.on": True})) == "set a.gain = 2.5, a.on = True"
    assert command_text(entry("set", values={f"a.{n}": n for n in range(9)})).endswith("a.3 = 3 and 5 more")


def test_an_event_says_what_happened() -> None:
    assert event_text("paused", AT) == "paused"
    assert event_text("failed", {**AT, "message": "module a raised\ntraceback"}) == "failed: module a raised"
    slow = {**AT, "module": "a", "step_ms": 12.345, "work_ms": 13.0, "overruns": 3}
    assert event_text("overrun", slow) == "overrun: 12.35 ms in a, 13.00 ms in all; 3 so far"
    assert event_text("client_slow", {**AT, "client": "::1", "skipped": 9}) == (
        "client ::1 is slow; frames to it are skipped"
    )
    assert event_text("replaced", {**AT, "module": "a"}) == "replaced: module a"


def test_the_newest_lines_are_kept(console: Console) -> None:
    for frame in range(3 * LINES):
        console.journal(entry("step", frame=frame, count=1))
    assert [line.frame for line in console.lines] == list(range(2 * LINES, 3 * LINES))
    assert console.version == 3 * LINES
    assert console.html().count("<tr") == LINES


def test_a_slider_that_is_dragged_is_one_line(console: Console) -> None:
    console.journal(entry("set", "widget", values={"a.gain": 1.0}))
    console.journal(entry("set", "widget", values={"a.gain": 2.0}))
    console.journal(entry("set", "python", values={"a.gain": 3.0}))
    console.journal(entry("set", "python", values={"a.push": 3.0}))
    console.journal(entry("step", count=1))
    console.journal(entry("step", count=1))
    assert [(line.text, line.origin, line.times) for line in console.lines] == [
        ("set a.gain = 2.0", "widget", 2),
        ("set a.gain = 3.0", "python", 1),
        ("set a.push = 3.0", "python", 1),
        ("step 1 frame", "python", 1),
        ("step 1 frame", "python", 1),
    ]
    assert console.html().count("&times;2") == 1


def test_a_refusal_is_an_error_of_the_widget(console: Console) -> None:
    console.refused(7, BadParams("step takes more\nand more"))
    assert console.lines[-1][:4] == ("error", 7, "widget", "step takes more")
    assert "hermes-error" in console.html()
    assert "0.070 s" in console.html()


def test_whatever_is_written_is_text(console: Console) -> None:
    script = "<script>alert(1)</script>"
    console.journal(entry("set", f"client {script}", values={script: 1.0}))
    console.event(script, {**AT, "message": script, script: script})
    console.refused(0, BadParams(script))
    assert "<script" not in console.html()
    assert console.html().count("&lt;script&gt;") == 7
