"""A session in numbers."""

import msgspec

from .drops import DropReason
from .latch import Address


class SessionStatistics(msgspec.Struct, frozen=True):
    """A session in numbers, since its start.

    Attributes:
        packets_received, octets_received: RTP that was taken; octets of payload.
        packets_sent, octets_sent: RTP under the present SSRC; octets of payload.
        packets_lost: expected minus received; below zero after duplicates.
        jitter: of the source heard last (seconds).
        round_trip: seconds; None until the peer has answered a sender report.
        rtcp_received, rtcp_sent: compound packets.
        rtcp_unsent: made, but pushed out of the bounded queue before they were collected.
        drops: received datagrams that were not taken, by `DropReason`.
        ssrc: ours. remote_ssrc: of the source heard last.
        remote_address: where RTP is sent to. remote_cname: the peer's canonical name.
    """

    packets_received: int
    octets_received: int
    packets_sent: int
    octets_sent: int
    packets_lost: int
    jitter: float
    round_trip: float | None
    rtcp_received: int
    rtcp_sent: int
    rtcp_unsent: int
    drops: dict[DropReason, int]
    ssrc: int
    remote_ssrc: int | None
    remote_address: Address | None
    remote_cname: str | None
