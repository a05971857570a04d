"""UdpRelay: a bad network between a sender and a receiver of RTP on this machine.

sender ==RTP==> front port     --drop, delay, hold--> back port     ==RTP==> receiver
sender <=RTCP=> front port + 1 ---------------------- back port + 1 <=RTCP=> receiver
"""

import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from heapq import heappop, heappush
from math import inf

import trio
from aiortc.rtp import RtcpReceiverInfo, RtcpRrPacket, RtcpSrPacket

from rtp.packet import RtpPacket, parse_packet
from rtp.rtcp import parse_compound

Address = tuple[str, int]
HOST = "127.0.0.1"


def open_pair() -> tuple[trio.socket.SocketType, trio.socket.SocketType]:
    """An even UDP port and the one above, bound."""
    for _ in range(100):
        first = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        second = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            first.bind((HOST, 0))
            port = first.getsockname()[1]
            if port % 2 == 0:
                second.bind((HOST, port + 1))
                return trio.socket.from_stdlib_socket(first), trio.socket.from_stdlib_socket(second)
        except OSError:
            pass
        first.close()
        second.close()
    raise AssertionError("no two free ports side by side")


class UdpRelay:
    """Loses and delays RTP by chance, from a seed; RTCP always arrives, and at once.

    Attributes:
        port: where the sender sends to.
        dropped: for each packet that the sender sent, whether it was dropped.
        reports: what the receiver told of the sender's packets.
        lateness: seconds by which a packet came later from the sender than others, a packet
            each 20 ms; on a busy machine a sender is not punctual, nor are we.
    """

    def __init__(self, to: int, *, loss: float, jitter: float, seed: int) -> None:
        """
        Args:
            to: the port where the receiver takes RTP; RTCP on the one above.
            loss: part of the packets.
            jitter: seconds; each packet is delayed by 0 to this much, and may be overtaken.
        """
        self.dropped: list[bool] = []
        self.reports: list[RtcpReceiverInfo] = []
        self.lateness = 0.0
        self._to = (HOST, to)
        self._to_rtcp = (HOST, to + 1)
        self._loss = loss
        self._jitter = jitter
        self._chance = random.Random(seed)
        self._front, self._front_rtcp = open_pair()
        self._back, self._back_rtcp = open_pair()
        self.port: int = self._front.getsockname()[1]
        self._first: int | None = None  # sequence number
        self._epoch = inf  # when the first packet came, or would have if it had been punctual
        self._held_until = 0.0
        self._waiting: list[tuple[float, int, bytes]] = []  # when to deliver, and in which order
        self._news = trio.Event()
        self._rtcp_from: Address | None = None

    def hold(self, seconds: float) -> None:
        """Deliver nothing for so long, and then all at once."""
        self._held_until = trio.current_time() + seconds

    def loss_until(self, report: RtcpReceiverInfo) -> float:
        """The part of the packets that was dropped, of those that a report speaks of."""
        of_these = self.dropped[: self.expected(report)]
        return sum(of_these) / len(of_these)

    def expected(self, report: RtcpReceiverInfo) -> int:
        """How many packets a report speaks of."""
        assert self._first is not None
        return report.highest_sequence - self._first + 1

    async def run(self) -> None:
        """Until cancelled."""
        sockets = (self._front, self._front_rtcp, self._back, self._back_rtcp)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._take_rtp)
                nursery.start_soon(self._deliver_rtp)
                nursery.start_soon(self._pass_rtcp_on)
                nursery.start_soon(self._pass_rtcp_back)
        finally:
            for each in sockets:
                each.close()

    async def _take_rtp(self) -> None:
        while True:
            data, _ = await self._front.recvfrom(4096)
            packet = parse_packet(data)
            assert isinstance(packet, RtpPacket)
            if self._first is None:
                self._first = packet.sequence_number
            number = len(self.dropped)
            assert (packet.sequence_number - self._first - number) % (1 << 16) == 0
            now = trio.current_time()
            self._epoch = min(self._epoch, now - 0.02 * number)
            self.lateness = max(self.lateness, now - 0.02 * number - self._epoch)
            delay = self._chance.uniform(0, self._jitter)
            self.dropped.append(self._chance.random() < self._loss)
            if not self.dropped[-1]:
                at = max(now + delay, self._held_until)
                heappush(self._waiting, (at, number, data))
                self._news.set()

    async def _deliver_rtp(self) -> None:
        while True:
            now = trio.current_time()
            while self._waiting and max(self._waiting[0][0], self._held_until) <= now:
                await self._back.sendto(heappop(self._waiting)[2], self._to)
            self._news = trio.Event()
            until = max(self._waiting[0][0], self._held_until) if self._waiting else inf
            with trio.move_on_at(until):
                await self._news.wait()

    async def _pass_rtcp_on(self) -> None:
        while True:
            data, self._rtcp_from = await self._front_rtcp.recvfrom(4096)
            await self._back_rtcp.sendto(data, self._to_rtcp)

    async def _pass_rtcp_back(self) -> None:
        while True:
            data, _ = await self._back_rtcp.recvfrom(4096)
            compound = parse_compound(data)
            assert isinstance(compound, list)
            for packet in compound:
                if isinstance(packet, RtcpRrPacket | RtcpSrPacket):
                    self.reports += packet.reports
            if self._rtcp_from is not None:
                await self._front_rtcp.sendto(data, self._rtcp_from)


@asynccontextmanager
async def relaying(
    to: int, *, loss: float = 0.0, jitter: float = 0.0, seed: int = 0
) -> AsyncIterator[UdpRelay]:
    """A relay that runs, closed at the end."""
    relay = UdpRelay(to, loss=loss, jitter=jitter, seed=seed)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(relay.run)
        yield relay
        nursery.cancel_scope.cancel()
