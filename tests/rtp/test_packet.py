"""The packet view, held against aiortc's full parser."""

import struct
from typing import Any

import aiortc.rtp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtp.drops import DropReason
from rtp.packet import RtpPacket, build_packet, is_rtcp, parse_packet, with_extension

UINT16 = st.integers(0, (1 << 16) - 1)
UINT32 = st.integers(0, (1 << 32) - 1)


@st.composite
def packets(draw: st.DrawFn) -> aiortc.rtp.RtpPacket:
    """Any packet that aiortc can write."""
    packet = aiortc.rtp.RtpPacket(
        payload_type=draw(st.integers(0, 127)),
        marker=draw(st.integers(0, 1)),
        sequence_number=draw(UINT16),
        timestamp=draw(UINT32),
        ssrc=draw(UINT32),
        payload=draw(st.binary(max_size=200)),
    )
    packet.csrc = draw(st.lists(UINT32, max_size=15))
    packet.padding_size = draw(st.integers(0, 255))
    return packet


def parsed(data: bytes) -> RtpPacket:
    packet = parse_packet(data)
    assert isinstance(packet, RtpPacket)
    return packet


def extended(data: bytes, profile: int, value: bytes) -> bytes:
    """The same packet with a header extension in it."""
    return with_extension(data, struct.pack("!HH", profile, len(value) // 4) + value)


@given(packets())
def test_view_reads_what_aiortc_wrote(packet: aiortc.rtp.RtpPacket) -> None:
    view = parsed(packet.serialize())
    assert view.version == packet.version
    assert view.marker == packet.marker
    assert view.payload_type == packet.payload_type
    assert view.sequence_number == packet.sequence_number
    assert view.timestamp == packet.timestamp
    assert view.ssrc == packet.ssrc
    assert view.csrc == packet.csrc
    assert view.padding_size == packet.padding_size
    assert view.payload == packet.payload
    assert view.extension is None


@given(packets(), st.binary(max_size=40).map(lambda value: value[: len(value) // 4 * 4]))
def test_extension_is_read_apart_from_the_payload(
    packet: aiortc.rtp.RtpPacket, value: bytes
) -> None:
    view = parsed(extended(packet.serialize(), 0x1234, value))
    assert view.extension == (0x1234, value)
    assert view.csrc == packet.csrc
    assert view.payload == packet.payload


@given(
    st.one_of(
        st.binary(max_size=100),
        st.binary(min_size=11, max_size=100).map(lambda data: bytes([0x80 | data[0] & 63]) + data),
    )
)
def test_bytes_are_a_packet_exactly_if_aiortc_takes_them(data: bytes) -> None:
    view = parse_packet(data)
    try:
        packet = aiortc.rtp.RtpPacket.parse(data)
    except (ValueError, struct.error):
        # aiortc also decodes the extension, which we leave to whoever asks.
        assert isinstance(view, DropReason) or view.extension is not None
    else:
        assert isinstance(view, RtpPacket)
        assert view.payload == packet.payload


@given(
    payload=st.binary(max_size=100),
    payload_type=st.integers(0, 127),
    sequence_number=UINT16,
    timestamp=UINT32,
    ssrc=UINT32,
    marker=st.integers(0, 1),
    csrc=st.lists(UINT32, max_size=15),
)
def test_built_packet_is_read_back_by_aiortc(
    *,
    payload: bytes,
    payload_type: int,
    sequence_number: int,
    timestamp: int,
    ssrc: int,
    marker: int,
    csrc: list[int],
) -> None:
    data = build_packet(
        payload,
        payload_type=payload_type,
        sequence_number=sequence_number,
        timestamp=timestamp,
        ssrc=ssrc,
        marker=marker,
        csrc=csrc,
    )
    packet = aiortc.rtp.RtpPacket.parse(data)
    assert (packet.payload_type, packet.marker) == (payload_type, marker)
    assert (packet.sequence_number, packet.timestamp) == (sequence_number, timestamp)
    assert (packet.ssrc, packet.csrc, packet.payload) == (ssrc, csrc, payload)


@given(packets(), UINT32, UINT16, UINT32)
def test_rewriting_changes_the_header_and_nothing_else(
    packet: aiortc.rtp.RtpPacket, ssrc: int, sequence_number: int, timestamp: int
) -> None:
    data = packet.serialize()
    old = parsed(data)
    rewritten = old.rewritten(ssrc, sequence_number, timestamp, old.payload_type, old.marker)
    assert rewritten[12:] == data[12:]
    assert rewritten[:2] == data[:2]
    view = parsed(rewritten)
    assert (view.ssrc, view.sequence_number, view.timestamp) == (ssrc, sequence_number, timestamp)


def test_rewriting_can_change_payload_type_and_marker() -> None:
    data = build_packet(b"x", payload_type=96, sequence_number=1, timestamp=2, ssrc=3, marker=1)
    view = parsed(parsed(data).rewritten(3, 1, 2, payload_type=111, marker=0))
    assert (view.payload_type, view.marker, view.payload) == (111, 0, b"x")


@given(packets())
def test_rewriting_leaves_the_header_extension_behind(packet: aiortc.rtp.RtpPacket) -> None:
    old = parsed(extended(packet.serialize(), 0xABCD, b"four"))
    view = parsed(old.rewritten(1, 2, 3, old.payload_type, old.marker))
    assert view.extension is None
    assert view.csrc == packet.csrc
    assert (view.payload, view.padding_size) == (packet.payload, packet.padding_size)


PLAIN = build_packet(b"", payload_type=0, sequence_number=1, timestamp=2, ssrc=3)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", DropReason.TRUNCATED),
        (PLAIN[:11], DropReason.TRUNCATED),
        (b"\x81" + PLAIN[1:], DropReason.TRUNCATED),
        (b"\x90" + PLAIN[1:], DropReason.TRUNCATED),
        (b"\x90" + PLAIN[1:] + b"\0\0", DropReason.TRUNCATED),
        (b"\x90" + PLAIN[1:] + b"\0\0\0\1abc", DropReason.TRUNCATED),
        (b"\x40" + PLAIN[1:], DropReason.WRONG_VERSION),
        (b"\x00" + PLAIN[1:], DropReason.WRONG_VERSION),
        (b"\xa0" + PLAIN[1:] + b"\0", DropReason.MALFORMED),
        (b"\xa0" + PLAIN[1:] + b"\2", DropReason.MALFORMED),
        (b"\xa0" + PLAIN[1:], DropReason.MALFORMED),
    ],
)
def test_bytes_that_are_no_packet_have_a_reason(data: bytes, reason: DropReason) -> None:
    assert parse_packet(data) is reason


@pytest.mark.parametrize(
    "wrong",
    [
        {"payload_type": 128},
        {"marker": 2},
        {"csrc": [0] * 16},
        {"sequence_number": 65536},
        {"timestamp": -1},
        {"ssrc": 1 << 32},
    ],
)
def test_numbers_outside_their_field_are_refused(wrong: dict[str, Any]) -> None:
    right = {"payload_type": 0, "sequence_number": 0, "timestamp": 0, "ssrc": 0}
    with pytest.raises(ValueError, match="must"):
        build_packet(b"", **{**right, **wrong})


@pytest.mark.parametrize(
    ("second_octet", "expected"),
    [(0, False), (127, False), (191, False), (192, True), (200, True), (223, True), (224, False)],
)
def test_rtcp_is_told_from_rtp_by_its_second_octet(second_octet: int, expected: bool) -> None:
    assert is_rtcp(bytes([0x80, second_octet])) is expected


def test_short_datagram_is_not_rtcp() -> None:
    assert not is_rtcp(b"\x80")


def test_packet_prints_its_header_and_not_its_payload() -> None:
    assert repr(parsed(PLAIN + b"secret")) == (
        "RtpPacket(ssrc=3, payload_type=0, sequence_number=1, timestamp=2, marker=0, 6 octets)"
    )
