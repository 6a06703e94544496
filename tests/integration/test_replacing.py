"""Modules replaced and restarted in a running session, as its owner, a viewer and the journal see it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

import hermes
from hermes import AsyncSession, ModuleDied, ModuleFailed
from hermes.errors import ConfigurationError, NotExported, NotReplaced, SessionClosed
from hermes.lifecycle import State


class Plant(hermes.Module):
    """A rail."""

    u = hermes.Input(unit="m/s")
    x = hermes.Output(unit="m")

    def step(self, time: float, dt: float) -> None:
        self.x += self.u * dt


class Controller(hermes.Module):
    """Proportional."""

    x = hermes.Input(unit="m")
    target = hermes.Input(unit="m", initial=1.0)
    gain = hermes.Parameter(1.0, unit="1/s", description="how hard")
    u = hermes.Output(unit="m/s")

    def step(self, time: float, dt: float) -> None:
        self.u = self.gain * (self.target - self.x)


class Faster(Controller):
    """Declares the same signals, with another gain."""

    gain = hermes.Parameter(4.0, unit="1/s", description="how hard, once more")


class Other(hermes.Module):
    """Declares other ones."""

    x = hermes.Input(unit="km")
    target = hermes.Input(unit="m", initial=1.0)
    u = hermes.Output(unit="m/s")

    def step(self, time: float, dt: float) -> None:
        """Do nothing."""


class Broken(Controller):
    """Cannot be made."""

    def __init__(self) -> None:
        raise OSError("no disk")


class Crashing(Controller):
    """Raises in its first step."""

    def step(self, time: float, dt: float) -> None:
        raise ValueError("too steep")


class Stuck(Controller):
    """Raises in its reset, when it has taken the other's place already."""

    def reset(self) -> None:
        raise ValueError("stuck")


WIRING = [{"src": "controller.u", "dst": "plant.u"}, {"src": "plant.x", "dst": "controller.x"}]


@pytest.fixture
async def session() -> AsyncIterator[AsyncSession]:
    parts = {"execution": {"rate_hz": 100}, "server": {"port": 0}, "wiring": WIRING}
    async with AsyncSession(modules={"plant": Plant, "controller": Controller}, name="rail", **parts) as started:  # type: ignore[arg-type]
        yield started


async def test_a_module_is_replaced_while_the_run_goes_on(session: AsyncSession, client: Callable[[str], Any]) -> None:
    async with client(session.url) as viewer:
        await session.set({"controller.target": 3.0, "controller.gain": 1.5})
        await session.resume()
        await session.replace("controller", Faster)
        assert session.state is State.RUNNING
        told = await viewer.event("replaced")
        assert (told["module"], told["by"], told["state"]) == ("controller", "Faster", "running")
        await session.pause()
        at = session.frame
        assert 0 < told["frame"] <= at
        assert session.get(["controller.target", "controller.gain"]) == {
            "controller.target": 3.0,  # an input keeps its value, a parameter begins with the new class's
            "controller.gain": 4.0,
        }
        assert (session.signals["controller.gain"].initial, session.signals["controller.gain"].description) == (
            4.0,
            "how hard, once more",
        )
        await session.step(1)
        assert (session.frame, session["controller.u"]) == (at + 1, 4.0 * (3.0 - before_last_x(session)))
        entry = next(entry for entry in session.journal if entry["verb"] == "replace")
        assert entry == {
            "frame": told["frame"],
            "verb": "replace",
            "origin": "python",
            "module": "controller",
            "by": "Faster",
        }


def before_last_x(session: AsyncSession) -> float:
    """Return what the controller had as its input in the newest frame: the plant's output of the one before."""
    return float(session.history("plant.x")["plant.x"][-2])


