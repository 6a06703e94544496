from __future__ import annotations

import errno
import fcntl
import json
import os
import resource
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from bounds import PATIENCE

from hermes.connectiondirectory import connection_directory
from hermes.connectionfile import Address, ConnectionFile, find, resolve, sweep
from hermes.errors import HermesError

REMEDY = "remove it, or set XDG_RUNTIME_DIR to a directory of your own"
START = "start one with 'hermes run CONFIG', or give a URL (ws://HOST:PORT)"

OWNER = """
import os, signal, sys
from hermes.connectionfile import ConnectionFile
file = ConnectionFile.create(session="other", url="ws://127.0.0.1:1", token=None, memory="/proc/1/fd/1")
"""

CONTENDER = """
import sys
from hermes.connectiondirectory import connection_directory
from hermes.connectionfile import ConnectionFile, find, resolve, sweep
steady = set(sys.argv[2:])
for turn in range(40):
    mine = ConnectionFile.create(session=sys.argv[1], url=f"ws://127.0.0.1:{turn}", token=None, memory="")
    dead = [connection_directory() / f"{sys.argv[1]}-dead{turn}{suffix}" for suffix in (".json", ".tmp")]
    for path in dead:
        path.touch()
    for _ in range(3):
        sweep()
        assert mine.path.exists()
        assert steady | {str(mine.path)} <= {str(connection.path) for connection in find()}
    assert resolve(sys.argv[1]).url == f"ws://127.0.0.1:{turn}"
    mine.remove()
    assert not mine.path.exists()
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test a runtime directory of its own; return where connection files will lie in it."""
    (tmp_path / "run").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "run" / "hermes"


@pytest.fixture
def running() -> Iterator[Callable[..., ConnectionFile]]:
    """Return what writes the file of a session, each newer than the last; all are removed after the test."""
    files: list[ConnectionFile] = []

    def _running(session: str = "rocket", port: int = 8765, token: str | None = None) -> ConnectionFile:
        url = f"ws://127.0.0.1:{port}"
        files.append(ConnectionFile.create(session=session, url=url, token=token, memory="/proc/1/fd/5"))
        os.utime(files[-1].path, (len(files), len(files)))
        return files[-1]

    yield _running
    for file in files:
        file.remove()


@contextmanager
def held(path: Path, text: bytes) -> Iterator[None]:
    """Write a file and hold its lock, as a live session of another version of Hermes would."""
    with path.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(text)
        file.flush()
        yield


@contextmanager
def owning(script: str, *descriptors: int) -> Iterator[subprocess.Popen[str]]:
    """Start a script that owns a connection file and prints its path; it is killed in the end."""
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, pass_fds=descriptors) as owner:
        try:
            yield owner
        finally:
            owner.kill()
    assert owner.returncode == -signal.SIGKILL


def path_of(owner: subprocess.Popen[str]) -> Path:
    """Wait until an owner has printed the path of its file."""
    assert owner.stdout is not None
    return Path(owner.stdout.readline().strip())


def refusal(call: Callable[[], object]) -> str:
    """Return the whole text of the error that a call raises."""
    with pytest.raises(HermesError) as caught:
        call()
    return str(caught.value)


def test_the_file_says_how_to_reach_the_session_and_only_its_user_may_read_it(place: Path) -> None:
    umask = os.umask(0)
    try:
        file = ConnectionFile.create(session="rocket", url="ws://127.0.0.1:8765", token="s3cret", memory="/proc/7/fd/5")
    finally:
        os.umask(umask)
    assert file.path.parent == place
    assert file.path.name.startswith("rocket-")
    assert place.stat().st_mode & 0o7777 == 0o700
    assert file.path.stat().st_mode & 0o7777 == 0o600
    assert json.loads(file.path.read_text()) == {
        "session": "rocket",
        "url": "ws://127.0.0.1:8765",
        "token": "s3cret",
        "pid": os.getpid(),
        "memory": "/proc/7/fd/5",
    }
    assert find() == [("rocket", "ws://127.0.0.1:8765", "s3cret", os.getpid(), "/proc/7/fd/5", file.path)]
    file.remove()
    assert list(place.iterdir()) == []


