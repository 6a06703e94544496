"""The examples of docs/schedule.md, run as they stand there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from bounds import PATIENCE

PAGE = (Path(__file__).parents[2] / "docs/schedule.md").read_text()

MODULES = """
import hermes


class Sensor(hermes.Module):
    position = hermes.Input()
    measured = hermes.Output()

    def step(self, time, dt):
        self.measured = self.position + 0.001


class Controller(hermes.Module):
    measured = hermes.Input()
    command = hermes.Output()
    period = hermes.Output()

    def step(self, time, dt):
        self.command = 1.0 - self.measured
        self.period = dt


class Plant(hermes.Module):
    command = hermes.Input()
    position = hermes.Output()

    def step(self, time, dt):
        self.position += self.command * dt


class Logger(hermes.Module):
    position = hermes.Input()
    greatest = hermes.Output()

    def step(self, time, dt):
        self.greatest = max(self.greatest, self.position)
"""


def blocks(language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    return [text for name, text in found if name == language]


def hermes(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "hermes", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=PATIENCE).stdout


def test_the_examples_run_and_are_as_late_as_the_page_says(tmp_path: Path) -> None:
    (tmp_path / "signals.py").write_text(MODULES)
    phases, workers = blocks("yaml")
    for name, text in (("phases", phases), ("workers", workers)):
        (tmp_path / f"{name}.yaml").write_text(text)
        assert "frame" in hermes(tmp_path, "run", f"{name}.yaml", "--no-server")
    said, _ = blocks("")
    assert hermes(tmp_path, "validate", "phases.yaml").partition("\n")[2] == said
