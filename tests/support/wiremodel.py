"""What a session must do, as plain Python: a reference model of the wire, written from its specification.

Nothing in here knows a socket, a process or a clock, and nothing is taken from the server's own rules. `Model` holds
what a session must be: it foretells a single command, and it *replays* the commands that a session says took effect
(its journal), in that order, which must yield every event and every value that anybody saw. `wirereplies` then finds
for each reply its place in that order, or fails.

A client's replies and events come in one stream, so the number of events before a reply (its `seen`) says in which
state it was made; that is what makes bursts of several clients tractable.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from wiresignals import DRIVE_GAIN, DRIVE_OFFSET, END_FRAME, SETTABLE, SIGNALS, Value
from wireverdicts import VIEWING, Reply, Verdict


class Simulation:
    """The newest frame: what every signal holds, as the modules and wires make it."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self.frame = 0
        self.values: dict[str, Value] = {name: one.initial for name, one in SETTABLE.items()}
        self._made: dict[str, Value] = {
            name: float(one.initial) if one.type in ("f64", "f32") else one.initial
            for name, one in SIGNALS.items()
            if one.kind == "output"
        }
        self._route()

    def advance(self, frame: int) -> None:
        """Compute frames up to one; after three of equal inputs nothing but the counts changes."""
        for _ in range(min(frame - self.frame, 3)):
            self._made["plant.twice"] = 2 * self._driven["plant.drive"]
            self._made |= {
                name.replace(".", ".seen/", 1): value for name, value in self.values.items() if "knobs" in name
            }
            self._route()
        self.frame = frame
        self._made |= {name: frame for name in self._made if name.endswith(".count")}
        self._made["probe-1.odd"] = frame % 2 == 1

    def _route(self) -> None:
        self._driven = {name: self._made[one.source] for name, one in SIGNALS.items() if one.source is not None}
        self._driven["plant.drive"] = self._made["knobs.seen/level"] * DRIVE_GAIN + DRIVE_OFFSET

    @property
    def all(self) -> dict[str, Value]:
        """Every signal's value, in order."""
        found = {**self.values, **self._made, **self._driven}
        return {name: found[name] for name in SIGNALS}


@dataclass
class Effect:
    """A command that took effect: `frame` and `seen` (state events so far) are those of its ack; `place` its entry.

    A pause `cuts` the step or run that it ends, whose answer must come before its own.
    """

    entry: dict[str, Any]
    place: int
    frame: int
    seen: int
    completed: int = 0
    cuts: Effect | None = None
    is_answered: bool = False


class Foretold(NamedTuple):
    """What a command must do in a state."""

    code: str | None = None
    journaled: bool = False
    events: tuple[str, ...] = ()


class Job:
    """A step or run at work."""

    def __init__(self, effect: Effect, begin: int) -> None:
        self.effect = effect
        self.is_step = effect.entry["verb"] == "step"
        self.count = int(effect.entry["count"])
        self.begin = begin
        self.before = 0

    def completed(self, frame: int) -> int:
        """Return the frames done at a frame."""
        return self.before + frame - self.begin

    @property
    def last(self) -> int:
        """The frame at which it is done."""
        return self.begin + self.count - self.before


