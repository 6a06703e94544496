"""JupyterLab 4 as a reader of notebooks sees it: open, run, look, click.

Two ways lead into the page. What a reader does and sees goes through the DOM: buttons, outputs, screenshots. What the
test merely needs to know (is this cell finished, what did it print) is asked of the application's own model, which
`--LabApp.expose_app_in_browser` puts into the page: JupyterLab's class names change from version to version. Cells go
by the id they have in the file; `open` writes it onto each cell's element as `data-cell-id`.

Every wait is for a condition and gives up after `LONG_PATIENCE`. Nobody here sleeps.
"""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from labserver import LONG_PATIENCE, LabServer
from playwright.async_api import Locator, Page

ARTIFACTS = Path(__file__).parents[1] / "artifacts"
PANEL = "window.jupyterapp.shell.currentWidget"
KERNEL = f"{PANEL}.sessionContext.session?.kernel"
MODEL = """
window.hermesTest = {
  widget: id => window.jupyterapp.shell.currentWidget.content.widgets.find(cell => cell.model.id === id),
  finished: id => {
    const model = window.hermesTest.widget(id).model;
    return model.type !== 'code' || (model.executionState === 'idle' && model.executionCount !== null);
  },
};
"""


class Lab:
    """One page of a browser, on a server of notebooks.

    `asked` is whom it has asked for anything so far, "" for itself.
    """

    def __init__(self, page: Page, server: LabServer) -> None:
        self.page = page
        self.server = server
        self.asked: set[str] = set()
        page.set_default_timeout(LONG_PATIENCE * 1000)
        page.on("request", lambda request: self.asked.add(urlsplit(request.url).hostname or ""))

    async def open(self, notebook: str) -> Notebook:
        """Open a notebook of the server's folder, with a kernel that is ready."""
        await self.page.goto(f"{self.server.url}lab/tree/{notebook}?token={self.server.token}&reset")
        return await self.opened()

    async def open_first(self) -> Notebook:
        """Open the address that the server's command prints, as a newcomer does."""
        await self.page.goto(f"{self.server.url}?token={self.server.token}")
        return await self.opened()

    async def reload(self) -> Notebook:
        """Load the page anew, as after F5; the kernel lives on."""
        await self.page.reload()
        return await self.opened()

    async def opened(self) -> Notebook:
        """Wait until the notebook in front is there, with a kernel that has nothing to do yet or is running cells."""
        await self.page.wait_for_function(f"() => window.jupyterapp && {PANEL} && {PANEL}.sessionContext")
        ready = self.page.evaluate(f"() => Promise.all([{PANEL}.revealed, {PANEL}.sessionContext.ready])")
        await asyncio.wait_for(ready, LONG_PATIENCE)
        await self.page.wait_for_function(
            f"() => {PANEL}.sessionContext.session?.kernel?.connectionStatus === 'connected'"
        )
        await self.page.evaluate(MODEL)
        await self.page.evaluate(
            f"() => {{ for (const cell of {PANEL}.content.widgets) cell.node.dataset.cellId = cell.model.id; }}"
        )
        return Notebook(self)

    async def theme(self, scheme: str) -> None:
        """Let the reader's system be "light" or "dark", and wait until JupyterLab follows."""
        await self.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        light = "false" if scheme == "dark" else "true"
        await self.page.locator(f'body[data-jp-theme-light="{light}"]').wait_for(state="attached")
        await self.page.locator("#jupyterlab-splash").wait_for(state="detached")

    async def screenshot(self, name: str) -> Path:
        """Write what the page shows now to tests/artifacts."""
        ARTIFACTS.mkdir(exist_ok=True)
        path = ARTIFACTS / f"{name}.png"
        await self.page.screenshot(path=path)
        return path


