from __future__ import annotations

import json
import pickle
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes import errors
from hermes.errors import (
    BadJson,
    BadMessage,
    BadParams,
    BadValue,
    CommandError,
    ConfigurationError,
    ConnectionFailed,
    EngineDied,
    Forbidden,
    HermesError,
    InvalidState,
    LoopError,
    ModuleDied,
    ModuleError,
    ModuleFailed,
    ModuleHung,
    NoSession,
    NotExported,
    NotReady,
    NotReplaced,
    PortInUse,
    Problem,
    ReadOnlySignal,
    ServerExposed,
    SessionClosed,
    SystemRefused,
    TooMany,
    UnknownAction,
    UnknownSignal,
    WiredSignal,
    from_wire,
    to_wire,
)
from hermes.wording import nearest, shown

ONE = Problem("f:1:2", "x is 1; it takes text")
TWO = Problem("wiring[0]", "no such signal")
HOMES = ("hermes.errors", "hermes.errorkind", "hermes.moduleerrors")
"""Where the errors are that Hermes itself raises; a client has one more of its own."""

EXAMPLES = [
    (HermesError(message="no frame yet"), "no frame yet", "internal", 1),
    (HermesError(), "internal", "internal", 1),
    (ConfigurationError([ONE]), "f:1:2: x is 1; it takes text", "bad_configuration", 2),
    (
        ConfigurationError([ONE, TWO]),
        "2 problems:\nf:1:2: x is 1; it takes text\nwiring[0]: no such signal",
        "bad_configuration",
        2,
    ),
    (CommandError(message="refused"), "refused", "internal", 1),
    (BadJson("trailing data"), "not strict JSON: trailing data", "bad_json", 1),
    (BadMessage("a list; an object is accepted"), "a list; an object is accepted", "bad_message", 1),
    (UnknownAction("a\nb", ["run", "set"]), "no action 'a\\nb'; there are run, set", "unknown_action", 1),
    (
        UnknownAction("ste", ["set", "step"], ["step"]),
        "no action 'ste'; there are set, step; did you mean step?",
        "unknown_action",
        1,
    ),
    (BadParams("count is 0; it takes 1 or more"), "count is 0; it takes 1 or more", "bad_params", 2),
    (UnknownSignal(["a.x"]), "no signal matches 'a.x'", "unknown_signal", 2),
    (
        UnknownSignal(["a.x", "b\n*"], ["a.y", "a.z"]),
        "no signal matches 'a.x', 'b\\n*'; did you mean a.y, a.z?",
        "unknown_signal",
        2,
    ),
    (
        ReadOnlySignal("a.x"),
        "a.x is an output and is written by its module only; set an input or a parameter",
        "read_only",
        1,
    ),
    (
        WiredSignal("b.u", "a.x"),
        "b.u is driven by a wire from a.x; set that, or remove the wire",
        "wired",
        1,
    ),
    (BadValue("a.x", "'7'", "a number (f64)"), "a.x cannot be '7'; it takes a number (f64)", "bad_value", 1),
    (
        InvalidState("resume", "failed", "legal now: reset"),
        "cannot resume while failed; legal now: reset",
        "invalid_state",
        1,
    ),
    (TooMany("patterns", 1000), "too many patterns: at most 1000 are accepted", "too_many", 1),
    (
        Forbidden("resume"),
        "resume is refused: this session lets its clients watch only (server.control: observe)",
        "forbidden",
        1,
    ),
    (
        NotReady("history()"),
        "history() needs a started session; call start() first, or use 'with session:'",
        "not_ready",
        1,
    ),
    (
        SessionClosed("flight"),
        "session flight is closed; make a new one with Session.from_yaml(...)",
        "closed",
        1,
    ),
    (ModuleError(module="plant", frame=3, phase="step", message="bad"), "bad", "module_failed", 1),
    (
        ModuleFailed("plant", 7, "step", "ValueError: no", "Traceback:\n  x\n"),
        "module plant raised in frame 7: ValueError: no\nTraceback:\n  x",
        "module_failed",
        1,
    ),
    (ModuleFailed("plant", 0, "reset", "no", ""), "module plant raised during reset: no", "module_failed", 1),
    (
        ModuleDied("plant", 7, "idle", "signal SIGKILL", ["one", "two"]),
        "module plant died between frames, after frame 7: signal SIGKILL\n  plant| one\n  plant| two",
        "module_failed",
        1,
    ),
    (ModuleDied("plant", 0, "start", "exit code 3"), "module plant died during start: exit code 3", "module_failed", 1),
    (
        ModuleHung("plant", 7, "step", 0.5, ["stuck"]),
        "module plant did not answer in frame 7 within 0.5 s (execution.step_timeout)\n  plant| stuck",
        "module_failed",
        1,
    ),
    (
        ModuleHung("plant", 0, "start", 10.0),
        "module plant did not answer during start within 10 s (execution.start_timeout)",
        "module_failed",
        1,
    ),
    (
        ModuleDied("a", 5, "idle", "signal SIGKILL", worker="group", modules=["a", "b"]),
        "worker group (modules a, b) died between frames, after frame 5: signal SIGKILL",
        "module_failed",
        1,
    ),
    (
        ModuleHung("a", 5, "step", 2.0, ["stuck"], "Stack (most recent call last):\n  Cell In[3], line 5, in step\n"),
        (
            "module a did not answer in frame 5 within 2 s (execution.step_timeout)\n"
            "Stack (most recent call last):\n  Cell In[3], line 5, in step\n  a| stuck"
        ),
        "module_failed",
        1,
    ),
    (
        ModuleHung("a", 0, "reset", 2.0, waiting_for=["a", "b", "c"]),
        "module a did not answer during reset within 2 s (execution.start_timeout); nor did b, c",
        "module_failed",
        1,
    ),
    (
        ModuleHung("m0", 5, "step", 2.0, worker="group", modules=[f"m{number}" for number in range(7)]),
        (
            "worker group (modules m0, m1, m2, m3, m4 and 2 more) did not answer in frame 5 within 2 s "
            "(execution.step_timeout)"
        ),
        "module_failed",
        1,
    ),
    (EngineDied("exit code 1"), "the engine process ended: exit code 1", "engine_died", 1),
    (EngineDied("signal SIGSEGV", ["a"]), "the engine process ended: signal SIGSEGV\n  engine| a", "engine_died", 1),
    (
        SystemRefused("start the process of module a", "Resource temporarily unavailable (see ulimit -u)"),
        "cannot start the process of module a: Resource temporarily unavailable (see ulimit -u)",
        "system_refused",
        1,
    ),
    (
        SystemRefused("map 8 bytes", "Cannot allocate memory"),
        "cannot map 8 bytes: Cannot allocate memory",
        "system_refused",
        1,
    ),
    (
        PortInUse("127.0.0.1", 8765),
        "port 8765 on 127.0.0.1 is taken; choose another, or port=0 for a free one (server.port in YAML)",
        "port_in_use",
        1,
    ),
    (
        ServerExposed("0.0.0.0"),
        (
            "host 0.0.0.0 is reachable from other machines, and the server has no token: either give it one "
            "(server.token: auto, or a text of your own), or listen on 127.0.0.1 and reach it through an SSH tunnel"
        ),
        "server_exposed",
        2,
    ),
    (NoSession("no session 'a' is running"), "no session 'a' is running", "no_session", 2),
    (
        ConnectionFailed("ws://127.0.0.1:8765", "nobody listens there"),
        "ws://127.0.0.1:8765: nobody listens there",
        "connection_failed",
        1,
    ),
    (
        NotReplaced("ctl", "there is no such module"),
        "module ctl cannot be replaced: there is no such module",
        "not_replaced",
        1,
    ),
    (NotExported("case.yaml exists already"), "case.yaml exists already", "not_exported", 1),
    (LoopError("await session.aio.step() instead"), "await session.aio.step() instead", "internal", 1),
]


