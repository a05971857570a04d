"""The RTCP half of a session: who takes part, what they report, what we report and when.

Source: RFC 3550 §6.
"""

from collections.abc import Callable
from math import inf
from typing import Final

from aiortc.rtp import (
    AnyRtcpPacket,
    RtcpByePacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpSdesPacket,
    RtcpSenderInfo,
    RtcpSrPacket,
)

from .drops import DropReason
from .outgoing import OutgoingStream
from .reception import Reception
from .rtcp import (
    MAX_CNAME,
    Goodbye,
    ReceptionReport,
    RtcpEvent,
    SenderReport,
    build_compound,
    cname_in,
    ntp_timestamp,
    round_trip,
)
from .rtcp_interval import RtcpTimer

MEMBER_TIMEOUT: Final = 5
"""Report intervals of silence after which a participant is forgotten (§6.3.5)."""
SENDER_TIMEOUT: Final = 2
"""Report intervals without RTP after which a participant is no sender any more (§6.3.5)."""

_MASK_32 = 0xFFFFFFFF


class _Participant:
    """Somebody who sends RTCP."""

    __slots__ = ("cname", "heard_at")

    def __init__(self) -> None:
        self.heard_at = -inf
        self.cname: str | None = None


class RtcpReporter:
    """Keeps the books of RTCP, and writes our reports.

    Attributes:
        cname: our canonical name (§6.5.1).
        round_trip: seconds to the peer and back; None until it answered a report of ours.
        next_at: when to call `report_if_due` (seconds).
    """

    def __init__(
        self,
        reception: Reception,
        outgoing: OutgoingStream,
        *,
        now: float,
        cname: str,
        bandwidth: float,
        unix_offset: float,
        random: Callable[[], float],
    ) -> None:
        """
        Args:
            reception, outgoing: of the same session; read, and told of reports and BYE.
            bandwidth: octets a second for the RTCP of all participants.
            unix_offset: seconds to add to `now` for Unix time.
            random: gives 0 <= x < 1.
        Raises:
            ValueError: an option is out of range.
        """
        if len(cname.encode()) > MAX_CNAME:
            raise ValueError(f"cname has {len(cname.encode())} octets: {MAX_CNAME} fit in SDES")
        if bandwidth <= 0:
            raise ValueError(f"rtcp_bandwidth is {bandwidth}: give octets a second above zero")
        self.cname = cname
        self.round_trip: float | None = None
        self._reception = reception
        self._outgoing = outgoing
        self._unix_offset = unix_offset
        self._participants: dict[int, _Participant] = {}
        self._blocks_since = now
        self._timer = RtcpTimer(
            now, bandwidth=bandwidth, first_size=len(self.report(now)), random=random
        )

    @property
    def next_at(self) -> float:
        return self._timer.next_at

    def cname_of(self, ssrc: int | None) -> str | None:
        """The canonical name that a peer gave, None if it has not."""
        participant = None if ssrc is None else self._participants.get(ssrc)
        return None if participant is None else participant.cname

    def forget_everybody(self) -> None:
        """Another peer has taken over."""
        self._participants.clear()
        self.round_trip = None

    def receive(
        self, packets: list[AnyRtcpPacket], sender: int, size: int, now: float
    ) -> list[RtcpEvent] | DropReason:
        """Take a compound packet.

        Args:
            packets: as `parse_compound` gives them.
            sender: SSRC of its first packet.
            size: its length in octets.
            now: seconds.
        Returns:
            what it tells, in its order; TOO_MANY_SOURCES if there is no room for the sender.
        """
        participant = self._participants.get(sender)
        if participant is None:
            if len(self._participants) >= self._reception.max_sources:
                return DropReason.TOO_MANY_SOURCES
            participant = self._participants[sender] = _Participant()
        participant.heard_at = now
        self._timer.note_packet(size)
        events: list[RtcpEvent] = []
        for packet in packets:
            if isinstance(packet, RtcpSrPacket):
                events.append(self._note_sender_report(packet, now))
            if isinstance(packet, RtcpSrPacket | RtcpRrPacket):
                events += [
                    self._note_reception_report(packet.ssrc, block, now)
                    for block in packet.reports
                    if block.ssrc == self._outgoing.ssrc
                ]
            elif isinstance(packet, RtcpSdesPacket):
                participant.cname = cname_in(packet, sender) or participant.cname
            elif isinstance(packet, RtcpByePacket):
                events += [Goodbye(ssrc) for ssrc in packet.sources if self._forget(ssrc)]
                self._timer.note_members_left(now, members=self._members)
        return events

    def report_if_due(self, now: float) -> bytes | None:
        """Call at `next_at`: our report, or None if it is not due after all (§6.3.6)."""
        horizon = now - SENDER_TIMEOUT * self._timer.interval
        is_due = self._timer.is_report_due(
            now,
            members=self._members,
            senders=self._reception.count_heard(since=horizon) + self._we_sent(now),
            we_sent=self._we_sent(now),
        )
        if not is_due:
            return None
        report = self.report(now)
        self._timer.note_packet(len(report))
        self._forget_silent(now - MEMBER_TIMEOUT * self._timer.interval)
        return report

    def report(self, now: float, *, goodbye: bool = False) -> bytes:
        """Write a compound packet: SR if we sent RTP lately, else RR; SDES; BYE if asked (§6.4)."""
        sender_info = None
        if self._we_sent(now):
            sender_info = RtcpSenderInfo(
                ntp_timestamp=self._ntp(now),
                rtp_timestamp=self._outgoing.timestamp_at(now),
                packet_count=self._outgoing.packets_sent & _MASK_32,
                octet_count=self._outgoing.octets_sent & _MASK_32,
            )
        blocks = self._reception.report_blocks(since=self._blocks_since, now=now)
        self._blocks_since = now
        return build_compound(
            self._outgoing.ssrc, self.cname, sender_info=sender_info, blocks=blocks, goodbye=goodbye
        )

    @property
    def _members(self) -> int:
        return 1 + len(self._participants.keys() | self._reception.sources.keys())

    def _we_sent(self, now: float) -> bool:
        sent_at = self._outgoing.sent_at
        return sent_at is not None and sent_at >= now - SENDER_TIMEOUT * self._timer.interval

    def _ntp(self, now: float) -> int:
        return ntp_timestamp(now + self._unix_offset)

    def _note_sender_report(self, packet: RtcpSrPacket, now: float) -> SenderReport:
        info = packet.sender_info
        source = self._reception.sources.get(packet.ssrc)
        if source is not None:
            source.note_sender_report(info.ntp_timestamp, now)
        return SenderReport(
            packet.ssrc,
            info.ntp_timestamp,
            info.rtp_timestamp,
            info.packet_count,
            info.octet_count,
        )

    def _note_reception_report(
        self, reporter: int, block: RtcpReceiverInfo, now: float
    ) -> ReceptionReport:
        elapsed = round_trip(block, self._ntp(now))
        if elapsed is not None:
            self.round_trip = elapsed
        return ReceptionReport(
            reporter=reporter,
            fraction_lost=block.fraction_lost / 256,
            packets_lost=block.packets_lost,
            highest_sequence=block.highest_sequence,
            jitter_ticks=block.jitter,
            round_trip=elapsed,
        )

    def _forget(self, ssrc: int) -> bool:
        """Drop who said BYE; whether it was known at all."""
        was_source = self._reception.forget(ssrc)
        return self._participants.pop(ssrc, None) is not None or was_source

    def _forget_silent(self, since: float) -> None:
        self._reception.forget_silent(since)
        for ssrc in [s for s, p in self._participants.items() if p.heard_at < since]:
            del self._participants[ssrc]
