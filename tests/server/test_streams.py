"""Who gets which telemetry when, on a loop whose clock jumps: ten seconds take none."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from typing import Any

import pytest

from hermes.backplane.ring import Snapshot
from hermes.backplane.shm import SharedMemoryManager
from hermes.backplane.signals import Signal, SignalRegistry
from hermes.server.protocol import Subscription
from hermes.server.streams import Streams
from hermes.server.telemetry import TelemetryEncoder, decode_telemetry


class JumpingLoop(asyncio.SelectorEventLoop):
    """A loop whose clock jumps to the next deadline instead of waiting for it."""

    def __init__(self) -> None:
        super().__init__(_JumpingSelector(self))
        self.now = 1000.0

    def time(self) -> float:
        return self.now


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self, loop: JumpingLoop) -> None:
        super().__init__()
        self._jumping = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "everybody waits, and nobody for the clock"
            self._jumping.now += max(0.0, timeout)
        return ready


class Recipient:
    """Stands where a client would: keeps when which frame came. While `deaf`, it takes none."""

    def __init__(self) -> None:
        self.connection = self
        self.frames: list[tuple[float, int, list[float]]] = []
        self.offered: list[int] = []
        self.deaf = False

    def send_frame(self, message: bytes) -> None:
        payload = message[2:]  # behind the header of a short frame, RFC 6455
        assert message[:2] == bytes([0x82, len(payload)])
        self.offered.append(len(payload))
        if not self.deaf:
            frame, _, values = decode_telemetry(payload)
            self.frames.append((asyncio.get_running_loop().time(), frame, values.tolist()))

    @property
    def times(self) -> list[float]:
        return [time for time, _, _ in self.frames]


class Rig:
    """Streams over a backplane of four signals, and what was sent through them."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        signals = [Signal("m", f"s{number}", initial=float(number)) for number in range(4)]
        self.shm = SharedMemoryManager.create(SignalRegistry(signals), history=16)
        self.frame = 0
        self.commit()
        self.streams = Streams(self.shm)
        self.encoders = self.encoded = self.snapshots = 0
        make, encode, take = TelemetryEncoder.__init__, TelemetryEncoder.encode_snapshot, self.shm.snapshot

        def made(encoder: TelemetryEncoder, *arguments: Any) -> None:
            self.encoders += 1
            make(encoder, *arguments)

        def counted(encoder: TelemetryEncoder, newest: Snapshot) -> bytes:
            self.encoded += 1
            return encode(encoder, newest)

        def snapshot() -> Snapshot:
            self.snapshots += 1
            return take()

        patch.setattr(TelemetryEncoder, "__init__", made)
        patch.setattr(TelemetryEncoder, "encode_snapshot", counted)
        patch.setattr(self.shm, "snapshot", snapshot)

    def commit(self) -> None:
        self.frame += 1
        self.shm.commit(0, self.frame, self.frame / 100)

    def follow(self, recipient: Recipient, *signals: str, hz: float = 60.0) -> None:
        self.streams.follow(recipient, Subscription(signals, hz))  # type: ignore[arg-type]

    def leave(self, recipient: Recipient) -> None:
        self.streams.follow(recipient, None)  # type: ignore[arg-type]

    def live(self, scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a scenario beside the streams."""

        async def main() -> None:
            task = asyncio.create_task(self.streams.run())
            await asyncio.sleep(0)
            await scenario()
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

        with asyncio.Runner(loop_factory=JumpingLoop) as runner:
            runner.run(main())


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    made = Rig(monkeypatch)
    yield made
    made.shm.close()


def test_ten_seconds_have_600_frames_after_the_first_which_comes_at_once(rig: Rig) -> None:
    viewer = Recipient()

    async def scenario() -> None:
        await asyncio.sleep(0.123)
        rig.follow(viewer, "m.s2", "m.s0")
        assert viewer.frames == [(1000.123, 1, [2.0, 0.0])]
        await asyncio.sleep(10)

    rig.live(scenario)
    assert 599 <= len(viewer.frames) - 1 <= 601
    ticks = [(time - 1000.0) * 60 for time in viewer.times[1:]]
    assert ticks == pytest.approx([round(tick) for tick in ticks], abs=1e-6)
    assert {frame for _, frame, _ in viewer.frames} == {1}  # also while no new frame is committed


def test_each_client_has_the_rate_that_it_asked_for(rig: Rig) -> None:
    rates = {hz: Recipient() for hz in (60.0, 10.0, 7.0, 0.5)}

    async def scenario() -> None:
        for hz, viewer in rates.items():
            rig.follow(viewer, "m.s0", hz=hz)
        await asyncio.sleep(20)

    rig.live(scenario)
    for hz, viewer in rates.items():
        assert abs(len(viewer.frames) - 1 - 20 * hz) <= 1, hz
        steps = [later - earlier for earlier, later in zip(viewer.times[1:], viewer.times[2:], strict=False)]
        assert steps == pytest.approx([1 / hz] * len(steps), abs=1e-6)
    assert rig.encoders == 1  # they share the look-up of their names


def test_equal_subscriptions_share_one_encoded_frame_a_tick(rig: Rig) -> None:
    viewers = [Recipient() for _ in range(10)]

    async def scenario() -> None:
        for viewer in viewers:
            rig.follow(viewer, "m.s0", "m.s1")
            await asyncio.sleep(0.01)
        rig.encoded = rig.snapshots = 0
        for viewer in viewers:
            viewer.frames.clear()
        await asyncio.sleep(5)

    rig.live(scenario)
    assert rig.encoders == 1
    assert rig.encoded == rig.snapshots == len(viewers[0].frames)
    assert abs(rig.encoded - 300) <= 1
    assert all(viewer.frames == viewers[0].frames for viewer in viewers)


def test_streams_of_one_rate_share_their_ticks_and_each_tick_is_one_frame(rig: Rig) -> None:
    viewers = [Recipient(), Recipient(), Recipient()]

    async def scenario() -> None:
        for viewer, signals in zip(viewers, (["m.s0"], ["m.s1"], ["m.s1", "m.s0"]), strict=True):
            rig.follow(viewer, *signals)
            await asyncio.sleep(0.021)
        rig.snapshots = 0
        for viewer in viewers:
            viewer.frames.clear()
        for _ in range(200):
            await asyncio.sleep(0.0123)
            rig.commit()

    rig.live(scenario)
    assert viewers[0].times == viewers[1].times == viewers[2].times
    assert rig.snapshots == len(viewers[0].frames)
    assert [frame for _, frame, _ in viewers[0].frames] == [frame for _, frame, _ in viewers[2].frames]
    assert viewers[0].frames[-1][1] > 190
    assert {tuple(values) for _, _, values in viewers[2].frames} == {(1.0, 0.0)}


def test_a_new_subscription_ends_the_old_one_at_once(rig: Rig) -> None:
    viewer, other = Recipient(), Recipient()

    async def scenario() -> None:
        rig.follow(other, "m.s3")
        for signals in (["m.s0"], ["m.s0", "m.s1", "m.s2"], [], ["m.s1"]):
            viewer.frames.clear()
            rig.follow(viewer, *signals)
            assert len(viewer.frames) == 1
            await asyncio.sleep(0.5)
            assert abs(len(viewer.frames) - 31) <= 1
            assert {tuple(values) for _, _, values in viewer.frames} == {tuple(float(name[-1]) for name in signals)}
        rig.follow(viewer, "m.s1", hz=10.0)
        viewer.frames.clear()
        await asyncio.sleep(1)
        assert abs(len(viewer.frames) - 10) <= 1

    rig.live(scenario)
    assert abs(len(other.frames) - 181) <= 2


def test_no_frame_comes_after_an_unsubscribe_and_without_streams_nothing_is_done(rig: Rig) -> None:
    viewer, other = Recipient(), Recipient()

    async def scenario() -> None:
        rig.follow(viewer, "m.s0")
        rig.follow(other, "m.s0")
        await asyncio.sleep(0.1)
        rig.leave(viewer)
        seen = len(viewer.frames)
        await asyncio.sleep(1)
        assert len(viewer.frames) == seen
        assert len(other.frames) >= 60
        rig.leave(other)
        rig.leave(other)
        rig.streams.send()
        rig.snapshots = 0
        await asyncio.sleep(1)
        assert rig.snapshots == 0
        rig.follow(other, "m.s1")
        other.frames.clear()
        await asyncio.sleep(1)
        assert abs(len(other.frames) - 60) <= 1

    rig.live(scenario)


def test_a_late_tick_is_skipped_and_never_sent_in_a_burst(rig: Rig) -> None:
    viewer = Recipient()

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, JumpingLoop)
        rig.follow(viewer, "m.s0")
        for _ in range(10):
            await asyncio.sleep(0.5)
            loop.now += 0.333  # a cell that blocks
        await asyncio.sleep(0.5)

    rig.live(scenario)
    assert abs(len(viewer.frames) - 1 - 11 * 30) <= 12
    steps = [later - earlier for earlier, later in zip(viewer.times[1:], viewer.times[2:], strict=False)]
    assert sum(step > 0.3 for step in steps) == 10
    ticks = [int((time - 1000.0) * 60 + 1e-6) for time in viewer.times[1:]]
    assert len(set(ticks)) == len(ticks)  # at most one frame for each tick of the clock


def test_a_tick_does_not_wait_for_a_client_that_cannot_take_it(rig: Rig) -> None:
    viewer, deaf = Recipient(), Recipient()
    deaf.deaf = True

    async def scenario() -> None:
        rig.follow(deaf, "m.s0", "m.s1")
        rig.follow(viewer, "m.s0", "m.s1")
        await asyncio.sleep(1)

    rig.live(scenario)
    assert deaf.frames == []
    assert abs(len(viewer.frames) - 61) <= 1
    assert len(deaf.offered) == len(viewer.offered)
    assert set(deaf.offered) == {24 + 2 * 8}


def test_the_newest_frame_goes_to_all_when_it_is_asked_for(rig: Rig) -> None:
    slow, fast, gone = Recipient(), Recipient(), Recipient()

    async def scenario() -> None:
        rig.follow(slow, "m.s0", hz=0.01)
        rig.follow(fast, "m.s1", hz=0.02)
        rig.follow(gone, "m.s1", hz=0.02)
        rig.leave(gone)
        rig.commit()
        rig.streams.send()

    rig.live(scenario)
    assert [frame for _, frame, _ in slow.frames] == [frame for _, frame, _ in fast.frames] == [1, 2]
    assert [frame for _, frame, _ in gone.frames] == [1]


def test_a_rate_so_low_that_no_second_frame_ever_comes_stops_nobody(rig: Rig) -> None:
    never, viewer = Recipient(), Recipient()

    async def scenario() -> None:
        rig.follow(never, "m.s0", hz=5e-324)
        rig.follow(viewer, "m.s0")
        await asyncio.sleep(1)

    rig.live(scenario)
    assert len(never.frames) == 1
    assert abs(len(viewer.frames) - 61) <= 1