def kinds(kind: type[HermesError] = HermesError) -> Iterator[type[HermesError]]:
    yield kind
    for further in kind.__subclasses__():
        yield from kinds(further)


@pytest.mark.parametrize(("error", "text", "code", "exit_status"), EXAMPLES)
def test_text_code_and_exit_status(error: HermesError, text: str, code: str, exit_status: int) -> None:
    assert (str(error), error.code, error.exit_status) == (text, code, exit_status)


@pytest.mark.parametrize("error", [example[0] for example in EXAMPLES])
def test_an_error_survives_the_wire_and_pickling(error: HermesError) -> None:
    for copy in (from_wire(json.loads(json.dumps(to_wire(error)))), pickle.loads(pickle.dumps(error))):
        assert type(copy) is type(error)
        assert (str(copy), copy.fields) == (str(error), error.fields)


def test_every_kind_is_pinned_here_and_drawn_in_the_docstring() -> None:
    own = {kind for kind in kinds() if kind.__module__ in HOMES}
    assert own == {type(example[0]) for example in EXAMPLES}
    assert errors.__doc__ is not None
    for kind in own:
        assert kind.__name__ in errors.__doc__


def test_what_a_configuration_error_and_a_module_error_carry() -> None:
    copy = from_wire(to_wire(ConfigurationError(iter([ONE, TWO]))))
    assert isinstance(copy, ConfigurationError)
    assert copy.problems == (ONE, TWO)
    died = ModuleDied("plant", 7, "step", "exit code 3")
    assert (died.module, died.frame) == ("plant", 7)
    with pytest.raises(KeyError):
        from_wire({"error": "SystemExit", "fields": {}})