def test_its_descriptor_is_not_handed_to_programs(running: Callable[..., ConnectionFile]) -> None:
    file = running()
    links = {fd.name: fd.readlink() for fd in Path("/proc/self/fd").iterdir() if fd.exists()}
    (fd,) = (int(name) for name, link in links.items() if link == file.path)
    assert not os.get_inheritable(fd)


def test_any_name_makes_a_file_name(place: Path, running: Callable[..., ConnectionFile]) -> None:
    file = running("../ä b" + "x" * 300)
    assert file.path.parent == place
    assert file.path.name.startswith("_____bxxx")
    assert find("../ä b" + "x" * 300)[0].path == file.path


def test_removing_again_does_nothing_and_a_removed_session_is_not_found(place: Path) -> None:
    file = ConnectionFile.create(session="rocket", url="ws://127.0.0.1:8765", token=None, memory="")
    file.remove()
    assert find() == []
    file.path.write_text("another's")
    file.remove()
    assert file.path.read_text() == "another's"


def test_only_the_owner_s_own_file_is_removed(running: Callable[..., ConnectionFile]) -> None:
    file = running()
    file.path.unlink()
    file.path.write_text("another's")
    file.remove()
    assert file.path.read_text() == "another's"


def test_removing_a_file_that_is_gone_with_its_directory_does_nothing(
    place: Path, running: Callable[..., ConnectionFile]
) -> None:
    file = running()
    file.path.unlink()
    place.rmdir()
    file.remove()


def test_the_file_goes_with_its_owner_s_object(place: Path) -> None:
    ConnectionFile.create(session="rocket", url="ws://127.0.0.1:8765", token=None, memory="")
    assert list(place.iterdir()) == []


def test_a_script_that_ends_without_removing_its_file_leaves_none(place: Path) -> None:
    subprocess.run([sys.executable, "-c", OWNER + "sys.exit(0)"], check=True)
    assert list(place.iterdir()) == []


def test_the_file_of_a_killed_owner_is_not_found_and_is_swept(
    place: Path, running: Callable[..., ConnectionFile]
) -> None:
    with owning(OWNER + "print(file.path, flush=True); signal.pause()") as owner:
        path = path_of(owner)
        assert sweep() == 0
        assert [(connection.pid, connection.path) for connection in find()] == [(owner.pid, path)]
    file = running()
    assert path.exists()
    assert [connection.path for connection in find()] == [file.path]
    assert sweep() == 1
    assert list(place.iterdir()) == [file.path]
    assert sweep() == 0


def test_a_forked_child_neither_keeps_the_session_alive_nor_removes_its_file(place: Path) -> None:
    reading, writing = os.pipe()
    child = f"""
child = os.fork()
if child:
    os.waitid(os.P_PID, child, os.WSTOPPED)  # it has tried to remove the file
    os.kill(child, signal.SIGCONT)
    print(file.path, flush=True)
    signal.pause()
file.remove()
os.kill(os.getpid(), signal.SIGSTOP)
os.close(1)
os.close({writing})
os.read({reading}, 1)
"""
    try:
        with owning(OWNER + child, reading, writing) as owner:
            path = path_of(owner)
            assert [connection.path for connection in find()] == [path]
        assert find() == []  # and the child still waits
        assert sweep() == 1
    finally:
        os.close(writing)
        os.close(reading)


def test_drafts_of_the_dead_are_swept_and_nothing_else(place: Path, running: Callable[..., ConnectionFile]) -> None:
    file = running()
    (place / "rocket-1.tmp").touch()
    (place / "rocket-2.json").touch()
    kept = [file.path, place / "notes.txt", place / "pipe.json", place / "folder.json", place / "link.json"]
    kept[1].touch()
    os.mkfifo(kept[2])
    kept[3].mkdir()
    kept[4].symlink_to(kept[1])
    assert sweep() == 2
    assert sorted(place.iterdir()) == sorted(kept)
    assert [connection.path for connection in find()] == [file.path]


def test_a_dead_file_that_another_looks_at_is_not_taken_for_a_live_one(place: Path) -> None:
    place.mkdir(mode=0o700)
    path = place / "dead.json"
    path.write_text('{"session":"dead","url":"ws://h","token":null,"pid":1,"memory":""}')
    with path.open() as looked_at:
        fcntl.flock(looked_at, fcntl.LOCK_SH)
        assert find() == []
        assert sweep() == 0
    assert sweep() == 1


