"""The rules of the conversation are covered to the last branch by their own tests, which need no socket."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent

MEASURE = """
import sys
import coverage, pytest

name = sys.argv[1]
measured = coverage.Coverage(data_file=None, branch=True, config_file=False, include=[f"hermes/server/{name}.py"])

class Measured:
    @pytest.hookimpl(tryfirst=True)
    def pytest_load_initial_conftests(self):
        import hypothesis.strategies, numpy, pydantic, websockets.asyncio.server, yaml  # before anything is traced
        hypothesis.settings.register_profile("few", max_examples=5, deadline=None, derandomize=True)
        measured.start()

less = ["-q", "--noconftest", "-p", "no:cacheprovider", "-p", "no:nbval"]  # nbval takes seconds to import
quick = ["-k", "not million", "--hypothesis-profile", "few"]
status = pytest.main([f"tests/server/test_{name}.py", *less, *quick], plugins=[Measured()])
measured.stop()
sys.exit(status or measured.report(show_missing=True) < 100)
"""


@pytest.mark.parametrize("name", ["protocol", "flow", "access", "messages"])
def test_every_branch_is_covered_by_the_rules_own_tests(name: str) -> None:
    command = [sys.executable, "-c", MEASURE, name]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"hermes/server/{name}.py" in done.stdout
