"""The panel of real sessions, driven as a front end drives it: by its traits and its clicks, on any thread."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from bounds import PATIENCE, promised

import hermes
from hermes.errors import HermesError, NotReady, SessionClosed
from hermes.lifecycle import State, Verb, legal
from hermes.notebook.board import ROWS
from hermes.notebook.controls import GAP_SECONDS

if TYPE_CHECKING:
    from hermes.notebook.controls import Controls


def until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait until a condition holds."""
    pause, limit = threading.Event(), seconds
    while not condition():
        pause.wait(0.005)
        limit -= 0.005
        assert limit > 0, "it does not come to hold"


def appear(panel: Controls) -> Controls:
    """Let a front end show the panel."""
    panel.set_state({"_view_count": 1})
    return panel


def from_front_end(widget: Any, **state: object) -> None:
    """Let a front end change a widget, on a thread that is neither the session's nor the cell's."""
    thread = threading.Thread(target=widget.set_state, args=(state,))
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def origins(session: hermes.Session) -> list[tuple[str, str]]:
    return [(entry["verb"], entry["origin"]) for entry in session.journal]


@pytest.fixture
def session(flight: Path) -> Iterator[hermes.Session]:
    with hermes.Session.from_yaml(flight) as running:
        yield running


@pytest.fixture
def panel(session: hermes.Session) -> Controls:
    return appear(session.controls())


def test_before_the_start_and_after_the_end_there_is_a_sentence(flight: Path) -> None:
    session = hermes.Session.from_yaml(flight)
    with pytest.raises(NotReady, match=r"controls\(\) needs a started session; call start\(\) first"):
        session.controls()
    with session:
        pass
    with pytest.raises(SessionClosed, match="session flight is closed"):
        session.controls()


def test_what_is_missing_is_named(session: hermes.Session, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.startswith(("hermes.notebook.", "ipywidgets"))]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(HermesError, match=r'controls\(\) needs ipywidgets: pip install "hermes-sim\[notebook\]"'):
        session.controls()


def test_buttons_command_the_session_and_follow_the_table(session: hermes.Session, panel: Controls) -> None:
    def as_the_table_has_it() -> bool:
        allowed = legal(session.state)
        return all(button.disabled == (verb not in allowed) for verb, button in panel.buttons.items())

    until(as_the_table_has_it)
    panel.count.value = "25"
    panel.buttons[Verb.STEP].click()
    until(lambda: session.frame == 25)
    panel.buttons[Verb.RESUME].click()
    until(lambda: session.state is State.RUNNING and panel.buttons[Verb.STEP].disabled and as_the_table_has_it())
    until(lambda: "hermes-is-running" in panel.status.value)
    panel.buttons[Verb.PAUSE].click()
    until(lambda: session.state is State.PAUSED and not panel.buttons[Verb.STEP].disabled)
    panel.buttons[Verb.RESET].click()
    until(lambda: session.frame == 0)
    until(lambda: origins(session) == [(verb, "widget") for verb in ("step", "resume", "pause", "reset")])
    until(lambda: all(f">{verb}<" in panel.lines.value for verb in ("resume", "pause", "reset")))


def test_single_frame_mode_refuses_to_run(flight: Path) -> None:
    flight.write_text(flight.read_text().replace("rate_hz: 100", "rate_hz: 100, mode: single_frame"))
    with hermes.Session.from_yaml(flight) as session:
        panel = appear(session.controls())
        assert panel.buttons[Verb.RESUME].disabled
        assert not panel.buttons[Verb.STEP].disabled


def test_one_change_of_a_field_is_one_set(session: hermes.Session, panel: Controls) -> None:
    rows = panel.board.rows
    from_front_end(rows["plane.throttle"].slider, value=0.5)
    until(lambda: rows["plane.throttle"].text.value == "0.5")
    from_front_end(rows["plane.wind"].text, value=" 2.50 ")
    until(lambda: rows["plane.wind"].text.value == "2.5")
    from_front_end(rows["plane.gear"].checkbox, value=True)
    until(lambda: session["plane.gear"] is True)
    rows["pilot.gain"].text.value = "2"
    until(lambda: (rows["pilot.gain"].text.value, rows["pilot.gain"].slider.value) == ("2.0", 2.0))
    session.step()
    assert [entry.get("values") for entry in session.journal] == [
        {"plane.throttle": 0.5}, {"plane.wind": 2.5}, {"plane.gear": True}, {"pilot.gain": 2.0}, None,
    ]  # fmt: skip
    assert {origin for verb, origin in origins(session) if verb == "set"} == {"widget"}


