"""RtpEndpoint: one RTP session joined with its sockets.

    port of RTP ----> session.receive_rtp ----> the receiver: an `RtpSource` node
    port of RTCP ---> session.receive_rtcp
    timer ----------> session.handle_timer ---> port of RTCP
    `forward` ------> session.outgoing -------> port of RTP

The session decides, the ports carry; this class only joins them, and keeps watch over
whether the peer is still there.
"""

from collections import Counter
from collections.abc import Callable
from math import inf
from typing import Protocol

import msgspec

from .latch import Address
from .media import EndOfStream, EndReason
from .packet import RtpPacket, is_rtcp
from .rtcp import Goodbye
from .session import RtpSession
from .statistics import SessionStatistics
from .timers import Timers
from .udp import UdpPoller, UdpPort, UdpStatistics


class Receiver(Protocol):
    """Who gets what the peer sends."""

    def take_packet(self, packet: RtpPacket) -> None:
        """A packet came; called on the hot path, must return soon."""

    def take_end(self, end: EndOfStream) -> None:
        """A source of the peer is over."""


class EndpointStatistics(msgspec.Struct, frozen=True):
    """An endpoint in numbers.

    Attributes:
        rtp, rtcp: its ports; `rtcp` is None if it has no port of its own.
        unsent: packets that did not get as far as the port: "no peer" (its address is
            not known yet).
        unclaimed: packets received while no receiver was attached.
    """

    session: SessionStatistics
    rtp: UdpStatistics
    rtcp: UdpStatistics | None
    unsent: dict[str, int]
    unclaimed: int