def test_nearest_names_are_few_alike_and_best_first() -> None:
    known = ["plant.altitude", "plant.attitude", "plant.mass", "wind.speed", "Plant.Altitude2"]
    assert nearest("plant.altitud", known)[0] == "plant.altitude"
    assert set(nearest("plant.altitud", known)) == {"plant.altitude", "plant.attitude", "Plant.Altitude2"}
    assert nearest("PLANT.MASS", known, count=1) == ["plant.mass"]
    assert nearest("zzzz", known) == []
    assert nearest("x" * 10_000, ["x" * 256]) == ["x" * 256]


SHOWN = [
    ("plant.x", "'plant.x'"),
    ("", "''"),
    ("a\tb\n\x1b[31m\x7f", "'a\\tb\\n\\x1b[31m\\x7f'"),
    ("\u202eevil\u200f", "'\\u202eevil\\u200f'"),
    ("\ud800", "'\\ud800'"),
    ("é漢", "'é漢'"),
    ("x" * 61, "'" + "x" * 60 + "...'"),
    ("x" * 60, "'" + "x" * 60 + "'"),
    (1.5, "1.5"),
    (None, "None"),
    (True, "True"),
    (2**1024, "an integer of 1025 bits"),
    (-(10**5000), "an integer of 16610 bits"),
    (2**64, "18446744073709551616"),
    (["é"], "['\\xe9']"),
    ([0] * 100, "[" + "0, " * 19 + "0,..."),
]


@pytest.mark.parametrize(("value", "text"), SHOWN, ids=map(str, range(len(SHOWN))))
def test_what_is_shown_is_quoted_escaped_and_cut(value: object, text: str) -> None:
    assert shown(value) == text


@given(st.text() | st.binary() | st.integers() | st.floats() | st.none() | st.lists(st.text()))
def test_anything_is_shown_in_one_printable_line_of_bounded_length(value: object) -> None:
    text = shown(value)
    assert text.isprintable()
    assert len(text) <= 60 * 10 + 5


@pytest.mark.parametrize(
    "error",
    [
        ModuleDied("plant", 1, "step", "exit code 1", ["\x1b[2Jgone\r\x00", "a\tb"]),
        ModuleFailed("plant", 1, "step", "ValueError: \x1b]0;owned\x07", 'Traceback:\n  File "\x9b.py"\n\tx'),
        ModuleHung("plant", 1, "step", 1.0, [], '  File "\x9b.py", line 3, in step'),
        EngineDied("signal SIGKILL", ["\x1b[31mred"]),
    ],
)
def test_what_modules_say_cannot_steer_a_terminal(error: HermesError) -> None:
    assert all(line.isprintable() for line in str(error).split("\n"))
    assert r"\x" in str(error)
