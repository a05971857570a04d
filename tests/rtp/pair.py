"""Two sessions and the wire between them: what tests use instead of mocks."""

import random
from typing import Any

from rtp.latch import Address
from rtp.packet import RtpPacket, build_packet
from rtp.payload_format import PCMA, PCMU
from rtp.rtcp import RtcpEvent
from rtp.session import RtpSession

FORMATS = {0: PCMU, 8: PCMA}
LEFT: Address = ("192.0.2.1", 5000)
RIGHT: Address = ("192.0.2.2", 6000)
STRAY: Address = ("203.0.113.9", 7000)
SSRC_OF_SOURCE = 0xABCD
PAYLOAD = bytes(160)


def rtp(
    sequence_number: int,
    *,
    timestamp: int | None = None,
    ssrc: int = SSRC_OF_SOURCE,
    payload_type: int = 0,
    marker: int = 0,
    payload: bytes = PAYLOAD,
) -> bytes:
    """A packet of a source outside; 20 ms of PCMU, if nothing else is said."""
    return build_packet(
        payload,
        payload_type=payload_type,
        sequence_number=sequence_number % (1 << 16),
        timestamp=(sequence_number * 160 if timestamp is None else timestamp) % (1 << 32),
        ssrc=ssrc,
        marker=marker,
    )


def make_session(seed: int = 1, **options: Any) -> RtpSession:
    """A session at time 0 that draws the same numbers in every run."""
    return RtpSession(FORMATS, **{"now": 0.0, "random": random.Random(seed).random, **options})


class Pair:
    """`left` sends and learns nothing; `right` learns `left`'s address.

    Time stands still but for `run`; a datagram arrives `delay` seconds after it was sent.
    """

    def __init__(self, *, delay: float = 0.0, **options: Any) -> None:
        self.now = 0.0
        self.delay = delay
        self.left = make_session(1, cname="left", remote_rtp=RIGHT, **options)
        self.right = make_session(2, cname="right", **options)
        self.events: dict[str, list[RtcpEvent]] = {"left": [], "right": []}
        self.packets: list[RtpPacket] = []

    def send(self) -> RtpPacket | None:
        """One packet from left to right; what right took of it."""
        data = self.left.outgoing.packetize(PAYLOAD, 0, 160, self.now)
        packet = self.right.receive_datagram(data, LEFT, self.now + self.delay)
        assert not isinstance(packet, list)
        if packet is not None:
            self.packets.append(packet)
        return packet

    def run(self, seconds: float, *, interval: float = 0.02, sending: bool = True) -> None:
        """Send at an even pace, and carry RTCP both ways."""
        for _ in range(round(seconds / interval)):
            if sending:
                self.send()
            self.carry_rtcp()
            self.now += interval

    def carry_rtcp(self) -> None:
        self.left.handle_timer(self.now)
        self.right.handle_timer(self.now)
        arrival = self.now + self.delay
        for data, address in self.left.rtcp_to_send():
            assert address == RIGHT
            self.events["right"] += self.right.receive_rtcp(data, LEFT, arrival)
        for data, address in self.right.rtcp_to_send():
            assert address == LEFT
            self.events["left"] += self.left.receive_rtcp(data, RIGHT, arrival)
