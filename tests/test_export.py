from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hermes import HermesConfig
from hermes.casefiles import write_case
from hermes.config import ExecutionConfig
from hermes.engine.plan import CommandPlan
from hermes.errors import NotExported
from hermes.export import case_text, end_time_for, sets_of_epoch
from hermes.planning import plan_for, with_execution

RATES = ["60", "60000/1001", "1/3", "1000", "99999.5", "100000", "29.97", "7", "0.001", "1/7"]


@given(st.sampled_from(RATES), st.integers(1, 10**14))
@example("60", 1)
@example("60000/1001", 59)
@example("1/3", 1)
@example("100000", 10**14)
@example("100000", 10**14 - 1)
@example("1/100000000000", 1)
def test_an_end_time_is_exactly_its_frame(rate: str, frame: int) -> None:
    exact = Fraction(rate)
    if (frame - 1) / exact >= 10**9:
        with pytest.raises(NotExported, match=r"execution\.end_time takes at most 1e\+09 s"):
            end_time_for(frame, exact)
        return
    text = repr(end_time_for(frame, exact))
    written = HermesConfig.from_yaml_text(
        f"modules: {{a: {{type: script, script: m}}}}\nexecution: {{rate_hz: '{rate}', end_time: {text}}}\n"
    )
    assert written.execution.end_frame == frame


@given(st.fractions(min_value=Fraction(1, 10**6), max_value=10**5, max_denominator=10**6), st.integers(1, 10**9))
def test_an_end_time_is_exactly_its_frame_at_any_rate(rate: Fraction, frame: int) -> None:
    if frame / rate <= 10**9:
        text = f"{rate.numerator}/{rate.denominator}"
        assert ExecutionConfig(rate_hz=text, end_time=end_time_for(frame, rate)).end_frame == frame


@pytest.mark.parametrize(
    ("frame", "rate", "end"), [(600, "60", 10.0), (1, "60", 0.016666666), (75, "60", 1.25), (2, "1/3", 6)]
)
def test_an_end_time_is_easy_to_read(frame: int, rate: str, end: float) -> None:
    assert end_time_for(frame, Fraction(rate)) == end


def test_the_sets_of_an_epoch() -> None:
    def set_at(frame: int, value: float) -> dict[str, Any]:
        return {"frame": frame, "verb": "set", "origin": "python", "values": {"a.u": value}}

    reset = {"frame": 9, "verb": "reset", "origin": "python"}
    step = {"frame": 0, "verb": "step", "origin": "python", "count": 1}
    journal = [set_at(0, 1), step, set_at(1, 2), reset, reset, set_at(0, 3), step, set_at(0, 4), reset]
    assert sets_of_epoch(journal, 0, 9) == sets_of_epoch(journal, 0, 1) == [(0, {"a.u": 1}), (1, {"a.u": 2})]
    assert sets_of_epoch(journal, 0, 0) == [(0, {"a.u": 1})], "what came later than the frame is not of the case"
    assert sets_of_epoch(journal, 1, 9) == []
    assert sets_of_epoch(journal, 2, 9) == [(0, {"a.u": 3}), (0, {"a.u": 4})]
    assert sets_of_epoch(journal, 3, 9) == []


TEXT = """\
modules:
  plant: {type: script, script: "lib/plant.py:Plant", params: {mass: 2.0, names: [a, "1e-3", "on"], none: null},
          env: {N: "08"}, signals: [{name: u, type: i64, writable: true, initial: 1, limits: [-1, 9e18]}]}
  free: {type: script, script: "package.thing"}
wiring: [{src: plant.y, dst: free.u, gain: 0.1}, {src: plant.z, dst: free.v}]
execution: {rate_hz: 60000/1001, seed: 7, mode: afap, end_time: 100}
backplane: {history: 64}
server: {enabled: false, token: a-secret-that-nobody-knows, allowed_origins: ["http://x"]}
commands: [{time: 0.5, set: {plant.u: 5}}, {frame: 2, pause: true}, {frame: 0, set: {plant.u: 2}}]
"""
SETS = [CommandPlan(0, {"plant.u": 2}), CommandPlan(3, {"plant.u": 2**63 - 1, "plant.w": -0.0, "plant.v": math.nan})]


@pytest.fixture
def config(tmp_path: Path) -> HermesConfig:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "plant.py").touch()
    return HermesConfig.from_yaml_text(TEXT, "case.yaml", tmp_path)


