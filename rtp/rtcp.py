"""RTCP on the wire, and what of it a node may want to know.

`aiortc.rtp` has the packet classes. Around them stands what they lack: the checks on a
compound packet of RFC 3550, appendix A.2, and one place that contains what they raise
on junk. Each packet of a compound is parsed on its own, because aiortc misreads SDES
with several chunks (it does not skip the padding between them): a bad SDES then does not
cost us the report or BYE beside it, and of several chunks only the first is believed.
"""

import struct
from collections.abc import Iterable
from typing import Final

import msgspec
from aiortc.rtp import (
    RTCP_RR,
    RTCP_SR,
    AnyRtcpPacket,
    RtcpByePacket,
    RtcpPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpSdesPacket,
    RtcpSenderInfo,
    RtcpSourceInfo,
    RtcpSrPacket,
)

from .drops import DropReason
from .packet import VERSION
from .seqnum import TIMESTAMP_MODULUS, signed_difference

SDES_CNAME: Final = 1
MAX_CNAME: Final = 255
"""Octets; an SDES item has an 8-bit length (§6.5)."""

_HEADER_LENGTH = 4
_PADDING_BIT = 0x20
_NTP_EPOCH = 2_208_988_800
"""Seconds from 1900, where NTP begins, to 1970, where Unix does."""


class SenderReport(msgspec.Struct, frozen=True):
    """A peer's word on what it sent, and when (RFC 3550 §6.4.1).

    Attributes:
        ssrc: of the sender.
        ntp_timestamp: its wall clock, 64 bits: seconds since 1900 in 32.32 fixed point.
        rtp_timestamp: the same moment on its media clock, in ticks.
        packet_count, octet_count: sent so far, octets of payload; they roll over at 2**32.
    """

    ssrc: int
    ntp_timestamp: int
    rtp_timestamp: int
    packet_count: int
    octet_count: int


class ReceptionReport(msgspec.Struct, frozen=True):
    """How a peer receives what we send (RFC 3550 §6.4.1).

    Attributes:
        reporter: SSRC of the peer.
        fraction_lost: 0..1, since its previous report.
        packets_lost: since its start; below zero after duplicates.
        highest_sequence: extended sequence number, 32 bits.
        jitter_ticks: interarrival jitter in clock ticks of what we send.
        round_trip: seconds to the peer and back; None until it has heard a report of ours.
    """

    reporter: int
    fraction_lost: float
    packets_lost: int
    highest_sequence: int
    jitter_ticks: int
    round_trip: float | None


class Goodbye(msgspec.Struct, frozen=True):
    """A source that we knew has left (RFC 3550 §6.6)."""

    ssrc: int


RtcpEvent = SenderReport | ReceptionReport | Goodbye


def parse_compound(  # noqa: PLR0911 - a return for each reason reads as the list of rules it is
    data: bytes,
) -> list[AnyRtcpPacket] | DropReason:
    """Take a compound RTCP packet apart.

    Args:
        data: one datagram, whatever is in it.
    Returns:
        its packets, the first a sender or receiver report, without those that are unknown or
        malformed within their bounds; or why it is no compound packet. Never raises.
    Source: RFC 3550 §6.1 and appendix A.2.
    """
    if len(data) < _HEADER_LENGTH:
        return DropReason.TRUNCATED
    if data[0] >> 6 != VERSION:
        return DropReason.WRONG_VERSION
    if data[0] & _PADDING_BIT or data[1] not in {RTCP_SR, RTCP_RR}:
        return DropReason.MALFORMED
    packets: list[AnyRtcpPacket] = []
    start = 0
    while start < len(data):
        if len(data) - start < _HEADER_LENGTH:
            return DropReason.TRUNCATED
        if data[start] >> 6 != VERSION:
            return DropReason.MALFORMED
        end = start + _HEADER_LENGTH + 4 * int.from_bytes(data[start + 2 : start + 4], "big")
        if end > len(data):
            return DropReason.TRUNCATED
        try:
            packets += RtcpPacket.parse(data[start:end])
        except (ValueError, IndexError, struct.error):
            if start == 0:
                return DropReason.MALFORMED
        start = end
    return packets


def build_compound(
    ssrc: int,
    cname: str,
    *,
    sender_info: RtcpSenderInfo | None,
    blocks: list[RtcpReceiverInfo],
    goodbye: bool = False,
) -> bytes:
    """Serialise a report with our name, and BYE if we leave.

    Args:
        sender_info: makes it a sender report; None a receiver report.
        blocks: at most 31.
    Source: RFC 3550 §6.1.
    """
    packets: Iterable[AnyRtcpPacket] = [
        RtcpRrPacket(ssrc, blocks)
        if sender_info is None
        else RtcpSrPacket(ssrc, sender_info, blocks),
        RtcpSdesPacket([RtcpSourceInfo(ssrc, [(SDES_CNAME, cname.encode())])]),
        *([RtcpByePacket([ssrc])] if goodbye else []),
    ]
    return b"".join(bytes(packet) for packet in packets)


def cname_in(packet: RtcpSdesPacket, ssrc: int) -> str | None:
    """The canonical name of `ssrc`, if the first chunk tells it (RFC 3550 §6.5.1)."""
    for chunk in packet.chunks[:1]:
        for kind, value in chunk.items:
            if chunk.ssrc == ssrc and kind == SDES_CNAME:
                return value.decode(errors="replace")
    return None


def ntp_timestamp(unix_time: float) -> int:
    """64-bit NTP timestamp of a Unix time in seconds (RFC 3550 §4)."""
    return int((unix_time + _NTP_EPOCH) * (1 << 32)) & (1 << 64) - 1


def round_trip(block: RtcpReceiverInfo, ntp_now: int) -> float | None:
    """Seconds from us to the reporter and back.

    Args:
        block: a report block on our own stream.
        ntp_now: 64-bit NTP timestamp of its arrival.
    Returns:
        None if the reporter has had no sender report yet, or tells a time to come.
    Source: RFC 3550 §6.4.1, figure 2.
    """
    if not block.lsr:
        return None
    arrival = (ntp_now >> 16) % TIMESTAMP_MODULUS
    sent = (block.lsr + block.dlsr) % TIMESTAMP_MODULUS
    elapsed = signed_difference(arrival, sent, modulus=TIMESTAMP_MODULUS)
    return elapsed / 65536 if elapsed >= 0 else None
