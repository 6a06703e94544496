"""A real Jupyter kernel, driven cell by cell, and ended whatever happens."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager
from sessions import HERE

CELL_SECONDS = 60
_IMPORTS = f"import sys, time\nsys.path.insert(0, {str(HERE)!r})\nimport hermes\n"


class Kernel:
    """A started kernel; its working directory can import the files of this folder."""

    def __init__(self, client: BlockingKernelClient) -> None:
        self._client = client

    def queue(self, cell: str) -> str:
        """Send a cell and return what `wait` takes."""
        return self._client.execute(cell)

    def wait(self, message: str) -> dict[str, Any]:
        """Wait for the end of a cell and return its reply; raises RuntimeError where it failed."""
        while True:
            reply = self._client.get_shell_msg(timeout=CELL_SECONDS)
            if reply["parent_header"]["msg_id"] == message:
                content: dict[str, Any] = reply["content"]
                if content["status"] != "ok":
                    raise RuntimeError("\n".join(content.get("traceback", ["the cell was not run"])))
                return content

    def run(self, cell: str) -> None:
        """Run one cell to its end."""
        self.wait(self.queue(cell))

    def value(self, expression: str) -> Any:
        """Return the value of an expression, a literal such as a list of numbers."""
        content = self.wait(self._client.execute("", user_expressions={"value": expression}))
        return ast.literal_eval(content["user_expressions"]["value"]["data"]["text/plain"])


@contextmanager
def kernel() -> Iterator[Kernel]:
    """Start a kernel in which hermes is imported, and end it with everything it has started."""
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(extra_arguments=["--log-level=ERROR"])
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=CELL_SECONDS)
        started = Kernel(client)
        started.run(_IMPORTS)
        yield started
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()
        manager.context.destroy()
