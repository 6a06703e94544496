"""What a verification found: a report per run, and all of it in words."""

from __future__ import annotations

from typing import NamedTuple

from hermes.errors import HermesError
from hermes.verification.difference import Difference


class RunReport(NamedTuple):
    """One run: its way, the last frame that was judged, its fingerprint there, the seconds it took, and what was wrong.

    `difference` is to the first run. `error` is why the run failed or could not be judged.
    """

    way: str
    frame: int = 0
    seconds: float = 0.0
    fingerprint: str = ""
    difference: Difference | None = None
    error: HermesError | None = None

    @property
    def equal(self) -> bool:
        """Whether it went to its end and is the same as the first run, in every bit of every frame."""
        return self.difference is None and self.error is None

    @property
    def line(self) -> str:
        """The run in a line."""
        return f"{self.way:<22}{self._outcome}"

    @property
    def details(self) -> str:
        """What was wrong, in full; "" where nothing was. `line` says which way it was."""
        found = self.error if self.difference is None else self.difference
        return "" if found is None else f"{self.way}: {found}"

    @property
    def _outcome(self) -> str:
        if self.difference is not None:
            return "other signals" if self.difference.layout else f"different from frame {self.difference.frame} on"
        if self.error is not None:
            return "failed"
        rate = self.frame / self.seconds if self.seconds else 0.0
        return f"{self.frame:>9} frames{rate:>12,.0f} frames/s   fingerprint {self.fingerprint}"


class Verification(NamedTuple):
    """All runs, the first being the one with which the others were compared."""

    runs: tuple[RunReport, ...]

    @property
    def equal(self) -> bool:
        """Whether every frame of every run was the same, bit for bit."""
        return all(run.equal for run in self.runs)

    @property
    def verdict(self) -> str:
        """The result in a line."""
        first, count = self.runs[0], len(self.runs)
        if self.equal:
            return f"equal: {count} runs of {first.frame} frames, bit for bit"
        if not first.equal:
            return f"nothing to compare: the first run, {first.way}, failed"
        differing = sum(run.difference is not None for run in self.runs)
        failed = count - differing - sum(run.equal for run in self.runs)
        counts = [f"{differing} differ{'s' * (differing == 1)} from the first"] if differing else []
        counts += [f"{failed} failed"] if failed else []
        return f"not equal: of {count} runs {' and '.join(counts)}"

    def __str__(self) -> str:
        details = [f"\n{run.details}" for run in self.runs if run.details]
        return "\n".join([*(run.line for run in self.runs), *details, *[""] * bool(details), self.verdict])