def test_whole_numbers_are_exact_beyond_what_a_browser_knows(session: hermes.Session, panel: Controls) -> None:
    row = panel.board.rows["plane.serial"]
    assert (row.text.value, row.slider) == ("9007199254740993", None)
    from_front_end(row.text, value="-9223372036854775807")
    until(lambda: session["plane.serial"] == -9223372036854775807)
    from_front_end(row.text, value="9223372036854775808")
    until(lambda: row.text.value == "-9223372036854775807")
    until(lambda: "plane.serial cannot be 9223372036854775808" in panel.lines.value)


def test_following_is_nobodys_command(session: hermes.Session, panel: Controls) -> None:
    rows = panel.board.rows
    session.set({"plane.throttle": 0.3333, "plane.gear": True, "plane.serial": 2**53 + 1, "pilot.gain": 5.0})
    until(lambda: rows["plane.throttle"].text.value == "0.3333")
    assert rows["plane.throttle"].slider.value == 0.335
    assert (rows["plane.gear"].checkbox.value, rows["plane.serial"].text.value) == (True, "9007199254740993")
    session.reset()
    until(lambda: rows["plane.throttle"].text.value == "0.25")
    assert (rows["plane.gear"].checkbox.value, rows["pilot.gain"].slider.value) == (False, 0.5)
    session.step()
    assert origins(session) == [("set", "python"), ("reset", "python"), ("step", "python")]


def test_what_the_front_end_makes_of_our_value_is_nobodys_command(session: hermes.Session, panel: Controls) -> None:
    """A slider in a browser puts a value onto its own grid and reports that."""
    slider = panel.board.rows["plane.throttle"].slider
    session["plane.throttle"] = 0.3333
    until(lambda: slider.value == 0.335)
    from_front_end(slider, value=0.335 + 1e-12)
    session.step()
    assert origins(session) == [("set", "python"), ("step", "python")]
    assert session["plane.throttle"] == 0.3333


def test_the_command_of_a_client_is_followed_at_once(session: hermes.Session, panel: Controls) -> None:
    text = panel.board.rows["plane.wind"].text
    with hermes.Client(session.url) as client:
        client["plane.wind"] = 7.5
        until(lambda: text.value == "7.5", promised(0.1, 100))
        client.resume()
        until(lambda: "hermes-is-running" in panel.status.value, promised(0.1, 100))
        client.pause()
        until(lambda: "hermes-is-paused" in panel.status.value, promised(0.1, 100))
        until(lambda: "1</b>&nbsp;client" in panel.status.value)
        until(lambda: "set plane.wind = 7.5" in panel.lines.value)
        assert "<td>client 127.0.0.1:" in panel.lines.value
    until(lambda: "0</b>&nbsp;clients" in panel.status.value)


def test_a_refused_value_goes_back_and_says_why(session: hermes.Session, panel: Controls) -> None:
    row = panel.board.rows["plane.elevator"]
    for text, found in (("9", "cannot be 9; it takes a number"), ("<b>", "cannot be &#x27;&lt;b&gt;&#x27;")):
        from_front_end(row.text, value=text)
        until(lambda: row.text.value == "0.0")
        until(lambda found=found: found in panel.lines.value)
    panel.count.value = "0"
    panel.buttons[Verb.STEP].click()
    until(lambda: "step takes a count of frames, a whole number from 1 to 2^53-1; found 0" in panel.lines.value)
    panel.count.value = "many"
    panel.buttons[Verb.STEP].click()
    until(lambda: "found &#x27;many&#x27;" in panel.lines.value)
    assert origins(session) == []
    assert "within -0.4 to 0.4, in rad" in panel.lines.value


