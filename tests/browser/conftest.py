"""A browser and a JupyterLab server for all tests here, and a page of its own for each."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from lab import Lab
from labserver import LONG_PATIENCE, LabServer
from playwright.async_api import Browser, BrowserContext, async_playwright

CHROMIUM = Path("/usr/bin/chromium")
QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
"""What lets Chromium run without a screen, as root, and without asking anybody on the network."""


@pytest.fixture(scope="session")
def chromium() -> Path:
    """Return Debian's Chromium. Without it the tests skip, unless HERMES_BROWSER=required."""
    if not CHROMIUM.exists():
        reason = f"there is no {CHROMIUM}: install Debian's package chromium"
        if os.environ.get("HERMES_BROWSER") == "required":
            pytest.fail(reason)
        pytest.skip(reason)
    return CHROMIUM


@pytest.fixture(scope="session")
def lab_server(
    chromium: Path, tmp_path_factory: pytest.TempPathFactory, hermes_pids: Callable[[], set[int]]
) -> Iterator[LabServer]:
    """Give all tests one JupyterLab server on a copy of the notebooks."""
    before = hermes_pids()
    server = LabServer(tmp_path_factory.mktemp("lab"))
    try:
        server.start()
        yield server
    finally:
        server.stop()
    assert hermes_pids() <= before, "left behind by JupyterLab"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(chromium: Path) -> AsyncIterator[Browser]:
    """Give all tests one browser, whose processes come and go as it likes and so do not carry the run's mark."""
    environment = {name: value for name, value in os.environ.items() if name != "HERMES_TEST_RUN"}
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(
            executable_path=chromium, args=QUIET, env=dict(environment), timeout=LONG_PATIENCE * 1000
        )
        yield running
        await running.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    """Give all tests one cache: to load JupyterLab is most of the work."""
    opened = await browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    yield opened
    await opened.close()


@pytest_asyncio.fixture(loop_scope="session")
async def lab(context: BrowserContext, lab_server: LabServer) -> AsyncIterator[Lab]:
    """Give a test a page of its own; the kernels it has started end with it."""
    page = await context.new_page()
    try:
        yield Lab(page, lab_server)
    finally:
        await page.close()
        await asyncio.to_thread(lab_server.end_kernels)
