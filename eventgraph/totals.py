"""Totals: a graph in sums, cheap enough to be asked for again and again.

A snapshot has a struct for each node and link, and looks at each waiting event to tell whose it
is. Sums need neither: 1 ms for 1,000 nodes with two links each, however much waits.

In slices the sums are of no one instant, but each way is counted once, also of those that go
meanwhile: what is offered and dropped never falls from one time to the next. What is handled is the
rest, and may fall by as much as came into channels meanwhile.
"""

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

import msgspec

from eventgraph.counts import Counts, RemoteLink
from eventgraph.errors import NodeNotFoundError
from eventgraph.event import Address
from eventgraph.link import DropReason, Tally
from eventgraph.member import Member
from eventgraph.runtime import Runtime
from eventgraph.slices import Steps, at_once

TRIES: Final = 3
"""In slices: if ways go each time, then all is added up at once."""


class GraphTotals(msgspec.Struct, frozen=True):
    """A graph at one instant, in sums.

    ``counts`` has all that was ever offered, gone links and nodes included; of that which still
    waits, ``queued`` tells how much.
    """

    nodes: dict[tuple[str, str], int]  # by type and state
    links: int  # that are up
    closing: int  # links that are down while their sender has yet to be told
    depths: dict[int, int]  # how many nodes have so many events in their channel
    fullest: float  # 0..1, of the channel with the least room left
    counts: Counts
    crashes: int
    restarts: int
    remote: list[tuple[Address, RemoteLink]]  # from which node, or to it


def total_steps(runtime: Runtime) -> Steps[GraphTotals]:
    """Add everything up; costs as much as there are nodes and links."""
    retired = runtime.topology.retired
    for _ in range(TRIES):
        gone = retired.ways
        sums = _Sums(runtime)
        yield from sums.add_up()
        if retired.ways == gone:
            return sums.totals()
    sums = _Sums(runtime)
    at_once(sums.add_up())
    return sums.totals()


class _Sums:
    """Of one pass over a graph."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._nodes: Counter[tuple[str, str]] = Counter()
        self._depths: Counter[int] = Counter()
        self._remote: list[tuple[Address, RemoteLink]] = []
        self._links = self._closing = self._queued = 0
        self._fullest = 0.0
        self._sum = _Sum()

    def add_up(self) -> Steps[None]:
        self._sum.add(self._runtime.topology.retired)
        for member in list(self._runtime.topology):
            assert isinstance(member, Member)
            self._add(member)
            yield

    def _add(self, member: Member) -> None:
        self._nodes[member.type_name, member.state.value] += 1
        waiting = len(member.entries)
        self._depths[waiting] += 1
        self._fullest = max(self._fullest, waiting / member.channel_size)
        self._queued += waiting
        outputs = member.outputs
        self._links += len(outputs.up)
        self._sum.add(member.to_self)
        for link in outputs.up.values():
            self._sum.add(link)
        if outputs.closing:
            self._closing += len(outputs.closing)
            for link in outputs.closing.values():
                self._sum.add(link)
        if member.remote_links is not None:
            self._remote += ((member.address, way) for way in member.remote_links())

    def totals(self) -> GraphTotals:
        runtime = self._runtime
        with runtime.thread_lock:  # as briefly as can be: threads wait for it
            self._sum.add(runtime.retired_threads)
            for member in runtime.topology:
                assert isinstance(member, Member)
                if member.from_threads is not None:
                    self._sum.add(member.from_threads)
                if member.backlog is not None:
                    self._queued += len(member.backlog.inbox)
        return GraphTotals(
            dict(self._nodes),
            self._links,
            self._closing,
            dict(self._depths),
            self._fullest,
            self._sum.counts(self._queued),
            runtime.crash_count,
            runtime.restart_count,
            self._remote,
        )


def take_traffic(
    runtime: Runtime, senders: Iterable[Address]
) -> dict[tuple[Address, Address], int]:
    """As ``Graph.traffic``."""
    traffic: dict[tuple[Address, Address], int] = {}
    for address in senders:
        with suppress(NodeNotFoundError):
            for link in runtime.topology.find(address).outputs.up.values():
                traffic[address, link.receiver.address] = int(link.accepted)
    return traffic


class _Sum:
    """Of tallies."""

    def __init__(self) -> None:
        self._accepted = 0.0
        self._refused = self._discarded = 0
        self._dropped: dict[str, int] = {}

    def add(self, tally: Tally) -> None:
        self._accepted += tally.accepted
        if tally.refused:
            self._refused += self._add_drops(tally.refused)
        if tally.discarded:
            self._discarded += self._add_drops(tally.discarded)

    def _add_drops(self, counts: dict[DropReason, int]) -> int:
        for reason, count in counts.items():
            self._dropped[reason.value] = self._dropped.get(reason.value, 0) + count
        return sum(counts.values())

    def counts(self, queued: int) -> Counts:
        accepted = int(self._accepted)
        queued = min(queued, accepted - self._discarded)  # in slices it may seem to be more
        handled = accepted - queued - self._discarded
        return Counts(accepted + self._refused, handled, queued, self._dropped)