@pytest.mark.parametrize("moment", ["before the lock", "in its place"])
def test_a_draft_that_a_sweeper_took_is_written_again(
    place: Path, monkeypatch: pytest.MonkeyPatch, running: Callable[..., ConnectionFile], moment: str
) -> None:
    lock, sweepers = fcntl.flock, []

    def late(fd: int, kind: int) -> None:
        monkeypatch.setattr(fcntl, "flock", lock)
        if moment == "before the lock":
            assert sweep() == 1
        else:
            sweepers.append(next(place.glob("*.tmp")).open("r+"))
            lock(sweepers[0], fcntl.LOCK_EX)
        lock(fd, kind)

    monkeypatch.setattr(fcntl, "flock", late)
    file = running()
    for sweeper in sweepers:
        sweeper.close()
    assert list(place.iterdir()) == [file.path]
    assert [connection.path for connection in find()] == [file.path]


def test_a_name_that_is_taken_is_not_used(
    place: Path, monkeypatch: pytest.MonkeyPatch, running: Callable[..., ConnectionFile]
) -> None:
    numbers = iter(["00000000", "11111111"])
    monkeypatch.setattr(secrets, "token_hex", lambda size: next(numbers))
    place.mkdir(mode=0o700)
    (place / "rocket-00000000.tmp").touch()
    assert running().path.name == "rocket-11111111.json"


