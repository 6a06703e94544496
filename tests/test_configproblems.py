from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from bounds import spent

from hermes.config import HermesConfig
from hermes.configproblems import described, key_path
from hermes.errors import ConfigurationError
from hermes.yamlfile import parse_yaml

MODULES = "modules: {a: {type: script, script: m}, b: {type: script, script: m}}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "plant.py").touch()
    return tmp_path


def read(text: str) -> HermesConfig:
    return HermesConfig.from_yaml_text(text, "f")


def refused(text: str, base: Path | None = None) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        HermesConfig.from_yaml_text(text, "f", base)
    return [str(problem) for problem in caught.value.problems]


RATE = "a number or a ratio such as '60000/1001', above 0 and at most 100000 (Hz)"
ADDRESS = "an address such as 127.0.0.1, ::1 or 0.0.0.0, or localhost"
TOKEN = "auto, none, or 16 to 256 letters, digits, '.', '_', '~' or '-'"
ORIGIN = "'scheme://host' or 'scheme://host:port' in lower case, without a path or a closing '/'"
SIGNAL_NAME = "parts of letters, digits, '_', '/' or '-', joined by dots, at most 255 characters"
SCRIPT = "'./file.py', './file.py:Class', 'package.module' or 'package.module:Class'"
NAME = "a letter or '_', then at most 63 letters, digits, '_' or '-' (no dot, no blank)"
ABOVE_0 = "a number above 0 (seconds)"
END = "a number above 0 and at most 1e9 (seconds)"

# section, key, what is written, how it is shown, what is accepted
HIDDEN = "not a token (what it is stays out of this message)"
FIELDS = [
    ("execution", "mode", "fast", "'fast'", "realtime, afap or single_frame"),
    ("execution", "mode", "[]", "a list", "realtime, afap or single_frame"),
    ("execution", "rate_hz", "0", "0", RATE),
    ("execution", "rate_hz", "-1.5", "-1.5", RATE),
    ("execution", "rate_hz", "100000.1", "100000.1", RATE),
    ("execution", "rate_hz", "1/0", "'1/0'", RATE),
    ("execution", "rate_hz", "1/-2", "'1/-2'", RATE),
    ("execution", "rate_hz", "' 60'", "' 60'", RATE),
    ("execution", "rate_hz", ".inf", "inf", RATE),
    ("execution", "rate_hz", ".nan", "nan", RATE),
    ("execution", "rate_hz", "true", "true", RATE),
    ("execution", "rate_hz", "12:30", "'12:30'", RATE),
    ("execution", "end_time", "0", "0", END),
    ("execution", "end_time", "2e9", "2000000000.0", END),
    ("execution", "end_time", "'10'", "'10'", END),
    ("execution", "end_time", "true", "true", END),
    ("execution", "seed", "-1", "-1", "a whole number from 0 to 4294967295"),
    ("execution", "seed", "4294967296", "4294967296", "a whole number from 0 to 4294967295"),
    ("execution", "seed", "1.0", "1.0", "a whole number from 0 to 4294967295"),
    ("execution", "start_timeout", "0", "0", ABOVE_0),
    ("execution", "start_timeout", ".inf", "inf", ABOVE_0),
    ("execution", "step_timeout", "-1", "-1", "a number of at least 0 (seconds; 0 turns it off)"),
    ("execution", "stop_timeout", "null", "null", ABOVE_0),
    ("backplane", "history", "7", "7", "a whole number from 8 to 1000000"),
    ("backplane", "history", "1000001", "1000001", "a whole number from 8 to 1000000"),
    ("backplane", "history_mib", "0", "0", "a whole number from 1 to 65536 (MiB)"),
    ("server", "enabled", "yes", "'yes'", "true or false"),
    ("server", "enabled", "1", "1", "true or false"),
    ("server", "host", "example.org", "'example.org'", ADDRESS),
    ("server", "host", "127.0.0.1:80", "'127.0.0.1:80'", ADDRESS),
    ("server", "host", "'[::1]'", "'[::1]'", ADDRESS),
    ("server", "host", "''", "''", ADDRESS),
    ("server", "host", "null", "null", ADDRESS),
    ("server", "control", "none", "'none'", "all or observe"),
    ("server", "control", "true", "true", "all or observe"),
    ("server", "token", "short", HIDDEN, TOKEN),
    ("server", "token", "fifteen-letters", HIDDEN, TOKEN),
    ("server", "token", "AUTO", HIDDEN, TOKEN),
    ("server", "token", "''", HIDDEN, TOKEN),
    ("server", "token", "1234567890123456", HIDDEN, TOKEN),
    ("server", "token", "true", HIDDEN, TOKEN),
    ("server", "port", "65536", "65536", "a whole number from 0 to 65535 (0 = a free port)"),
    ("server", "port", "'1'", "'1'", "a whole number from 0 to 65535 (0 = a free port)"),
    ("server", "telemetry_hz", "0", "0", "a number above 0 and at most 1000 (Hz)"),
    ("server", "telemetry_hz", "1001", "1001", "a number above 0 and at most 1000 (Hz)"),
    ("server", "allowed_origins", "http://x", "'http://x'", "a list"),
]


