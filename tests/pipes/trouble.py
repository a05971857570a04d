"""A destination and a member with a bad network between them, in one process."""

import secrets
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, Literal

import trio

from eventgraph import Event
from eventgraph.pipes import (
    Binding,
    Destination,
    DestinationOptions,
    Member,
    PipeCounts,
    PipeStatistics,
    Reliability,
    SocketLimits,
    open_pipes,
)

from .tcp_relay import BACK, FRONT, TcpRelay, relaying

KEEPALIVE: Final = 0.9
"""Seconds; beats are a third of it, which a busy machine can keep."""
LIMITS: Final = SocketLimits(keepalive=KEEPALIVE, reconnect_min=0.02, reconnect_max=0.2)
LIMIT: Final = 10.0
"""Seconds until what takes one must have happened."""
PACE: Final = 0.005
"""Seconds between two events."""

TransportName = Literal["nng", "zmq"]


class Ends:
    """Both ends of one pipe.

    Attributes:
        relay: what is between them.
        taken: how often each number was, by the member.
        sent: how many numbers were delivered.
        longest_gap: seconds between two that were taken; set it to 0 to begin anew.
    """

    def __init__(self, relay: TcpRelay, destination: Destination, member: Member) -> None:
        self.relay = relay
        self.destination = destination
        self.member = member
        self.taken: Counter[int] = Counter()
        self.sent = 0
        self.longest_gap = 0.0
        self._sending = trio.CancelScope()

    @property
    def control(self) -> int:
        """The port where members report: the one that the destination takes first."""
        return self.relay.ports[0]

    @property
    def data(self) -> int:
        """The port of the group."""
        return self.relay.ports[1]

    @property
    def pipe(self) -> PipeStatistics:
        """The sender's side."""
        (pipe,) = self.destination.statistics().pipes
        return pipe

    async def send(self) -> None:
        """Deliver a number again and again, until `settle`."""
        with self._sending:
            while True:
                self.destination.deliver(Event(self.sent, b"x" * 100))
                self.sent += 1
                await trio.sleep(PACE)

    async def take(self) -> None:
        """Take what comes."""
        last = trio.current_time()
        async for event in self.member:
            self.taken[event.cmd] += 1
            now = trio.current_time()
            self.longest_gap, last = max(self.longest_gap, now - last), now

    async def takes_more(self) -> float:
        """Wait until an event comes that was sent from now on; how long it took (seconds)."""
        first = self.sent
        return await until(lambda: self.sent > first and max(self.taken, default=-1) >= first)

    async def settle(self) -> PipeCounts:
        """Send no more, wait until nothing is on its way, and check that the sums agree."""
        self._sending.cancel()
        await until(lambda: not self.pipe.counts.queued and not self.pipe.counts.in_flight)
        # What was given up, and had arrived, is reported yet; so is what came twice.
        await until(lambda: self.pipe.counts.received == len(self.taken))
        await until(
            lambda: self.taken.total() == self.pipe.counts.received + self.pipe.counts.duplicates
        )
        counts = self.pipe.counts
        assert counts.offered == self.sent
        assert counts.offered == counts.received + counts.lost + sum(counts.dropped.values())
        if self.destination.options.reliability is Reliability.AT_MOST_ONCE:
            assert self.taken.total() == len(self.taken)
        else:
            assert counts.lost == 0
        return counts


async def until(happened: Callable[[], object], limit: float = LIMIT) -> float:
    """Ask again and again: nothing wakes us from a network. How long it took (seconds)."""
    began = trio.current_time()
    while not happened():
        assert trio.current_time() < began + limit
        await trio.sleep(0.01)
    return trio.current_time() - began


@asynccontextmanager
async def two_ends(
    transport: TransportName, reliability: Reliability = Reliability.AT_LEAST_ONCE
) -> AsyncIterator[Ends]:
    """They are connected, and events flow."""
    with tempfile.TemporaryDirectory() as directory:
        registry = f"embedded:{directory}/{secrets.token_hex(4)}.sock"
        async with (
            relaying() as relay,
            open_pipes(
                registry,
                transport=transport,
                limits=LIMITS,
                binding=Binding(
                    host=BACK, ports=(relay.ports[0], relay.ports[-1]), advertise=FRONT
                ),
            ) as sender,
            open_pipes(registry, transport=transport, limits=LIMITS) as receiver,
        ):
            options = DestinationOptions(
                reliability=reliability, loss_grace=0.3, ack_timeout=3 * KEEPALIVE
            )
            destination = await sender.register("numbers", options)
            member = await receiver.join("numbers", "group")
            await destination.wait_for_members("group")
            ends = Ends(relay, destination, member)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ends.send)
                nursery.start_soon(ends.take)
                await ends.takes_more()
                yield ends
                nursery.cancel_scope.cancel()
