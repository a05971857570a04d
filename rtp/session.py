"""One RTP session with one peer: a protocol without I/O and without a clock.

    datagrams in   receive_rtp, receive_rtcp (or receive_datagram) -> packets, events
    media out      outgoing.forward, outgoing.packetize -> datagrams for `remote_rtp`
    time           next_timer, handle_timer -> rtcp_to_send

Whoever owns the sockets calls these. Nothing here raises because of what the network
sends: every datagram is either taken, or counted under one `DropReason`.

Source: RFC 3550.
"""

import random as _random
import secrets
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from aiortc.rtp import AnyRtcpPacket, RtcpRrPacket, RtcpSrPacket

from .audio_level import MAX_ELEMENT_ID
from .drops import DropReason
from .latch import Address, AddressLatch
from .outgoing import OutgoingStream
from .packet import RtpPacket, is_rtcp, parse_packet
from .payload_format import PayloadFormat, clock_rates_of
from .reception import MAX_REPORT_BLOCKS, Reception
from .rtcp import RtcpEvent, parse_compound
from .rtcp_reporter import RtcpReporter
from .statistics import SessionStatistics

DEFAULT_RTCP_BANDWIDTH: Final = 500.0
"""Octets a second: 5 % of a G.711 session with its headers (80 kbit/s), as §6.2 recommends."""
MAX_UNSENT_RTCP: Final = 8
"""Datagrams; only an owner who never collects them gets there."""


class Datagram(NamedTuple):
    """Something to send."""

    data: bytes
    address: Address


