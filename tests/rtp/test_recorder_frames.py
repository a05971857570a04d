"""Whole frames from packets: what a recorder takes of VP8, H.264 and Opus."""

import random
from typing import Any

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventgraph import Event
from rtp.opus_packet import SILENCE, opus_samples
from rtp.packet import RtpPacket, build_packet, parse_packet
from rtp.reorder import ReorderBuffer
from rtp.video_frames import REQUEST_INTERVAL, EncodedFrame, FrameAssembler
from rtp.webrtc import KEYFRAME_REQUEST

from .flash_and_beep import Camera

DECODERS = {"VP8": "vp8", "H264": "h264"}


def packet(
    number: int, timestamp: int = 0, payload: bytes = b"x", *, marker: int = 0, ssrc: int = 1
) -> RtpPacket:
    parsed = parse_packet(
        build_packet(
            payload,
            payload_type=97,
            sequence_number=number % 2**16,
            timestamp=timestamp % 2**32,
            ssrc=ssrc,
            marker=marker,
        )
    )
    assert isinstance(parsed, RtpPacket)
    return parsed


def vp8(number: int, timestamp: int, part: str) -> RtpPacket:
    """Of a frame of two packets: "K1" and "K2" of a key frame, "P1" and "P2" of another."""
    payload = {
        "K1": b"\x10\x10\x02\x00\x9d\x01\x2a\x10\x00\x10\x00",
        "P1": b"\x10\x11",
        "K2": b"\x00rest",
        "P2": b"\x00rest",
    }[part]
    return packet(number, timestamp, payload, marker=int(part[1] == "2"))


def assembled(packets: list[RtpPacket], **options: Any) -> tuple[list[EncodedFrame], Any]:
    assembler = FrameAssembler("VP8", **options)
    frames = []
    for i, each in enumerate(packets):
        frames += assembler.put(each, i * 0.01)
    return frames, assembler


@pytest.mark.parametrize("encoding", ["VP8", "H264"])
def test_frames_are_decodable_whatever_is_lost(encoding: str) -> None:
    assembler = FrameAssembler(encoding)
    decoder = av.CodecContext.create(DECODERS[encoding], "r")
    assert isinstance(decoder, av.VideoCodecContext)
    rng = random.Random(7)
    camera = Camera(encoding)
    frames = 0
    for second, events in camera.source(0, 12):
        for event in events:
            if rng.random() < 0.03:
                continue
            for frame in assembler.put(event.obj, second):
                assert frames or frame.key
                assert len(decoder.decode(av.Packet(frame.data))) == 1
                frames += 1
            if assembler.wants_key_frame(second):
                camera.on_event(Event(KEYFRAME_REQUEST))
    assert assembler.lost > 0
    assert assembler.drops["before key frame"] > 0
    assert frames > 150
    assert frames + sum(assembler.drops.values()) <= 300


def test_packets_out_of_order_make_the_same_frames() -> None:
    a, b, c, d = (vp8(9, 0, "K1"), vp8(10, 0, "K2"), vp8(11, 3000, "P1"), vp8(12, 3000, "P2"))
    frames, assembler = assembled([a, c, d, b])
    assert [(frame.timestamp, frame.key) for frame in frames] == [(0, True), (3000, False)]
    assert frames[0].arrival == 0.0
    assert frames[1].arrival == pytest.approx(0.01)  # when it came, not when it was whole
    assert assembler.drops == {}


def test_after_loss_nothing_comes_before_the_next_key_frame() -> None:
    packets = [
        *(vp8(1, 0, "K1"), vp8(2, 0, "K2")),
        vp8(4, 3000, "P2"),
        *(vp8(5, 6000, "P1"), vp8(6, 6000, "P2")),
        *(vp8(7, 9000, "K1"), vp8(8, 9000, "K2")),
    ]
    frames, assembler = assembled(packets, max_wait=0.0)
    assert [frame.timestamp for frame in frames] == [0, 9000]
    assert assembler.drops == {"incomplete": 1, "before key frame": 1}
    assert assembler.lost == 1


def test_padding_and_a_missing_marker_are_no_loss() -> None:
    first = packet(2, 0, b"\x00rest")  # no marker
    padding = packet(3, 0, b"")
    frames, assembler = assembled(
        [vp8(1, 0, "K1"), first, padding, vp8(4, 3000, "P1"), vp8(5, 3000, "P2")]
    )
    assert [frame.timestamp for frame in frames] == [0, 3000]
    assert assembler.drops == {}


