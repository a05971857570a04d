"""Reception statistics: what a receiver must count to report on its sources.

`aiortc.rtcrtpreceiver.StreamStatistics` is not used: it reads the wall clock itself,
has no probation and no limits on jumps (one wild sequence number becomes 65,000 lost
packets), takes timestamp differences without their modulus (the jitter explodes at a
rollover), and its `fraction_lost` changes state when read.

Source: RFC 3550, appendices A.1 (validity), A.3 (loss) and A.8 (jitter).
"""

from math import inf
from typing import Final

from aiortc.rtp import RtcpReceiverInfo, clamp_packets_lost

from .drops import DropReason
from .packet import RtpPacket

MAX_DROPOUT: Final = 3000
"""Packets; a larger gap is a jump, not loss (A.1: one minute at 50 packets/s)."""
MAX_MISORDER: Final = 100
"""Packets; one that is later is a jump back, not reordering (A.1: two seconds)."""
MIN_SEQUENTIAL: Final = 2
"""Packets in sequence that make a source valid (A.1)."""
MAX_REPORT_BLOCKS: Final = 31
"""The RC field of a report has five bits; so many sources can be tracked."""

_MASK_16 = 0xFFFF
_MASK_32 = 0xFFFFFFFF
_HALF_32 = 1 << 31
_CYCLE = 1 << 16
_FIRST_JUMP_BACK = _CYCLE - MAX_MISORDER


