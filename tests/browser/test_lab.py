"""What a reader meets when JupyterLab opens with the settings of `make lab`."""

from __future__ import annotations

import pytest
from lab import Lab

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(900)]


async def test_the_first_notebook_opens_without_a_question(lab: Lab) -> None:
    notebook = await lab.open_first()
    await lab.page.get_by_role("heading", name="First flight").wait_for()
    await lab.screenshot("lab-first")
    assert await notebook.execute("6 * 7") == "42"
    assert await lab.page.locator(".jp-Dialog, .Toastify__toast").count() == 0
    mode = await lab.page.evaluate("() => jupyterapp.shell.currentWidget.content.notebookConfig.windowingMode")
    assert mode == "defer", "the repository's settings are not in force"
    assert lab.asked - {""} == {"127.0.0.1"}, "the network was asked for something"
