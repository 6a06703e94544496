"""A step or run in progress, as a value."""

from __future__ import annotations

from typing import NamedTuple

from hermes.lifecycle import Verb


class Job(NamedTuple):
    """A step or run in progress: frames still to compute, frames computed, and the command to answer."""

    verb: Verb
    id: int
    remaining: int
    completed: int = 0

    def advanced(self, frames: int) -> Job:
        """Return the job some frames on."""
        return self._replace(remaining=self.remaining - frames, completed=self.completed + frames)

    def comes_before(self, verb: Verb) -> bool:
        """Return whether a command that arrives meanwhile waits for the end; a pause or a set never does."""
        if self.verb is Verb.STEP:
            return verb in (Verb.STEP, Verb.RESUME, Verb.RUN, Verb.RESET)
        return verb is Verb.RUN
