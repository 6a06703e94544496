"""Classes in the place of paths: defined in a test file, in a script and in the cells of a real notebook."""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bounds import PATIENCE

import hermes
from hermes.errors import ConfigurationError, ModuleFailed, NotExported
from hermes.examples.pendulum import Pendulum

GAIN = 0.25
TABLE = np.array([1.0, -0.5])
LOCK = threading.Lock()
WIRING = [{"src": "plant.x", "dst": "ctl.x"}, {"src": "ctl.u", "dst": "plant.force"}]
EXECUTION = {"mode": "afap", "rate_hz": 100, "seed": 5}


@functools.lru_cache
def weight(column: int) -> float:
    return float(TABLE[column])


def law(x: float) -> float:
    """Return a force, by what stands around it."""
    return -GAIN * x * weight(0) + weight(1) * float(np.tanh(x))


class Rail(hermes.Module):
    """A base class whose declarations are not in the order of their names."""

    x = hermes.Output(1.0, unit="m")
    force = hermes.Input(unit="N")


class Plant(Rail):
    v = hermes.Output(unit="m/s")
    mass = hermes.Parameter(2.0, unit="kg")

    def step(self, time: float, dt: float) -> None:
        if self.force > 100:
            raise ValueError(f"{self.force:g} N break the rail")
        self.v += self.force / self.mass * dt
        self.x += self.v * dt


class Controller(hermes.Module):
    x = hermes.Input(unit="m")
    u = hermes.Output(unit="N")
    bias = hermes.Parameter()

    def __init__(self, noise: float = 0.0) -> None:
        self.noise = noise

    @functools.cached_property
    def gain(self) -> float:
        return 1.0 + GAIN

    def step(self, time: float, dt: float) -> None:
        self.u = self.gain * law(self.x) + self.bias + self.rng.normal(0.0, self.noise)


class Guarded(hermes.Module):
    x = hermes.Output()

    def step(self, time: float, dt: float) -> None:
        with LOCK:
            self.x += dt


def session_of(**modules: Any) -> hermes.Session:
    return hermes.Session(modules=modules, wiring=WIRING, execution=EXECUTION, serve=False)


