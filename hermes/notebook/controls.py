"""The panel of a session: buttons, state, fields for what can be set, and a console.

It lives on the session's loop, which alone shows anything; what the user does arrives on any thread and goes into the
outbox. What changed is shown at most every `GAP_SECONDS`, all of it at once, and only while a front end shows the
panel. It asks the session for nothing but what any client may see, and decides nothing about it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import ipywidgets

from hermes.commands import Action
from hermes.engineclient import Outcome
from hermes.errors import BadParams, HermesError
from hermes.frametime import FrameClock
from hermes.lifecycle import State, Verb
from hermes.notebook import shown
from hermes.notebook.board import Board
from hermes.notebook.console import LINES, Console
from hermes.notebook.guard import Guard, Text
from hermes.notebook.outbox import Outbox
from hermes.notebook.style import STYLE
from hermes.notebook.typingwatch import TypingWatch
from hermes.run import Run
from hermes.wording import shown as quoted

GAP_SECONDS = 0.08
"""Between two updates of the front end, so that a change is seen within 0.1 s."""

RUNNING_SECONDS = 0.1
"""Between two looks at the time while it goes on."""

IDLE_SECONDS = 0.5
"""Between two looks at what no event tells: who is connected, and overruns."""

CONSOLE_SECONDS = 0.25
"""Between two updates of the console, which is the largest of them."""

_LEVERS = (
    (Verb.RESUME, "Run", "play", "Run until paused"),
    (Verb.PAUSE, "Pause", "pause", "Stop at the next frame boundary"),
    (Verb.STEP, "Step", "step-forward", "Compute as many frames as the field says, as fast as possible"),
    (Verb.RESET, "Reset", "refresh", "Put every module back to its initial conditions, time to 0"),
)
"""Verb, text, icon and tooltip of each button."""


class Controls(ipywidgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """Buttons, state, fields and console of one session, as a widget."""

    def __init__(self, run: Run, loop: asyncio.AbstractEventLoop) -> None:
        """Make the panel of a started run that lives on `loop`; may be called on any thread."""
        self._run: Run | None = run
        self._loop = loop
        self._name = run.config.name
        self._single_frame = run.config.execution.mode == "single_frame"
        self._timer: asyncio.TimerHandle | None = None
        self._shown_at = self._console_at = float("-inf")
        self._console_version = 0
        self._guard = Guard()
        self.console = Console(FrameClock(*run.config.execution.rate.as_integer_ratio()))
        self.outbox = Outbox(run, loop, self._settled)
        self.board = Board(run, self._guard, self.outbox, self._wake)
        self.buttons = {verb: self._button(verb, *looks) for verb, *looks in _LEVERS}
        self.count = Text(self._guard, value="1", tooltip="Frames of a step", _dom_classes=("hermes-step-count",))
        self.status = _html("hermes-status")
        self.failure = _html("hermes-failure", "hermes-hidden")
        self.lines = _html("hermes-log")
        super().__init__(_view_count=0, _dom_classes=("hermes-controls",))
        panel = f"hermes-panel-{self.model_id}"
        self.typing = TypingWatch(self._guard, panel)
        self.add_class(panel)
        self._assemble()
        self.observe(lambda _change: self._wake(), "_view_count")
        self._show()
        loop.call_soon_threadsafe(self._begin)

    def _assemble(self) -> None:
        levers = [self.buttons[Verb.RESUME], self.buttons[Verb.PAUSE], self.buttons[Verb.STEP], self.count]
        toolbar = [*levers, self.buttons[Verb.RESET], self.status]
        hidden = ipywidgets.Box([_html(value=STYLE), self.typing], _dom_classes=("hermes-hidden",))
        self.children = [
            hidden,
            ipywidgets.HBox(toolbar, _dom_classes=("hermes-toolbar",)),
            self.failure,
            *self.board.widgets,
            ipywidgets.Box([self.lines], _dom_classes=("hermes-console",)),
        ]

    def _button(self, verb: Verb, text: str, icon: str, tooltip: str) -> ipywidgets.Button:
        button = ipywidgets.Button(description=text, icon=icon, tooltip=tooltip, _dom_classes=(f"hermes-{verb}",))
        button.on_click(partial(self._clicked, verb))
        return button

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """Return the widget, and for wherever there is none a table."""
        bundle = super()._repr_mimebundle_(**kwargs)
        now = self._described()
        bundle["text/plain"] = f"Controls of {self._name}: {now['state']}"
        bundle["text/html"] = shown.static_html(self._name, now, self.board.listed())
        return bundle

    # -- what the user does, on any thread

    def _clicked(self, verb: Verb, _button: object) -> None:
        if verb is not Verb.STEP:
            self.outbox.command(Action(verb))
            return
        try:
            self.outbox.command(Action.STEP, count=int(self.count.value))
        except ValueError:
            found = quoted(self.count.value, 40)
            self.outbox.refuse(
                BadParams(f"step takes a count of frames, a whole number from 1 to 2^53-1; found {found}")
            )

    # -- what the session does, on its loop

    def _begin(self) -> None:
        run = self._run
        assert run is not None
        for entry in run.mirror.newest_entries(LINES):
            self.console.journal(entry)
        run.followers.append(self._follow)
        if run.mirror.state is State.CLOSED:
            self._end()
        else:
            self._look()

    def _follow(self, what: str, fields: Mapping[str, Any]) -> None:
        """Take note of what has happened."""
        if what == "closed":
            self._end()
            return
        if what == "journal":
            self.console.journal(fields)
        elif what != "state":
            self.console.event(what, fields)
        self._arm(0.0)

    def _settled(self, outcome: Outcome, name: str | None) -> None:
        """Hear what became of a command: a field then shows what is committed, whatever was typed."""
        if self._run is None:
            return
        if isinstance(outcome, HermesError):
            self.console.refused(self._run.newest().frame, outcome)
        if name is not None:
            self.board.renew(name)
        self._arm(0.0)

    def _wake(self) -> None:
        """Show soon what has changed; from any thread."""
        with suppress(RuntimeError):  # the loop has ended with its session
            self._loop.call_soon_threadsafe(self._arm, 0.0)

    def _arm(self, seconds: float) -> None:
        if self._run is None:
            return
        due = max(self._loop.time() + seconds, self._shown_at + GAP_SECONDS)
        if self._timer is not None:
            if self._timer.when() <= due:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(due, self._look)

    def _look(self) -> None:
        """Show what has changed, and look again later; rests while no front end shows the panel."""
        self._timer = None
        if self._run is None or not self._view_count:
            return
        self._shown_at = self._loop.time()
        self._show()
        running = self._run.mirror.state is State.RUNNING
        self._arm(RUNNING_SECONDS if running else IDLE_SECONDS)

    def _show(self) -> None:
        run = self._run
        assert run is not None
        with self._guard.following():
            verbs = shown.enabled(run.mirror.state, single_frame=self._single_frame)
            for verb, button in self.buttons.items():
                button.disabled = verb not in verbs
            self.count.disabled = Verb.STEP not in verbs
            self.status.value = shown.status_html({"session": self._name, **run.status()})
            self._show_failure(run.mirror.failure)
            self.board.show(run.newest(), locked=Verb.SET not in verbs, typing=self.typing.index)
            self._show_console()

    def _show_failure(self, failure: HermesError | None) -> None:
        self.failure.value = shown.failure_html(failure)
        self.failure._dom_classes = ("hermes-failure",) if failure else ("hermes-failure", "hermes-hidden")

    def _show_console(self, *, at_once: bool = False) -> None:
        if self.console.version == self._console_version:
            return
        wait = self._console_at + CONSOLE_SECONDS - self._loop.time()
        if wait > 0 and not at_once:
            self._loop.call_later(wait, self._arm, 0.0)
            return
        self._console_at, self._console_version = self._loop.time(), self.console.version
        self.lines.value = self.console.html()

    def _end(self) -> None:
        """Say that the session is closed, disable everything, and let go of it."""
        run, self._run = self._run, None
        if run is None:
            return
        run.followers.remove(self._follow)
        if self._timer is not None:
            self._timer.cancel()
        self.outbox.close()
        last = run.newest()
        with self._guard.following():
            for button in self.buttons.values():
                button.disabled = True
            self.count.disabled = True
            self.status.value = shown.closed_html(self._name, last.time, last.frame)
            self.board.end(last)
            self._show_console(at_once=True)
        self._last = last

    def _described(self) -> dict[str, Any]:
        if self._run is not None:
            return self._run.describe()
        return {"state": State.CLOSED, "time": self._last.time, "frame": self._last.frame}


def _html(*classes: str, value: str = "") -> ipywidgets.HTML:
    return ipywidgets.HTML(value=value, _dom_classes=classes)
