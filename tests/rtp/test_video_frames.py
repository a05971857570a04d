"""FrameAssembler: whole frames from packets of VP8 and H.264."""

import random
from typing import Any

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventgraph import Event
from rtp.packet import RtpPacket
from rtp.video.frames import REQUEST_INTERVAL, EncodedFrame, FrameAssembler
from rtp.webrtc import KEYFRAME_REQUEST

from .flash_and_beep import Camera
from .numbered import packet

DECODERS = {"VP8": "vp8", "H264": "h264"}


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
    assembler = FrameAssembler({97: "VP8"}, **options)
    frames = []
    for i, each in enumerate(packets):
        frames += assembler.put(each, i * 0.01)
    return frames, assembler


@pytest.mark.parametrize("encoding", ["VP8", "H264"])
def test_frames_are_decodable_whatever_is_lost(encoding: str) -> None:
    assembler = FrameAssembler({97: "VP8", 99: "H264"})
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
    assert assembler.frames_dropped["before key frame"] > 0
    assert frames > 150
    assert frames + sum(assembler.frames_dropped.values()) <= 300


def test_packets_out_of_order_make_the_same_frames() -> None:
    a, b, c, d = (vp8(9, 0, "K1"), vp8(10, 0, "K2"), vp8(11, 3000, "P1"), vp8(12, 3000, "P2"))
    frames, assembler = assembled([a, c, d, b])
    assert [(frame.timestamp, frame.key) for frame in frames] == [(0, True), (3000, False)]
    assert frames[0].arrival == 0.0
    assert frames[1].arrival == pytest.approx(0.01)  # when it came, not when it was whole
    assert assembler.drops == assembler.frames_dropped == {}


def test_after_loss_nothing_comes_before_the_next_key_frame() -> None:
    packets = [
        *(vp8(1, 0, "K1"), vp8(2, 0, "K2")),
        vp8(4, 3000, "P2"),
        *(vp8(5, 6000, "P1"), vp8(6, 6000, "P2")),
        *(vp8(7, 9000, "K1"), vp8(8, 9000, "K2")),
    ]
    frames, assembler = assembled(packets, max_wait=0.0)
    assert [frame.timestamp for frame in frames] == [0, 9000]
    assert assembler.frames_dropped == {"incomplete": 1, "before key frame": 1}
    assert assembler.lost == 1


def test_padding_and_a_missing_marker_are_no_loss() -> None:
    first = packet(2, 0, b"\x00rest")  # no marker
    padding = packet(3, 0, b"")
    frames, assembler = assembled(
        [vp8(1, 0, "K1"), first, padding, vp8(4, 3000, "P1"), vp8(5, 3000, "P2")]
    )
    assert [frame.timestamp for frame in frames] == [0, 3000]
    assert assembler.drops == assembler.frames_dropped == {}


def test_frames_without_end_are_dropped_and_take_no_memory() -> None:
    assembler = FrameAssembler({97: "VP8"}, max_frame=10_000)
    assembler.put(vp8(0, 0, "K1"), 0.0)
    for i in range(1, 1000):
        assembler.put(packet(i, 0, b"\x00" + bytes(1000)), i * 0.001)
    assert sum(map(len, assembler._parts)) < 12_000
    assembler.put(vp8(1000, 3000, "K1"), 1.0)
    assert assembler.frames_dropped == {"too large": 1}


def test_key_frames_are_asked_for_now_and_then_and_not_while_one_comes() -> None:
    assembler = FrameAssembler({97: "VP8"})
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
        FrameAssembler({97: "AV1"})


H264_KEY = b"\x78\0\4\x67sps\0\4\x68pps\0\3\x65\x88i"


def test_another_encoding_of_the_same_source_begins_with_a_key_frame() -> None:
    assembler = FrameAssembler({97: "VP8", 99: "H264"})
    packets = [
        *(vp8(1, 0, "K1"), vp8(2, 0, "K2")),
        packet(3, 3000, b"\x61\x9ap", marker=1, payload_type=99),
        packet(5, 9000, b"\x61\x9ap", marker=1, payload_type=99),
        packet(4, 6000, H264_KEY, marker=1, payload_type=99),
        *(vp8(6, 12000, "P1"), vp8(7, 12000, "P2")),
    ]
    frames = [frame for each in packets for frame in assembler.put(each, 0.0)]
    assert [(frame.encoding, frame.timestamp) for frame in frames] == [
        ("VP8", 0),
        ("H264", 6000),
        ("H264", 9000),
    ]
    assert assembler.frames_dropped == {"before key frame": 2}
    assert assembler.wants_key_frame(0.0)


