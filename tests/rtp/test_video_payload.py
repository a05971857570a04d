"""What payloads of VP8 and H.264 hold of a frame, and how frames are cut into payloads."""

from collections.abc import Callable
from fractions import Fraction
from functools import cache

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtp.video.fragment import Fragment
from rtp.video.h264 import (
    START_CODE,
    ParameterSets,
    is_h264_key_frame,
    read_h264,
    split_h264,
    units_of,
)
from rtp.video.vp8 import is_vp8_key_frame, read_vp8, split_vp8

from .moving_pattern import pattern

SPS, PPS, SEI, FILLER = b"\x67sps", b"\x68pps", b"\x06sei", b"\x0c\xff"
IDR, INTRA, INTRA_ONLY, PREDICTED = b"\x65\x88i", b"\x61\xb0i", b"\x61\x88i", b"\x61\x9ap"
SECOND_SLICE = b"\x61\x40p"


@given(st.sampled_from([read_vp8, read_h264]), st.binary(max_size=40))
def test_no_payload_raises(read: Callable[[bytes], Fragment | None], payload: bytes) -> None:
    fragment = read(payload)
    assert fragment is None or len(fragment.data) <= 3 * len(payload) + len(START_CODE)


@pytest.mark.parametrize(
    ("descriptor", "begins"),
    [
        ("10", True),
        ("00", False),  # goes on
        ("11", False),  # another partition
        ("50", True),  # reserved bit
        ("30", True),  # reference to no frame
        ("90 00", True),
        ("90 80 11", True),  # PictureID
        ("90 80 91 22", True),  # of 15 bits
        ("90 40 33", True),  # TL0PICIDX
        ("90 20 44", True),  # TID
        ("90 10 44", True),  # KEYIDX
        ("90 f0 91 22 33 44", True),
        ("80 f0 91 22 33 44", False),
    ],
)
def test_vp8_descriptors_are_read_and_those_that_are_cut_off_are_not(
    descriptor: str, begins: bool
) -> None:
    octets = bytes.fromhex(descriptor)
    assert read_vp8(octets + b"data") == Fragment(b"data", begins)
    assert read_vp8(octets) == Fragment(b"", begins)
    for end in range(1, len(octets)):
        assert read_vp8(octets[:end]) is None


@pytest.mark.parametrize(
    ("payload", "units", "begins"),
    [
        (IDR, [IDR], True),
        (SECOND_SLICE, [SECOND_SLICE], False),
        (FILLER, [FILLER], False),
        (b"\x0a", [b"\x0a"], False),  # end of sequence: a single octet
        (b"\x78\0\4" + SPS + b"\0\4" + PPS, [SPS, PPS], True),
        (b"\x78\0\2" + FILLER + b"\0\4" + PPS, [FILLER, PPS], False),
        (b"\x7c\x85\x88rest", [b"\x65\x88rest"], True),
        (b"\x7c\x81\x40rest", [b"\x61\x40rest"], False),
    ],
)
def test_h264_payloads_are_read(payload: bytes, units: list[bytes], begins: bool) -> None:
    fragment = read_h264(payload)
    assert fragment is not None
    assert units_of(fragment.data) == units
    assert fragment.begins is begins


def test_what_goes_on_in_h264_has_no_start_code() -> None:
    assert read_h264(b"\x7c\x05rest") == Fragment(b"rest", begins=False)


@pytest.mark.parametrize(
    "payload",
    [
        b"\0",
        b"\x78",  # an aggregate of nothing
        b"\x78\0",
        b"\x78\0\0",
        b"\x78\0\5" + SPS,
        b"\x78\0\4" + SPS + b"\0",
        b"\x7c",
        b"\x7c\x85",
        b"\x79\0\4" + SPS,  # STAP-B, and others of the interleaved mode
        b"\x7d\x85\0\0data",
        b"\x7f",
    ],
)
def test_h264_that_is_cut_off_or_interleaved_is_not_read(payload: bytes) -> None:
    assert read_h264(payload) is None


def joined(payloads: list[bytes], read: Callable[[bytes], Fragment | None]) -> bytes:
    fragments = [read(payload) for payload in payloads]
    assert all(fragment is not None for fragment in fragments)
    return b"".join(fragment.data for fragment in fragments if fragment is not None)


@given(st.binary(min_size=1, max_size=500), st.integers(2, 100))
def test_vp8_frames_survive_being_cut(frame: bytes, size: int) -> None:
    payloads = split_vp8(frame, size)
    assert max(map(len, payloads)) <= size
    assert joined(payloads, read_vp8) == frame
    assert [i for i, p in enumerate(payloads) if (f := read_vp8(p)) and f.begins] == [0]