async def test_a_replacement_that_is_refused_changes_nothing(session: AsyncSession) -> None:
    await session.step(10)
    before = session.fingerprint
    with pytest.raises(ConfigurationError, match="x has unit km, before m; gain is missing"):
        await session.replace("controller", Other)
    with pytest.raises(ModuleFailed, match="module controller raised during start: OSError: no disk"):
        await session.replace("controller", Broken)
    with pytest.raises(NotReplaced, match="there is no such module; there are plant, controller"):
        await session.replace("controler", Faster)
    with pytest.raises(ConfigurationError, match="is the class int; it takes"):
        await session.replace("controller", int)  # type: ignore[arg-type]
    with pytest.raises(ModuleFailed, match="params: gian: Faster accepts gain"):
        await session.replace("controller", Faster, params={"gian": 2})
    assert (session.state, session.fingerprint, session.failure) == (State.PAUSED, before, None)
    assert [entry["verb"] for entry in session.journal] == ["step"]
    assert session.config.classes["controller"].spec["class"] == "Controller"
    await session.step(10)
    assert session["controller.gain"] == 1.0


async def test_after_a_replacement_a_reset_begins_the_new_run_which_can_be_exported(
    session: AsyncSession, tmp_path: Path
) -> None:
    await session.step(5)
    await session.replace("controller", Faster, params={"gain": 8.0})
    await session.step(5)
    with pytest.raises(NotExported, match="module controller was replaced at frame 5"):
        await session.export(tmp_path / "case.yaml")
    await session.reset()
    await session.step(20)
    assert session["controller.gain"] == 8.0
    case = await session.export(tmp_path / "case.yaml")
    async with AsyncSession.from_yaml(case, serve=False) as again:
        await again.step(20)
        assert again.fingerprint == session.fingerprint


async def test_a_replacement_that_fails_later_fails_the_session_until_another_takes_its_place(
    session: AsyncSession,
) -> None:
    await session.step(3)
    await session.replace("controller", Crashing)
    with pytest.raises(ModuleFailed, match="module controller raised in frame 4: ValueError: too steep"):
        await session.step()
    with pytest.raises(ConfigurationError, match="other signals than before"):
        await session.replace("controller", Other)
    await session.replace("controller", Faster)
    assert session.state is State.FAILED
    await session.reset()
    await session.step(4)
    assert (session.frame, session["controller.gain"]) == (4, 4.0)
    with pytest.raises(ModuleFailed, match="module controller raised during reset: ValueError: stuck"):
        await session.replace("controller", Stuck)
    assert session.state is State.FAILED


async def test_a_module_of_a_group_is_not_replaced() -> None:
    modules = {name: {"module": Plant, "worker": "both"} for name in ("a", "b")}
    async with AsyncSession(modules=modules, name="group", server={"enabled": False}) as session:
        with pytest.raises(
            NotReplaced, match="module a cannot be replaced: it shares the process of worker both with b"
        ):
            await session.replace("a", Plant)


async def test_a_session_that_closes_answers_a_replacement_on_its_way(session: AsyncSession) -> None:
    replacing = asyncio.create_task(session.replace("controller", Faster))
    while not session._run._engine._pending:  # type: ignore[union-attr]
        await asyncio.sleep(0)
    await session.close()
    with pytest.raises(SessionClosed):
        await replacing


class Mortal(Controller):
    """Dies in its fifth step."""

    steps = 0

    def step(self, time: float, dt: float) -> None:
        import os

        self.steps += 1
        if self.steps == 5:
            os._exit(3)
        super().step(time, dt)


async def test_a_module_that_may_be_restarted_fails_the_run_only_after_its_last_restart(
    client: Callable[[str], Any],
) -> None:
    modules = {"plant": Plant, "controller": {"module": Mortal, "on_failure": "restart", "max_restarts": 2}}
    parts: Any = {"execution": {"mode": "afap"}, "server": {"port": 0}, "wiring": WIRING}
    async with AsyncSession(modules=modules, name="mortal", **parts) as session, client(session.url) as viewer:
        await session.set({"controller.target": 2.0})
        assert await session.step(10) == 10
        told = await viewer.event("restarted")
        assert (told["module"], told["restarts"], told["reason"]) == (
            "controller",
            1,
            "module controller died in frame 5: exit code 3",
        )
        assert session["controller.target"] == 2.0
        with pytest.raises(ModuleDied, match="module controller died in frame 13: exit code 3"):
            await session.step(10)
        assert session.frame == 12
        assert [
            (entry["frame"], entry["origin"], entry["module"], entry["restarts"])
            for entry in session.journal
            if entry["verb"] == "restart"
        ] == [(4, "engine", "controller", 1), (8, "engine", "controller", 2)]
        await session.reset()
        assert await session.step(8) == 8
