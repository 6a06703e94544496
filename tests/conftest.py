"""Fixtures for all tests, among them the one that fails any test which leaves something behind."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from bounds import PATIENCE, promised
from hypothesis import HealthCheck, settings

settings.register_profile("wandering", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("unhurried", settings.get_profile("wandering"), derandomize=True)
settings.load_profile("unhurried")
"""Each run draws the same examples, so that a failure comes from what was changed; `--hypothesis-profile wandering`
draws others each time."""

SETTLE_SECONDS = promised(3.0, slack=10)
"""How long what a test has closed may take to be gone: an ended child is reaped, a thread joins."""


Inventory = tuple[Counter[int], Counter[str], Counter[str], Counter[str]]


def leftovers(before: Inventory, runtime: Path) -> str:
    """Return in words what is there now and was not before: processes, threads, descriptors, connection files."""
    found = []
    processes, threads, descriptors, files = (now - then for now, then in zip(inventory(runtime), before, strict=True))
    if processes:
        found.append(f"processes {[(pid, command_line(pid)) for pid in sorted(processes)]}")
    if threads:
        found.append(f"threads {sorted(threads)}")
    if descriptors:
        found.append(f"descriptors {sorted(descriptors)}")
    if files:
        found.append(f"connection files {sorted(files)}")
    return ", ".join(found)


def inventory(runtime: Path) -> Inventory:
    """Return the run's living processes, this process's Hermes threads and descriptors, the run's connection files."""
    threads = Counter(thread.name for thread in threading.enumerate() if thread.name.startswith("hermes-"))
    return Counter(hermes_processes()), threads, Counter(descriptors()), Counter(connection_files(runtime))


def hermes_processes() -> set[int]:
    """Return the living processes that carry this test run's mark in their environment, this one left out."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid() and is_alive(int(entry.name)):
            try:
                environment = (entry / "environ").read_bytes()
            except OSError:
                continue
            if MARK.encode() in environment:
                found.add(int(entry.name))
    return found


def descriptors() -> list[str]:
    """Return what every open descriptor is: a path, or a socket, pipe or memory object."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found.append(str(entry.readlink()))
        except OSError:
            continue
    return found


def connection_files(runtime: Path) -> list[str]:
    """Return the names of the connection files below the run's runtime directory, finished or not."""
    return [path.name for path in (runtime / "hermes").glob("*") if path.suffix in (".json", ".tmp")]


def is_alive(pid: int) -> bool:
    """Return whether a process runs; a zombie counts as gone."""
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def command_line(pid: int) -> str:
    """Return how a process was called."""
    try:
        return (Path("/proc") / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except OSError:
        return "gone"


MARK = f"HERMES_TEST_RUN={os.getpid()}"
os.environ[MARK.partition("=")[0]] = MARK.partition("=")[2]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let tests in a browser come last: their JupyterLab lives to the end of the run, and others count processes."""
    items.sort(key=lambda item: "tests/browser" in item.path.as_posix())


@pytest.fixture(scope="session", autouse=True)
def runtime_directory() -> Iterator[Path]:
    """Give the whole run, and every process it starts, a runtime directory where no session of the user's is found."""
    with TemporaryDirectory(prefix="hermes-test-") as directory, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", directory)
        patch.setenv("XDG_STATE_HOME", directory)
        yield Path(directory)


@pytest.fixture(autouse=True)
def nothing_left_behind(runtime_directory: Path) -> Iterator[None]:
    """Fail a test that leaves a process, a thread, a descriptor, memory or a connection file behind."""
    before = inventory(runtime_directory)
    yield
    if leftovers(before, runtime_directory):
        gc.collect()
        gone = eventually(lambda: not leftovers(before, runtime_directory), SETTLE_SECONDS)
        assert gone, f"left behind: {leftovers(before, runtime_directory)}"


@pytest.fixture
def no_trace(runtime_directory: Path) -> Callable[[], AbstractContextManager[None]]:
    """Return what fails, at its end, where something that was begun in it is still there after 2 s (promised)."""

    @contextmanager
    def check() -> Iterator[None]:
        before = inventory(runtime_directory)
        yield
        if not eventually(lambda: not leftovers(before, runtime_directory), promised(2.0)):
            raise AssertionError(f"left behind: {leftovers(before, runtime_directory)}")

    return check


def eventually(condition: Callable[[], object], seconds: float = PATIENCE) -> bool:
    """Wait until a condition holds; return whether it did within `seconds`."""
    limit = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        if time.monotonic() > limit:
            return False
        pause.wait(0.01)
    return True


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    """Return what writes a text file below the test's folder and returns its path."""

    def _write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return _write


@pytest.fixture(scope="session")
def hermes_pids() -> Callable[[], set[int]]:
    """Return what lists the living processes of this test run, itself left out."""
    return hermes_processes
