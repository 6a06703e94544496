"""A live plot in a browser: how often it draws, how many frames it leaves the page, how far behind it is."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
from bounds import promised
from lab import Lab, Notebook
from outside import Outside, outside

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(900)]

FLIGHT = """
import hermes
session = hermes.Session.from_yaml(hermes.examples.path("c172x"), port=0)
session.start()
session.resume()
print(session.url)
"""
PLOT = 'session.plot("plane.altitude", ("plane.pitch", "autopilot.pitch_target"), "plane.airspeed", window=10)'

SECONDS = 3.0
LEAST_DRAWS = 10

WATCH = """
([seconds, least]) => new Promise(resolve => {
  const plot = document.querySelector('.hermes-plot');
  const draws = [];
  let frames = 0;
  const watcher = new MutationObserver(() => draws.push([Date.now() / 1000, Number(plot.dataset.time)]));
  watcher.observe(plot, {attributes: true, attributeFilter: ['data-drawn']});
  const begin = performance.now();
  const count = () => {
    frames += 1;
    const passed = (performance.now() - begin) / 1000;
    if (passed < seconds || draws.length < least) return requestAnimationFrame(count);
    watcher.disconnect();
    resolve({draws, seconds: passed, frames});
  };
  requestAnimationFrame(count);
})
"""

LABELS = """
() => {
  const canvas = document.querySelector('.hermes-plot canvas');
  const pixels = canvas.getContext('2d').getImageData(0, 0, 50 * devicePixelRatio, canvas.height).data;
  let most = 0;
  for (let at = 3; at < pixels.length; at += 4) most = Math.max(most, pixels[at]);
  return most;
}
"""
"""How opaque, of 255, the most opaque pixel is where the values of the first axes stand."""


async def watched(notebook: Notebook) -> dict[str, Any]:
    """Return the plot's draws, as instant and drawn simulation time, and the page's frames over a few seconds."""
    await notebook.page.locator(".hermes-plot[data-drawn]").wait_for()
    found: dict[str, Any] = await notebook.page.evaluate(WATCH, [SECONDS, LEAST_DRAWS])
    return found


async def lag(viewer: Outside, draws: list[list[float]]) -> float:
    """Return how many simulated seconds the plot was behind at worst in 95 of 100 cases, each just before a draw."""
    await viewer.until(lambda: viewer.instants[-1] > draws[-1][0])
    behind = [viewer.time_at(after) - shown for (_, shown), (after, _) in pairwise(draws)]
    return sorted(behind)[math.ceil(0.95 * len(behind)) - 1]


async def test_a_plot_follows_the_session_also_in_a_slow_browser(lab: Lab) -> None:
    lab.server.write("flight.ipynb", FLIGHT, PLOT)
    notebook = await lab.open("flight.ipynb")
    await notebook.run("code-0", "code-1")
    await notebook.show("code-1")
    async with outside(await notebook.text("code-0")) as viewer:
        seen = await watched(notebook)
        assert len(seen["draws"]) / seen["seconds"] >= promised(20, slack=0.05)
        assert seen["frames"] / seen["seconds"] >= promised(50, slack=0.05)
        assert await lag(viewer, seen["draws"]) <= promised(0.5, slack=20)
        assert await lab.page.evaluate(LABELS) > 100, "the numbers beside the axes can hardly be read"
        await lab.screenshot("plot-light")

        slowed = await lab.page.context.new_cdp_session(lab.page)
        await slowed.send("Emulation.setCPUThrottlingRate", {"rate": 6})
        seen = await watched(notebook)
        assert await lag(viewer, seen["draws"]) <= promised(0.5, slack=20)
        await slowed.send("Emulation.setCPUThrottlingRate", {"rate": 1})
        await lab.theme("dark")
        await lab.screenshot("plot-dark")
