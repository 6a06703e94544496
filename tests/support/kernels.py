"""A real Jupyter kernel, driven cell by cell as a notebook does, or with several cells at once as Run All does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from bounds import PATIENCE
from faults import until
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager


class Notebook:
    """A kernel and its client, cell by cell or several at once."""

    def __init__(self, **environment: str) -> None:
        """Start a kernel, with variables beside those of this process."""
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel(env={**os.environ, **environment})
        self.connect()

    def connect(self) -> None:
        """Begin to talk to the kernel, also to one that has been started again."""
        self.client: BlockingKernelClient = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=PATIENCE)

    @property
    def pid(self) -> int:
        """The kernel's process id."""
        provisioner = self.manager.provisioner
        assert provisioner is not None
        return int(provisioner.pid)  # type: ignore[attr-defined]

    def queue(self, *cells: str) -> list[str]:
        """Send several cells at once, as Run All does."""
        return [self.client.execute(cell) for cell in cells]

    def answer(self, message: str) -> dict[str, Any]:
        """Return the reply to a queued cell: its status, and the error where it failed."""
        while True:
            reply = self.client.get_shell_msg(timeout=PATIENCE)
            if reply["parent_header"]["msg_id"] == message:
                content: dict[str, Any] = reply["content"]
                return content

    def run(self, cell: str) -> dict[str, Any]:
        """Run one cell and return its reply."""
        return self.answer(self.queue(cell)[0])

    def run_in_subshell(self, cell: str) -> dict[str, Any]:
        """Run one cell on a thread beside the main one, as a front end may, and return its reply."""
        request = self.client.session.msg("create_subshell_request", {})
        self.client.control_channel.send(request)
        subshell = self.client.get_control_msg(timeout=PATIENCE)["content"]["subshell_id"]
        message = self.client.session.msg("execute_request", {"code": cell, "silent": False})
        message["header"]["subshell_id"] = subshell
        self.client.shell_channel.send(message)
        return self.answer(message["header"]["msg_id"])

    def value(self, expression: str) -> str:
        """Return the text of an expression's value in the kernel."""
        message = self.client.execute("", user_expressions={"value": expression})
        return str(self.answer(message)["user_expressions"]["value"]["data"]["text/plain"])

    def interrupt_when(self, expression: str) -> None:
        """Interrupt the kernel as soon as a file named by the running cell exists."""
        until(Path(expression).exists)
        self.manager.interrupt_kernel()

    def stop(self) -> None:
        """End kernel and client."""
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        self.manager.cleanup_resources()
        self.manager.context.destroy()