def test_who_loses_every_race_is_told(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(fd: int, kind: int) -> None:
        raise BlockingIOError

    monkeypatch.setattr(fcntl, "flock", lost)
    text = refusal(lambda: ConnectionFile.create(session="rocket", url="", token=None, memory=""))
    assert text == f"cannot write a connection file in {place}: 32 were taken away at once"
    assert list(place.iterdir()) == []


def test_no_live_file_is_lost_where_many_create_find_and_sweep_at_once(
    place: Path, running: Callable[..., ConnectionFile]
) -> None:
    steady = [running(f"steady{number}").path for number in range(3)]
    command = [sys.executable, "-c", CONTENDER]
    contenders = [
        subprocess.Popen([*command, f"contender{number}", *map(str, steady)], stderr=subprocess.PIPE, text=True)
        for number in range(6)
    ]
    assert [contender.communicate(timeout=PATIENCE)[1] for contender in contenders] == [""] * 6
    sweep()
    assert sorted(place.iterdir()) == sorted(steady)


def test_a_failed_write_is_told_and_leaves_nothing(place: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        text = refusal(lambda: ConnectionFile.create(session="rocket", url="ws://h", token=None, memory=""))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert text.startswith(f"cannot write the connection file {place}/rocket-")
    assert text.endswith(".json: File too large")
    assert list(place.iterdir()) == []


def test_a_file_system_without_locks_is_told(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(fd: int, kind: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    place.mkdir(mode=0o700)
    (place / "rocket.json").write_text('{"session":"rocket","url":"","token":null,"pid":1,"memory":""}')
    monkeypatch.setattr(fcntl, "flock", no_locks)
    text = refusal(lambda: ConnectionFile.create(session="rocket", url="", token=None, memory=""))
    assert text.startswith(f"cannot write the connection file {place}/rocket-")
    assert text.endswith(".json: No locks available")
    assert (find(), sweep()) == ([], 0)
    assert [path.name for path in place.iterdir()] == ["rocket.json"]


def test_the_directory_is_the_runtime_directory_s_or_else_the_state_directory_s(
    tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert connection_directory() == place
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for unusable in (str(tmp_path / "missing"), "relative", "", "/proc/self/mem/x", "/dev/null"):
        monkeypatch.setenv("XDG_RUNTIME_DIR", unusable)
        assert connection_directory() == tmp_path / "state" / "hermes"
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert connection_directory() == tmp_path / "state" / "hermes"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for unusable in ("relative", ""):
        monkeypatch.setenv("XDG_STATE_HOME", unusable)
        assert connection_directory() == tmp_path / "home" / ".local" / "state" / "hermes"


def test_a_runtime_directory_of_another_user_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert connection_directory() == tmp_path / "hermes"


def test_a_user_without_any_place_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError

    for variable in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    assert find() == []
    assert refusal(connection_directory) == (
        "no place for connection files: this user has no home; set XDG_RUNTIME_DIR to a directory of your own"
    )


def test_all_parents_of_the_state_directory_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home" / "state"))
    file = ConnectionFile.create(session="rocket", url="", token=None, memory="")
    assert file.path.parent == tmp_path / "home" / "state" / "hermes"
    assert file.path.parent.stat().st_mode & 0o7777 == 0o700
    file.remove()


def test_readers_make_no_directory(place: Path) -> None:
    assert (find(), sweep(), resolve("ws://h")) == ([], 0, ("ws://h", None))
    assert not place.exists()


def link(place: Path) -> str:
    (place.parent / "elsewhere").mkdir()
    place.symlink_to(place.parent / "elsewhere")
    return "it is a symbolic link"


def writable_by_all(place: Path) -> str:
    place.mkdir()
    place.chmod(0o1777)
    return "others may write there (mode 1777)"


def writable_by_group(place: Path) -> str:
    place.mkdir()
    place.chmod(0o770)
    return "others may write there (mode 0770)"


@pytest.mark.parametrize("spoil", [link, writable_by_all, writable_by_group])
def test_a_directory_that_others_could_have_filled_is_refused(place: Path, spoil: Callable[[Path], str]) -> None:
    expected = f"{place} cannot hold connection files: {spoil(place)}; {REMEDY}"
    assert refusal(lambda: ConnectionFile.create(session="rocket", url="", token=None, memory="")) == expected
    for call in (find, sweep, resolve, lambda: resolve("ws://h")):
        assert refusal(call) == expected
    assert list(place.iterdir()) == []


def test_a_directory_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hermes").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    expected = f"{tmp_path}/hermes cannot hold connection files: it belongs to user {os.getuid()}; {REMEDY}"
    assert refusal(lambda: ConnectionFile.create(session="rocket", url="", token=None, memory="")) == expected
    assert refusal(find) == expected


def test_a_file_in_the_directory_s_place_is_told(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place.touch()
    text = refusal(lambda: ConnectionFile.create(session="rocket", url="", token=None, memory=""))
    assert text == f"cannot make the directory {place}: File exists"
    assert refusal(find) == f"{place} cannot hold connection files: it is not a directory; {REMEDY}"
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setenv("XDG_STATE_HOME", str(place))
    text = refusal(lambda: ConnectionFile.create(session="rocket", url="", token=None, memory=""))
    assert text == f"cannot make the directory {place}/hermes: Not a directory"
    assert refusal(find) == f"cannot look for sessions in {place}/hermes: Not a directory"


def test_sessions_are_found_newest_first(running: Callable[..., ConnectionFile]) -> None:
    for number, name in enumerate(["rocket", "rover", "rocket"]):
        running(name, 8765 + number)
    assert [connection.url[-1] for connection in find()] == ["7", "6", "5"]
    assert [connection.url[-1] for connection in find("rocket")] == ["7", "5"]
    assert find("boat") == []


MALFORMED = {
    b"": "not strict JSON: Expecting value at character 0",
    b"\xff": "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte",
    b"[1]": "it has no object but [1]",
    b'{"session":"a","url":"u","token":null,"pid":1}': "memory missing or not of the right type",
    b'{"session":7,"url":"u","pid":"1","memory":""}': "session, token, pid missing or not of the right type",
    b" " * 65536 + b"{}": "not strict JSON: Expecting value at character 65536",
    b"[" * 65536: "not strict JSON: nested deeper than 32",
}


@pytest.mark.parametrize("content", MALFORMED, ids=lambda content: str(content[:20]))
def test_a_live_file_that_cannot_be_understood_is_passed_over_and_told_when_it_is_meant(
    place: Path, running: Callable[..., ConnectionFile], content: bytes
) -> None:
    file = running()
    path = place / "other.json"
    with held(path, content):
        assert [connection.path for connection in find()] == [file.path]
        assert refusal(lambda: resolve(str(path))) == f"{path} is not a connection file: {MALFORMED[content]}"


def test_a_later_version_may_add_keys(place: Path, running: Callable[..., ConnectionFile]) -> None:
    running()
    text = b'{"session":"later","url":"ws://h","token":null,"pid":1,"memory":"","colour":"red"}'
    with held(place / "later.json", text):
        assert resolve("later") == ("ws://h", None)


def test_a_url_is_taken_as_it_is_with_the_token_of_its_session(running: Callable[..., ConnectionFile]) -> None:
    running("rocket", 8765, "s3cret")
    running("rover", 8766)
    assert resolve("ws://127.0.0.1:8765") == Address("ws://127.0.0.1:8765", "s3cret")
    assert resolve("ws://127.0.0.1:8765/") == Address("ws://127.0.0.1:8765/", "s3cret")
    assert resolve("ws://127.0.0.1:8766") == Address("ws://127.0.0.1:8766", None)
    assert resolve("wss://127.0.0.1:8765") == Address("wss://127.0.0.1:8765", None)


def test_a_path_leads_to_its_live_session(
    place: Path, running: Callable[..., ConnectionFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = running("rocket", 8765, "s3cret")
    running("rocket", 8766)
    assert resolve(str(file.path)) == Address("ws://127.0.0.1:8765", "s3cret")
    monkeypatch.chdir(place)
    assert resolve(file.path.name) == Address("ws://127.0.0.1:8765", "s3cret")


def test_a_path_that_leads_to_no_live_session_is_told(tmp_path: Path, running: Callable[..., ConnectionFile]) -> None:
    copy = tmp_path / "copy.json"
    assert refusal(lambda: resolve(str(copy))) == f"cannot read the connection file {copy}: No such file or directory"
    copy.write_bytes(running("rocket", 8765).path.read_bytes())
    ended = f"{copy} is no live session's: its session has ended, or it is a copy"
    assert refusal(lambda: resolve(str(copy))) == ended
    with held(copy, copy.read_bytes()):
        assert resolve(str(copy)).url == "ws://127.0.0.1:8765"
    unreadable = f"cannot read the connection file {tmp_path}: it is not a regular file"
    assert refusal(lambda: resolve(str(tmp_path))) == unreadable


def test_a_dead_file_that_a_sweeper_holds_is_no_live_session(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place.mkdir(mode=0o700)
    path, lock = place / "dead.json", fcntl.flock
    text = b'{"session":"dead","url":"ws://h","token":null,"pid":1,"memory":""}'

    def swept_meanwhile(fd: int, kind: int) -> None:
        try:
            lock(fd, kind)
        finally:
            path.unlink()

    with held(path, text):
        monkeypatch.setattr(fcntl, "flock", swept_meanwhile)
        assert refusal(lambda: resolve(str(path))).endswith("its session has ended, or it is a copy")


def test_a_name_or_nothing_leads_to_the_only_session(running: Callable[..., ConnectionFile]) -> None:
    running("rocket", 8765, "s3cret")
    assert resolve() == resolve("rocket") == Address("ws://127.0.0.1:8765", "s3cret")


def test_where_there_is_no_session_it_is_told_how_to_get_one() -> None:
    assert refusal(resolve) == f"no session with a server is running here; {START}"
    assert refusal(lambda: resolve("rocket")) == f"no session 'rocket' is running here; {START}"


def test_an_unknown_name_is_told_with_those_there_are(running: Callable[..., ConnectionFile]) -> None:
    rocket, rover = running("rocket", 8765, "s3cret"), running("rover", 8766)
    assert refusal(lambda: resolve("rokcet")) == (
        "no session 'rokcet' is running, only:\n"
        f"  rover  ws://127.0.0.1:8766  {rover.path}\n"
        f"  rocket  ws://127.0.0.1:8765  {rocket.path}"
    )


def test_where_there_are_several_sessions_one_must_be_chosen(running: Callable[..., ConnectionFile]) -> None:
    files = [running("rocket", 8765, "s3cret"), running("rocket", 8766), running("rover", 8767)]
    lines = [
        f"\n  {name}  ws://127.0.0.1:{port}  {file.path}"
        for name, port, file in zip(("rocket", "rocket", "rover"), (8765, 8766, 8767), files, strict=True)
    ]
    assert refusal(resolve) == (
        "3 sessions are running; choose one by its name, its URL or its connection file:"
        + lines[2] + lines[1] + lines[0]
    )  # fmt: skip
    assert refusal(lambda: resolve("rocket")) == (
        "2 sessions are named 'rocket'; choose one by its URL or its connection file:" + lines[1] + lines[0]
    )


def test_a_session_is_found_by_who_has_another_idea_of_the_runtime_directory(
    running: Callable[..., ConnectionFile], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    here = running("here")
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    there = running("there")
    assert [connection.path for connection in find()] == [there.path]
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    assert {connection.path for connection in find()} == {here.path, there.path}
