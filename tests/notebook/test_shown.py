from __future__ import annotations

import pytest

from hermes.backplane.signals import Signal, SignalKind
from hermes.errors import HermesError, ModuleFailed
from hermes.lifecycle import TRANSITIONS, State, Verb
from hermes.notebook import shown

SCRIPT = "<script>'\""


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("verb", [Verb.RESUME, Verb.PAUSE, Verb.STEP, Verb.RESET, Verb.SET])
def test_what_the_one_table_allows_is_enabled(state: State, verb: Verb) -> None:
    assert (verb in shown.enabled(state, single_frame=False)) == ((state, verb) in TRANSITIONS)


def test_single_frame_mode_offers_steps_only() -> None:
    assert {Verb.STEP, Verb.RESET} <= shown.enabled(State.PAUSED, single_frame=True)
    assert not {Verb.RESUME, Verb.RUN} & shown.enabled(State.PAUSED, single_frame=True)


def test_the_status_has_its_numbers_in_words() -> None:
    status = {"state": "running", "time": 1.5, "frame": 150, "real_time_factor": 0.998, "overruns": 1, "clients": 2}
    text = shown.status_html({"session": SCRIPT, **status})
    for part in ("hermes-is-running", ">1.500<", ">150<", ">1.00<", "&nbsp;overrun<", ">2</b>&nbsp;clients"):
        assert part in text
    assert "<script" not in text


def test_a_failure_is_a_sentence_and_more_behind_it() -> None:
    assert shown.failure_html(None) == ""
    assert shown.failure_html(HermesError("just so")) == "<div class='hermes-why'>just so</div>"
    failure = ModuleFailed("plane", 3, "step", SCRIPT, f"Traceback:\n  {SCRIPT}")
    sentence, _, more = shown.failure_html(failure).partition("</div>")
    assert "module plane raised in frame 3" in sentence
    assert "<pre>Traceback:" in more
    assert "<script" not in sentence + more


def test_names_units_and_descriptions_are_text() -> None:
    signal = Signal("m", SCRIPT, SignalKind.INPUT, unit=SCRIPT, description=SCRIPT, limits=(0, 5))
    now = {"state": "paused", "time": 0.5, "frame": 50}
    for text in (shown.name_html(signal), shown.unit_html(signal), shown.static_html(SCRIPT, now, [(signal, 1.0)])):
        assert "<script" not in text
    assert SCRIPT[-2:] not in shown.name_html(signal).removeprefix("<span title='")
    assert "0 &hellip; 5" in shown.unit_html(signal)


def test_the_table_without_widgets_is_bounded() -> None:
    signals = [(Signal("m", f"p{n}", SignalKind.PARAMETER, unit="N"), float(n)) for n in range(shown.STATIC_ROWS + 3)]
    text = shown.static_html("flight", {"state": "paused", "time": 0.5, "frame": 50}, signals)
    assert text.count("<tr>") == shown.STATIC_ROWS + 1
    assert "paused, 0.500 s, frame 50" in text
    assert "and 3 more" in text


@pytest.mark.parametrize(
    ("count", "matching", "said"),
    [
        (0, 0, "no signal matches"),
        (1, 1, "1 signal matches"),
        (5, 5, "5 signals match"),
        (40, 222, "222 signals match; the first 40 are shown: narrow the search"),
    ],
)
def test_how_many_signals_a_search_finds(count: int, matching: int, said: str) -> None:
    assert shown.matches_text(count, matching) == said