class RtpEndpoint:
    """One session and its sockets. Get it from `RtpNetwork.open`.

    Attributes:
        session: the protocol; its options and statistics.
        closed: whether `close` was called.
    """

    __slots__ = (
        "_clock",
        "_ended_at",
        "_heard_at",
        "_receiver",
        "_rtcp_heard_at",
        "_rtcp_out",
        "_rtcp_port",
        "_rtcp_received",
        "_rtp_port",
        "_silence_limit",
        "_take_packet",
        "_timers",
        "_told_closed",
        "_unclaimed",
        "_unsent",
        "closed",
        "session",
    )

    def __init__(
        self,
        session: RtpSession,
        poller: UdpPoller,
        timers: Timers,
        clock: Callable[[], float],
        *,
        host: str,
        port: int,
        with_rtcp: bool,
        silence_limit: float | None,
        receive_buffer: int,
        closed: Callable[["RtpEndpoint"], None],
    ) -> None:
        """As `RtpNetwork.open`; `closed` is called once."""
        self.session = session
        self.closed = False
        self._clock = clock
        self._timers = timers
        self._told_closed = closed
        self._receiver: Receiver | None = None
        self._take_packet: Callable[[RtpPacket], None] = self._count_unclaimed
        self._unclaimed = 0
        self._unsent: Counter[str] = Counter()
        self._silence_limit = inf if silence_limit is None else silence_limit
        self._rtcp_received = 0
        self._rtcp_heard_at = -inf
        self._heard_at = -inf
        self._ended_at = -inf

        receive = self._receive_shared if session.rtcp_mux and with_rtcp else self._receive_rtp
        self._rtcp_port: UdpPort | None = None
        if session.rtcp_mux or not with_rtcp:
            self._rtp_port = poller.open(host, port, receive, receive_buffer=receive_buffer)
            self._rtcp_out = self._rtp_port if with_rtcp else None
        else:
            self._rtp_port, self._rtcp_port = poller.open_pair(
                host, port, receive, self._receive_rtcp, receive_buffer=receive_buffer
            )
            self._rtcp_out = self._rtcp_port
        timers.set(self, self._next_timer())

    def __repr__(self) -> str:
        return f"<RtpEndpoint {self.address} -> {self.session.remote_rtp}>"

    @property
    def address(self) -> Address:
        """Where RTP is received and sent from."""
        return self._rtp_port.address

    @property
    def is_live(self) -> bool:
        """Whether the peer was heard, and has neither said BYE nor been silent too long."""
        return self._last_heard() > self._ended_at

    def attach(self, receiver: Receiver) -> None:
        """Give packets to this receiver from now on.

        Raises:
            ValueError: there is one already.
        """
        if self._receiver is not None:
            raise ValueError(
                f"{self!r} has a receiver: link its RtpSource to a PubSub rather than add another"
            )
        self._receiver = receiver
        self._take_packet = receiver.take_packet

    def detach(self, receiver: Receiver) -> None:
        """Give it no more; nothing happens if it is not the one attached."""
        if self._receiver is receiver:
            self._receiver = None
            self._take_packet = self._count_unclaimed

    def forward(self, packet: RtpPacket, payload_type: int | None = None) -> bool:
        """Send a packet on to the peer as this session's own; see `OutgoingStream.forward`.

        Args:
            payload_type: the number that its format has here; None keeps it.
        Returns:
            whether it was sent; if not, it is counted.
        Raises:
            UnknownPayloadTypeError: the payload type is none of this session's.
        """
        session = self.session
        remote = session.remote_rtp
        if remote is None:
            self._unsent["no peer"] += 1
            return False
        data = session.outgoing.forward(packet, self._clock(), payload_type)
        return self._rtp_port.send(data, remote)

    def close(self) -> None:
        """Say BYE and close the sockets; statistics can still be read. Idempotent."""
        if self.closed:
            return
        self.closed = True
        now = self._clock()
        if self.is_live:
            self._end(EndOfStream(EndReason.CLOSED), now)
        self.session.close(now)
        self._send_rtcp()
        self._timers.set(self, None)
        self._rtp_port.close()
        if self._rtcp_port is not None:
            self._rtcp_port.close()
        self._told_closed(self)

    def statistics(self) -> EndpointStatistics:
        """The endpoint in numbers, also after it was closed."""
        return EndpointStatistics(
            session=self.session.statistics(),
            rtp=self._rtp_port.statistics(),
            rtcp=None if self._rtcp_port is None else self._rtcp_port.statistics(),
            unsent=dict(self._unsent),
            unclaimed=self._unclaimed,
        )

    def handle_timer(self, now: float) -> float | None:
        """Report, and see whether the peer is still there; called by `Timers`."""
        self.session.handle_timer(now)
        self._send_rtcp()
        if self.is_live and now - self._heard_at >= self._silence_limit:
            self._end(EndOfStream(EndReason.SILENCE), now)
        return self._next_timer()

    def _next_timer(self) -> float | None:
        report_at = self.session.next_timer()
        if report_at is None or not self.is_live:
            return report_at
        return min(report_at, self._heard_at + self._silence_limit)

    def _last_heard(self) -> float:
        """When the peer was last heard (seconds). The session forgets; this does not."""
        self._heard_at = max(self._heard_at, self._rtcp_heard_at, self.session.reception.heard_at)
        return self._heard_at

    def _receive_shared(self, data: bytes, address: Address, now: float) -> None:
        if is_rtcp(data):
            self._receive_rtcp(data, address, now)
        else:
            self._receive_rtp(data, address, now)

    def _receive_rtp(self, data: bytes, address: Address, now: float) -> None:
        packet = self.session.receive_rtp(data, address, now)
        if packet is not None:
            self._take_packet(packet)
        else:
            self._send_rtcp()  # there is a BYE if it told of a collision of SSRCs

    def _receive_rtcp(self, data: bytes, address: Address, now: float) -> None:
        events = self.session.receive_rtcp(data, address, now)
        received = self.session.statistics().rtcp_received
        if received != self._rtcp_received:  # valid, whether or not it told anything
            self._rtcp_received = received
            self._rtcp_heard_at = now
        for event in events:
            if isinstance(event, Goodbye):
                self._end(EndOfStream(EndReason.BYE, event.ssrc), now)
        self._timers.set(self, self._next_timer())  # reports come sooner when members leave

    def _end(self, end: EndOfStream, now: float) -> None:
        if end.ssrc is None or self.session.reception.latest is None:
            self._last_heard()
            self._ended_at = now
        if self._receiver is not None:
            self._receiver.take_end(end)

    def _send_rtcp(self) -> None:
        for data, address in self.session.rtcp_to_send():
            if self._rtcp_out is not None:
                self._rtcp_out.send(data, address)

    def _count_unclaimed(self, _packet: RtpPacket) -> None:
        self._unclaimed += 1