def test_frames_without_end_are_dropped_and_take_no_memory() -> None:
    assembler = FrameAssembler("VP8", max_frame=10_000)
    assembler.put(vp8(0, 0, "K1"), 0.0)
    for i in range(1, 1000):
        assembler.put(packet(i, 0, b"\x00" + bytes(1000)), i * 0.001)
    assert sum(map(len, assembler._parts)) < 12_000
    assembler.put(vp8(1000, 3000, "K1"), 1.0)
    assert assembler.drops == {"too large": 1}


def test_key_frames_are_asked_for_now_and_then_and_not_while_one_comes() -> None:
    assembler = FrameAssembler("VP8")
    assert not assembler.wants_key_frame(0.0)  # there is nobody to ask yet
    assembler.put(vp8(1, 0, "P1"), 0.0)
    assert assembler.wants_key_frame(0.0)
    assert not assembler.wants_key_frame(REQUEST_INTERVAL - 0.01)
    assert assembler.wants_key_frame(REQUEST_INTERVAL)
    assembler.put(vp8(2, 0, "P2"), 0.6)
    assembler.put(vp8(3, 3000, "K1"), 0.6)
    assert not assembler.wants_key_frame(10.0)
    assert len(assembler.put(vp8(4, 3000, "K2"), 0.7)) == 1
    assert not assembler.wants_key_frame(20.0)


def test_other_encodings_are_refused() -> None:
    with pytest.raises(ValueError, match=r"AV1.*VP8"):
        FrameAssembler("AV1")


@given(st.permutations(range(12)), st.integers(0, 65535))
def test_reordered_packets_come_out_in_order(order: list[int], first: int) -> None:
    buffer = ReorderBuffer(max_wait=100.0, max_packets=100)
    buffer.put(packet(first), 0.0)
    out = []
    for i in order:
        out += buffer.put(packet(first + 1 + i), 1.0)
    assert [each.sequence_number for _, each in out] == [(first + 1 + i) % 2**16 for i in range(12)]
    assert len(buffer) == buffer.lost == 0


@pytest.mark.parametrize(("max_wait", "max_packets"), [(0.05, 100), (100.0, 4)])
def test_lost_packet_is_not_waited_for_longer_than_allowed(
    max_wait: float, max_packets: int
) -> None:
    buffer = ReorderBuffer(max_wait=max_wait, max_packets=max_packets)
    out = buffer.put(packet(0), 0.0)
    for i in range(2, 10):
        out += buffer.put(packet(i), i * 0.01)
        assert len(buffer) <= max_packets
    assert [each.sequence_number for _, each in out] == [0, 2, 3, 4, 5, 6, 7, 8, 9]
    assert buffer.lost == 1
    assert buffer.put(packet(1), 0.2) == []
    assert buffer.drops == {"late": 1}


def test_one_stray_packet_does_not_move_the_window_and_two_in_sequence_do() -> None:
    buffer = ReorderBuffer(max_wait=1.0, max_packets=10)
    numbers = [0, 30_000, 1, 40_000, 40_001]
    out = [each for i, n in enumerate(numbers) for _, each in buffer.put(packet(n), i * 0.01)]
    assert [each.sequence_number for each in out] == [0, 1, 40_001]
    assert buffer.drops == {"sequence jump": 2}


@pytest.mark.parametrize(
    ("payload", "samples"),
    [
        (SILENCE, 960),
        (b"\x78\0", 960),  # hybrid, 20 ms
        (b"\x18\0", 2880),  # SILK, 60 ms
        (b"\x80\0", 120),  # CELT, 2.5 ms
        (b"\xf9\0", 1920),  # two frames
        (b"\xfb\x03\0", 2880),  # three
        (b"\x1b\x02\0", 5760),  # 120 ms
        (b"\x1b\x03\0", None),  # 180 ms
        (b"\xfb", None),
        (b"\xfb\0", None),
        (b"", None),
    ],
)
def test_opus_packets_tell_how_long_they_last(payload: bytes, samples: int | None) -> None:
    assert opus_samples(payload) == samples
