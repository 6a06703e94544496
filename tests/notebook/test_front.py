from __future__ import annotations

import base64
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import hermes
from hermes import examples
from hermes.errors import BadParams, HermesError, NotReady, SessionClosed, UnknownSignal
from hermes.notebook import bundle

VIEW = "application/vnd.jupyter.widget-view+json"


@pytest.fixture(scope="module")
def session() -> Iterator[hermes.Session]:
    with hermes.Session.from_yaml(examples.path("pendulum"), serve=False) as started:
        started.step(50)
        yield started


@pytest.fixture(scope="module", autouse=True)
def fonts(session: hermes.Session) -> None:
    """Draw once: matplotlib keeps its font files open."""
    session.plot("pendulum.angle")._repr_mimebundle_()


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the front end be there, whether this copy has one or not."""
    from hermes.notebook import plot, table

    for module in (plot, table):
        monkeypatch.setattr(module, "bundled", lambda name: f"// {name}")


def size_of(png: str) -> tuple[int, int]:
    data = base64.b64decode(png)
    assert data.startswith(b"\x89PNG")
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def test_a_plot_has_an_axes_per_argument_and_takes_patterns(session: hermes.Session) -> None:
    plot = session.plot("pendulum.angle", ("pendulum.angular_*", "pendulum.angle"), window=2)
    names = [[signal["name"] for signal in group] for group in plot.axes]
    assert names == [["pendulum.angle"], ["pendulum.angular_velocity", "pendulum.angle"]]
    assert [[signal["place"] for signal in group] for group in plot.axes] == [[0], [1, 0]]
    assert plot.axes[0][0]["unit"] == "rad"
    assert plot.window == 2.0
    assert "angular_velocity" in repr(plot)
    assert len(session.plot().axes[0]) == len(session.signals)
    plot.close()


def test_what_is_shown_live_has_a_picture_beside_it(session: hermes.Session, built: None) -> None:
    one, _ = session.plot("pendulum.angle")._repr_mimebundle_()
    plot = session.plot("pendulum.angle", "pendulum.angular_velocity")
    two, _ = plot._repr_mimebundle_()
    assert one[VIEW]["model_id"] != two[VIEW]["model_id"]
    assert two[VIEW] == plot._repr_mimebundle_()[0][VIEW], "one plot may be displayed twice"
    assert size_of(two["image/png"])[1] > size_of(one["image/png"])[1]
    assert "text/html" not in one


def test_without_a_front_end_there_is_a_picture_and_a_line_that_says_why(
    session: hermes.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hermes.notebook import plot, table

    for module in (plot, table):
        monkeypatch.setattr(module, "bundled", lambda name: None)
    shown, _ = session.plot("pendulum.angle")._repr_mimebundle_()
    assert VIEW not in shown
    assert shown["image/png"] in shown["text/html"]
    assert bundle.WITHOUT.split(",")[0].replace("'", "&#x27;") in shown["text/html"]
    listed, _ = session.table()._repr_mimebundle_()
    assert VIEW not in listed
    assert "front end" in listed["text/html"]


def test_without_matplotlib_a_line_says_what_is_missing(
    session: hermes.Session, built: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    shown, _ = session.plot("pendulum.angle")._repr_mimebundle_()
    assert "image/png" not in shown
    assert 'matplotlib: pip install "hermes-sim[notebook]"' in shown["text/plain"]


@pytest.mark.parametrize("what", ["plot", "table"])
def test_without_anywidget_an_error_says_what_to_install(
    session: hermes.Session, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setitem(sys.modules, "anywidget", None)
    with pytest.raises(HermesError) as caught:
        getattr(session, what)("pendulum.angle")
    assert str(caught.value) == f'{what}() needs anywidget: pip install "hermes-sim[notebook]"'


def test_a_table_shows_the_values_of_its_moment_module_by_module(session: hermes.Session, built: None) -> None:
    shown, _ = session.table()._repr_mimebundle_()
    assert f"{session['pendulum.angle']:#.6g}" in shown["text/html"]
    assert shown["text/html"].count("colspan='3'") == 1
    assert VIEW in shown


def test_what_cannot_be_shown_is_refused(session: hermes.Session) -> None:
    with pytest.raises(UnknownSignal, match=r"pendulum\.angle"):
        session.plot("pendulum.angel")
    with pytest.raises(UnknownSignal, match=r"pendulum\.angle"):
        session.table("pendulum.angel")
    for window in (0, -1.0, float("nan"), float("inf"), True, "30"):
        with pytest.raises(BadParams, match="window takes a number of seconds above 0"):
            session.plot("pendulum.angle", window=window)
    with pytest.raises(BadParams, match="32 axes"):
        session.plot(*["pendulum.angle"] * 33)


def test_before_the_start_and_after_the_end_nothing_is_made_but_what_was_made_can_still_be_shown(built: None) -> None:
    session = hermes.Session.from_yaml(examples.path("pendulum"), serve=False)
    for make in (session.plot, session.table):
        with pytest.raises(NotReady):
            make("pendulum.angle")
    with session:
        session.step(20)
        plot, table = session.plot("pendulum.angle"), session.table()
    with pytest.raises(SessionClosed):
        session.plot("pendulum.angle")
    assert "image/png" in plot._repr_mimebundle_()[0]
    assert "rad" in table._repr_html_()


async def test_an_asynchronous_session_has_both(tmp_path: Path) -> None:
    async with hermes.AsyncSession.from_yaml(examples.path("pendulum"), serve=False) as session:
        await session.step(3)
        assert "angle" in repr(session.plot("pendulum.angle"))
        assert "pendulum" in session.table()._repr_html_()


def test_text_that_looks_like_html_stays_text(tmp_path: Path) -> None:
    (tmp_path / "odd.py").write_text(
        "import hermes\nclass Odd(hermes.Module):\n"
        "    x = hermes.Output(unit='<b>&', description='<script>1</script>')\n    def step(self, time, dt): pass\n"
    )
    (tmp_path / "odd.yaml").write_text(
        "modules: {odd: {type: script, script: ./odd.py}}\nexecution: {mode: afap, rate_hz: 10}\n"
    )
    with hermes.Session.from_yaml(tmp_path / "odd.yaml", serve=False) as session:
        session.step(2)
        shown = [
            session.table()._repr_html_(),
            session.signals._repr_html_(),
            session.signals["odd.x"]._repr_html_(),
            session._repr_html_(),
            session.journal._repr_html_(),
            session.timing()._repr_html_(),
            session.history()._repr_html_(),
        ]
        assert "image/png" in session.plot("odd.x")._repr_mimebundle_()[0]
    for text in shown:
        assert "<script>" not in text
        assert "<b>&" not in text
