from __future__ import annotations

from pathlib import Path

import pytest

import hermes
from hermes.errors import ModuleFailed
from hermes.wording import portable

PACKAGES = Path(hermes.__file__).parent.parent


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('File "{here}/tank.py", line 3', 'File "tank.py", line 3'),
        ("(looked in {here})", "(looked in .)"),
        ("in {here}/a/b.py and {here}", "in a/b.py and ."),
        ("{here}-old/tank.py", "{here}-old/tank.py"),
        ("{here}er/tank.py", "{here}er/tank.py"),
        ("/mnt{here}/tank.py", "/mnt{here}/tank.py"),
        ('File "{packages}/hermes/worker.py"', 'File "hermes/worker.py"'),
        ("nothing here", "nothing here"),
    ],
)
def test_a_portable_text_does_not_say_where_on_this_machine_it_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert portable(text.format(here=tmp_path, packages=PACKAGES)) == expected.format(here=tmp_path)


def test_the_root_and_a_working_directory_that_is_gone_leave_a_text_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    assert portable("/ and /etc/hosts") == "/ and /etc/hosts"
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert portable(f"{gone}/tank.py") == f"{gone}/tank.py"


def test_a_notebook_shows_a_module_s_traceback_without_the_paths_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    error = ModuleFailed("tank", 3, "step", "ValueError: no", f'Traceback:\n  File "{tmp_path}/tank.py", line 9')
    (shown,) = error._render_traceback_()
    assert shown == 'ModuleFailed: module tank raised in frame 3: ValueError: no\nTraceback:\n  File "tank.py", line 9'
    assert str(tmp_path) in str(error)