class RtpSession:
    """RTP and RTCP with one peer, for one m= line.

    Attributes:
        outgoing: serialises what is to be sent to `remote_rtp`.
        reception: statistics of what is received.
        remote_rtp: where to send RTP; None while the peer's address is not known.
        rtcp_mux: whether RTP and RTCP share a port.
    """

    __slots__ = (
        "_clock_rates",
        "_closed",
        "_colliding",
        "_drops",
        "_fixed_rtcp",
        "_fixed_rtp",
        "_latch",
        "_level_id",
        "_octets_received",
        "_packets_received",
        "_random",
        "_rtcp",
        "_rtcp_received",
        "_rtcp_sent",
        "_rtcp_source",
        "_rtcp_unsent",
        "_unsent",
        "outgoing",
        "reception",
        "remote_rtp",
        "rtcp_mux",
    )

    def __init__(
        self,
        formats: Mapping[int, PayloadFormat],
        *,
        now: float,
        ssrc: int | None = None,
        cname: str | None = None,
        rtcp_mux: bool = True,
        remote_rtp: Address | None = None,
        remote_rtcp: Address | None = None,
        learn: bool | None = None,
        relearn_after: float = 5.0,
        max_sources: int = MAX_REPORT_BLOCKS,
        audio_level_id: int | None = None,
        rtcp_bandwidth: float = DEFAULT_RTCP_BANDWIDTH,
        unix_offset: float = 0.0,
        random: Callable[[], float] = _random.random,
    ) -> None:
        """
        Args:
            formats: what is received and sent, by payload type.
            now: seconds, of the clock that all later calls use.
            ssrc: ours; None draws one.
            cname: None draws one (RFC 7022 §4.2).
            remote_rtp, remote_rtcp: where to send. None: to where the peer's packets come
                from (RTCP before that to the port above RTP).
            learn: take packets from the address that sends the first valid one, rather than
                from `remote_rtp` only. None: exactly if there is no `remote_rtp`. True beside
                a `remote_rtp` is for peers that send and receive on different ports (ffmpeg).
            relearn_after: seconds of silence before another address may take over; see `latch`.
            max_sources: SSRCs tracked at a time, 1..31.
            audio_level_id: of the header extension with the audio level, 1..14, if the peer has
                agreed on it (RFC 6464); None: not read and not sent.
            rtcp_bandwidth: octets a second for the RTCP of both sides.
            unix_offset: seconds to add to `now` for Unix time, for sender reports.
            random: gives 0 <= x < 1.
        Raises:
            ValueError: options that contradict each other, or are out of range.
        """
        if learn is None:
            learn = remote_rtp is None
        if not learn and remote_rtp is None:
            raise ValueError("learn=False needs remote_rtp: nobody's packets would be taken")
        if ssrc is not None and not 0 <= ssrc < 1 << 32:
            raise ValueError(f"ssrc is {ssrc}: it has 32 bits")
        if rtcp_mux and remote_rtcp not in {None, remote_rtp}:
            raise ValueError("remote_rtcp contradicts rtcp_mux, by which RTCP goes to remote_rtp")
        if rtcp_mux and any(64 <= payload_type <= 95 for payload_type in formats):
            raise ValueError("payload types 64..95 look like RTCP on a shared port (RFC 5761 §4)")
        if audio_level_id is not None and not 1 <= audio_level_id <= MAX_ELEMENT_ID:
            raise ValueError(f"audio_level_id is {audio_level_id}: give 1..{MAX_ELEMENT_ID}")
        self.rtcp_mux = rtcp_mux
        self.reception = Reception(max_sources)
        self.outgoing = OutgoingStream(
            _draw_ssrc(random) if ssrc is None else ssrc,
            formats,
            level_id=audio_level_id,
            random=random,
        )
        self._rtcp = RtcpReporter(
            self.reception,
            self.outgoing,
            now=now,
            cname=secrets.token_urlsafe(12) if cname is None else cname,
            bandwidth=rtcp_bandwidth,
            unix_offset=unix_offset,
            random=random,
        )
        self._random = random
        self._level_id = audio_level_id
        self._clock_rates = clock_rates_of(formats)
        self._closed = False

        self.remote_rtp = remote_rtp
        self._fixed_rtp = remote_rtp
        self._fixed_rtcp = remote_rtcp
        self._latch = AddressLatch(
            None if learn else remote_rtp, relearn_after=relearn_after if learn else None
        )
        self._rtcp_source = None if learn else remote_rtcp
        self._colliding: Address | None = None

        self._unsent: deque[Datagram] = deque()
        self._packets_received = 0
        self._octets_received = 0
        self._rtcp_received = 0
        self._rtcp_sent = 0
        self._rtcp_unsent = 0
        self._drops: Counter[DropReason] = Counter()

    @property
    def ssrc(self) -> int:
        """Ours. It changes when the peer turns out to use the same (§8.2)."""
        return self.outgoing.ssrc

    @property
    def cname(self) -> str:
        """Our canonical name (§6.5.1)."""
        return self._rtcp.cname

    @property
    def remote_rtcp(self) -> Address | None:
        """Where to send RTCP; None while the peer's address is not known."""
        remote = self.remote_rtp
        if self._fixed_rtcp is not None or self.rtcp_mux or remote is None:
            return self._fixed_rtcp or remote
        if self._fixed_rtp is None and self._rtcp_source is not None:
            return self._rtcp_source
        return (remote[0], remote[1] + 1, *remote[2:])

    def receive_datagram(
        self, data: bytes, address: Address, now: float
    ) -> RtpPacket | list[RtcpEvent] | None:
        """Take what arrived on a port that RTP and RTCP share.

        Returns:
            as `receive_rtp` or `receive_rtcp`, whichever it was (RFC 5761 §4).
        """
        if is_rtcp(data):
            return self.receive_rtcp(data, address, now)
        return self.receive_rtp(data, address, now)

    def receive_rtp(self, data: bytes, address: Address, now: float) -> RtpPacket | None:
        """Take what arrived on the RTP port.

        Args:
            data: one datagram, whatever is in it.
            address: of its sender, as the socket gives it.
            now: seconds.
        Returns:
            the packet; None if it was dropped and counted. Never raises.
        """
        packet = parse_packet(data, self._level_id)
        reason: DropReason | None
        if not isinstance(packet, RtpPacket):
            reason = packet
        elif (clock_rate := self._clock_rates.get(packet.payload_type)) is None:
            reason = DropReason.UNKNOWN_PAYLOAD_TYPE
        elif self._closed:
            reason = DropReason.CLOSED
        elif packet.ssrc == self.outgoing.ssrc:
            self._leave_ssrc_to(address, now)
            reason = DropReason.OWN_SSRC
        elif address != self._latch.address and not self._relearn(packet, address, now):
            reason = DropReason.STRAY
        else:
            reason = self.reception.update(packet, clock_rate, now)
            if reason is None:
                self._packets_received += 1
                self._octets_received += len(data) - packet.payload_start - packet.padding_size
                return packet
        self._drops[reason] += 1
        return None

    def receive_rtcp(self, data: bytes, address: Address, now: float) -> list[RtcpEvent]:
        """Take what arrived on the RTCP port.

        Args:
            data: one datagram, whatever is in it.
            address: of its sender, as the socket gives it.
            now: seconds.
        Returns:
            what the peer told, in its order; [] if it was dropped and counted. Never raises.
        """
        events = self._read_rtcp(data, address, now)
        if isinstance(events, DropReason):
            self._drops[events] += 1
            return []
        self._rtcp_received += 1
        return events

    def next_timer(self) -> float | None:
        """When to call `handle_timer` (seconds); None after `close`. Changes with what arrives."""
        return None if self._closed else self._rtcp.next_at

    def handle_timer(self, now: float) -> None:
        """Queue a report if one is due; harmless when called too early."""
        if self._closed or now < self._rtcp.next_at:
            return
        report = self._rtcp.report_if_due(now)
        if report is not None:
            self._queue(report)

    def rtcp_to_send(self) -> list[Datagram]:
        """The RTCP that has become due, each datagram once; empty most of the time."""
        datagrams = list(self._unsent)
        self._unsent.clear()
        return datagrams

    def close(self, now: float) -> None:
        """Say BYE, if the peer ever heard of us (§6.3.7), and take no more datagrams."""
        if not self._closed:
            self._say_goodbye(now)
            self._closed = True

    def statistics(self) -> SessionStatistics:
        """The session in numbers, at this moment."""
        source = self.reception.latest
        remote_ssrc = None if source is None else source.ssrc
        return SessionStatistics(
            packets_received=self._packets_received,
            octets_received=self._octets_received,
            packets_sent=self.outgoing.packets_sent,
            octets_sent=self.outgoing.octets_sent,
            packets_lost=self.reception.packets_lost,
            jitter=0.0 if source is None else source.jitter,
            round_trip=self._rtcp.round_trip,
            rtcp_received=self._rtcp_received,
            rtcp_sent=self._rtcp_sent,
            rtcp_unsent=self._rtcp_unsent,
            drops=dict(self._drops),
            ssrc=self.outgoing.ssrc,
            remote_ssrc=remote_ssrc,
            remote_address=self.remote_rtp,
            remote_cname=self._rtcp.cname_of(remote_ssrc),
        )

    def _leave_ssrc_to(self, address: Address, now: float) -> None:
        """Take another SSRC when the peer uses ours; once, for more of it is a loop.

        Source: RFC 3550 §8.2.
        """
        # A stray must not make us change; before anybody is latched a change costs nothing.
        if address != self._colliding and self._latch.address in {None, address}:
            self._colliding = address
            self._say_goodbye(now)
            self.outgoing.change_ssrc(_draw_ssrc(self._random))

    def _relearn(self, packet: RtpPacket, address: Address, now: float) -> bool:
        """Whether an address that was not the peer's is so from this packet on."""
        source_is_known = packet.ssrc in self.reception.sources
        silence = now - self.reception.heard_at
        if not self._latch.offer(packet, address, silence=silence, source_is_known=source_is_known):
            return False
        self.remote_rtp = self._fixed_rtp or address
        if not source_is_known:
            self.reception.forget_all()
            self._rtcp.forget_everybody()
        self._rtcp_source = None
        return True

    def _read_rtcp(self, data: bytes, address: Address, now: float) -> list[RtcpEvent] | DropReason:
        compound = parse_compound(data)
        if isinstance(compound, DropReason):
            return compound
        if self._closed:
            return DropReason.CLOSED
        if not self._takes_rtcp_from(address):
            return DropReason.STRAY
        sender = _sender_of(compound)
        if sender == self.outgoing.ssrc:
            return DropReason.OWN_SSRC
        events = self._rtcp.receive(compound, sender, len(data), now)
        if not isinstance(events, DropReason):
            self._rtcp_source = address
        return events

    def _takes_rtcp_from(self, address: Address) -> bool:
        """On a shared port the peer's address; else one port, of its host, the first that spoke."""
        peer = self._latch.address or self._fixed_rtp
        if peer is None:
            return False
        if self.rtcp_mux:
            return address == peer
        return address == self._rtcp_source or (self._rtcp_source is None and address[0] == peer[0])

    def _say_goodbye(self, now: float) -> None:
        if self.outgoing.packets_sent or self._rtcp_sent:
            self._queue(self._rtcp.report(now, goodbye=True))

    def _queue(self, data: bytes) -> None:
        address = self.remote_rtcp
        if address is None:
            return
        if len(self._unsent) >= MAX_UNSENT_RTCP:
            self._unsent.popleft()
            self._rtcp_unsent += 1
        self._unsent.append(Datagram(data, address))
        self._rtcp_sent += 1


def _sender_of(compound: list[AnyRtcpPacket]) -> int:
    first = compound[0]
    assert isinstance(first, RtcpSrPacket | RtcpRrPacket)  # parse_compound made sure
    return first.ssrc


def _draw_ssrc(random: Callable[[], float]) -> int:
    return int(random() * (1 << 32))
