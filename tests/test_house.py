"""What keeps the house in order: import contracts, one list of dependencies, documents that lead somewhere."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from bounds import PATIENCE

import hermes

ROOT = Path(__file__).parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONDA_NAMES = {"python-xxhash": "xxhash", "types-pyyaml": "types-pyyaml"}


def requirements() -> set[str]:
    """Return every requirement of the package and its extras, names in lower case."""
    extras = [entry for entries in PROJECT["optional-dependencies"].values() for entry in entries]
    return {entry.lower() for entry in [*PROJECT["dependencies"], *extras]}


def test_imports_flow_one_way() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_the_conda_environment_names_what_the_package_requires() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    listed = [entry for entry in environment if isinstance(entry, str)]
    (pip,) = (entry["pip"] for entry in environment if isinstance(entry, dict))
    found = set()
    for entry in [*listed, *pip]:
        name, sign, version = entry.partition(">=")
        found.add(CONDA_NAMES.get(name, name) + sign + version)
    assert found - {"pip", "--editable ."} == requirements() | {f"python{PROJECT['requires-python']}"}


def test_no_module_is_longer_than_a_reader_can_hold() -> None:
    long = {
        path.name: count for path in ROOT.glob("hermes/**/*.py") if (count := len(path.read_text().split("\n"))) > 400
    }
    assert long == {}


@pytest.mark.parametrize("document", [*sorted(ROOT.glob("docs/*.md")), ROOT / "README.md"], ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text())
    assert [link for link in links if not (document.parent / link).exists()] == []


def test_the_readme_runs() -> None:
    """Run every Python example of the README as one script, as a newcomer would paste it."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(blocks) >= 2
    for block in blocks:
        ast.parse(block)
    source = "\n".join(blocks).replace("port=8765", "port=0")
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr


def test_the_readme_s_configuration_runs_with_its_module(tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text()
    module = re.search(r"```python\n(import hermes\n.*?)\n\nvehicle = ", text, re.DOTALL)
    configuration = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert module
    assert configuration
    (tmp_path / "vehicle.py").write_text(module[1])
    (tmp_path / "rail.yaml").write_text(configuration[1])
    with hermes.Session.from_yaml(tmp_path / "rail.yaml", port=0) as session:
        session["inputs.thrust"] = 50.0
        session.step(101)  # the wire brings the thrust one frame later
        assert session["vehicle.v"] == pytest.approx(1.0 + 50.0 / 5.0 * 1.0)


@pytest.mark.parametrize("notebook", sorted(ROOT.glob("notebooks/*.ipynb")), ids=lambda path: path.name)
def test_a_notebook_holds_no_path_of_the_machine_it_ran_on(notebook: Path) -> None:
    text = notebook.read_text()
    assert json.loads(text)["nbformat"] == 4
    assert not re.search(r"/(home|root|Users|tmp|work)/", text)
    assert str(ROOT) not in text


@pytest.mark.parametrize("notebook", sorted(ROOT.glob("notebooks/*.ipynb")), ids=lambda path: path.name)
def test_a_saved_notebook_shows_pictures_and_not_widgets_whose_kernel_is_gone(notebook: Path) -> None:
    """JupyterLab prefers the view of a widget to its picture, and without a kernel says only "model not found"."""
    saved = json.loads(notebook.read_text())
    kinds = {kind for cell in saved["cells"] for output in cell.get("outputs", []) for kind in output.get("data", {})}
    assert "application/vnd.jupyter.widget-view+json" not in kinds
    assert "widgets" not in saved["metadata"]