@pytest.mark.parametrize(("section", "key", "written", "found", "accepted"), FIELDS)
def test_a_refused_value_says_what_is_accepted(section: str, key: str, written: str, found: str, accepted: str) -> None:
    text = f"{MODULES}{section}:\n  {key}: {written}\n"
    assert refused(text) == [f"f:3:{len(key) + 5}: {section}.{key} is {found}; it takes {accepted}"]


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.9.9.9", "'::1'", "localhost", "0.0.0.0", "'::'", "192.168.0.1", "fd00::1"]
)
def test_any_address_may_be_listened_on_as_far_as_the_configuration_goes(host: str) -> None:
    assert read(MODULES + f"server:\n  host: {host}\n").server.host == host.strip("'")


@pytest.mark.parametrize("token", ["auto", "none", "sixteen-letters_", "Abc.1~" * 40 + "x" * 16, "'1234567890123456'"])
def test_tokens(token: str) -> None:
    assert read(MODULES + f"server: {{token: {token}}}").server.token == token.strip("'")


def test_a_refused_token_is_not_repeated() -> None:
    (problem,) = refused(MODULES + "server: {token: 's3cret-s3cret-s3cret!'}")
    assert "s3cret" not in problem


def module(rest: str) -> str:
    return f"modules:\n  a:\n    type: script\n    script: m\n    {rest}\n"


def signal(rest: str) -> str:
    return module(f"signals:\n    - name: x\n      {rest}")