def rerun(case: Path) -> str:
    """Return what `hermes run` prints of a case, computed in another folder."""
    command = [sys.executable, "-m", "hermes", "run", str(case), "--no-server"]
    environment = {**os.environ, "PYTHONPATH": str(Path(hermes.__file__).parent.parent)}
    done = subprocess.run(
        command, cwd="/", env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_classes_of_a_test_file_run_are_exported_and_run_again_to_the_same_fingerprint(tmp_path: Path) -> None:
    with session_of(plant=Plant, ctl={"module": Controller, "params": {"noise": np.float64(0.1)}}) as session:
        assert [signal.qualified for signal in session.signals if signal.module == "plant"][:2] == [
            "plant.x",
            "plant.v",
        ]
        session.step(20)
        session["ctl.bias"] = 0.5
        session.step(30)
        assert session["plant.x"] != 1.0
        case = session.export(tmp_path / "case.yaml")
        assert session.fingerprint in rerun(case)
        assert sorted(path.name for path in tmp_path.rglob("*")) == ["case.yaml", "case_modules", "ctl.py", "plant.py"]
        with pytest.raises(NotExported, match="exists already"):
            session.export(case)
        assert session.export(case, overwrite=True) == case
        assert session.history("plant.x").data.shape[0] == 51
        fingerprint = session.fingerprint
    with session_of(plant=Plant, ctl={"module": Controller, "params": {"noise": 0.1}}) as again:
        again.step(20)
        again["ctl.bias"] = 0.5
        again.run(0.3)
        assert again.fingerprint == fingerprint


def test_a_module_that_raises_shows_its_lines_and_no_path() -> None:
    with session_of(plant=Plant, ctl=Controller) as session:
        session["ctl.bias"] = 1000.0
        with pytest.raises(ModuleFailed) as caught:
            session.step(5)
    line = next(n for n, text in enumerate(Path(__file__).read_text().split("\n"), 1) if "raise ValueError(f" in text)
    assert f'File "test_moduleclass.py", line {line}, in step\n    raise ValueError(' in str(caught.value)
    assert "/" not in str(caught.value)


def test_an_installed_class_goes_by_name_and_a_file_s_module_can_be_replaced(tmp_path: Path) -> None:
    path = hermes.examples.path("pendulum")
    with hermes.Session.from_yaml(path, serve=False) as one:
        one.step(10)
        fingerprint = one.fingerprint
    with hermes.Session.from_yaml(path, modules={"pendulum": Pendulum}, serve=False) as two:
        two.step(10)
        assert two.fingerprint == fingerprint
        assert "hermes.examples.pendulum:Pendulum" in two.export(tmp_path / "case.yaml").read_text()

    class Heavy(hermes.Module):
        angle = hermes.Output(unit="rad", initial=9.0)

        def step(self, time: float, dt: float) -> None:
            self.angle -= dt

    with hermes.Session.from_yaml(path, modules={"pendulum": {"module": Heavy, "params": {}}}, serve=False) as three:
        three.step(1)
        assert three["pendulum.angle"] < 9.0
        assert three.fingerprint in rerun(three.export(tmp_path / "heavy.yaml"))


def test_what_cannot_be_sent_is_named_before_anything_starts(hermes_pids: Callable[[], set[int]]) -> None:
    before = hermes_pids()
    session = hermes.Session(modules={"plant": Guarded}, serve=False)
    with pytest.raises(ConfigurationError) as caught:
        session.start()
    assert str(caught.value).startswith(
        "modules.plant: class Guarded uses the variable LOCK (in Guarded.step), of type"
    )
    assert hermes_pids() == before


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_failed_export_leaves_every_file_as_it_was(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "case_modules").mkdir()
    (tmp_path / "case_modules" / "plant.py").write_text("before")
    (tmp_path / "case.yaml").mkdir()  # cannot be replaced by a file
    with session_of(plant=Plant, ctl=Controller) as session:
        session.step(1)
        with pytest.raises(NotExported, match=r"exists already|cannot be written"):
            session.export(tmp_path / "case.yaml", overwrite=overwrite)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["case.yaml", "case_modules", "plant.py"]
    assert (tmp_path / "case_modules" / "plant.py").read_text() == "before"


def test_a_class_without_source_runs_and_is_not_exported(tmp_path: Path) -> None:
    made = {"__name__": "__main__", "hermes": hermes}
    text = (
        "class Plant(hermes.Module):\n    x = hermes.Output()\n    def step(self, time, dt):\n        self.x = time + 1"
    )
    exec(compile(text, "<made>", "exec"), made)
    with hermes.Session(modules={"plant": made["Plant"]}, execution=EXECUTION, serve=False) as session:
        session.step(3)
        assert session["plant.x"] == pytest.approx(1.02)
        with pytest.raises(NotExported, match="module plant: class Plant has no source text"):
            session.export(tmp_path / "case.yaml")
    assert list(tmp_path.iterdir()) == []


SCRIPT = """
import hermes

STEP = 2
class Count(hermes.Module):
    n = hermes.Output(type="i64")
    def step(self, time, dt):
        self.n += STEP

if __name__ == "__main__":
    with hermes.Session(modules={"count": Count}, execution={"mode": "afap"}, serve=False) as session:
        session.step(4)
        print(session["count.n"])
        session.export("case.yaml")
        print(session.fingerprint)
"""


def test_a_script_s_own_class_runs_and_is_exported(write: Callable[[str, str], Path]) -> None:
    script = write("own.py", SCRIPT)
    done = subprocess.run(
        [sys.executable, str(script)], cwd=script.parent, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stderr
    value, fingerprint = done.stdout.split()
    assert value == "8"
    assert fingerprint in rerun(script.parent / "case.yaml")


def test_the_documented_example_runs_and_its_case_after_it(write: Callable[[str, str], Path]) -> None:
    page = (Path(__file__).parent.parent.parent / "docs/modules.md").read_text()
    (example,) = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    script = write("tank.py", example)
    done = subprocess.run(
        [sys.executable, str(script)], cwd=script.parent, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in rerun(script.parent / "case.yaml")
