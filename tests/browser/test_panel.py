"""Controls and table in a browser: found, set, refused, told in the console, at home in either theme."""

from __future__ import annotations

import re

import pytest
from lab import Lab, Notebook

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(900)]

FLIGHT = """
import hermes
session = hermes.Session.from_yaml(hermes.examples.path("c172x"), port=0)
session.start()
"""

FEWER = re.compile(r"^(?!21 )\d+ signals match$")
"""What the panel says when a search has left some of the 21 signals."""


async def shown_names(notebook: Notebook) -> list[str]:
    """Return the signals for which the panel has a field now."""
    return await notebook.cell("code-1").locator(".hermes-fields .hermes-name").all_inner_texts()


async def search(notebook: Notebook, text: str, matches: str | re.Pattern[str]) -> None:
    """Search the panel, and wait until it says how many signals match."""
    panel = notebook.cell("code-1")
    await panel.locator(".hermes-search input").fill(text)
    await panel.locator(".hermes-matches", has_text=matches).wait_for()


async def enter(notebook: Notebook, value: str) -> None:
    """Enter a value in the only field that the panel shows."""
    field = notebook.cell("code-1").locator(".hermes-field input")
    await field.fill(value)
    await field.press("Enter")


async def field_shows(notebook: Notebook, value: float) -> None:
    """Wait until the only field shows a number."""
    await notebook.page.wait_for_function(
        "value => Number(document.querySelector('.hermes-field input').value) === value", arg=value
    )


async def test_a_panel_finds_sets_refuses_and_tells(lab: Lab) -> None:
    lab.server.write("panel.ipynb", FLIGHT, "session.controls()", 'session.table("plane.*")')
    notebook = await lab.open("panel.ipynb")
    await notebook.run("code-0", "code-1", "code-2")
    table = notebook.cell("code-2").locator(".hermes-table")
    await table.locator('tr[data-signal="plane.altitude"] .hermes-value', has_text="1500").wait_for()

    panel = notebook.cell("code-1")
    await panel.locator(".hermes-matches", has_text="21 signals").wait_for()
    assert {"flaps", "altitude_gain"} <= set(await shown_names(notebook))
    await search(notebook, "gain", FEWER)
    names = await shown_names(notebook)
    assert "altitude_gain" in names
    assert "flaps" not in names

    await search(notebook, "altitude_target", "1 signal")
    assert await shown_names(notebook) == ["altitude_target"]
    await enter(notebook, "1550")
    console = panel.locator(".hermes-console")
    await console.locator("tr", has_text="set autopilot.altitude_target = 1550.0").wait_for()
    assert await notebook.execute("session['autopilot.altitude_target']") == "1550.0"
    assert await notebook.execute("print(session.journal[-1]['origin'].split()[0])") == "widget"

    await enter(notebook, "99999")
    await console.locator("tr.hermes-error", has_text="autopilot.altitude_target").wait_for()
    await field_shows(notebook, 1550.0)
    assert await notebook.execute("session['autopilot.altitude_target']") == "1550.0"
    assert await notebook.execute("len(session.journal)") == "1"

    await search(notebook, "", "21 signals")
    await panel.locator(".hermes-name", has_text="flaps").wait_for()
    await notebook.show("code-1")
    await lab.screenshot("panel-light")
    light = await table.evaluate("element => getComputedStyle(element).color")
    await lab.theme("dark")
    await lab.screenshot("panel-dark")
    assert await table.evaluate("element => getComputedStyle(element).color") != light
    await notebook.show("code-2")
    await lab.screenshot("table-dark")
