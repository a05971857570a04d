"""Timeline: where a source's packets stand, in sequence and in time, past every rollover."""

from typing import Final

from .packet import RtpPacket
from .reception import MAX_DROPOUT, MAX_MISORDER
from .seqnum import SEQUENCE_NUMBER_MODULUS, TIMESTAMP_MODULUS, signed_difference

MAX_PACKET_DURATION: Final = 0.12
"""Seconds; Opus and RFC 3551 have none longer. A longer step of the timestamps is silence."""
MAX_TRANSIT_FALL: Final = 1.0
"""Seconds by which a packet may be faster than the one before; more is another clock."""

_MASK_16 = SEQUENCE_NUMBER_MODULUS - 1


class Timeline:
    """Extends the numbers of one source, and notices when they begin anew.

    Attributes:
        duration: seconds of sound in a packet, by the last two in sequence.
    """

    __slots__ = (
        "_begun",
        "_clock_rate",
        "_last_transit",
        "_newest",
        "_newest_time",
        "_newest_timestamp",
        "_next_after_jump",
        "duration",
    )

    def __init__(self, clock_rate: int, duration: float) -> None:
        """
        Args:
            clock_rate: Hz.
            duration: seconds of sound in a packet, until two in sequence have shown it.
        """
        self.duration = duration
        self._clock_rate = clock_rate
        self._begun = False
        self._newest = 0  # sequence number, unwrapped
        self._newest_time = 0.0  # its timestamp in seconds, unwrapped
        self._newest_timestamp = 0
        self._last_transit = 0.0
        self._next_after_jump = -1

    def place(self, packet: RtpPacket, now: float) -> tuple[int, float, bool] | None:
        """Find a packet's place.

        Args:
            now: time of arrival (seconds).
        Returns:
            its sequence number and its time (seconds), both past rollovers, and whether all
            before it is void, because the source began anew. None for the first packet after a
            jump in sequence that is neither loss nor reordering (RFC 3550, appendix A.1).
        """
        if not self._begun:
            self._begun = True
            return self._begin_at(packet, now)
        ahead = signed_difference(
            packet.sequence_number, self._newest & _MASK_16, modulus=SEQUENCE_NUMBER_MODULUS
        )
        if not -MAX_MISORDER < ahead <= MAX_DROPOUT:
            if packet.sequence_number != self._next_after_jump:
                self._next_after_jump = packet.sequence_number + 1 & _MASK_16
                return None
            return self._begin_at(packet, now, restarts=True)
        step = (
            signed_difference(packet.timestamp, self._newest_timestamp, modulus=TIMESTAMP_MODULUS)
            / self._clock_rate
        )
        number = self._newest + ahead
        time = self._newest_time + step
        if ahead > 0:
            transit = now - time
            # Time runs backwards, or overtakes arrival: another clock.
            if step < 0 or transit < self._last_transit - MAX_TRANSIT_FALL:
                return self._begin_at(packet, now, restarts=True)
            if ahead == 1 and 0 < step <= MAX_PACKET_DURATION + 1e-6 and not packet.marker:
                self.duration = step
            self._newest = number
            self._newest_time = time
            self._newest_timestamp = packet.timestamp
            self._last_transit = transit
        return number, time, False

    def _begin_at(
        self, packet: RtpPacket, now: float, *, restarts: bool = False
    ) -> tuple[int, float, bool]:
        self._newest = packet.sequence_number
        self._newest_timestamp = packet.timestamp
        self._newest_time = packet.timestamp / self._clock_rate
        self._last_transit = now - self._newest_time
        self._next_after_jump = -1
        return self._newest, self._newest_time, restarts
