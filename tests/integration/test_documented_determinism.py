"""What docs/determinism.md shows, as a reader would copy and run it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from bounds import PATIENCE

import hermes

TEXT = (Path(__file__).parent.parent.parent / "docs/determinism.md").read_text()


def blocks(language: str) -> list[str]:
    """Return the page's examples in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


def run(folder: Path, *arguments: str) -> str:
    """Run Python with some arguments in a folder; return what it prints."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_python_examples_run_and_the_exported_case_after_them(tmp_path: Path) -> None:
    export, module, *_ = blocks("python")
    run(tmp_path, "-c", export)
    command, _ = blocks("sh")
    out = run(tmp_path, "-m", *command.split())
    fingerprint = re.search(r"^# fingerprint at frame 80: (\w+)$", (tmp_path / "case.yaml").read_text(), re.MULTILINE)
    assert fingerprint
    assert out == f"finished at 0.8 s, frame 80, fingerprint {fingerprint[1]}\n"
    assert run(tmp_path, "-c", module) == run(tmp_path, "-c", module) != "0.0\n"


def test_the_timed_commands_do_what_their_comments_say(tmp_path: Path) -> None:
    text, _ = blocks("yaml")
    (tmp_path / "pushed.yaml").write_text(text)
    out = run(tmp_path, "-m", "hermes", "run", "pushed.yaml")
    (tmp_path / "by_hand.yaml").write_text(text.partition("commands:")[0])
    with hermes.Session.from_yaml(tmp_path / "by_hand.yaml") as session:
        session.set({"pendulum.torque": 0.2, "pendulum.length": 0.9})
        session.step(120)
        session["pendulum.torque"] = 2.0
        session.run(0.3)
        session["pendulum.torque"] = 0.0
        session.step(150)
        assert out == f"finished at 3 s, frame 300, fingerprint {session.fingerprint}\n"


def test_verify_says_what_is_shown_of_equal_runs(tmp_path: Path) -> None:
    (tmp_path / "pushed.yaml").write_text(blocks("yaml")[0])
    command, shown = blocks("sh")[1], blocks("text")[0]
    assert measured(run(tmp_path, "-m", *command.split())) == measured(shown)
    assert "equal: 5 runs of 100 frames, bit for bit" in run(tmp_path, "-c", blocks("python")[3])


def measured(text: str) -> str:
    """Return what a verification said without what it measured."""
    return re.sub(r" +[\d,]+ frames/s   fingerprint [0-9a-f]{32}", " ...", text)


def test_verify_says_what_is_shown_of_a_module_that_forgets(tmp_path: Path) -> None:
    (tmp_path / "fuel.py").write_text(blocks("python")[2])
    (tmp_path / "tank.yaml").write_text(blocks("yaml")[1])
    command = [sys.executable, "-m", "hermes", "verify", "tank.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 1
    assert done.stdout.endswith("\n\n" + blocks("text")[1])
