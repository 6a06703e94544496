"""What holds for every message of a session by itself, whatever was said before it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wiresignals import DRIVE_GAIN, DRIVE_OFFSET, RATE, SIGNALS, TELEMETRY_HZ, same, telemetry
from wireverdicts import Sent


def check_schema(message: dict[str, Any]) -> None:
    """Check that a schema tells of every signal what it is."""
    found = {}
    for module, content in message["modules"].items():
        for entry in content["signals"]:
            found[f"{module}.{entry['name']}"] = entry
    assert list(found) == list(SIGNALS)
    for name, entry in found.items():
        spec = SIGNALS[name]
        writable = spec.kind != "output"
        assert (entry["type"], entry["kind"], entry["writable"]) == (spec.type, spec.kind, writable)
        assert entry.get("limits") == (list(spec.limits) if spec.limits else None)
        assert entry.get("allow_nonfinite", False) == spec.nonfinite
        assert not writable or same(entry["initial"], spec.initial)
    wires = {wire["dst"]: wire["src"] for wire in message["wiring"]}
    assert wires == {name: one.source for name, one in SIGNALS.items() if one.source}
    rates = (message["rate_hz"], message["telemetry_hz"])
    assert (message["protocol"], message["session"], rates) == (1, "wire", (RATE, TELEMETRY_HZ))


def check_reply(sent: Sent) -> None:
    """Check what a reply must be by its message alone."""
    reply, asked = sent.reply, sent.verdict
    assert reply is not None
    if reply["type"] == "ack":
        assert asked.is_command, f"{sent} is wrong by itself: {asked.codes}"
        assert reply["action"] == asked.action
        assert same(type(reply["frame"]), int), reply
        assert reply["frame"] >= 0
        assert isinstance(reply["time"], float)
        return
    assert isinstance(reply["message"], str), reply
    assert reply["message"]
    assert reply["code"] in (asked.codes or ("invalid_state", "too_many")), f"{sent}, not {sorted(asked.codes)}"
    assert reply.get("action") == asked.action
    if reply["code"] == "unknown_signal":
        assert set(reply["signals"]) <= set(asked.unknown), reply
        assert asked.action == "set" or reply["signals"] == asked.unknown, reply
        assert set(reply["near"]) <= SIGNALS.keys()
    if reply["code"] == "wired":
        assert SIGNALS[reply["signal"]].source == reply["source"]


def check_status(ack: dict[str, Any]) -> None:
    """Check that a status has everything, and of the right type."""
    assert ack["state"] in ("paused", "running", "finished")
    for key in ("overruns", "late_wakeups", "loop_stalls", "clients", "sent", "skipped"):
        assert same(type(ack[key]), int), ack
    assert isinstance(ack["real_time_factor"], float), ack


def check_values(frame: int, values: Mapping[str, Any]) -> None:
    """Check what holds between the values of any one frame: it is whole, and its wires carry."""
    for name, value in values.items():
        if name.endswith(".count"):
            assert value == frame, f"{name} is {value} in frame {frame}"
        source = SIGNALS[name].source
        if (
            source is not None
            and source in values
            and not isinstance(value, str)
            and not isinstance(values[source], str)
        ):
            scaled = values[source] * DRIVE_GAIN + DRIVE_OFFSET if name == "plant.drive" else values[source]
            assert telemetry(scaled) == telemetry(value), f"{name} is {value}, its source {values[source]}"
    assert values.get("probe-1.odd", frame % 2) == frame % 2
