"""ReorderBuffer: packets in the order in which they were sent, without a clock.

Not `rtp.jitter`: that plays sound out in time and conceals. A decoder of video wants each
packet as soon as those before it are there, and to know where some are missing.
"""

from typing import Final

import msgspec

from .packet import RtpPacket
from .seqnum import SEQUENCE_NUMBER_MODULUS, TIMESTAMP_MODULUS, Unwrapper, signed_difference

MAX_JUMP: Final = 3000
"""Packets; what is further away, either way, begins another numbering (RFC 3550, A.1)."""


class Ordered(msgspec.Struct, frozen=True):
    """A packet in its place.

    Attributes:
        follows_gap: whether packets just before it are missing; so it is with the first.
    """

    packet: RtpPacket
    follows_gap: bool


class ReorderBuffer:
    """Holds packets back until those before them have come, or are taken for lost.

    They are lost when `capacity` packets wait for them, or when what came last is more than
    `max_delay` younger than what waits, by their timestamps.

    Attributes:
        late: packets that came twice, or after they had been taken for lost.
        gaps: times that packets were taken for lost.
    """

    __slots__ = ("_capacity", "_max_delay", "_next", "_unwrapper", "_waiting", "gaps", "late")

    def __init__(self, *, capacity: int, max_delay: int) -> None:
        """
        Args:
            capacity: packets, at least 1.
            max_delay: clock ticks, at least 0.
        """
        self.late = 0
        self.gaps = 0
        self._capacity = capacity
        self._max_delay = max_delay
        self.clear()

    def clear(self) -> None:
        """Forget all packets: what comes next is of another source."""
        self._unwrapper = Unwrapper(modulus=SEQUENCE_NUMBER_MODULUS)
        self._next: int | None = None
        self._waiting: dict[int, RtpPacket] = {}

    def put(self, packet: RtpPacket) -> list[Ordered]:
        """Take a packet of the source; those whose turn it is now."""
        number = self._unwrapper.unwrap(packet.sequence_number)
        begins = self._next is None
        if self._next is None:
            self._next = number
        ahead = number - self._next
        if -MAX_JUMP <= ahead < 0 or number in self._waiting:
            self.late += 1
            return []
        released: list[Ordered] = []
        if not -MAX_JUMP <= ahead <= MAX_JUMP:
            released = self.flush()
            self._next = number - 1  # so that there is a gap before it
        self._waiting[number] = packet
        self._release(released, follows_gap=begins)
        while self._waiting and self._is_lost(packet):
            self._skip(released)
        return released

    def flush(self) -> list[Ordered]:
        """Wait for nothing more: all that is there."""
        released: list[Ordered] = []
        while self._waiting:
            self._skip(released)
        return released

    def _is_lost(self, newest: RtpPacket) -> bool:
        oldest = self._waiting[min(self._waiting)]
        age = signed_difference(newest.timestamp, oldest.timestamp, modulus=TIMESTAMP_MODULUS)
        return len(self._waiting) >= self._capacity or age > self._max_delay

    def _skip(self, released: list[Ordered]) -> None:
        self.gaps += 1
        self._next = min(self._waiting)
        self._release(released, follows_gap=True)

    def _release(self, released: list[Ordered], *, follows_gap: bool) -> None:
        assert self._next is not None
        while (packet := self._waiting.pop(self._next, None)) is not None:
            released.append(Ordered(packet, follows_gap))
            follows_gap = False
            self._next += 1