class Notebook:
    """The notebook in front."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.page = lab.page
        self._names = (f"test-{number}" for number in itertools.count())

    async def ids(self) -> list[str]:
        """Return the ids of all cells, in order."""
        found: list[str] = await self.page.evaluate(f"() => {PANEL}.content.widgets.map(cell => cell.model.id)")
        return found

    def cell(self, cell_id: str) -> Locator:
        """Return the element of a cell."""
        return self.page.locator(f'[data-cell-id="{cell_id}"]')

    async def start(self, *cell_ids: str) -> None:
        """Send cells to the kernel one after the other, as a reader who presses Shift-Enter without waiting."""
        for cell_id in cell_ids:
            await self.page.evaluate(
                f"""id => {{
                  const notebook = {PANEL}.content;
                  notebook.activeCellIndex = notebook.widgets.findIndex(cell => cell.model.id === id);
                  notebook.deselectAll();
                  const model = notebook.activeCell.model;
                  if (model.type === 'code') model.executionCount = null;
                  void window.jupyterapp.commands.execute('notebook:run-cell');
                }}""",
                cell_id,
            )

    async def finished(self, *cell_ids: str) -> None:
        """Wait until the kernel is done with cells."""
        for cell_id in cell_ids:
            await self.page.wait_for_function("id => window.hermesTest.finished(id)", arg=cell_id)

    async def run(self, *cell_ids: str) -> None:
        """Run cells and wait for them."""
        await self.start(*cell_ids)
        await self.finished(*cell_ids)

    async def run_before(self, cell_id: str) -> None:
        """Run all cells that stand before one, and wait for them."""
        ids = await self.ids()
        await self.run(*ids[: ids.index(cell_id)])

    async def outputs(self, cell_id: str) -> list[dict[str, Any]]:
        """Return the outputs of a cell, as they would be saved."""
        found: list[dict[str, Any]] = await self.page.evaluate(
            "id => window.hermesTest.widget(id).model.outputs.toJSON()", cell_id
        )
        return found

    async def text(self, cell_id: str) -> str:
        """Return what a cell has printed and what it is worth, as text."""
        return "".join(text_of(output) for output in await self.outputs(cell_id)).strip()

    async def add(self, source: str) -> str:
        """Put a cell of code at the end; return its id."""
        name = next(self._names)
        await self.page.evaluate(
            f"""([id, source]) => {{
              const panel = {PANEL};
              panel.content.model.sharedModel.addCell({{cell_type: 'code', id, source, metadata: {{trusted: true}}}});
              window.hermesTest.widget(id).node.dataset.cellId = id;
            }}""",
            [name, source],
        )
        return name

    async def execute(self, source: str) -> str:
        """Run code in a new cell at the end; return its text."""
        cell_id = await self.add(source)
        await self.run(cell_id)
        return await self.text(cell_id)

    async def failures(self) -> list[str]:
        """Return the error of every cell that ended with one."""
        found = [output for cell_id in await self._code() for output in await self.outputs(cell_id)]
        return [f"{output['ename']}: {output['evalue']}" for output in found if output["output_type"] == "error"]

    async def _code(self) -> list[str]:
        found: list[str] = await self.page.evaluate(
            f"() => {PANEL}.content.widgets.filter(cell => cell.model.type === 'code').map(cell => cell.model.id)"
        )
        return found

    async def restart(self) -> None:
        """Restart the kernel, as from the menu once the question was answered."""
        restarted = self.page.evaluate(f"() => {PANEL}.sessionContext.restartKernel()")
        await asyncio.wait_for(restarted, LONG_PATIENCE)
        await self.page.wait_for_function(f"() => {KERNEL}?.status === 'idle'")

    async def save(self) -> None:
        """Write the notebook to the server's folder."""
        await self.page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
        await self.page.wait_for_function(f"() => !{PANEL}.content.model.dirty")

    async def show(self, cell_id: str) -> None:
        """Scroll a cell to the top of what is seen."""
        await self.cell(cell_id).evaluate("element => element.scrollIntoView({block: 'start'})")


def text_of(output: dict[str, Any]) -> str:
    """Return one output of a cell as text: a stream, a value, or an error."""
    if output["output_type"] == "error":
        return f"{output['ename']}: {output['evalue']}"
    found = output.get("text", output.get("data", {}).get("text/plain", ""))
    return found if isinstance(found, str) else "".join(found)
