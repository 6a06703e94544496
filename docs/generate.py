"""Rewrites the generated parts of protocol.md from the code: `make docs`.

A part stands between ``<!-- generated: NAME -->`` and ``<!-- end -->``. The tests compare the file with what this
makes, so that a table of states, errors or limits is never older than the code it tells of.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from hermes.commands import COUNT_LIMIT, ENTRY_LIMIT, PATTERN_LIMIT, SECONDS_LIMIT, VIEWING, Action
from hermes.errors import CommandError, ConfigurationError, EngineDied, HermesError, ModuleError, SystemRefused
from hermes.lifecycle import TRANSITIONS, State, legal
from hermes.server import client, flow, protocol, websocket
from hermes.strictjson import CONTAINER_LIMIT, DEPTH_LIMIT

DOCUMENT = Path(__file__).parent / "protocol.md"

MEANINGS = {
    State.PAUSED: "between frames, waiting",
    State.RUNNING: "advancing: freely, or for a `step` or `run`",
    State.FINISHED: "at its end time",
    State.FAILED: "a module or the engine failed; values are those of the last good frame",
}
"""The states that a client can meet: there is no server before `paused` and none in `closed`."""

HOMES = ("hermes.errors", "hermes.errorkind", "hermes.moduleerrors")
"""Where the errors are that Hermes itself raises; a client has one more of its own."""

WIRE_ERRORS = (CommandError, ModuleError, ConfigurationError, EngineDied, SystemRefused, HermesError)
"""Where the errors that reach a client begin; all others have no client yet, or none any more."""

WORDS = {
    ConfigurationError: "after a `reset`, a module that was started anew declares other signals than before",
    HermesError: "anything else: a mistake in Hermes, whose log says more",
}
"""What an error means to a client, where the first words of its class speak of something else."""


def generated(text: str) -> str:
    """Return a document with each of its generated parts as the code has it now."""
    part = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
    return part.sub(lambda found: f"{found[1]}\n{PARTS[found[2]]()}\n{found[3]}", text)


def states() -> str:
    """Return the diagram of the states; what leads from a state to itself is left out."""
    verbs: dict[tuple[State, State], list[str]] = {}
    for (state, verb), following in TRANSITIONS.items():
        if state is not following:
            verbs.setdefault((state, following), []).append(verb)
    edges = [f"{one} --> {other}: {', '.join(verbs[one, other])}" for one, other in verbs]
    lines = ["stateDiagram-v2", f"[*] --> {State.STARTING}", *edges, f"{State.CLOSED} --> [*]"]
    return "```mermaid\n" + "\n    ".join(lines) + "\n```\n"


def commands() -> str:
    """Return the table of the commands that each state accepts."""
    rows = ((f"`{state}`", meaning, _quoted(legal(state))) for state, meaning in MEANINGS.items())
    looking = ("all of them", "", _quoted(action for action in Action if action in VIEWING))
    return _table("state", "meaning", "commands accepted", rows=[*rows, looking])


def errors() -> str:
    """Return the table of the codes that an error message may have."""
    codes: dict[str, list[type[HermesError]]] = {}
    for kind in _kinds(WIRE_ERRORS):
        codes.setdefault(kind.code, []).append(kind)
    codes[HermesError.code] = [HermesError]
    rows = ((f"`{code}`", _when(kinds), _quoted(_fields(kinds))) for code, kinds in codes.items())
    return _table("code", "when", "fields", rows=sorted(rows, key=lambda row: row[0] == f"`{HermesError.code}`"))


def limits() -> str:
    """Return the table of what is accepted, and what follows beyond it."""
    connections = websocket.CLIENT_LIMIT + websocket.HALF_OPEN_LIMIT
    floor, cap = _bytes(flow.CAP_FLOOR), _bytes(client.TEXT_CAP)
    rows = [
        ("clients", f"{websocket.CLIENT_LIMIT}", "status 503"),
        ("time for a handshake", f"{websocket.HANDSHAKE_SECONDS:g} s", "the connection is dropped"),
        ("connections, handshakes included", f"{connections}", "the newest is dropped"),
        ("size of a message from a client", _bytes(protocol.MESSAGE_LIMIT), "close code 1009"),
        ("depth of its JSON", f"{DEPTH_LIMIT} levels", "`bad_json`"),
        ("arrays and objects in it", f"{CONTAINER_LIMIT:,}", "`bad_json`"),
        ("entries in its `signals` or `values`", f"{ENTRY_LIMIT:,}", "`too_many`"),
        ("different patterns among them", f"{PATTERN_LIMIT}", "`too_many`"),
        ("commands of one client that wait for their reply", f"{protocol.PENDING_LIMIT}", "`too_many`"),
        ("frames in one `step`", f"2^{COUNT_LIMIT.bit_length()}-1", "`bad_params`"),
        ("simulated time of one `run`", f"{SECONDS_LIMIT:,.0f} s", "`bad_params`"),
        (
            "commands of one client, see [their cost](#what-a-command-costs)",
            f"{protocol.COMMAND_RATE:g} a second, {protocol.COMMAND_BURST:g} after a rest",
            "its next messages wait to be read",
        ),
        (
            "unread telemetry of one client",
            f"{floor}, two frames, or what it reads in {flow.CAP_SECONDS:g} s: whichever is most",
            "frames to it are skipped",
        ),
        ("unread bytes, when a text message is to follow", cap, "the client is cut off"),
        ("time without reading, while something waits", f"{flow.STALL_SECONDS:g} s", "the client is cut off"),
        (
            "time until a machine that has vanished is given up",
            f"{client.LOST_MILLISECONDS / 1000:g} s",
            "the client is cut off",
        ),
        ("time for the goodbye", f"{websocket.CLOSE_SECONDS:g} s", "the client is cut off"),
    ]
    return _table("what", "at most", "beyond that", rows=rows)


def costs() -> str:
    """Return the table of what a message takes from its client's tokens."""
    rows = [
        ("each message", "1"),
        ("its size", f"1 for every {protocol._BYTES_PER_TOKEN:,} characters"),
        (
            "names in `subscribe`, `unsubscribe`, `get`: those sent and those found",
            f"1 for every {protocol._NAMES_PER_TOKEN}",
        ),
        ("an `unknown_signal`, for which near names are looked up", f"{protocol._LOOKUP_TOKENS}"),
    ]
    return _table("what", "tokens", rows=rows)


