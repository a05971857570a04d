"""Packets of video with a number."""

from rtp.packet import RtpPacket, build_packet, parse_packet


def packet(
    number: int,
    timestamp: int = 0,
    payload: bytes = b"x",
    *,
    marker: int = 0,
    ssrc: int = 1,
    payload_type: int = 97,
) -> RtpPacket:
    parsed = parse_packet(
        build_packet(
            payload,
            payload_type=payload_type,
            sequence_number=number % 2**16,
            timestamp=timestamp % 2**32,
            ssrc=ssrc,
            marker=marker,
        )
    )
    assert isinstance(parsed, RtpPacket)
    return parsed
