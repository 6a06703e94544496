"""A notebook that nobody runs any more: as a page of HTML it shows pictures and tables instead of what was live."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from bounds import PATIENCE
from nbformat.v4 import new_code_cell, new_notebook

SOURCES = (
    """
import hermes
session = hermes.Session.from_yaml(hermes.examples.path("pendulum"), port=0)
session.start()
session.step(100)
session.controls()
""",
    'session.plot("pendulum.angle")',
    'session.table("pendulum.*")',
    "session.close()",
)


@pytest.fixture
def page(tmp_path: Path) -> str:
    """Execute a notebook where no browser is, and return it as HTML."""
    nbformat.write(new_notebook(cells=[new_code_cell(source) for source in SOURCES]), tmp_path / "swing.ipynb")
    convert = [sys.executable, "-m", "jupyter", "nbconvert", "--to", "html", "--execute"]
    own = {"HOME": str(tmp_path), "IPYTHONDIR": str(tmp_path / "ipython"), "MPLCONFIGDIR": str(tmp_path / "matplotlib")}
    done = subprocess.run(
        [*convert, "--ExecutePreprocessor.store_widget_state=False", str(tmp_path / "swing.ipynb")],
        cwd=tmp_path,
        env={**os.environ, **own, "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime")},
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return (tmp_path / "swing.html").read_text()


def test_a_page_of_html_shows_pictures_and_tables(page: str) -> None:
    pictures = [
        base64.b64decode(found) for found in re.findall(r'<img[^>]*src="data:image/png;base64,\s*([^"]+)"', page)
    ]
    assert len(pictures) == 1
    assert pictures[0].startswith(b"\x89PNG")
    assert len(pictures[0]) > 5_000, "a picture of nothing"
    assert "Controls of <b>pendulum</b>: paused, 1.000 s, frame 100" in page
    text = re.sub(r"<[^>]+>", " ", page)
    assert re.search(r"angular_velocity\s+\S*\d", text), "the table has no values"
    assert "widget-view+json" not in page