AT = "modules.a.signals[0]"
REFUSED = [
    ("", ["f:1:1: modules is missing: the modules by name, at least one"]),
    ("[]", ["f:1:1: the configuration is a list; it takes a mapping"]),
    ("x", ["f:1:1: the configuration is 'x'; it takes a mapping"]),
    ("modules: {}", ["f:1:1: modules is empty; it takes at least one entry"]),
    ("modules:", ["f:1:9: modules is null; it takes a mapping"]),
    ("modules: {a: 1}", ["f:1:14: modules.a is 1; it takes a mapping"]),
    ("modules:\n  a: {}", [
        ("f:2:3: modules.a.script is missing: the file (relative to the YAML file) or package that defines the "
        "module, and its class"),
        "f:2:3: modules.a.type is missing: the kind of module: script",
    ]),
    ("modules: {a: {type: process, script: m}}", ["f:1:21: modules.a.type is 'process'; it takes script"]),
    ("modules: {a.b: {type: script, script: m}}", [f"f:1:11: modules has the name 'a.b'; a name takes {NAME}"]),
    ('modules: {"a\\n": {type: script, script: m}}',
     [f"f:1:11: modules has the name 'a\\n'; a name takes {NAME}"]),
    ("name: a/b\n" + MODULES, [f"f:1:7: name is 'a/b'; it takes {NAME}"]),
    (MODULES + "execution:\n  rate: 5\n", [
        ("f:3:3: execution.rate is not a known key; did you mean rate_hz? The keys of execution are mode, rate_hz, "
        "end_time, seed, start_timeout, step_timeout, stop_timeout, schedule")]),
    (MODULES + "zzz: 1\n", [("f:2:1: zzz is not a known key; the keys are name, modules, wiring, execution, "
                            "commands, backplane, server")]),
    (MODULES + "backplane: []\n", ["f:2:12: backplane is a list; it takes a mapping"]),
    (MODULES + "server: {allowed_origins: [null, 'http://x/', 'http://X']}\n", [
        f"f:2:28: server.allowed_origins[0] is null; it takes {ORIGIN}",
        f"f:2:34: server.allowed_origins[1] is 'http://x/'; it takes {ORIGIN}",
        f"f:2:47: server.allowed_origins[2] is 'http://X'; it takes {ORIGIN}"]),
    (MODULES + "server: {allowed_hosts: ['a:1']}\n",
     ["f:2:26: server.allowed_hosts[0] is 'a:1'; it takes a host's name, without a port"]),
    (module("env: {A: 1, B=: x}"), [
        "f:5:14: modules.a.env.A is 1; it takes text; put numbers in quotes",
        "f:5:17: modules.a.env has the name 'B='; a name takes a name without '='"]),
    (module("params: []"), ["f:5:13: modules.a.params is a list; it takes a mapping"]),
    (module("signals: {}"), ["f:5:14: modules.a.signals is a mapping; it takes a list"]),
    (signal("type: f16"), [f"f:7:13: {AT}.type is 'f16'; it takes f64, f32, i64, i32 or bool"]),
    (signal("unit: 1"), [f"f:7:13: {AT}.unit is 1; it takes text"]),
    (signal("writable: on"), [f"f:7:17: {AT}.writable is 'on'; it takes true or false"]),
    (signal("initial: x"), [f"f:7:16: {AT}.initial is 'x'; it takes a number, true or false"]),
    (signal("limits: [2, 1]"),
     [f"f:7:15: {AT}.limits is [2, 1]; it takes two finite numbers [low, high], low not above high"]),
    (signal("limits: [1, x]"),
     [f"f:7:15: {AT}.limits is a list; it takes two finite numbers [low, high], low not above high"]),
    (signal("limits: [1, .inf]"),
     [f"f:7:15: {AT}.limits is [1, inf]; it takes two finite numbers [low, high], low not above high"]),
    (signal("initial: 1\n      type: bool"), [f"f:7:16: {AT}.initial is 1; a bool takes true or false"]),
    (signal("initial: true\n      type: f64"), [f"f:7:16: {AT}.initial is true; an f64 takes a number"]),
    (signal("initial: 1.0\n      type: i32"),
     [f"f:7:16: {AT}.initial is 1.0; an i32 takes a whole number from -2147483648 to 2147483647"]),
    (signal("initial: 9223372036854775808\n      type: i64"),
     [(f"f:7:16: {AT}.initial is 9223372036854775808; an i64 takes a whole number from -9223372036854775808 to "
      "9223372036854775807")]),
    (signal("initial: 1e39\n      type: f32"),
     [(f"f:7:16: {AT}.initial is 1e+39; an f32 takes a number from -3.4028234663852886e+38 to "
      "3.4028234663852886e+38")]),
    (signal("initial: .inf"),
     [f"f:7:16: {AT}.initial is inf; without allow_nonfinite: true it takes a finite number"]),
    (signal("initial: 5\n      limits: [0, 1]"), [f"f:7:16: {AT}.initial is 5; its limits are 0 to 1"]),
    (signal("initial: 5\n      limits: [0, 1]\n      type: i32"),
     [f"f:7:16: {AT}.initial is 5; its limits are 0 to 1"]),
    (module("signals: [{name: x}, {name: x}]"),
     ["f:5:33: modules.a.signals[1] and modules.a.signals[0] are both named 'x'; the first is at f:5:22"]),
    (module("signals: [{name: a..b}]"), [f"f:5:22: {AT}.name is 'a..b'; it takes {SIGNAL_NAME}"]),
    (MODULES + "wiring: [{src: a.x}]\n",
     [("f:2:10: wiring[0].dst is missing: the input written, as 'module.signal'; of several wires to it the last one "
       "wins")]),
    (MODULES + "wiring: [{src: a, dst: b.x, gain: .nan}]\n", [
        "f:2:16: wiring[0].src is 'a'; it takes 'module.signal'",
        "f:2:35: wiring[0].gain is nan; it takes a finite number"]),
    (MODULES + "wiring: [{src: a.x, dst: q.x}]\n",
     ["f:2:26: wiring[0].dst is 'q.x'; there is no module 'q', the modules are 'a', 'b'"]),
    ("modules: {plant: {type: script, script: m}}\nwiring: [{src: plan.x, dst: plant.u}]\n",
     ["f:2:16: wiring[0].src is 'plan.x'; there is no module 'plan', did you mean 'plant'?"]),
    ("modules: {a: {type: script, script: 'm:'}}", [f"f:1:37: modules.a.script is 'm:'; it takes {SCRIPT}"]),
    ("modules: {a: {type: script, script: a-b}}", [f"f:1:37: modules.a.script is 'a-b'; it takes {SCRIPT}"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "problems"), REFUSED)
def test_refusals(text: str, problems: list[str]) -> None:
    assert refused(text) == problems


@pytest.mark.parametrize(
    "rest",
    ["initial: .nan\n      allow_nonfinite: true", "initial: true", "initial: 1\n      type: f64", "limits: [1, 1]"],
)
def test_signals_that_fit(rest: str) -> None:
    assert len(read(signal(rest)).modules["a"].signals) == 1


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("./nope.py:X", "there is no such file"),
        ("nope.py", "there is no such file"),
        ("./plant.py/x", "Not a directory"),
        ("./", "that is not a file"),
        ("./a\\0.py", "a path has no NUL character"),
    ],
)
def test_missing_scripts(folder: Path, script: str, reason: str) -> None:
    shown = script.replace("\\0", "\\x00")
    text = f'modules: {{a: {{type: script, script: "{script}"}}}}'
    assert refused(text, folder) == [f"f:1:37: modules.a.script is '{shown}'; {reason} (looked in {folder})"]