def test_a_failure_is_shown_until_a_reset(session: hermes.Session, panel: Controls) -> None:
    assert "hermes-hidden" in panel.failure._dom_classes
    session["plane.fail_at"] = 0.0
    panel.buttons[Verb.RESUME].click()
    until(lambda: "the &lt;b&gt;wing&lt;/b&gt; fell off" in panel.failure.value)
    until(lambda: "failed: module plane raised" in panel.lines.value)
    assert "<pre>Traceback" in panel.failure.value
    until(lambda: panel.board.rows["plane.wind"].text.disabled)
    assert "hermes-hidden" not in panel.failure._dom_classes
    panel.buttons[Verb.RESET].click()
    until(lambda: not panel.board.rows["plane.wind"].text.disabled)
    assert "hermes-hidden" in panel.failure._dom_classes


def test_a_dragged_slider_sends_its_newest_position(session: hermes.Session, panel: Controls) -> None:
    slider = panel.board.rows["plane.throttle"].slider
    for position in range(51, 201):
        slider.value = position / 200
    until(lambda: session["plane.throttle"] == 1.0)
    session.step()
    values = [entry["values"]["plane.throttle"] for entry in session.journal[:-1]]
    assert values == sorted(set(values))
    assert 0 < len(values) <= 150


def test_a_command_comes_after_the_values_before_it(session: hermes.Session, panel: Controls) -> None:
    text = panel.board.rows["plane.wind"].text
    for value in ("1.0", "2.0", "3.0"):
        text.value = value
    panel.buttons[Verb.STEP].click()
    until(lambda: session.frame == 1 and session.journal[-1]["verb"] == "step")
    assert session.journal[-2]["values"] == {"plane.wind": 3.0}


def test_a_field_in_which_somebody_types_is_left_alone(session: hermes.Session, panel: Controls) -> None:
    row = panel.board.rows["plane.throttle"]
    from_front_end(panel.typing, index=row.index)
    session["plane.throttle"] = 0.75
    until(lambda: row.slider.value == 0.75)
    assert row.text.value == "0.25"
    from_front_end(panel.typing, index=-1)
    until(lambda: row.text.value == "0.75")


def test_two_panels_follow_each_other(session: hermes.Session, panel: Controls) -> None:
    session["plane.wind"] = 1.0
    other = appear(session.controls())
    until(lambda: "set plane.wind = 1.0" in other.lines.value)  # from before it was made
    from_front_end(panel.board.rows["plane.throttle"].slider, value=0.5)
    until(lambda: other.board.rows["plane.throttle"].text.value == "0.5")
    from_front_end(other.board.rows["plane.throttle"].text, value="0.125")
    until(lambda: panel.board.rows["plane.throttle"].text.value == "0.125")
    session.step()
    assert origins(session) == [("set", "python"), ("set", "widget"), ("set", "widget"), ("step", "python")]


def test_nothing_is_sent_where_nobody_looks(session: hermes.Session, sent: list[dict[str, Any]]) -> None:
    panel = session.controls()
    assert len(sent) < 200
    until(lambda: panel._run is not None and panel._follow in panel._run.followers)
    sent.clear()
    session["plane.wind"] = 2.0
    session.run(0.5)
    assert sent == []
    appear(panel)
    until(lambda: panel.board.rows["plane.wind"].text.value == "2.0" and ">50<" in panel.status.value)


def most_updates(begin: float) -> float:
    """Return how often a panel may have been updated since an instant, however long that was."""
    return (time.monotonic() - begin) / GAP_SECONDS + 4


def test_updates_are_few_while_running_and_none_while_nothing_changes(
    session: hermes.Session, panel: Controls, sent: list[dict[str, Any]]
) -> None:
    until(lambda: panel._timer is not None)
    status, begin = panel.status.model_id, time.monotonic()
    session.run(2.0)
    until(lambda: ">200<" in panel.status.value and ">run 200 frames<" in panel.lines.value)
    at_once = [message for message in sent if message["comm"] == status]
    assert 1 <= len(at_once) <= most_updates(begin)
    assert len(sent) < 2 * len(at_once) + 20
    until(lambda: ">paused<" in panel.lines.value)
    sent.clear()
    looks = {panel._shown_at}
    until(lambda: looks.add(panel._shown_at) or len(looks) == 4)  # at which nothing is found
    assert sent == []


