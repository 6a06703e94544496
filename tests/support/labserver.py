"""A JupyterLab server of its own: own home, settings, kernels and port, on a copy of the notebooks, gone when stopped.

It looks like the one of `make lab`, whose settings it takes, and asks nobody on the network for anything. Nothing of
the user's Jupyter is read or written.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import nbformat
from bounds import PATIENCE
from nbformat.v4 import new_code_cell, new_notebook

LONG_PATIENCE = 2 * PATIENCE
"""Seconds for what starts half a dozen large programs, on a machine that has something else to do."""

ROOT = Path(__file__).parents[2]
SETTINGS = ROOT / "notebooks" / ".jupyter"
OPTIONS = {
    "LabApp": {
        "check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
        "expose_app_in_browser": True,
        "extension_manager": "readonly",
        "news_url": None,
        "open_browser": False,
    },
    "ServerApp": {"allow_root": True, "ip": "127.0.0.1"},
}

DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""What asks this machine itself, also where a proxy leads to all others."""

KERNEL = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}


class LabServer:
    """Serves `folder/notebooks`, a copy of the repository's, from `start()` to `stop()`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notebooks = folder / "notebooks"
        self.runtime = folder / "runtime"
        self.token = secrets.token_hex(16)
        self.url = ""
        self._log = folder / "jupyter.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server and return when it answers."""
        shutil.copytree(ROOT / "notebooks", self.notebooks, ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
        (self.folder / "config").mkdir()
        (self.folder / "config" / "jupyter_lab_config.json").write_text(json.dumps(OPTIONS))
        arguments = [f"--port={free_port()}", f"--IdentityProvider.token={self.token}", str(self.notebooks)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "jupyterlab", *arguments],
                cwd=self.folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._wait_until_it_answers()

    def stop(self) -> None:
        """End the server with its kernels, by its process id."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def write(self, name: str, *sources: str) -> list[str]:
        """Write a notebook of code cells beside the others; return the cells' ids."""
        cells = [new_code_cell(source, id=f"code-{number}") for number, source in enumerate(sources)]
        nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": KERNEL}), self.notebooks / name)
        return [cell["id"] for cell in cells]

    def request(self, method: str, path: str) -> Any:
        """Ask the server's REST API; return what it answers, or None where that is nothing."""
        request = urllib.request.Request(f"{self.url}api/{path}", method=method)
        request.add_header("Authorization", f"token {self.token}")
        with DIRECT.open(request, timeout=PATIENCE) as response:
            return json.loads(response.read() or b"null")

    def end_kernels(self) -> None:
        """End every kernel of the server, and the sessions of Hermes that they host with them."""
        for session in self.request("GET", "sessions"):
            self.request("DELETE", f"sessions/{session['id']}")
        for kernel in self.request("GET", "kernels"):
            self.request("DELETE", f"kernels/{kernel['id']}")

    def _environment(self) -> dict[str, str]:
        own = {
            "HOME": self.folder / "home",
            "IPYTHONDIR": self.folder / "ipython",
            "JUPYTER_CONFIG_DIR": self.folder / "config",
            "JUPYTER_CONFIG_PATH": SETTINGS,
            "JUPYTER_DATA_DIR": self.folder / "data",
            "JUPYTER_RUNTIME_DIR": self.runtime,
            "JUPYTERLAB_SETTINGS_DIR": self.folder / "settings",
            "JUPYTERLAB_WORKSPACES_DIR": self.folder / "workspaces",
            "MPLCONFIGDIR": self.folder / "matplotlib",
        }
        return {**os.environ, **{name: str(path) for name, path in own.items()}}

    def _wait_until_it_answers(self) -> None:
        assert self._process is not None
        written = self.runtime / f"jpserver-{self._process.pid}.json"
        limit = time.monotonic() + LONG_PATIENCE
        while not self._answers(written):
            assert self._process.poll() is None, f"JupyterLab ended: {self._log.read_text()}"
            assert time.monotonic() < limit, f"JupyterLab did not answer: {self._log.read_text()}"
            threading.Event().wait(0.05)

    def _answers(self, written: Path) -> bool:
        """Return whether the server has written where it listens, and is there."""
        try:
            self.url = json.loads(written.read_text())["url"]
            return self.request("GET", "status") is not None
        except (OSError, ValueError):
            return False


def free_port() -> int:
    """Return a port that is free now; the server takes one near it where somebody else is faster."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
