"""UDP sockets under trio: one task drains them all.

    network --> kernel --epoll--> UdpPoller --> receive(data, address, now)
    network <-- kernel <--sendto-- UdpPort.send

Why not a trio socket and a task for each: waking a trio task costs more than all else
that happens to a packet (16.7 µs a packet against 6.1 µs, docs/design.md). Here one task
waits for an epoll descriptor that stands for all sockets, and reads whatever is ready.

Each round reads one datagram from each ready socket. With media that is nearly always all
it holds, so a read that finds nothing, which costs as much as one that finds a packet, is
saved; a socket that holds more is still ready in the next round, and cannot starve others.
A round is bounded, and after as many datagrams trio runs its other tasks before the next one.

To wake up is dearer than all that happens to a packet: the processor comes out of its sleep
and finds its caches cold. So what comes alone is read at once, but where packets come closer
together than `REST` the sockets are looked at once in each `REST`, as network cards do it
("interrupt moderation"). With 100 streams that took 24 µs a packet instead of 47.
"""

import errno
import logging
import select
import socket
import struct
from collections import Counter
from collections.abc import Callable
from math import inf
from typing import Final

import msgspec
import trio

from .binding import bind, bind_pair
from .latch import Address
from .ticker import Ticker

Receive = Callable[[bytes, Address, float], object]
"""Called with (datagram, its sender, seconds on the poller's clock); must return soon."""

ROUND: Final = 32
"""Datagrams; a third of a millisecond of work. With 1000 streams 32 cost 10 % less than 128:
what the first node touched is still in the cache when the last one needs it."""
REST: Final = 0.002
"""Seconds; a packet waits so long at most, and half of it on the average, if others come before
and after it as closely. A tenth of a packet of sound; no jitter buffer is as short."""
MAX_DATAGRAM: Final = 4096
"""Octets. RTP fits a packet of the network, 1500 or rarely 9000 octets less headers;
what is longer than this is dropped and counted as "too long"."""
RECEIVE_BUFFER: Final = 256 * 1024
"""Octets in the kernel for a socket: a second of video at 2 Mbit/s while Python is busy."""
_SO_MEMINFO = 55
_MEMINFO = struct.Struct("9I")
_MEMINFO_DROPS = 8

logger = logging.getLogger("rtp")


class UdpStatistics(msgspec.Struct, frozen=True):
    """A port in numbers, since it was opened.

    Attributes:
        received, sent: datagrams.
        dropped: incoming, by reason: "buffer full" (in the kernel), "too long",
            "receiver failed", or the name of a socket error.
        unsent: outgoing that were not taken, by reason: "closed", or the name of a socket
            error such as "EAGAIN" (the send buffer is full).
    """

    received: int
    sent: int
    dropped: dict[str, int]
    unsent: dict[str, int]


class UdpPort:
    """One bound socket. Get it from `UdpPoller.open`.

    Attributes:
        address: where it is bound, with the port that the system picked.
    """

    __slots__ = (
        "_dropped",
        "_kernel_drops",
        "_poller",
        "_receive",
        "_received",
        "_recvfrom",
        "_sendto",
        "_sent",
        "_socket",
        "_unsent",
        "address",
    )

    def __init__(self, bound: socket.socket, receive: Receive, poller: "UdpPoller") -> None:
        self.address: Address = bound.getsockname()
        self._socket = bound
        self._recvfrom = bound.recvfrom
        self._sendto = bound.sendto
        self._receive = receive
        self._poller = poller
        self._received = 0
        self._sent = 0
        self._dropped: Counter[str] = Counter()
        self._unsent: Counter[str] = Counter()
        self._kernel_drops = 0

    def send(self, data: bytes, address: Address) -> bool:
        """Send a datagram now or never; whether the kernel took it. Never waits or raises.

        Args:
            data: the datagram.
            address: numeric; a name would be looked up, and block everybody meanwhile.
        """
        try:
            self._sendto(data, address)
        except (OSError, OverflowError) as error:
            self._unsent[self._reason(error)] += 1
            return False
        self._sent += 1
        return True

    def read(self, now: float) -> None:
        """Take one datagram, if there is one, and hand it to the receiver."""
        try:
            data, address = self._recvfrom(MAX_DATAGRAM + 1)
        except BlockingIOError:
            return
        except OSError as error:
            self._dropped[self._reason(error)] += 1
            return
        if len(data) > MAX_DATAGRAM:
            self._dropped["too long"] += 1
            return
        self._received += 1
        try:
            self._receive(data, address, now)
        except Exception:
            if not self._dropped["receiver failed"]:  # once: it may fail for every datagram
                logger.exception("receiver of UDP port %s failed", self.address)
            self._dropped["receiver failed"] += 1

    def close(self) -> None:
        """Close the socket; what waits in it is lost. Idempotent."""
        if self._socket.fileno() >= 0:
            self._kernel_drops = self._count_kernel_drops()
            self._poller.forget(self._socket.fileno())
            self._socket.close()

    def statistics(self) -> UdpStatistics:
        """The port in numbers; also after it was closed."""
        if self._socket.fileno() >= 0:
            self._kernel_drops = self._count_kernel_drops()
        full = {"buffer full": self._kernel_drops} if self._kernel_drops else {}
        return UdpStatistics(
            self._received, self._sent, {**self._dropped, **full}, dict(self._unsent)
        )

    def _reason(self, error: Exception) -> str:
        if self._socket.fileno() < 0:
            return "closed"
        number = getattr(error, "errno", None)
        return errno.errorcode.get(number or 0, type(error).__name__)

    def _count_kernel_drops(self) -> int:
        """Datagrams that found the receive buffer full (Linux: SO_MEMINFO, socket(7))."""
        info = self._socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
        drops: int = _MEMINFO.unpack(info)[_MEMINFO_DROPS]
        return drops


