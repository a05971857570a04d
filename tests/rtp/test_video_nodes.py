"""VideoEncoder and VideoDecoder: pictures to packets and back, with real codecs."""

import random
import time
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from eventgraph import Address, Event, Graph, Node
from eventgraph.testing import Probe, run, wait_idle
from rtp import END, RTP, EndOfStream, EndReason, PayloadFormat, RtpPacket
from rtp.codec_pool import codec_pool
from rtp.nodes import VideoDecoder, VideoEncoder
from rtp.packet import HEADER_LENGTH, parse_packet
from rtp.webrtc import KEYFRAME_REQUEST, VIDEO

from .moving_pattern import TICKS, pattern, patterns, psnr
from .pair import rtp

FORMATS = {97: PayloadFormat("VP8", 90000), 101: PayloadFormat("H264", 90000)}
END_EVENT = Event(END, EndOfStream(EndReason.BYE))
GOOD = 32.0
"""dB of PSNR; another picture of the pattern has less than 25."""

codecs = pytest.mark.parametrize("payload_type", FORMATS)


def encoder(payload_type: int, **options: Any) -> VideoEncoder:
    return VideoEncoder(
        "test", "node", wanted=FORMATS[payload_type], payload_type=payload_type, **options
    )


def decoder(**options: Any) -> VideoDecoder:
    return VideoDecoder("test", "node", **options)


async def through(node: Node, events: list[Event]) -> list[Event]:
    """What a node makes of these, one after the other."""
    async with Graph() as graph:
        probe = Probe("test", "probe")
        probe.channel_size = 10000
        node.channel_size = 10000
        delegate = graph.add_node(node)
        graph.add_node(probe)
        delegate.request_link_up("test", "probe")
        for event in events:
            assert delegate.deliver_self(event)
        delegate.request_exit()
        await delegate.wait_exited()
        await wait_idle(graph)
        assert not graph.snapshot().crashes
    return probe.events


def packets(events: list[Event]) -> list[RtpPacket]:
    return [event.obj for event in events if event.cmd == RTP]


def images(events: list[Event]) -> list[Any]:
    return [event.obj for event in events if event.cmd == VIDEO]


def by_frame(events: list[Event]) -> list[list[Event]]:
    """The packets of each frame."""
    frames: list[list[Event]] = [[]]
    for event in events:
        frames[-1].append(event)
        if event.obj.marker:
            frames.append([])
    assert not frames.pop()
    return frames


def is_key(frame: list[Event]) -> bool:
    """By the octets: a VP8 key frame, or a parameter set of H.264 at the beginning."""
    payload: bytes = frame[0].obj.payload
    if frame[0].obj.payload_type == 97:
        return not payload[1] & 1
    return payload[0] & 31 == 24 and payload[3] & 31 == 7


@codecs
@pytest.mark.parametrize("mtu", [100, 1200])
async def test_pictures_survive_the_round_trip(payload_type: int, mtu: int) -> None:
    node = encoder(payload_type, mtu=mtu)
    ssrc = node.ssrc
    sent = patterns(*range(20))
    before = sent[0].obj.to_ndarray().copy()
    events = await through(node, [*sent, END_EVENT])
    assert events[-1] is END_EVENT
    on_wire = packets(events)
    assert {p.ssrc for p in on_wire} == {ssrc} != {node.ssrc}
    assert {p.payload_type for p in on_wire} == {payload_type}
    sizes = [len(p.data) for p in on_wire]
    assert max(sizes) <= mtu
    assert min(sizes) > HEADER_LENGTH
    first = on_wire[0]
    assert all(
        (p.sequence_number - first.sequence_number - i) % 65536 == 0 for i, p in enumerate(on_wire)
    )
    frames = by_frame(events[:-1])
    assert [is_key(frame) for frame in frames] == [True] + [False] * 19
    assert [{(e.obj.timestamp - first.timestamp) % (1 << 32) for e in f} for f in frames] == [
        {i * TICKS} for i in range(20)
    ]
    assert len(frames[0]) > 1
    assert node.key_frames == 1
    assert not node.drops
    # What others have as well stays as it was.
    assert (sent[0].obj.to_ndarray() == before).all()
    assert [e.obj.pts for e in sent] == [i * TICKS for i in range(20)]

    receiver = decoder()
    decoded = await through(receiver, events)
    assert decoded[-1] is END_EVENT
    got = images(decoded)
    assert len(decoded) == len(got) + 1
    assert [(image.pts, image.time_base.denominator) for image in got] == [
        (i * TICKS, 90000) for i in range(20)
    ]
    assert min(psnr(image, pattern(i)) for i, image in enumerate(got)) > GOOD
    assert psnr(got[0], pattern(10)) < 25
    assert not receiver.drops
    assert not receiver.frames_dropped