PARTS: dict[str, Callable[[], str]] = {one.__name__: one for one in (states, commands, errors, limits, costs)}


def _kinds(roots: Iterable[type[HermesError]]) -> Iterator[type[HermesError]]:
    for kind in roots:
        if kind is not HermesError and kind.__module__ in HOMES:
            yield kind
            yield from _kinds(kind.__subclasses__())


def _when(kinds: list[type[HermesError]]) -> str:
    """Return the first words of the most general class, or what stands in their place."""
    kind = min(kinds, key=lambda kind: len(kind.__mro__))
    sentence = re.split(r"[;:.]", inspect.getdoc(kind) or "")[0]
    return WORDS.get(kind, sentence[:1].lower() + sentence[1:])


def _fields(kinds: Iterable[type[HermesError]]) -> list[str]:
    """Return what errors of these classes add to a message, each once."""
    every = (one for kind in kinds for one in inspect.signature(kind).parameters.values())
    names = dict.fromkeys(one.name for one in every if one.kind is not one.VAR_KEYWORD)
    return [name for name in names if name not in ("action", "message", "traceback")]


def _bytes(size: int) -> str:
    return f"{size >> 20} MiB" if size >= 1 << 20 else f"{size >> 10} KiB"


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _table(*head: str, rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, *rows]
    texts = ["| " + " | ".join(cells) + " |" for cells in lines]
    return "\n".join([texts[0], "|" + "---|" * len(head), *texts[1:]]).replace("|  |", "| |") + "\n"


if __name__ == "__main__":
    DOCUMENT.write_text(generated(DOCUMENT.read_text()))