class UdpPoller:
    """Owns the epoll descriptor, and the task that reads what is ready."""

    def __init__(self, clock: Callable[[], float], *, rest: float = REST) -> None:
        """
        Args:
            clock: seconds; read once a round, for all datagrams in it.
            rest: seconds, real ones, between two looks at the sockets while packets come
                closer together; 0 reads each as it comes.
        """
        self._clock = clock
        self._epoll = select.epoll()
        self._ports: dict[int, UdpPort] = {}
        self._rest = rest
        self._ticker = Ticker(rest) if rest else None

    def open(
        self, host: str, port: int, receive: Receive, *, receive_buffer: int = RECEIVE_BUFFER
    ) -> UdpPort:
        """Bind a port and read it from now on.

        Args:
            host: a numeric IPv4 or IPv6 address of this machine; "0.0.0.0" or "::" is all.
            port: 0 lets the system pick one.
            receive: called for each datagram; what it raises is logged and counted.
            receive_buffer: octets in the kernel; the system may allow less.
        Raises:
            OSError: the port is in use, or the host is no address of this machine.
        """
        return self._adopt(bind(host, port, receive_buffer), receive)

    def open_pair(
        self,
        host: str,
        port: int,
        receive_rtp: Receive,
        receive_rtcp: Receive,
        *,
        receive_buffer: int = RECEIVE_BUFFER,
    ) -> tuple[UdpPort, UdpPort]:
        """Bind an even port for RTP and the odd one above it for RTCP (RFC 3550 §11).

        Args:
            port: even; 0 lets the system pick.
        Raises:
            OSError: as `open`; or no two free ports were found side by side.
            ValueError: an odd port.
        """
        if port % 2:
            raise ValueError(f"RTP port {port} is odd: give an even one, RTCP takes the next")
        rtp, rtcp = bind_pair(host, port, receive_buffer)
        return self._adopt(rtp, receive_rtp), self._adopt(rtcp, receive_rtcp)

    async def run(self) -> None:
        """Read what comes, until cancelled."""
        woken_at = -inf
        while True:
            await trio.lowlevel.wait_readable(self._epoll)
            before, woken_at = woken_at, self._clock()
            await self._read_all()
            if self._ticker is not None and woken_at - before < self._rest:
                await self._read_by_ticks(self._ticker)

    async def _read_by_ticks(self, ticker: Ticker) -> None:
        """Look at each tick, until there was nothing between two."""
        with ticker:
            await ticker.wait()
            while await self._read_all():
                await ticker.wait()

    async def _read_all(self) -> bool:
        """Read until no port is ready; whether one was."""
        count = before_checkpoint = self.read_round()
        if not count:
            return False
        while count:
            if before_checkpoint >= ROUND:
                before_checkpoint = 0
                await trio.lowlevel.checkpoint()
            count = self.read_round()
            before_checkpoint += count
        return True

    def read_round(self) -> int:
        """Read one datagram from each ready port, of at most `ROUND`; how many were ready."""
        ready = self._epoll.poll(0, ROUND)
        if ready:
            now = self._clock()
            ports = self._ports
            for descriptor, _ in ready:
                port = ports.get(descriptor)
                if port is not None:  # closed by the receiver of another in this round
                    port.read(now)
        return len(ready)

    def forget(self, descriptor: int) -> None:
        """A port closes."""
        del self._ports[descriptor]
        self._epoll.unregister(descriptor)

    def close(self) -> None:
        """Close all ports, and the poller for good; `run` must have been cancelled."""
        for port in tuple(self._ports.values()):
            port.close()
        self._epoll.close()
        if self._ticker is not None:
            self._ticker.close()

    def _adopt(self, bound: socket.socket, receive: Receive) -> UdpPort:
        port = UdpPort(bound, receive, self)
        self._ports[bound.fileno()] = port
        self._epoll.register(bound, select.EPOLLIN)
        return port