@codecs
async def test_packets_may_overtake_each_other_and_come_twice(payload_type: int) -> None:
    events = await through(encoder(payload_type, mtu=300), patterns(*range(12)))
    shuffled = random.Random(1)
    order = sorted(range(len(events)), key=lambda i: i + shuffled.uniform(0, 4))
    receiver = decoder()
    # The first stays: where a source begins is not known before it has begun.
    mixed = [events[0], *(events[i] for i in order if i), *events[-3:]]
    got = images(await through(receiver, mixed))
    assert [image.pts for image in got] == [i * TICKS for i in range(12)]
    assert min(psnr(image, pattern(i)) for i, image in enumerate(got)) > GOOD
    assert receiver.drops == {"late": 3}
    assert receiver.keyframe_requests == 0


@codecs
async def test_after_loss_it_asks_for_a_key_frame_and_shows_nothing_until_then(
    payload_type: int, autojump_clock: trio.testing.MockClock
) -> None:
    frames = by_frame(
        await through(encoder(payload_type, mtu=300, key_interval=0.5), patterns(*range(30)))
    )
    assert [i for i, frame in enumerate(frames) if is_key(frame)] == [0, 15]
    lossy = [event for i, frame in enumerate(frames) for event in (frame[1:] if i == 3 else frame)]
    receiver = decoder(max_delay=0.05)
    events = await through(receiver, lossy)
    got = images(events)
    assert [image.pts // TICKS for image in got] == [0, 1, 2, *range(15, 30)]
    assert min(psnr(image, pattern(image.pts // TICKS)) for image in got) > GOOD
    lost = receiver.frames_dropped
    assert lost["before key frame"] + lost["incomplete"] in {11, 12}
    assert receiver.keyframe_requests == sum(e.cmd == KEYFRAME_REQUEST for e in events) == 1


@codecs
async def test_who_joins_late_asks_and_waits(payload_type: int) -> None:
    frames = by_frame(await through(encoder(payload_type, key_interval=0.3), patterns(*range(12))))
    receiver = decoder()
    events = await through(receiver, [event for frame in frames[4:] for event in frame])
    assert events[0].cmd == KEYFRAME_REQUEST
    assert [image.pts // TICKS for image in images(events)] == [0, 1, 2]
    assert receiver.frames_dropped == {"before key frame": 5}


@given(st.lists(st.floats(0, 1), min_size=200, max_size=200), st.randoms())
@settings(max_examples=15)
def test_whatever_is_lost_what_is_shown_is_whole(chances: list[float], rng: random.Random) -> None:
    for events in STREAMS.values():
        kept = [e for e, chance in zip(events, chances, strict=False) if chance > 0.1]
        order = sorted(range(len(kept)), key=lambda i: i + rng.uniform(0, 3))
        receiver = decoder()
        got = images(run(through, receiver, [kept[i] for i in order]))
        # Which picture is seen from its timestamp, so from how far it is from the others.
        for image in got:
            assert max(psnr(image, pattern(number)) for number in range(20)) > GOOD
        assert sum(receiver.frames_dropped.values()) <= 20


def make_streams() -> dict[int, list[Event]]:
    return {
        payload_type: run(
            through, encoder(payload_type, mtu=400, key_interval=0.2), patterns(*range(20))
        )
        for payload_type in FORMATS
    }


STREAMS = make_streams()


@given(
    st.lists(
        st.tuples(
            st.binary(max_size=60),
            st.sampled_from([97, 101, 102]),
            st.integers(0, 65535),
            st.integers(0, (1 << 32) - 1),
            st.integers(0, 1),
            st.sampled_from([1, 2]),
        ),
        max_size=25,
    )
)
@settings(max_examples=60)
def test_junk_is_counted_and_what_follows_is_decoded(
    junk: list[tuple[bytes, int, int, int, int, int]],
) -> None:
    events = [
        Event(
            RTP,
            parse_packet(rtp(number, payload=p, payload_type=pt, timestamp=t, marker=m, ssrc=ssrc)),
        )
        for p, pt, number, t, m, ssrc in junk
    ]
    receiver = decoder()
    got = images(run(through, receiver, [*events, *STREAMS[97]]))
    assert len(got) >= 20
    shown = got[-20:]
    assert min(psnr(image, pattern(i)) for i, image in enumerate(shown)) > GOOD
    assert receiver.drops["unknown payload type"] == sum(j[1] == 102 for j in junk)


@given(st.integers(0, 10_000), st.integers(1, 255))
@settings(max_examples=40)
def test_a_damaged_octet_never_ends_the_node(where: int, change: int) -> None:
    for stream in STREAMS.values():
        events = list(stream)
        number = where % len(events)
        data = bytearray(events[number].obj.data)
        payload_octet = HEADER_LENGTH + where % (len(data) - HEADER_LENGTH)
        data[payload_octet] ^= change
        events[number] = Event(RTP, parse_packet(bytes(data)))
        receiver = decoder()
        got = images(run(through, receiver, events))
        assert len(got) <= 20


async def test_another_source_joins_on_to_the_last() -> None:
    receiver = decoder()
    streams = [STREAMS[97], STREAMS[101], await through(encoder(97), patterns(3, 4))]
    got = images(await through(receiver, [event for stream in streams for event in stream]))
    assert [image.pts // TICKS for image in got] == list(range(42))
    shown = [*range(20), *range(20), 3, 4]
    assert min(psnr(im, pattern(n)) for im, n in zip(got, shown, strict=True)) > GOOD
    assert receiver.keyframe_requests == 0


async def test_another_encoding_of_the_same_source_goes_on_in_time() -> None:
    """All packets of one SSRC, numbered through; only the payload type changes."""
    events: list[Event] = []
    streams = [STREAMS[97], STREAMS[101]]
    for begin, stream in zip((0, 20 * TICKS), streams, strict=True):
        first = stream[0].obj.timestamp
        for event in stream:
            ticks = (event.obj.timestamp - first) % (1 << 32)
            data = rtp(
                len(events),
                payload=event.obj.payload,
                payload_type=event.obj.payload_type,
                timestamp=begin + ticks,
                marker=event.obj.marker,
                ssrc=5,
            )
            events.append(Event(RTP, parse_packet(data)))
    receiver = decoder()
    got = images(await through(receiver, events))
    assert [image.pts // TICKS for image in got] == list(range(40))
    assert min(psnr(image, pattern(i % 20)) for i, image in enumerate(got)) > GOOD
    assert not receiver.drops
    assert not receiver.frames_dropped


@codecs
async def test_size_may_change_and_is_bounded(payload_type: int) -> None:
    node = encoder(payload_type, max_width=320, max_height=200)
    sent = [
        *patterns(0, 1),
        *patterns(2, 3, width=160, height=120),
        *patterns(4, width=640, height=360),
        *patterns(5, width=8, height=8),
        *patterns(6, width=322, height=100),
    ]
    frames = await through(node, sent)
    assert [is_key(frame) for frame in by_frame(frames)] == [True, False, True, False, True, True]
    assert node.drops == {"unencodable": 1}
    got = images(await through(decoder(), frames))
    assert [(image.width, image.height) for image in got] == [
        *[(266, 200)] * 2,
        *[(160, 120)] * 2,
        (320, 180),
        (320, 98),
    ]
    assert (
        min(psnr(image, pattern(i, 160, 120)) for i, image in enumerate(got) if i in {2, 3}) > GOOD
    )


@codecs
async def test_a_picture_that_is_too_large_is_not_decoded(payload_type: int) -> None:
    receiver = decoder(max_pixels=320 * 240 - 1)
    assert images(await through(receiver, STREAMS[payload_type])) == []
    assert receiver.frames_dropped["undecodable"] >= 1
    assert receiver.keyframe_requests >= 1


async def encoded(probe: Probe, count: int) -> None:
    """Wait for so many pictures, while virtual time stands still: a thread takes real time."""
    deadline = time.monotonic() + 30
    while sum(event.obj.marker for event in probe.events) < count:
        assert time.monotonic() < deadline
        await trio.lowlevel.checkpoint()


@codecs
async def test_key_frames_come_when_asked_for_but_not_too_often(
    payload_type: int, mock_clock: trio.testing.MockClock
) -> None:
    async with Graph() as graph:
        node = encoder(payload_type)
        probe, late = Probe("test", "probe"), Probe("test", "late")
        delegate = graph.add_node(node)
        graph.add_node(probe)
        graph.add_node(late)
        delegate.request_link_up("test", "probe")
        for number, event in enumerate(patterns(*range(60))):
            if number in {3, 4, 5, 50}:
                delegate.deliver_self(Event(KEYFRAME_REQUEST))
            delegate.deliver_self(event)
            await encoded(probe, number + 1)
            mock_clock.jump(1 / 32)
        keys = [i for i, frame in enumerate(by_frame(probe.events)) if is_key(frame)]
        # Those of 3, 4 and 5 are answered together, half a second after the first key frame.
        assert keys == [0, 16, 50]
        graph.link_up(Address("test", "node"), Address("test", "late"))
        mock_clock.jump(1)
        await trio.testing.wait_all_tasks_blocked()
        delegate.deliver_self(patterns(60)[0])
        await encoded(late, 1)
        assert is_key(by_frame(late.events)[0])
        assert node.key_frames == 4


async def test_timestamps_follow_pts_and_join_on_where_it_jumps() -> None:
    node = encoder(97)
    sent = [*patterns(0, 1, 4, 3), *patterns(100_000, 100_001), *patterns(0, 1)]
    nothing = pattern(9)
    nothing.pts = None
    events = await through(node, [*sent, Event(VIDEO, nothing), END_EVENT, *patterns(7)])
    frames = by_frame([event for event in events if event.cmd == RTP])
    start = frames[0][0].obj.timestamp
    steps = [(frame[0].obj.timestamp - start) % (1 << 32) // TICKS for frame in frames[:-1]]
    assert steps == [0, 1, 4, 5, 6, 7, 8]
    assert node.drops == {"late": 1, "no timestamp": 1}
    assert is_key(frames[-1])
    assert frames[-1][0].obj.ssrc != frames[0][0].obj.ssrc


async def test_decoder_asks_the_encoder_that_feeds_it() -> None:
    async with Graph() as graph:
        sender, receiver = encoder(97), VideoDecoder("test", "decoder")
        graph.add_node(sender)
        graph.add_node(receiver)
        probe = Probe("test", "probe")
        graph.add_node(probe)
        for a, b in (("node", "decoder"), ("decoder", "node"), ("decoder", "probe")):
            graph.link_up(Address("test", a), Address("test", b))
        entry = graph.add_node(Node("test", "entry"))
        graph.link_up(Address("test", "entry"), Address("test", "node"))
        entry.broadcast(patterns(0)[0])
        await wait_idle(graph)
        graph.link_down(Address("test", "node"), Address("test", "decoder"))
        entry.broadcast(patterns(1)[0])  # nobody hears it
        await wait_idle(graph)
        graph.link_up(Address("test", "node"), Address("test", "decoder"))
        for number in range(2, 30):
            entry.broadcast(patterns(number)[0])
            await wait_idle(graph)
            await trio.sleep(0.03)
        numbers = [image.pts // TICKS for image in images(probe.events)]
        assert numbers[0] == 0
        assert 1 not in numbers
        assert numbers[-1] == 29
        assert sender.key_frames >= 2


@codecs
async def test_busy_threads_are_seen_on_the_link(payload_type: int) -> None:
    async with Graph() as graph:
        receiver, sender = VideoDecoder("test", "decoder"), encoder(payload_type)
        receiver.channel_size = sender.channel_size = 3
        graph.add_node(sender)
        graph.add_node(receiver)
        entry = graph.add_node(Node("test", "entry"))
        to_encoder = entry.request_link_up("test", "node")
        to_decoder = entry.request_link_up("test", "decoder")
        for _ in range(int(codec_pool().total_tokens)):
            codec_pool().acquire_on_behalf_of_nowait(object())
        frames = STREAMS[payload_type]
        assert all(entry.deliver(to_encoder, patterns(i)[0]) for i in range(1))
        await trio.testing.wait_all_tasks_blocked()
        taken = [entry.deliver(to_encoder, patterns(i)[0]) for i in range(1, 6)]
        assert taken == [True] * 3 + [False] * 2
        refused = 0
        for event in frames:
            refused += not entry.deliver(to_decoder, event)
            await trio.testing.wait_all_tasks_blocked()
        assert refused > 0
        assert codec_pool().statistics().tasks_waiting == 2
        for borrower in list(codec_pool().statistics().borrowers):
            codec_pool().release_on_behalf_of(borrower)
        await wait_idle(graph)


@pytest.mark.parametrize(
    "options",
    [
        {"bit_rate": 1},
        {"max_width": 1},
        {"mtu": 20},
        {"key_interval": 0},
        {"request_interval": -1},
        {"payload_type": 128},
        {"wanted": PayloadFormat("VP9", 90000)},
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    given = {"wanted": FORMATS[97], "payload_type": 97, **options}
    with pytest.raises(ValueError, match="encoding|" + next(iter(options))):
        VideoEncoder("test", "node", **given)
    with pytest.raises(ValueError, match="max_delay"):
        VideoDecoder("test", "node", max_delay=-1)