@pytest.mark.parametrize(
    ("folder", "script"),
    [(".", "./lib/plant.py:Plant"), ("lib", "./plant.py:Plant"), ("deep/er", "../../lib/plant.py:Plant")],
)
def test_a_case_says_what_the_configuration_says(config: HermesConfig, folder: str, script: str) -> None:
    target = config.base / folder
    target.mkdir(parents=True, exist_ok=True)
    text = case_text(config, target, 600, "ab" * 16, SETS)
    assert text.startswith("# case\n# fingerprint at frame 600: " + "ab" * 16 + "\nname: case\n")
    assert "secret" not in text
    again = HermesConfig.from_yaml_text(text, "other.yaml", target)
    assert again.modules["plant"].script == script
    before, after = plan_for(config), plan_for(again)
    assert repr(after.commands) == repr(tuple(SETS))
    assert (after.end_frame, again.execution.end_time) == (600, 10.01)
    assert after._replace(modules=(), commands=(), end_frame=0) == before._replace(modules=(), commands=(), end_frame=0)
    assert after.modules[0].spec == {**before.modules[0].spec, "file": after.modules[0].spec["file"]}
    assert Path(after.modules[0].spec["file"]).samefile(config.base / "lib" / "plant.py")
    assert (after.modules[0].env, after.modules[1]) == (before.modules[0].env, before.modules[1])
    assert again.server == config.server.model_copy(update={"token": "auto"})


def test_at_frame_0_the_end_and_what_comes_later_stay(config: HermesConfig) -> None:
    again = HermesConfig.from_yaml_text(case_text(config, config.base, 0, "00", SETS[:1]), "c", config.base)
    assert again.execution.end_time == 100
    assert plan_for(again).commands == (SETS[0], (30, {"plant.u": 5}), (2, None))


def test_at_frame_0_what_a_shorter_end_leaves_out_is_left_out(config: HermesConfig) -> None:
    shorter = with_execution(config, end_time=0.03)  # frame 2, where the pause is, which then never acts
    again = HermesConfig.from_yaml_text(case_text(shorter, config.base, 0, "00", []), "c", config.base)
    assert (plan_for(again).end_frame, plan_for(again).commands) == (2, ())


def test_a_script_with_which_the_case_has_nothing_in_common_is_named_absolutely(config: HermesConfig) -> None:
    again = HermesConfig.from_yaml_text(case_text(config, Path("/proc"), 1, "00", []), "c", Path("/proc"))
    assert again.modules["plant"].script == f"{config.base.resolve()}/lib/plant.py:Plant"


def test_a_link_on_the_way_does_not_lead_astray(config: HermesConfig) -> None:
    far = config.base / "far" / "away"
    far.mkdir(parents=True)
    (config.base / "here").symlink_to(far)
    again = HermesConfig.from_yaml_text(case_text(config, config.base / "here", 1, "00", []), "c", config.base / "here")
    assert again.modules["plant"].script == "../../lib/plant.py:Plant"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec="utf-8")),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
        ),
        max_leaves=6,
    )
)
@example("1e-3")
@example("0o17")
@example("on")
@example("~")
@example("")
@example("a\n  b\x85\u2028 ")
@example("\x07\x7f\N{GRINNING FACE}")
@example([1e20, 1e-300, 5e-324, -0.0, math.nan, math.inf])
def test_any_parameter_survives(value: Any) -> None:
    modules = {"a": {"type": "script", "script": "m", "params": {"p": value, "q": {"r": [value]}}}}
    config = HermesConfig(modules=modules)  # type: ignore[arg-type]
    try:
        text = case_text(config, Path("/"), 1, "00", [])
    except NotExported as error:
        assert "'<<'" in str(error) or "digits" in str(error), error  # noqa: PT017
        return
    again = HermesConfig.from_yaml_text(text, "c")
    assert repr(again.modules["a"].params) == repr(config.modules["a"].params)


def test_what_cannot_be_said_is_refused(config: HermesConfig) -> None:
    made = HermesConfig(modules={"a": {"type": "script", "script": "m", "params": {"p": object()}}})  # type: ignore[dict-item]
    with pytest.raises(NotExported, match="what YAML cannot say"):
        case_text(made, Path("/"), 1, "00", [])
    many = [CommandPlan(0, {"plant." + "u" * 3_000: 1})] * 400
    with pytest.raises(NotExported, match="larger than 1 MiB"):
        case_text(config, config.base, 1, "00", many)


def test_a_case_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "case.yaml"
    write_case(path, "one", overwrite=False)
    with pytest.raises(NotExported, match=r"case\.yaml exists already; choose another path, or overwrite=True"):
        write_case(path, "two", overwrite=False)
    assert path.read_text() == "one"
    write_case(path, "three", overwrite=True)
    assert path.read_text() == "three"
    with pytest.raises(NotExported, match=r"nowhere/case\.yaml cannot be written: No such file or directory"):
        write_case(tmp_path / "nowhere" / "case.yaml", "four", overwrite=False)
    (tmp_path / "folder").mkdir()
    with pytest.raises(NotExported, match="cannot be written: Is a directory"):
        write_case(tmp_path / "folder", "five", overwrite=True)
    monkeypatch.setattr(Path, "hardlink_to", _no_links)
    write_case(tmp_path / "other.yaml", "six", overwrite=False)
    with pytest.raises(NotExported, match="exists already"):
        write_case(tmp_path / "other.yaml", "seven", overwrite=False)
    assert {one.name for one in tmp_path.iterdir()} == {"case.yaml", "other.yaml", "folder"}
    assert (tmp_path / "other.yaml").read_text() == "six"


def _no_links(_self: Path, _target: Path) -> None:
    raise PermissionError("this file system has no links")