def test_many_changes_are_one_update(session: hermes.Session, panel: Controls, sent: list[dict[str, Any]]) -> None:
    text, begin = panel.board.rows["plane.wind"].text, time.monotonic()
    for value in range(200):
        session["plane.wind"] = float(value)
    until(lambda: text.value == "199.0")
    assert sum(message["comm"] == text.model_id for message in sent) <= most_updates(begin)
    until(lambda: "&times;200" in panel.lines.value)


def test_two_thousand_signals_are_not_two_thousand_widgets(
    write: Callable[[str, str], Path], sent: list[dict[str, Any]]
) -> None:
    write(
        "big.py",
        "import hermes\nclass Big(hermes.Module):\n"
        "    a = hermes.Parameter(0.0, labels=tuple(f'p{i}' for i in range(1000)), limits=(0, 1))\n"
        "    out = hermes.Output()\n    def step(self, time, dt): pass\n",
    )
    modules = "modules: {one: {type: script, script: ./big.py}, two: {type: script, script: ./big.py}}"
    path = write("big.yaml", f"name: big\n{modules}\nexecution: {{rate_hz: 100}}\nserver: {{enabled: false}}\n")
    with hermes.Session.from_yaml(path) as session:
        panel = appear(session.controls())
        board = panel.board
        assert sum(message["type"] == "comm_open" for message in sent) < 6 * ROWS
        assert board.matches.value == "2000 signals match; the first 40 are shown: narrow the search"
        kept = board.rows["one.a.p7"]
        gone = board.rows["one.a.p6"].text
        from_front_end(board.search, value="one p7 ")
        until(lambda: board.matches.value.startswith("111 signals match"))
        until(lambda: gone.comm is None)
        assert board.rows["one.a.p7"] is kept
        from_front_end(board.search, value="TWO .p999")
        until(lambda: list(board.rows) == ["two.a.p999"])
        until(lambda: len(board.panel.children) == 1)
        from_front_end(board.rows["two.a.p999"].slider, value=0.5)
        until(lambda: session["two.a.p999"] == 0.5)
        from_front_end(board.search, value="nothing of the kind")
        until(lambda: board.matches.value == "no signal matches")
        from_front_end(board.search, value="")
        until(lambda: len(board.rows) == ROWS)


def test_a_closed_session_is_let_go_and_says_so(flight: Path) -> None:
    with hermes.Session.from_yaml(flight) as session:
        panel = appear(session.controls())
        session.step(5)
        run = weakref.ref(session.aio._run)
    assert "this session is closed" in panel.status.value
    assert ">5<" in panel.status.value
    assert all(button.disabled for button in [*panel.buttons.values(), panel.count])
    assert all(widget.disabled for row in panel.board.rows.values() for widget in row.inputs)
    panel.buttons[Verb.RESUME].click()
    panel.board.rows["plane.wind"].text.value = "3.0"
    assert "flight" in panel._repr_mimebundle_()["text/html"]
    del session
    gc.collect()
    assert run() is None


def test_without_a_front_end_it_is_a_table(session: hermes.Session, panel: Controls) -> None:
    session["plane.wind"] = 2.5
    session.step(3)
    bundle = panel._repr_mimebundle_()
    assert bundle["text/plain"] == "Controls of flight: paused"
    table = bundle["text/html"]
    assert "paused, 0.030 s, frame 3" in table
    assert ">plane.wind</td>" in table
    assert ">2.5</td>" in table
    assert "&lt;b&gt;Elevator&lt;/b&gt;" in table
    assert "pilot.altitude" not in table  # a wire drives it
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == panel.model_id


async def test_it_works_on_the_loop_of_the_caller(flight: Path) -> None:
    async with hermes.AsyncSession.from_yaml(flight) as session:
        panel = appear(session.controls())
        await asyncio.to_thread(panel.buttons[Verb.STEP].click)
        from_front_end(panel.board.rows["plane.wind"].text, value="4")
        async with asyncio.timeout(PATIENCE):
            while not (session.frame == 1 and panel.board.rows["plane.wind"].text.value == "4.0"):
                await asyncio.sleep(0.01)
        assert {entry["origin"] for entry in session.journal} == {"widget"}
    assert "this session is closed" in panel.status.value
