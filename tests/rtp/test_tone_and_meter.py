"""ToneSource and LevelMeter, on a virtual clock."""

import math
from typing import Any

import numpy as np
import pytest
import trio
import trio.testing

from eventgraph import Event, Graph, NodeDelegate
from eventgraph.testing import Probe, wait_idle
from rtp import END, PCM, AudioFrame, EndOfStream, EndReason
from rtp.nodes import LevelMeter, ToneSource

from .listening import main_frequency, rms


class Timed(Probe):
    """A probe that notes when each event came."""

    def __init__(self, scope: str, name: str) -> None:
        super().__init__(scope, name)
        self.times: list[float] = []

    def on_event(self, event: Event) -> None:
        super().on_event(event)
        self.times.append(trio.current_time())


def add_tone(graph: Graph, **options: Any) -> tuple[ToneSource, NodeDelegate, Timed]:
    tone, probe = ToneSource("test", "tone", **options), Timed("test", "probe")
    graph.add_node(probe)
    delegate = graph.add_node(tone)
    delegate.request_link_up("test", "probe")
    return tone, delegate, probe


async def test_tone_has_its_frequency_and_level_and_no_seams(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Graph() as graph:
        _, _, probe = add_tone(graph, frequency=441.0, level=-12.0, sample_rate=16000)
        await trio.sleep(2)
    samples = np.concatenate([event.obj.samples for event in probe.events])
    assert main_frequency(samples, 16000) == pytest.approx(441, abs=0.6)
    assert rms(samples) == pytest.approx(-12 - 3.01, abs=0.05)
    steps = np.abs(np.diff(samples.astype(int)))
    assert steps.max() <= 2 * math.pi * 441 / 16000 * 32768 * 10 ** (-12 / 20) + 1


async def test_frames_come_at_absolute_deadlines(autojump_clock: trio.testing.MockClock) -> None:
    async with Graph() as graph:
        tone, _, probe = add_tone(graph, frame_duration=0.03)
        began = trio.current_time()
        await trio.sleep(30)
    expected = [began + 0.03 * i for i in range(len(probe.times))]
    assert len(probe.times) >= 1000
    assert probe.times == pytest.approx(expected, abs=1e-6)
    assert [event.obj.timestamp for event in probe.events] == [
        240 * i for i in range(len(expected))
    ]
    assert tone.frames_skipped == 0


async def test_after_a_short_stall_frames_catch_up_after_a_long_one_they_are_left_out(
    mock_clock: trio.testing.MockClock,
) -> None:
    async with Graph() as graph:
        tone, delegate, probe = add_tone(graph, resync_after=0.2)

        async def pass_by(seconds: float) -> None:
            mock_clock.jump(seconds)
            await trio.testing.wait_all_tasks_blocked()

        await trio.testing.wait_all_tasks_blocked()
        await pass_by(0.02)
        await pass_by(0.2)
        assert [event.obj.timestamp // 160 for event in probe.events] == list(range(12))
        await pass_by(10)
        timestamps = [event.obj.timestamp // 160 for event in probe.events]
        assert timestamps[12] == pytest.approx(10.22 * 50, abs=1)
        assert timestamps[12:] == list(range(timestamps[12], timestamps[12] + len(timestamps) - 12))
        assert tone.frames_skipped == timestamps[12] - 12
        await pass_by(0.02)
        assert probe.events[-1].obj.timestamp // 160 == timestamps[-1] + 1
        delegate.request_exit()
        await pass_by(0.02)
        await delegate.wait_exited()


async def test_tone_goes_on_when_others_fill_its_channel(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Graph() as graph:
        _, delegate, probe = add_tone(graph)
        for _ in range(5):
            await trio.sleep(0.01)
            while delegate.deliver_self(Event(99)):
                pass
        await trio.sleep(1)
    assert len(probe.events) >= 50


def test_options_out_of_range_are_refused() -> None:
    for option, value in (
        ("frequency", 4000.0),
        ("level", 0.1),
        ("frame_duration", 0.0201),
        ("frame_duration", 0.0),
        ("resync_after", -1.0),
    ):
        with pytest.raises(ValueError, match=option):
            ToneSource("test", "tone", **{option: value})  # type: ignore[arg-type]  # the point
    with pytest.raises(ValueError, match="window"):
        LevelMeter("test", "meter", window=0)


async def test_meter_reads_the_level_of_a_tone(autojump_clock: trio.testing.MockClock) -> None:
    async with Graph() as graph:
        meter = LevelMeter("test", "meter")
        graph.add_node(meter)
        assert (meter.rms, meter.peak) == (-math.inf, -math.inf)
        tone = graph.add_node(ToneSource("test", "tone", frequency=1000.0, level=-20.0))
        tone.request_link_up("test", "meter")
        await trio.sleep(1)
        assert meter.rms == pytest.approx(-23.01, abs=0.02)
        assert meter.peak == pytest.approx(-20, abs=0.02)


async def test_meter_forgets_what_is_older_than_its_window_and_what_ended() -> None:
    loud, silent = np.full(160, -32768, np.int16), np.zeros(160, np.int16)
    async with Graph() as graph:
        meter = LevelMeter("test", "meter", window=0.1)
        delegate = graph.add_node(meter)

        async def hear(samples: Any, count: int) -> None:
            for _ in range(count):
                delegate.deliver_self(Event(PCM, AudioFrame(samples, 8000, 0)))
            await wait_idle(graph)

        await hear(loud, 10)
        assert (meter.rms, meter.peak) == (0, 0)
        await hear(silent, 4)
        assert meter.rms == pytest.approx(-6.99, abs=0.01)  # one block of five
        await hear(silent, 1)
        assert (meter.rms, meter.peak) == (-math.inf, -math.inf)
        await hear(loud, 1)
        delegate.deliver_self(Event(END, EndOfStream(EndReason.BYE)))
        await hear(np.zeros(0, np.int16), 1)
        assert (meter.rms, meter.peak) == (-math.inf, -math.inf)
        assert meter.frames == 16
