"""RtpNetwork: where a server's RTP sessions meet the network.

Two tasks, whatever the number of sessions: one reads all sockets, one runs all timers.
"""

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

import trio

from .binding import numeric_address
from .endpoint import RtpEndpoint
from .latch import Address
from .network_statistics import NetworkStatistics, NetworkTotals
from .payload_format import PayloadFormat
from .session import RtpSession
from .timers import Timers
from .udp import RECEIVE_BUFFER, REST, UdpPoller

SILENCE_LIMIT = 30.0
"""Seconds without RTP or RTCP until a peer counts as gone: six report intervals."""

MAX_REST = 0.02
"""Seconds; a packet of sound. With more, jitter buffers would have to know."""


class RtpNetwork:
    """Opens endpoints; use it around the graph, so that sinks can send to the last::

        async with RtpNetwork() as network, Graph() as graph:
            endpoint = network.open({0: PCMU}, port=5004)
            graph.add_node(RtpSource("call-1", "source", endpoint))

    Leaving it says BYE for every session that is still open and closes all sockets.
    """

    def __init__(self, *, rest: float = REST) -> None:
        """
        Args:
            rest: seconds between two looks at the sockets while packets come closer together
                than that, which saves half of the CPU; 0 reads each as it comes, and so it is
                under a clock that is not real. What comes alone is always read at once.
        Raises:
            ValueError: not within 0..0.02.
        """
        if not 0 <= rest <= MAX_REST:
            raise ValueError(f"rest is {rest} s: give 0..{MAX_REST}")
        self._rest = rest
        self._endpoints: set[RtpEndpoint] = set()
        self._closed = NetworkTotals()  # of those that were
        self._told_closed: list[Callable[[RtpEndpoint], None]] = []
        self._nursery_manager = trio.open_nursery()
        self._nursery: trio.Nursery | None = None

    async def __aenter__(self) -> Self:
        # Bound once: trio.current_time looks the clock up each time, for every packet.
        clock = trio.lowlevel.current_clock()
        self._clock = clock.current_time
        # A virtual clock would jump past what waits for the end of a real rest.
        is_real = clock.deadline_to_sleep_time(self._clock() + 1) < 2
        self._poller = UdpPoller(self._clock, rest=self._rest if is_real else 0)
        self._timers = Timers(self._clock)
        self._nursery = await self._nursery_manager.__aenter__()
        self._nursery.start_soon(self._poller.run, name="rtp sockets")
        self._nursery.start_soon(self._timers.run, name="rtp timers")
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        assert self._nursery is not None
        for endpoint in self.endpoints:
            endpoint.close()
        # The nursery is not told of the body's exception, which so leaves as it is and not
        # in a group. The two tasks end at their next checkpoint.
        self._nursery.cancel_scope.shield = True
        self._nursery.cancel_scope.cancel()
        try:
            await self._nursery_manager.__aexit__(None, None, None)
        finally:
            self._poller.close()

    @property
    def endpoints(self) -> tuple[RtpEndpoint, ...]:
        """Those that are open."""
        return tuple(self._endpoints)

    def on_closed(self, tell: Callable[[RtpEndpoint], None]) -> None:
        """Tell of each endpoint that is closed from now on, when its statistics are final."""
        self._told_closed.append(tell)

    def open(
        self,
        formats: Mapping[int, PayloadFormat],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        remote_rtp: Address | None = None,
        remote_rtcp: Address | None = None,
        learn: bool | None = None,
        relearn_after: float = 5.0,
        rtcp: bool = True,
        rtcp_mux: bool = False,
        ssrc: int | None = None,
        cname: str | None = None,
        audio_level_id: int | None = None,
        silence_limit: float | None = SILENCE_LIMIT,
        receive_buffer: int = RECEIVE_BUFFER,
    ) -> RtpEndpoint:
        """Open one session on sockets of its own.

        Args:
            formats: what is received and sent, by payload type.
            host, port: where to bind, numeric; port 0 lets the system pick. Without
                rtcp_mux the port is even, and RTCP is on the one above.
            remote_rtp, remote_rtcp: where to send, numeric; None: see `RtpSession`.
            learn, relearn_after: whose packets to take; see `RtpSession`.
            rtcp: False neither sends nor receives it, as with bandwidth 0 (RFC 3556).
            rtcp_mux: RTP and RTCP on one port (RFC 5761).
            ssrc, cname: None draws them.
            audio_level_id: of the header extension with the audio level; see `RtpSession`.
            silence_limit: seconds without RTP or RTCP until the peer counts as gone, which
                links hear as END; None: never.
            receive_buffer: octets in the kernel for each socket.
        Raises:
            OSError: the port cannot be bound, or an address is not numeric.
            ValueError: options that contradict each other, or are out of range.
        """
        now = self._clock()
        session = RtpSession(
            formats,
            now=now,
            ssrc=ssrc,
            cname=cname,
            audio_level_id=audio_level_id,
            rtcp_mux=rtcp_mux,
            remote_rtp=None if remote_rtp is None else numeric_address(*remote_rtp[:2]),
            remote_rtcp=None if remote_rtcp is None else numeric_address(*remote_rtcp[:2]),
            learn=learn,
            relearn_after=relearn_after,
            unix_offset=time.time() - now,
        )
        endpoint = RtpEndpoint(
            session,
            self._poller,
            self._timers,
            self._clock,
            host=host,
            port=port,
            with_rtcp=rtcp,
            silence_limit=silence_limit,
            receive_buffer=receive_buffer,
            closed=self._forget,
        )
        self._endpoints.add(endpoint)
        return endpoint

    def statistics(self) -> NetworkStatistics:
        """All endpoints that there were, in numbers."""
        return self._closed.with_open([endpoint.statistics() for endpoint in self._endpoints])

    def _forget(self, endpoint: RtpEndpoint) -> None:
        self._endpoints.discard(endpoint)
        self._closed.add(endpoint.statistics())
        for tell in self._told_closed:
            tell(endpoint)