def test_everything_is_reported_at_once_and_in_file_order(folder: Path) -> None:
    text = (
        "server: {port: -1}\n"
        "modules:\n"
        "  a: {type: script, script: ./nope.py, parms: {}}\n"
        "  b: {type: script, script: ./plant.py, signals: [{name: x}, {name: x}]}\n"
        "wiring:\n"
        "  - {src: c.x, dst: b.x}\n"
        "  - {src: a.x, dst: b.x}\n"
        "execution: {seed: 1.5}\n"
    )
    places = [problem.split(": ")[0] for problem in refused(text, folder)]
    assert places == ["f:1:16", "f:3:29", "f:3:40", "f:4:69", "f:6:11", "f:8:19"]


@pytest.mark.parametrize("text", ["k" * 10_000, "k\\n\\u202e" * 1000, "a/b", "\\u0000"])
def test_names_are_shown_escaped_and_cut(text: str) -> None:
    found = refused(f'? "{text}"\n: 1\n? "m{text}"\n: 2\nmodules: {{? "n/{text}" : {{type: script, script: m}}}}\n')
    assert len(found) == 3
    assert all(len(problem) < 600 and problem.isprintable() for problem in found)


def test_a_long_script_name_is_refused(tmp_path: Path) -> None:
    (problem,) = refused(f"modules: {{a: {{type: script, script: ./{'x' * 10_000}.py}}}}", tmp_path)
    assert f"x...'; File name too long (looked in {tmp_path})" in problem


def many(pattern: str, count: int) -> str:
    """Return a text so many times, with a number for each `#`."""
    return "".join(pattern.replace("#", str(number)) for number in range(count))


WRONG: dict[str, tuple[Callable[[int], str], int]] = {
    "unknown keys": (lambda size: many("k#: 1\n", 20 * size), 6),
    "modules": (lambda size: "modules:\n" + many("  k#: {a: 1}\n", 8 * size), 8),
    "wires": (
        lambda size: (
            "modules:\n" + many("  k#: {}\n", 5 * size) + "wiring:\n" + many(" - {src: q#.x, dst: kk.x}\n", 3 * size)
        ),
        14,
    ),
    "signals": (lambda size: "modules: {a: {signals: [" + many("{name: x},", 10 * size) + "]}}", 6),
}


@pytest.mark.parametrize(("text", "times"), WRONG.values(), ids=WRONG)
def test_large_wrong_files_cost_a_small_multiple_of_reading_their_yaml(text: Callable[[int], str], times: int) -> None:
    """To read a quarter of it is the measure: what grows faster than the file costs many times as much."""
    quarter, whole = text(250), text(1000)
    counts: list[int] = []
    cost = spent(lambda: counts.append(len(refused(whole))), 2)
    assert counts == [100, 100]
    assert cost < times * 4 * spent(lambda: parse_yaml(quarter, "f"))


@pytest.mark.parametrize(
    ("path", "text"),
    [((), "the configuration"), (("a", 0, "b"), "a[0].b"), (("a b", "c"), "'a b'.c"), ((0,), "[0]")],
)
def test_key_paths(path: tuple[str | int, ...], text: str) -> None:
    assert key_path(path) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "null"), (True, "true"), (False, "false"), (1, "1"), ("a", "'a'"), ([], "a list"), ({}, "a mapping"),
     ([1, 2.5], "[1, 2.5]"), ([1, "a"], "a list"), ([[1]], "a list")],
)  # fmt: skip
def test_descriptions(value: object, text: str) -> None:
    assert described(value) == text
