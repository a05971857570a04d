"""Playout on a virtual clock: packets in, a frame each 20 ms out, and the delay in its bounds."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise

import numpy as np
import pytest
import trio
import trio.testing

from eventgraph import Event, Graph, NodeDelegate
from eventgraph.testing import Probe
from rtp import END, PCM, RTP, STATIC_FORMATS, AudioFrame, EndOfStream, EndReason, RtpPacket
from rtp.audio.codecs import make_encoder
from rtp.audio.g711 import encode_pcmu
from rtp.jitter import TOLERANCE
from rtp.media import Samples
from rtp.nodes import Playout
from rtp.nodes.playout import PRESENCE
from rtp.packet import parse_packet
from rtp.packetizer import Packetizer
from rtp.payload_format import PayloadFormat

from .listening import main_frequency
from .pair import rtp

SIZE = 160
FRAME = 0.02
END_EVENT = Event(END, EndOfStream(EndReason.BYE))


def tone(index: int) -> Samples:
    ticks = np.arange(index * SIZE, (index + 1) * SIZE)
    return np.asarray(np.rint(6000 * np.sin(2 * np.pi * 440 * ticks / 8000)), np.int16)


def packet(index: int, ssrc: int = 1, payload_type: int = 0) -> Event:
    data = rtp(index, ssrc=ssrc, payload_type=payload_type, payload=encode_pcmu(tone(index)))
    parsed = parse_packet(data)
    assert isinstance(parsed, RtpPacket)
    return Event(RTP, parsed)


class Ear(Probe):
    """Notes when each event came."""

    def __init__(self, scope: str, name: str) -> None:
        super().__init__(scope, name)
        self.times: list[float] = []

    def on_event(self, event: Event) -> None:
        super().on_event(event)
        self.times.append(trio.current_time())

    @property
    def frames(self) -> list[AudioFrame]:
        return [event.obj for event in self.events if event.cmd == PCM]


@asynccontextmanager
async def playing(**options: float) -> AsyncIterator[tuple[Playout, NodeDelegate, Ear]]:
    async with Graph() as graph:
        node, ear = Playout("a", "playout", **options), Ear("a", "ear")  # type: ignore[arg-type]  # numbers only
        delegate = graph.add_node(node)
        graph.add_node(ear)
        delegate.request_link_up("a", "ear")
        await trio.sleep(0.0)
        yield node, delegate, ear


async def send(
    delegate: NodeDelegate,
    indices: range,
    *,
    lost: Callable[[int], bool] = lambda _: False,
    after: Callable[[int], object] = lambda _: None,
) -> None:
    """A packet each 20 ms, 7 ms beside the frames."""
    await trio.sleep(0.007)
    for index in indices:
        if not lost(index):
            assert delegate.deliver_self(packet(index))
        await trio.sleep(FRAME)
        after(index)


async def test_even_stream_becomes_even_frames_soon(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with playing() as (node, delegate, ear):
        await send(delegate, range(100))
        numbers = node.statistics()
        assert numbers.playing
        assert numbers.ssrc == 1
        assert numbers.concealed == numbers.frames_skipped == 0
        assert numbers.delay < numbers.target + TOLERANCE * FRAME
        frames = ear.frames
    assert len(frames) >= 97
    assert {b.timestamp - a.timestamp for a, b in pairwise(frames)} == {SIZE}
    steps = np.diff(ear.times[: len(frames)])
    assert steps == pytest.approx(FRAME, abs=1e-6)
    heard = np.concatenate([frame.samples for frame in frames])
    assert np.abs(np.diff(heard.astype(int))).max() < 2300  # no seam
    assert main_frequency(heard, 8000) == pytest.approx(440, abs=2)


async def test_delay_is_bounded_and_back_at_its_target_within_a_second_of_a_burst(
    autojump_clock: trio.testing.MockClock,
) -> None:
    delays: list[float] = []
    async with playing() as (node, delegate, _):

        def note(_: int) -> None:
            delays.append(node.statistics().delay)

        await send(delegate, range(100), after=note)
        await trio.sleep(0.3)  # the network stands still, and then all comes at once
        for index in range(100, 115):
            assert delegate.deliver_self(packet(index))
        await send(delegate, range(115, 165), after=note)
        settled = node.statistics()
        await send(delegate, range(165, 400), after=note)
        numbers = node.statistics()
    assert max(delays) <= 0.4 + FRAME
    assert settled.delay < settled.target + TOLERANCE * FRAME + 1e-6
    assert numbers.delay < numbers.target + TOLERANCE * FRAME + 1e-6
    assert numbers.target <= 0.2
    assert numbers.concealed >= 5


async def test_loss_is_concealed_and_leaves_no_delay_behind(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with playing() as (node, delegate, ear):
        await send(delegate, range(200), lost=lambda index: index % 20 == 10)
        numbers = node.statistics()
        frames = ear.frames
    assert numbers.jitter is not None
    assert numbers.jitter.missing == 10
    assert 10 <= numbers.concealed <= 20
    assert numbers.delay < numbers.target + TOLERANCE * FRAME + 1e-6
    levels = [np.abs(frame.samples).max() for frame in frames[2:]]
    assert min(levels) > 1000  # no hole where a packet was lost
    assert {b.timestamp - a.timestamp for a, b in pairwise(frames)} == {SIZE}


async def test_nothing_is_made_while_there_is_no_source_and_timestamps_go_on_with_the_clock(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with playing() as (node, delegate, ear):
        await trio.sleep(5)
        assert ear.events == []
        await send(delegate, range(50))
        await trio.sleep(10)
        assert not node.statistics().playing
        made = len(ear.frames)
        assert 50 <= made <= 50 + (PRESENCE + 0.1) / FRAME
        await trio.sleep(10)
        assert len(ear.frames) == made
        await send(delegate, range(500, 550))
        frames = ear.frames
        steps = [b.timestamp - a.timestamp for a, b in pairwise(frames)]
        assert sorted(set(steps))[0] == SIZE
        assert [step for step in steps if step != SIZE] == [pytest.approx(20 * 8000, rel=0.06)]
        times = dict(zip((f.timestamp for f in frames), ear.times, strict=True))
    origin = ear.times[0] - frames[0].timestamp / 8000
    assert all(at == pytest.approx(origin + t / 8000, abs=1e-6) for t, at in times.items())


async def test_end_comes_after_what_was_before_it_and_another_source_may_follow(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with playing() as (node, delegate, ear):
        await send(delegate, range(50))
        delegate.deliver_self(packet(50))
        delegate.deliver_self(END_EVENT)
        await trio.sleep(1)
        assert ear.events[-1] is END_EVENT
        numbers = node.statistics()
        assert numbers.jitter is not None
        assert (numbers.jitter.held, numbers.jitter.played) == (0, 51)
        assert not numbers.playing
        for index in range(700, 750):
            delegate.deliver_self(packet(index, ssrc=2))
            await trio.sleep(FRAME)
        assert node.statistics().ssrc == 2
        ear.events.clear()
        delegate.deliver_self(END_EVENT)
        delegate.request_exit()
        await delegate.wait_exited()
    assert ear.events[-1] is END_EVENT


async def test_end_without_a_source_is_passed_on_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with playing() as (_, delegate, ear):
        before = trio.current_time()
        delegate.deliver_self(END_EVENT)
        await trio.sleep(0.1)
        assert ear.events == [END_EVENT]
        assert ear.times[0] - before < 0.01


async def test_unknown_formats_are_counted_and_another_clock_begins_another_voice(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with playing() as (node, delegate, ear):
        delegate.deliver_self(packet(0, payload_type=77))
        await send(delegate, range(10))
        delegate.deliver_self(packet(10, payload_type=77))
        await trio.sleep(0.1)
        assert node.statistics().drops == {"unknown payload type": 2}
        assert ear.frames


async def test_a_flood_is_bounded_and_playing_goes_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with playing() as (node, delegate, ear):
        await send(delegate, range(20))
        taken = sum(delegate.deliver_self(packet(index)) for index in range(20, 1000))
        assert taken <= node.channel_size
        await trio.sleep(0.1)
        await send(delegate, range(1000, 1100))
        numbers = node.statistics()
        assert numbers.delay < numbers.target + TOLERANCE * FRAME + 1e-6
        made = len(ear.frames)
        await send(delegate, range(1100, 1110))
        assert len(ear.frames) == pytest.approx(made + 10, abs=1)


async def test_who_leaves_leaves_no_task_behind(autojump_clock: trio.testing.MockClock) -> None:
    async with Graph() as graph:
        assert graph._runtime.nursery is not None
        tasks = set(graph._runtime.nursery.child_tasks)
        for index in range(3):
            delegate = graph.add_node(Playout("a", "playout"))
            if index:
                delegate.deliver_self(packet(0))
            if index == 2:
                delegate.deliver_self(Event(RTP, "no packet"))  # it crashes
            await trio.sleep(0.05)
            delegate.request_exit()
            await delegate.wait_exited()
            await trio.testing.wait_all_tasks_blocked()
            assert set(graph._runtime.nursery.child_tasks) == tasks


async def test_after_a_stall_it_is_in_time_again(mock_clock: trio.testing.MockClock) -> None:
    async with playing() as (node, delegate, _):
        delegate.deliver_self(packet(0))
        for _ in range(4):
            await trio.testing.wait_all_tasks_blocked()
            mock_clock.jump(FRAME)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(0.5)
        await trio.testing.wait_all_tasks_blocked()
        assert node.statistics().frames_skipped == pytest.approx(25, abs=2)
        assert trio.current_time() - node.due <= FRAME


@pytest.mark.parametrize(("frame", "pooled"), [(FRAME, False), (3 * FRAME, True)])
async def test_opus_is_decoded_in_the_codec_pool_if_there_is_more_than_one_packet_of_it(
    monkeypatch: pytest.MonkeyPatch, frame: float, pooled: bool
) -> None:
    threads: set[str] = set()
    opus = PayloadFormat("opus", 48000, 2)
    render = trio.to_thread.run_sync

    async def noted(function: Callable[..., Samples], *args: int, **options: object) -> Samples:
        threads.add(repr(options["limiter"]))
        return await render(function, *args, **options)  # type: ignore[arg-type]  # passed on

    monkeypatch.setattr("rtp.nodes.playout.trio.to_thread.run_sync", noted)
    encoder, packetizer = make_encoder(opus, 8000), Packetizer(96)
    async with Graph() as graph:
        node = Playout(
            *("a", "playout"),
            formats={96: opus},
            sample_rate=48000,
            frame_duration=frame,
            resync_after=9,
        )
        ear = Ear("a", "ear")
        delegate = graph.add_node(node)
        graph.add_node(ear)
        delegate.request_link_up("a", "ear")
        began = trio.current_time()
        for index in range(60):  # real time: a virtual clock runs ahead of threads
            for payload in encoder.encode(tone(index)):
                sent = packetizer.packetize(payload, index * 960, 960)
                delegate.deliver_self(Event(RTP, sent))
            await trio.sleep_until(began + FRAME * index)
        frames = ear.frames
    assert len(threads) == pooled
    assert {frame.sample_rate for frame in frames} == {48000}
    sound = np.concatenate([f.samples for f in frames])[-24000:]
    assert main_frequency(sound, 48000) == (
        pytest.approx(440, abs=15)  # a busy machine conceals a little
    )


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="frame_duration"):
        Playout("a", "playout", formats=STATIC_FORMATS, frame_duration=0.0201)
