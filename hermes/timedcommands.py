"""The configuration's ``commands:``: what to do at which frame, as models, and what is wrong between their keys.

An entry names its moment (`frame` or `time`) and its act (`set` or `pause`), exactly one of each. Whether the names
and values fit the modules' signals shows at start, see `hermes.engine.timed`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import islice
from typing import Annotated, Any, ClassVar, Protocol

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from hermes.commands import COUNT_LIMIT
from hermes.configfields import MAX_END_TIME, WireEnd, exact
from hermes.configproblems import Finding, described, key_path, takes
from hermes.yamlfile import MAX_PROBLEMS

_MOMENTS = ("frame", "time")
_ACTS = ("set", "pause")
_NO_FRAME = "while paused no frame comes at which it could act"


def _given(value: Any) -> Any:
    """Return what stands in the file; nothing (null) is not the same as leaving the key out."""
    if value is None:
        raise ValueError(value)
    return value


def _true(value: bool | None) -> bool:
    if value is not True:
        raise ValueError(value)
    return value


class TimedCommand(BaseModel):
    """One timed command: at a frame, or at the first frame that is not before a time, set signals or pause."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    refused: ClassVar[dict[str, str]] = {
        "reset": "set or pause; a reset would begin the list anew, and the run would never end",
        "step": f"set or pause; {_NO_FRAME}",
        "resume": f"set or pause; {_NO_FRAME}",
        "run": f"set or pause; {_NO_FRAME}",
    }
    """Verbs that are no keys here, and what is accepted in their place and why."""

    frame: Annotated[
        int | None,
        Field(ge=0, le=COUNT_LIMIT),
        AfterValidator(_given),
        takes(f"a whole number from 0 to {COUNT_LIMIT} (frames since the start or reset)"),
    ] = Field(default=None, description="the frame after which it acts; 0 acts right after the start and each reset")
    time: Annotated[
        float | None,
        Field(ge=0, le=MAX_END_TIME),
        AfterValidator(_given),
        takes("a number from 0 to 1e9 (simulated seconds)"),
    ] = Field(default=None, description="simulated seconds; it acts after the first frame that is not earlier")
    set: Annotated[
        dict[
            WireEnd,
            Annotated[Annotated[float, Field(allow_inf_nan=True)] | int | bool, takes("a number, true or false")],
        ],
        Field(min_length=1),
    ] = Field(default={}, description="signals and the values they get, in this order")
    pause: Annotated[bool | None, AfterValidator(_true), takes("true")] = Field(
        default=None, description="true pauses there; a step or run in progress ends early"
    )

    def at(self, rate: Fraction) -> int:
        """Return the frame at which it acts, computed exactly; `rate` is in frames per second."""
        if self.frame is not None:
            return self.frame
        assert self.time is not None
        return math.ceil(exact(self.time) * rate)


class Pace(Protocol):
    """What a configuration's valid `execution` says of frames."""

    @property
    def rate(self) -> Fraction:
        """Frames per simulated second."""

    @property
    def end_frame(self) -> int | None:
        """The last frame, None without an end."""


def command_findings(value: object, execution: Callable[..., Pace]) -> list[Finding]:
    """Return what is wrong in the commands of a configuration that may be wrong otherwise, beyond single keys.

    `execution` makes the model of that name from its keys, or raises ValidationError.
    """
    root = dict(value) if isinstance(value, BaseModel) else value if isinstance(value, dict) else {}
    commands = root.get("commands")
    if not isinstance(commands, list):
        return []
    found = list(islice(_entry_findings(commands), MAX_PROBLEMS))
    with suppress(ValidationError, TypeError):
        given = root.get("execution", {})
        pace = execution(**(dict(given) if isinstance(given, BaseModel) else given))
        found += islice(_late_findings(commands, pace.rate, pace.end_frame), MAX_PROBLEMS)
    return found


def _entry_findings(commands: list[Any]) -> Iterator[Finding]:
    """Find entries whose keys do not go together."""
    for index, entry in enumerate(commands):
        keys = _keys(entry)
        path = ("commands", index)
        if keys is not None:
            yield from _not_one(path, keys, _MOMENTS, "when it acts")
            if not keys & TimedCommand.refused.keys():
                yield from _not_one(path, keys, _ACTS, "what it does")


def _keys(entry: object) -> set[str] | None:
    if isinstance(entry, TimedCommand):
        return entry.model_fields_set
    return set(entry) if isinstance(entry, dict) else None


def _not_one(path: tuple[str | int, ...], keys: set[str], choice: tuple[str, ...], what: str) -> Iterator[Finding]:
    found = [key for key in choice if key in keys]
    if len(found) != 1:
        which = f"both {choice[0]} and {choice[1]}" if found else f"neither {choice[0]} nor {choice[1]}"
        yield Finding(path, f"{key_path(path)} has {which}; it takes exactly one of them, to say {what}")


def _late_findings(commands: list[Any], rate: Fraction, end_frame: int | None) -> Iterator[Finding]:
    """Find entries that would never take effect, because the run ends before them (or, for a pause, there)."""
    for index, given in enumerate(commands if end_frame is not None else []):
        entry = _valid(given)
        if entry is None or (entry.frame is None) is (entry.time is None):
            continue
        frame, moment = entry.at(rate), "time" if entry.frame is None else "frame"
        assert end_frame is not None
        last = end_frame - 1 if entry.pause else end_frame
        if frame > last:
            path = ("commands", index, moment)
            which = "" if moment == "frame" else f" (frame {frame})"
            message = f"{key_path(path)} is {described(getattr(entry, moment))}{which} and would never take effect"
            yield Finding(
                path,
                f"{message}; execution.end_time ends the run at frame {end_frame}, so it takes frame {last} at most",
            )


def _valid(given: object) -> TimedCommand | None:
    try:
        return TimedCommand.model_validate(given)
    except ValidationError:
        return None
