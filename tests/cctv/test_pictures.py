"""H.264 of a camera becomes RTP that browsers take."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from rtp.packet import RtpPacket
from rtp.video.frames import FrameAssembler
from tests.cctv_support.film import FRAME_RATE, film
from tests.cctv_support.parts import pictures

SPS = 7
TICKS = 90000 // FRAME_RATE


def without_parameter_sets(frame: bytes) -> bytes:
    kept = [unit for unit in pictures.units_in(frame) if unit[0] & 31 not in {7, 8, 6}]
    return b"".join(b"\0\0\1" + unit for unit in kept)  # the short start code


def test_frames_come_out_of_the_packets_as_they_went_in() -> None:
    made = pictures.CameraPictures()
    assembler = FrameAssembler({pictures.PAYLOAD_TYPE: "H264"})
    sent = film(30)
    got = []
    for data, time, _ in sent:
        for packet in made.packets(data, time):
            got += assembler.put(packet, time)
    assert [pictures.units_in(frame.data) for frame in got] == [
        pictures.units_in(data) for data, _, _ in sent
    ]
    assert [frame.key for frame in got] == [key for _, _, key in sent]
    assert {b.timestamp - a.timestamp for a, b in pairwise(got)} == {TICKS}
    assert not made.drops
    assert made.reordered == 0


def test_key_frames_get_the_parameter_sets_that_were_told_beside_the_stream() -> None:
    made = pictures.CameraPictures()
    sent = film(12)
    description = b"".join(
        b"\0\0\0\1" + unit for unit in pictures.units_in(sent[0][0]) if unit[0] & 31 in {7, 8}
    )
    made.begin(description)
    for data, time, key in sent:
        packets = made.packets(without_parameter_sets(data), time)
        assert [pictures.begins_key_frame(packet) for packet in packets] == [
            key and i == 0 for i in range(len(packets))
        ]


def test_nothing_goes_out_before_a_key_frame_with_parameter_sets() -> None:
    made = pictures.CameraPictures()
    sent = film(21)
    for data, time, _ in sent[5:10]:
        assert made.packets(data, time) == []
    assert made.packets(without_parameter_sets(sent[10][0]), 0.4) == []
    assert made.packets(*sent[20][:2])
    assert made.drops == {"before key frame": 6}


def test_time_only_goes_forward_with_b_frames() -> None:
    made = pictures.CameraPictures()
    packets = [made.packets(data, time)[0] for data, time, _ in film(30, gop=30, b_frames=2)]
    assert all(0 < later - sooner < 2**31 for sooner, later in steps(packets))
    assert made.reordered > 5


def test_clock_that_was_set_back_goes_on_from_there() -> None:
    made = pictures.CameraPictures()
    sent = film(20)
    packets = [
        made.packets(data, time + (1000 if i < 10 else 0))[0]
        for i, (data, time, _) in enumerate(sent)
    ]
    assert {later - sooner for sooner, later in steps(packets)} == {TICKS}


def steps(packets: list[RtpPacket]) -> list[tuple[int, int]]:
    first = packets[0].timestamp
    return list(pairwise((packet.timestamp - first) & 0xFFFFFFFF for packet in packets))


def test_frame_without_a_time_follows_the_last() -> None:
    made = pictures.CameraPictures()
    sent = film(4)
    times = [None, 7.0, None, 7.08]
    packets = [made.packets(d, t)[0] for (d, _, _), t in zip(sent, times, strict=True)]
    assert [later - sooner for sooner, later in steps(packets)] == [TICKS] * 3


def test_another_connection_is_another_source() -> None:
    made = pictures.CameraPictures()
    sent = film(11)
    first = made.packets(*sent[0][:2])[0]
    made.begin(b"")
    assert made.packets(*sent[1][:2]) == []
    assert made.packets(*sent[10][:2])[0].ssrc != first.ssrc


def test_frame_that_is_too_large_is_dropped() -> None:
    made = pictures.CameraPictures()
    assert made.packets(b"\0\0\1\x65" + b"\x11" * pictures.MAX_FRAME, 0.0) == []
    assert made.drops == {"too large": 1}


@given(st.lists(st.binary(max_size=60)), st.one_of(st.none(), st.floats(-1e6, 1e6)))
def test_whatever_a_camera_sends_raises_nothing(parts: list[bytes], time: float | None) -> None:
    made = pictures.CameraPictures()
    made.begin(film_start())
    made.packets(film_start(), 0.0)
    for packet in made.packets(b"\0\0\1".join([b"", *parts]), time):
        pictures.begins_key_frame(packet)


_START: list[bytes] = []


def film_start() -> bytes:
    if not _START:
        _START.append(film(1)[0][0])
    return _START[0]