def test_payloads_that_cannot_be_read_spoil_their_frame() -> None:
    cut_off = packet(2, 0, b"\x80", marker=1)
    frames, assembler = assembled(
        [vp8(1, 0, "K1"), cut_off, vp8(3, 3000, "K1"), vp8(4, 3000, "K2")]
    )
    assert [frame.timestamp for frame in frames] == [3000]
    assert assembler.drops == {"malformed": 1}
    assert assembler.frames_dropped == {"incomplete": 1}


def test_payload_types_that_mean_nothing_are_left_out() -> None:
    other = packet(9, 77, b"\x10data", payload_type=98, ssrc=7)
    frames, assembler = assembled([vp8(1, 0, "K1"), other, vp8(2, 0, "K2")])
    assert len(frames) == 1
    assert assembler.drops == {"unknown payload type": 1}
    assert not assembler.wants_key_frame(0.0)


def test_sources_that_alternate_are_not_asked_more_often() -> None:
    assembler = FrameAssembler({97: "VP8"})
    asked = 0
    for i in range(100):
        assembler.put(packet(i, i * 3000, b"\x10\x11", marker=1, ssrc=i % 2 + 1), i / 100)
        asked += assembler.wants_key_frame(i / 100)
    assert asked == 2


def test_key_frame_that_is_followed_by_loss_does_not_hasten_the_next_request() -> None:
    assembler = FrameAssembler({97: "VP8"}, max_wait=0.0)
    assembler.put(vp8(1, 0, "P1"), 0.0)
    assert assembler.wants_key_frame(0.0)
    for number, part in ((2, "K1"), (3, "K2"), (5, "P1")):
        assembler.put(vp8(number, 3000 * number // 2, part), 0.1)
    assert not assembler.wants_key_frame(REQUEST_INTERVAL - 0.01)
    assert assembler.wants_key_frame(REQUEST_INTERVAL)


def test_after_flush_the_same_source_begins_anew() -> None:
    assembler = FrameAssembler({97: "VP8"})
    for number, part in enumerate(("K1", "K2", "P1")):
        assembler.put(vp8(number, number // 2 * 3000, part), 0.0)
    assert assembler.flush() == []
    assert assembler.frames_dropped == {"incomplete": 1}
    assert not assembler.wants_key_frame(0.0)
    frames = [f for n, p in ((9, "P1"), (10, "P2")) for f in assembler.put(vp8(n, 9000, p), 0.0)]
    assert frames == []
    assert assembler.lost == 0
    assert assembler.wants_key_frame(0.0)


@given(
    st.lists(
        st.tuples(
            st.one_of(
                st.binary(max_size=30),
                st.just(H264_KEY),
                st.binary(max_size=8).map(lambda rest: b"\x10\x10\x02\0\x9d\x01\x2a" + rest),
            ),
            st.integers(0, 40),
            st.integers(0, 4),
            st.integers(0, 1),
            st.sampled_from([97, 99]),
            st.integers(1, 2),
        ),
        max_size=60,
    )
)
def test_no_packets_raise_and_each_source_begins_with_a_key_frame(
    junk: list[tuple[bytes, int, int, int, int, int]],
) -> None:
    assembler = FrameAssembler({97: "VP8", 99: "H264"}, max_wait=0.05, max_packets=8)
    frames = []
    for i, (payload, number, time, marker, payload_type, ssrc) in enumerate(junk):
        each = packet(
            number, time * 3000, payload, marker=marker, ssrc=ssrc, payload_type=payload_type
        )
        frames += assembler.put(each, i * 0.01)
    frames += assembler.flush()
    source = None
    for frame in frames:
        assert frame.key or (frame.ssrc, frame.encoding) == source
        assert frame.data
        source = (frame.ssrc, frame.encoding)
    assert sum(assembler.frames_dropped.values()) + len(frames) <= len(junk)
    assert sum(assembler.drops.values()) <= len(junk)