UNITS = st.lists(
    st.tuples(st.integers(1, 23), st.lists(st.integers(1, 255), min_size=1, max_size=200)).map(
        lambda unit: bytes([0x60 | unit[0], *unit[1]])
    ),
    min_size=1,
    max_size=8,
)


@given(UNITS, st.integers(3, 100), st.sampled_from([b"\0\0\1", START_CODE]))
def test_h264_units_survive_being_cut_and_joined(
    units: list[bytes], size: int, start_code: bytes
) -> None:
    payloads = split_h264(b"".join(start_code + unit for unit in units), size)
    assert max(map(len, payloads)) <= size
    assert units_of(joined(payloads, read_h264)) == units


def test_vp8_key_frame_has_a_start_code_and_a_size() -> None:
    frame = b"\x10\x02\0\x9d\x01\x2a\x10\0\x10\0"
    assert is_vp8_key_frame(frame)
    assert not is_vp8_key_frame(frame[:-1])
    assert not is_vp8_key_frame(b"\x11" + frame[1:])
    assert not is_vp8_key_frame(frame[:3] + b"abc" + frame[6:])


@pytest.mark.parametrize(
    ("units", "key"),
    [
        ([SPS, PPS, IDR], True),
        ([IDR], True),
        ([SPS, PPS, SEI, INTRA], True),
        ([SPS, PPS, INTRA_ONLY, SECOND_SLICE], True),
        ([INTRA], False),  # those after it may need those before it
        ([SPS, PPS, PREDICTED], False),
        ([PREDICTED], False),
    ],
)
def test_decoder_can_begin_with_idr_or_with_intra_and_a_parameter_set(
    units: list[bytes], key: bool
) -> None:
    assert is_h264_key_frame(units) is key


def test_parameter_sets_are_put_before_key_frames_that_come_without() -> None:
    sets = ParameterSets()
    sets.learn([SPS])
    assert sets.complete([IDR]) is None
    sets.learn([PPS, b"\x67new"])
    assert units_of(sets.complete([IDR]) or b"") == [b"\x67new", PPS, IDR]
    assert units_of(sets.complete([SEI, PPS, IDR]) or b"") == [b"\x67new", SEI, PPS, IDR]


@cache
def frames_of_x264(parameters: str) -> list[tuple[bool, bytes]]:
    """In the order of decoding: whether x264 says that it is key, and the frame."""
    context = av.CodecContext.create("libx264", "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height, context.pix_fmt = 320, 240, "yuv420p"
    context.time_base, context.framerate = Fraction(1, 90000), Fraction(30)
    context.thread_count = 1
    context.options = {"preset": "veryfast", "x264-params": parameters}
    packets = [packet for i in range(40) for packet in context.encode(pattern(i))]
    return [(packet.is_keyframe, bytes(packet)) for packet in packets + context.encode(None)]


@pytest.mark.parametrize("parameters", ["keyint=10", "keyint=10:open-gop=1:bframes=2"])
def test_key_frames_of_x264_are_known_and_can_be_begun_with(parameters: str) -> None:
    frames = frames_of_x264(parameters + ":scenecut=0:repeat-headers=1")
    keys = []
    for number, (key, frame) in enumerate(frames):
        units = units_of(joined(split_h264(frame, 200), read_h264))
        assert is_h264_key_frame(units) is key
        if key:
            keys.append(number)
    assert len(keys) == 4
    assert (parameters == "keyint=10") == all(b"\1\x65" in frames[n][1] for n in keys)
    decoder = av.CodecContext.create("h264", "r")
    assert isinstance(decoder, av.VideoCodecContext)
    decoder.thread_count = 1
    images = [i for _, frame in frames[keys[2] :] for i in decoder.decode(av.Packet(frame))]
    assert len(images) + len(decoder.decode(None)) >= len(frames) - keys[2] - 2
    assert not images[0].is_corrupt


def test_predicted_pictures_are_no_key_frames_though_parameter_sets_stand_before_them() -> None:
    frames = frames_of_x264("keyint=10:scenecut=0:intra-refresh=1:repeat-headers=1")
    found = [is_h264_key_frame(units_of(joined(split_h264(f, 200), read_h264))) for _, f in frames]
    assert found == [True] + [False] * 39
    assert sum(key for key, _ in frames) == 4  # says x264: pictures become whole bit by bit