class Source:
    """One synchronisation source that packets are received from.

    Attributes:
        ssrc: its identifier.
        clock_rate: Hz of its timestamps, 0 before the first packet.
        received: packets since the start or the last restart of its sequence.
        heard_at: time of its last packet, taken or not (seconds).
    """

    __slots__ = (
        "_base_sequence",
        "_expected_before",
        "_jitter_ticks",
        "_lost_before_restart",
        "_max_sequence",
        "_next_after_jump",
        "_probation",
        "_received_before",
        "_sender_report_at",
        "_sender_report_ntp",
        "_transit",
        "clock_rate",
        "heard_at",
        "received",
        "ssrc",
    )

    # Set by _restart:
    received: int
    _base_sequence: int
    _max_sequence: int
    _next_after_jump: int
    _expected_before: int
    _received_before: int

    def __init__(self, ssrc: int, sequence_number: int, now: float, *, probation: int) -> None:
        self.ssrc = ssrc
        self.clock_rate = 0
        self.heard_at = now
        self._probation = probation
        self._lost_before_restart = 0
        self._transit = 0
        self._jitter_ticks = 0.0
        self._sender_report_ntp = 0
        self._sender_report_at = now
        self._restart(sequence_number)
        if probation:
            self._max_sequence = (sequence_number - 1) & _MASK_16

    @property
    def is_valid(self) -> bool:
        """Whether it has passed its probation."""
        return not self._probation

    @property
    def extended_highest_sequence(self) -> int:
        """Highest sequence number, with the cycles above its 16 bits."""
        return self._max_sequence

    @property
    def packets_lost(self) -> int:
        """Expected minus received since the last restart; below zero after duplicates."""
        return 0 if self._probation else self._expected - self.received

    @property
    def total_lost(self) -> int:
        """As `packets_lost`, but over all restarts."""
        return self._lost_before_restart + self.packets_lost

    @property
    def jitter(self) -> float:
        """Interarrival jitter, in seconds."""
        return self._jitter_ticks / self.clock_rate if self.clock_rate else 0.0

    def update(self, packet: RtpPacket, clock_rate: int, now: float) -> DropReason | None:
        """Count one packet.

        Args:
            packet: from this source.
            clock_rate: Hz, of its payload type.
            now: time of arrival, in seconds.
        Returns:
            None if it is valid, else PROBATION or SEQUENCE_JUMP.
        Source: RFC 3550, appendices A.1 and A.8.
        """
        self.heard_at = now
        max_sequence = self._max_sequence
        ahead = (packet.sequence_number - max_sequence) & _MASK_16
        if self._probation:
            if not self._is_proven_by(packet.sequence_number, ahead):
                return DropReason.PROBATION
        elif ahead < MAX_DROPOUT:
            self._max_sequence = max_sequence + ahead  # unwrapped: counts the cycles by itself
        elif ahead <= _FIRST_JUMP_BACK:
            if packet.sequence_number != self._next_after_jump:
                self._next_after_jump = (packet.sequence_number + 1) & _MASK_16
                return DropReason.SEQUENCE_JUMP
            # Two in sequence after the jump: the other side restarted without telling us.
            self._lost_before_restart += self.packets_lost
            self._restart(packet.sequence_number)
        self.received += 1

        transit = int(now * clock_rate) - packet.timestamp
        if clock_rate == self.clock_rate:
            deviation = ((transit - self._transit + _HALF_32) & _MASK_32) - _HALF_32
            self._jitter_ticks += (abs(deviation) - self._jitter_ticks) / 16
        else:
            # The first packet, or another payload type: no difference to take (RFC 7160).
            if self.clock_rate:
                self._jitter_ticks *= clock_rate / self.clock_rate
            self.clock_rate = clock_rate
        self._transit = transit
        return None

    def note_sender_report(self, ntp_timestamp: int, now: float) -> None:
        """Remember the last sender report, which report blocks answer (LSR and DLSR)."""
        self._sender_report_ntp = (ntp_timestamp >> 16) & _MASK_32
        self._sender_report_at = now

    def report_block(self, now: float) -> RtcpReceiverInfo:
        """The block on this source for the next report; starts a new interval.

        Source: RFC 3550 §6.4.1 and appendix A.3.
        """
        expected = self._expected - self._expected_before
        lost = expected - (self.received - self._received_before)
        self._expected_before = self._expected
        self._received_before = self.received
        delay = now - self._sender_report_at if self._sender_report_ntp else 0.0
        return RtcpReceiverInfo(
            ssrc=self.ssrc,
            fraction_lost=min((lost << 8) // expected, 255) if expected and lost > 0 else 0,
            packets_lost=clamp_packets_lost(self.packets_lost),
            highest_sequence=self._max_sequence & _MASK_32,
            jitter=min(int(self._jitter_ticks), _MASK_32),
            lsr=self._sender_report_ntp,
            dlsr=min(max(int(delay * 65536), 0), _MASK_32),
        )

    @property
    def _expected(self) -> int:
        return self._max_sequence - self._base_sequence + 1

    def _is_proven_by(self, sequence_number: int, ahead: int) -> bool:
        self._probation = self._probation - 1 if ahead == 1 else MIN_SEQUENTIAL - 1
        self._max_sequence = sequence_number
        if self._probation:
            return False
        self._restart(sequence_number)
        return True

    def _restart(self, sequence_number: int) -> None:
        self._base_sequence = sequence_number
        self._max_sequence = sequence_number
        self._next_after_jump = -1
        self.received = 0
        self._expected_before = 0
        self._received_before = 0


class Reception:
    """All sources of one session, no more than `max_sources` at a time.

    The first source of a peer is taken at its word; each further one must first send
    `MIN_SEQUENTIAL` packets in sequence, so that junk from a known address does not
    become a source. (With probation for the first one too, as in the RFC's sample
    code, each session would begin with a lost packet.)

    Attributes:
        sources: by SSRC; to be read, not written.
    """

    __slots__ = ("_latest", "_lost_before", "max_sources", "sources")

    def __init__(self, max_sources: int = MAX_REPORT_BLOCKS) -> None:
        if not 1 <= max_sources <= MAX_REPORT_BLOCKS:
            raise ValueError(f"max_sources is {max_sources}: choose 1..{MAX_REPORT_BLOCKS}")
        self.max_sources = max_sources
        self.sources: dict[int, Source] = {}
        self._latest: Source | None = None  # most packets are of the source of the one before
        self._lost_before = 0

    def update(self, packet: RtpPacket, clock_rate: int, now: float) -> DropReason | None:
        """Count one packet; see `Source.update`. TOO_MANY_SOURCES if there is no room."""
        source = self._latest
        if source is None or source.ssrc != packet.ssrc:
            source = self.sources.get(packet.ssrc) or self._begin(packet, now)
            if source is None:
                return DropReason.TOO_MANY_SOURCES
            self._latest = source
        return source.update(packet, clock_rate, now)

    @property
    def heard_at(self) -> float:
        """When any source was last heard (seconds); -inf if there is none."""
        return max((source.heard_at for source in self.sources.values()), default=-inf)

    @property
    def latest(self) -> Source | None:
        """The valid source that was heard last."""
        valid = (source for source in self.sources.values() if source.is_valid)
        return max(valid, key=lambda source: source.heard_at, default=None)

    @property
    def packets_lost(self) -> int:
        """Packets lost, over all sources that there ever were."""
        return self._lost_before + sum(source.total_lost for source in self.sources.values())

    def count_heard(self, since: float) -> int:
        """Number of valid sources heard at or after `since` (seconds)."""
        return sum(s.is_valid and s.heard_at >= since for s in self.sources.values())

    def report_blocks(self, since: float, now: float) -> list[RtcpReceiverInfo]:
        """A block for each valid source heard at or after `since` (seconds).

        Source: RFC 3550 §6.4.
        """
        return [
            source.report_block(now)
            for source in self.sources.values()
            if source.is_valid and source.heard_at >= since
        ]

    def forget_all(self) -> None:
        """Drop every source: another peer has taken over."""
        self.forget_silent(inf)

    def forget(self, ssrc: int) -> bool:
        """Drop a source that said BYE; whether it was known."""
        source = self.sources.pop(ssrc, None)
        if source is None:
            return False
        self._latest = None
        self._lost_before += source.total_lost
        return True

    def forget_silent(self, since: float) -> None:
        """Drop the sources not heard at or after `since` (seconds; RFC 3550 §6.3.5)."""
        silent = [s.ssrc for s in self.sources.values() if s.heard_at < since]
        for ssrc in silent:
            self.forget(ssrc)

    def _begin(self, packet: RtpPacket, now: float) -> Source | None:
        """Track another source; None if there is no room."""
        if len(self.sources) >= self.max_sources:
            return None
        probation = MIN_SEQUENTIAL if self.sources else 0
        source = Source(packet.ssrc, packet.sequence_number, now, probation=probation)
        self.sources[packet.ssrc] = source
        return source
