"""A kernel that ends, in whatever way Jupyter ends kernels, leaves nothing, and clients are told where it can be."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bounds import promised
from faults import Rude, until
from kernels import Notebook


@pytest.fixture(params=["with psutil", "without psutil"])
def kernel(
    request: pytest.FixtureRequest, kernel_client_loop: None, write: Callable[[str, str], Path]
) -> Iterator[Notebook]:
    """Return a kernel that ends its children by means of psutil, or has none."""
    variables = {}
    if request.param == "without psutil":
        stub = write("psutil.py", "raise ImportError('not installed')\n")
        variables["PYTHONPATH"] = f"{stub.parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    started = Notebook(**variables)
    started.manager.shutdown_wait_time = promised(5, slack=20)  # after half of that Jupyter terminates what is slow
    try:
        look = "try:\n    import psutil as found\nexcept ImportError:\n    found = None"
        assert started.run(look)["status"] == "ok"
        assert started.value("found is not None") == str(request.param == "with psutil")
        yield started
    finally:
        started.stop()


def told(client: Rude) -> tuple[list[str], int]:
    """Return the events that a client is told until its connection ends, and with what code that is."""
    events = []
    try:
        while True:
            message = client.receive()
            if message["type"] == "event":
                events.append(message["event"])
    except ConnectionError as end:
        return events, int(end.args[0])


def test_a_kernel_that_is_restarted_or_shut_down_leaves_nothing_and_its_clients_are_told(
    kernel: Notebook, counters: Path, hermes_pids: Callable[[], set[int]], tmp_path: Path
) -> None:
    before = set(os.listdir("/dev/shm"))  # noqa: PTH208 - only their names
    ends: list[tuple[str, bool, Callable[[], None]]] = [
        ("restart", True, lambda: kernel.manager.restart_kernel(now=False)),
        ("restart in a call", True, lambda: kernel.manager.restart_kernel(now=False)),
        ("restart now in a call", False, lambda: kernel.manager.restart_kernel(now=True)),
        ("shutdown", True, lambda: kernel.manager.shutdown_kernel(now=False)),
    ]
    for name, orderly, end in ends:
        cell = (
            f"import hermes\nsession = hermes.Session.from_yaml({str(counters)!r})\nsession.start()\nsession.resume()"
        )
        assert kernel.run(cell)["status"] == "ok", name
        file = Path(json.loads(kernel.value("__import__('json').dumps(str(session.connection_file))").strip("'")))
        url = kernel.value("session.url").strip("'")
        running = hermes_pids() - {kernel.pid}
        assert len(running) == 3, name
        with Rude(url) as client:
            if "call" in name:
                kernel.queue(f"open({str(tmp_path / name)!r}, 'w').close(); session.run(1000)")
                until((tmp_path / name).exists)
            kernel.client.stop_channels()
            end()
            until(lambda left=running: not hermes_pids() & left, promised(2.5))
            events, code = told(client)
            assert not orderly or (events[-1:], code) == (["closing"], 1001), name
        assert not file.exists(), name
        assert set(os.listdir("/dev/shm")) <= before, name  # noqa: PTH208
        if name != "shutdown":
            kernel.connect()