class Model:
    """A session as it must be."""

    def __init__(self) -> None:
        self.state = "paused"
        self.simulation = Simulation()
        self.segments: list[str] = []
        self.history: list[dict[str, Value]] = []
        self.effects: list[Effect] = []
        self._events: deque[Reply] = deque()
        self._job: Job | None = None

    def foretell(self, command: Verdict, state: str) -> list[Foretold]:
        """Return what may come of one command alone in `state`; several where the clock decides."""
        action, count = command.action or "", command.params.get("count", 0)
        if action in VIEWING:
            return [Foretold()]
        if state == "finished" and action not in ("reset", "set"):
            return [Foretold("invalid_state")]
        if action == "step" and state == "running":
            return [Foretold("invalid_state")]
        over = "finished" if self.simulation.frame + count >= END_FRAME else "paused"
        told: dict[str, tuple[str, ...]] = {
            "set": (),
            "reset": ("reset",),
            "pause": ("paused",),
            "resume": ("running",),
            "step": () if over == "paused" else (over,),
            "run": ("running", over),
        }
        if (action, state) in (("pause", "paused"), ("resume", "running")):
            return [Foretold()]
        if (action, state) == ("run", "running"):
            return [Foretold(None, True, (end,)) for end in ("paused", "finished")]
        return [Foretold(None, True, told[action])]

    # -- replay

    def replay(self, journal: Sequence[dict[str, Any]], events: Iterable[Reply]) -> None:
        """Apply what a session says took effect, and check that exactly these events follow from it."""
        self._events = deque(events)
        self._seen = 0
        self.segments = [self.state]
        self.history = [dict(self.simulation.values)]
        self.effects = []
        for entry in journal:
            self._conclude_before(entry)
            self._take(entry)
            self.history.append(dict(self.simulation.values))
        while self._events:
            self._conclude()
        if self._job is not None and self._job.is_step:
            self._end_step()
        assert self._job is None, f"{self._job.effect.entry} was not concluded by an event"

    def _conclude_before(self, entry: dict[str, Any]) -> None:
        """Let end by itself what must have ended before a command could take effect."""
        verb, frame = entry["verb"], entry["frame"]
        if verb == "reset":
            while self._events and self._events[0]["event"] != "reset":
                self._conclude()
        job = self._job
        meanwhile = verb == "pause" or (verb == "set" and job is not None and frame < job.last)
        if job is not None and job.is_step and job.last < END_FRAME and not meanwhile:
            self._end_step()
        while self.state == "running" and (verb in ("resume", "step") or (verb == "run" and self._job is not None)):
            self._conclude()

    def _conclude(self) -> None:
        """Take an event that no command causes: a run that is done, or the end of the simulation."""
        event = self._events[0]
        assert self.state == "running", f"nothing caused {event}"
        self._advance(event["frame"])
        if event["event"] == "finished":
            assert event["frame"] == END_FRAME, f"finished too early: {event}"
            self._tell("finished", "finished")
        else:
            job = self._job
            assert job is not None, f"nothing caused {event}"
            assert not job.is_step, f"a step tells no {event}"
            assert event["frame"] == job.last, f"a run of {job.count} ended at another frame: {event}"
            self._tell("paused", "paused")
        self._end_job()

    def _end_step(self) -> None:
        assert self._job is not None
        assert self._job.last < END_FRAME, f"{self._job.effect.entry} reached the end, and no event said so"
        self._advance(self._job.last)
        self.state = "paused"
        self._end_job()

    def _take(self, entry: dict[str, Any]) -> None:
        verb = entry["verb"]
        self._advance(entry["frame"])
        effect = Effect(entry, len(self.effects), self.simulation.frame, self._seen)
        self.effects.append(effect)
        needed = {"pause": ("running",), "resume": ("paused",), "step": ("paused",), "run": ("paused", "running")}
        assert self.state in needed.get(verb, (self.state,)), f"{entry} took effect while {self.state}"
        match verb:
            case "set":
                assert entry["values"].keys() <= SETTABLE.keys(), f"{entry} sets what nobody may"
                self.simulation.values |= entry["values"]
            case "reset":
                self._reset()
            case "resume":
                self._tell("running", "running")
            case "pause":
                self._pause()
            case _:
                self._job = Job(effect, self.simulation.frame)
                if verb == "run" and self.state == "paused":
                    self._tell("running", "running")
                self.state = "running"
        effect.seen = max(effect.seen, self._seen)
        effect.frame = self.simulation.frame

    def _pause(self) -> None:
        if self._job is None or not self._job.is_step:
            self._tell("paused", "paused")
        self.state = "paused"
        self.effects[-1].cuts = self._job.effect if self._job is not None else None
        self._end_job()

    def _reset(self) -> None:
        if self._job is not None:
            self._job.before, self._job.begin = self._job.completed(self.simulation.frame), 0
        self.simulation.reset()
        self._tell("reset", "running" if self.state == "running" else "paused")

    def _end_job(self) -> None:
        if self._job is not None:
            effect, completed = self._job.effect, self._job.completed(self.simulation.frame)
            assert completed <= self._job.count, f"{effect.entry} did {completed} frames"
            assert self.state != "paused" or completed == self._job.count or self._cut, (
                f"{effect.entry} did {completed}"
            )
            effect.completed, effect.frame, effect.seen = completed, self.simulation.frame, self._seen
            self._job = None

    @property
    def _cut(self) -> bool:
        return bool(self.effects) and self.effects[-1].entry["verb"] == "pause"

    def _advance(self, frame: int) -> None:
        still = self.state != "running"
        assert frame >= self.simulation.frame, f"frame {frame} after {self.simulation.frame} within an epoch"
        assert frame == self.simulation.frame or not still, (
            f"frame {frame} while {self.state} at {self.simulation.frame}"
        )
        assert frame <= END_FRAME, f"frame {frame} is beyond the end"
        self.simulation.advance(frame)

    def _tell(self, name: str, state: str) -> None:
        assert self._events, f"no event {name} at frame {self.simulation.frame}"
        event = self._events.popleft()
        expected = {"event": name, "state": state, "frame": self.simulation.frame}
        found = {key: event.get(key) for key in expected}
        assert found == expected, f"expected {expected}, found {event}"
        self.state = state
        self.segments.append(state)
        self._seen += 1
