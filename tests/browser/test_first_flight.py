"""The first notebook in a browser: its buttons, its cells and an outside client command one and the same session."""

from __future__ import annotations

import time
from statistics import median

import pytest
from bounds import promised
from lab import Lab, Notebook
from outside import Outside, outside

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(900)]

MEANT = ["UnknownSignal", "WiredSignal", "BadValue"]
"""The errors that the notebook shows."""

NOTE_CHANGE = """
button => {
  window.changedAt = null;
  const before = button.disabled;
  const note = () => {
    if (button.disabled === before) return;
    window.changedAt = Date.now() / 1000;
    watcher.disconnect();
  };
  const watcher = new MutationObserver(note);
  watcher.observe(button, {attributes: true});
}
"""


async def run_up_to_the_close(notebook: Notebook) -> None:
    """Run the notebook as a reader does who waits for each cell."""
    ids = await notebook.ids()
    for cell_id in ids[: ids.index("cell-22")]:
        await notebook.run(cell_id)


async def followed(notebook: Notebook, viewer: Outside, action: str) -> float:
    """Let the outside client command; return the seconds until the panel lets step, which only a pause allows, or not.

    The other buttons work in either state: to pause what is paused is no mistake.
    """
    lever = notebook.cell("cell-controls").locator("button", has_text="Step")
    await lever.evaluate(NOTE_CHANGE)
    begin = time.time()
    await viewer.command(action)
    await notebook.page.wait_for_function("() => window.changedAt")
    assert await lever.is_enabled() == (action == "pause")
    at: float = await notebook.page.evaluate("() => window.changedAt")
    return at - begin


async def test_buttons_cells_and_clients_command_one_session(lab: Lab) -> None:
    notebook = await lab.open("01_first_flight.ipynb")
    await run_up_to_the_close(notebook)
    # How regular telemetry was is judged where no browser shares the processors.
    failures = [failure.partition(":")[0] for failure in await notebook.failures()]
    assert [name for name in failures if name != "AssertionError"] == MEANT
    await notebook.show("cell-controls-text")
    panel = notebook.cell("cell-controls")
    async with outside(await notebook.execute("print(session.url)")) as viewer:
        assert viewer.state == "paused"
        await panel.locator("button", has_text="Run").click()
        await viewer.reaches("running")
        await panel.locator(".hermes-badge", has_text="running").wait_for()
        await lab.screenshot("first-flight-running")
        await panel.locator("button", has_text="Pause").click()
        await viewer.reaches("paused")
        await panel.locator(".hermes-badge", has_text="paused").wait_for()
        assert await notebook.execute("print(session.state)") == "paused"
        said = "print([(entry['verb'], entry['origin'].split()[0]) for entry in session.journal[-2:]])"
        assert await notebook.execute(said) == "[('resume', 'widget'), ('pause', 'widget')]"

        delays = [await followed(notebook, viewer, action) for action in ("resume", "pause") * 3]
        assert median(delays) <= promised(0.1, slack=50), delays
    await notebook.show("cell-plot")
    await lab.screenshot("first-flight-plot")
