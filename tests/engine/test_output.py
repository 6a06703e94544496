from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from bounds import PATIENCE
from hypothesis import given
from hypothesis import strategies as st

from hermes.engine.output import LINE_LIMIT, LineBudget, OutputDrain, _Stream, text


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


class Taken:
    """Collects what the drain hands on; `wait_for` waits until a line has come."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.calls: list[tuple[str, str, list[str]]] = []

    def __call__(self, module: str, stream: str, lines: list[bytes]) -> None:
        with self._changed:
            self.calls.append((module, stream, [text(line) for line in lines]))
            self._changed.notify_all()

    def of(self, module: str, stream: str) -> list[str]:
        return [line for name, of, lines in self.calls for line in lines if (name, of) == (module, stream)]

    def wait_for(self, line: str) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: any(line in lines for _, _, lines in self.calls), PATIENCE)


class Module:
    """The write ends of a module that the drain reads."""

    def __init__(self, drain: OutputDrain, name: str) -> None:
        out, self.stdout = os.pipe()
        err, self.stderr = os.pipe()
        drain.add(name, out, err)
        self._open = [self.stdout, self.stderr]

    def end(self) -> None:
        for fd in self._open:
            os.close(fd)
        self._open = []


@contextmanager
def drained() -> Iterator[tuple[OutputDrain, Taken, Module]]:
    taken = Taken()
    drain = OutputDrain(taken)
    module = Module(drain, "plant")
    yield drain, taken, module
    module.end()
    drain.stop()


def write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def test_lines_come_with_module_and_stream_and_only_when_complete() -> None:
    with drained() as (drain, taken, plant):
        wind = Module(drain, "wind")
        write(plant.stdout, b"one\ntwo\r\nthr")
        write(wind.stderr, b"\nerror\n")
        taken.wait_for("two")
        taken.wait_for("error")
        assert taken.of("plant", "stdout") == ["one", "two"]
        assert taken.of("wind", "stderr") == ["", "error"]
        write(plant.stdout, b"ee\n")
        taken.wait_for("three")
        wind.end()
    assert not [call for call in taken.calls if not call[2]]


def test_the_end_completes_the_last_line() -> None:
    with drained() as (_, taken, plant):
        write(plant.stdout, b"no newline")
        plant.end()
        taken.wait_for("no newline")


def test_long_lines_are_cut_and_nothing_is_lost() -> None:
    text = "".join(f"{number:09d}," for number in range(30_000))
    with drained() as (_, taken, plant):
        write(plant.stdout, text.encode() + b"\nshort\n")
        taken.wait_for("short")
        *pieces, short = taken.of("plant", "stdout")
    assert "".join(pieces) == text
    assert {len(piece) for piece in pieces} == {LINE_LIMIT}
    assert short == "short"


def test_bytes_that_are_no_utf_8_are_replaced() -> None:
    with drained() as (_, taken, plant):
        write(plant.stdout, b"a\xff\xfeb\nr\xc3\xa9sum\xc3\n\x1b[31m\x00<script>\nend\n")
        taken.wait_for("end")
        assert taken.of("plant", "stdout") == ["a\ufffd\ufffdb", "résum\ufffd", "\x1b[31m\x00<script>", "end"]


def test_the_last_lines_are_those_of_stderr_and_few() -> None:
    with drained() as (drain, _, plant):
        assert drain.last_lines("plant") == drain.last_lines("nobody") == []
        write(plant.stdout, b"out\n")
        assert drain.last_lines("plant") == ["out"]
        write(plant.stderr, b"".join(b"line %d\n" % number for number in range(1000)) + b"Segfault")
        plant.end()
        assert drain.last_lines("plant") == [*(f"line {number}" for number in range(981, 1000)), "Segfault"]


def test_what_is_left_in_the_pipes_is_handed_on_before_they_are_closed() -> None:
    with drained() as (drain, taken, plant):
        before = descriptors()
        write(plant.stdout, b"x" * 60_000)
        write(plant.stderr, b"last")
        drain.remove("plant")
        assert descriptors() == before - 2
        assert taken.of("plant", "stdout") == ["x" * LINE_LIMIT] * 30
        assert taken.of("plant", "stderr") == ["last"]
        drain.remove("plant")


def test_the_beginning_of_a_line_is_not_lost_when_a_grandchild_holds_the_pipe() -> None:
    with drained() as (drain, taken, plant):
        write(plant.stderr, b"died here")
        assert drain.last_lines("plant") == []
        drain.remove("plant")
        assert taken.of("plant", "stderr") == ["died here"]


def test_a_removed_module_may_come_back() -> None:
    with drained() as (drain, taken, plant):
        write(plant.stdout, b"before\n")
        plant.end()
        drain.remove("plant")
        again = Module(drain, "plant")
        write(again.stdout, b"after\n")
        taken.wait_for("after")
        assert drain.last_lines("plant") == ["after"]
        again.end()


def test_stop_ends_the_thread_and_closes_everything() -> None:
    before = descriptors(), threading.active_count()
    with drained() as (_, taken, plant):
        write(plant.stdout, b"x\n")
        taken.wait_for("x")
    assert (descriptors(), threading.active_count()) == before


@given(
    st.binary(max_size=200) | st.text("a\n", max_size=50).map(lambda t: t.replace("a", "a" * 900).encode()), st.data()
)
def test_lines_do_not_depend_on_how_they_arrive(data: bytes, draw: st.DataObject) -> None:
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=8)))
    whole, pieces = _Stream("m", "stdout"), _Stream("m", "stdout")
    expected = whole.take(data) + whole.take(b"", final=True)
    found = [line for a, b in pairwise([0, *cuts, len(data)]) for line in pieces.take(data[a:b])]
    assert found + pieces.take(b"", final=True) == expected
    assert all(len(line) <= LINE_LIMIT for line in expected)


class Clock:
    now = 100.25

    def __call__(self) -> float:
        return self.now


def test_the_budget_is_a_number_of_lines_a_second() -> None:
    clock = Clock()
    budget = LineBudget(clock)
    lines = [str(number) for number in range(1500)]
    assert budget.take(lines[:400], room=True) == (lines[:400], 0)
    assert budget.take(lines, room=True) == (lines[:600], 0)
    assert budget.take(["a", "b"], room=True) == ([], 0)
    clock.now = 101.0
    assert budget.take(["c"], room=True) == (["c"], 902), "what was dropped is said with the next line"
    assert budget.take(["d"], room=True) == (["d"], 0)
    assert budget.take([], room=True) == ([], 0)


def test_no_line_is_handed_on_without_room() -> None:
    budget = LineBudget(Clock())
    assert budget.take(["a", "b"], room=False) == ([], 0)
    assert budget.take(["c"], room=False) == ([], 0)
    assert budget.take(["d"], room=True) == (["d"], 3)
