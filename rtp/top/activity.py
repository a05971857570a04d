"""Activity: what went on in a graph between two snapshots, node by node."""

from collections import Counter
from collections.abc import Iterator
from enum import StrEnum
from typing import Final

import msgspec

from eventgraph import Address, GraphSnapshot, LinkSnapshot, NodeSnapshot
from eventgraph.counts import Counts

USUAL: Final = frozenset({"running", "remote"})
"""States in which there is nothing to worry about."""


class Order(StrEnum):
    """By what nodes are sorted; the worst one first."""

    TROUBLE = "trouble"
    DROPS = "drops"
    QUEUE = "queue"
    RATE = "rate"
    NAME = "name"


class NodeActivity(msgspec.Struct, frozen=True):
    """A node.

    Attributes:
        taken: events a second that came in and were handled.
        given: events a second that it offered to others.
        lost: events a second that were dropped on their way to it, and of its threads.
        drops: all of those that stand in the snapshot.
        queued, channel_size: events.
    """

    address: Address
    type: str
    state: str
    taken: float
    given: float
    lost: float
    drops: int
    queued: int
    channel_size: int
    restarts: int

    @property
    def fill(self) -> float:
        """Of its channel, 0 to 1."""
        return self.queued / self.channel_size


class Activity(msgspec.Struct, frozen=True):
    """A graph.

    Attributes:
        taken, lost: events a second, of the whole graph, gone links included.
    """

    nodes: list[NodeActivity]
    taken: float
    lost: float


def compare(before: GraphSnapshot, now: GraphSnapshot, seconds: float) -> Activity:
    """What went on meanwhile; a link that has come is taken to have begun with it."""
    links = {_identity(link): link.counts for link in before.links}
    selves = {node.address: node for node in before.nodes}
    taken: Counter[Address] = Counter()
    given: Counter[Address] = Counter()
    lost: Counter[Address] = Counter()
    drops: Counter[Address] = Counter()
    for link in now.links:
        handled, offered, dropped = _grown(links.get(_identity(link), Counts()), link.counts)
        taken[link.receiver] += handled
        given[link.sender] += offered
        lost[link.receiver] += dropped
        drops[link.receiver] += _dropped(link.counts)
    for node in now.nodes:
        was = selves.get(node.address, _newcomer(node))
        handled, _, dropped = _grown(was.to_self, node.to_self)
        _, offered, dropped_of_threads = _grown(was.from_threads, node.from_threads)
        taken[node.address] += handled
        given[node.address] += offered
        lost[node.address] += dropped + dropped_of_threads
        drops[node.address] += _dropped(node.to_self) + _dropped(node.from_threads)
    handled, _, dropped = _grown(before.totals, now.totals)
    return Activity(
        [
            NodeActivity(
                node.address,
                node.type,
                node.state,
                taken[node.address] / seconds,
                given[node.address] / seconds,
                lost[node.address] / seconds,
                drops[node.address],
                node.queued,
                node.channel_size,
                node.restarts,
            )
            for node in now.nodes
        ],
        handled / seconds,
        dropped / seconds,
    )


def in_order(nodes: list[NodeActivity], order: Order) -> list[NodeActivity]:
    """The worst one first; of equals by scope and name, so that rows stay where they are."""
    return sorted(nodes, key=lambda node: (*_weights(node, order), node.address))


def _weights(node: NodeActivity, order: Order) -> Iterator[float]:
    match order:
        case Order.TROUBLE:
            yield -node.lost
            yield node.state in USUAL
            yield -round(node.fill, 1)  # a queue that trembles does not move rows
            yield -node.restarts
            yield -node.drops
            yield -round(node.taken + node.given, -1)
        case Order.DROPS:
            yield -node.lost
            yield -node.drops
        case Order.QUEUE:
            yield -node.fill
        case Order.RATE:
            yield -(node.taken + node.given)
        case Order.NAME:
            pass


def _grown(before: Counts, now: Counts) -> tuple[int, int, int]:
    """Handled, offered and dropped since then; what fell began again from 0."""
    if now.offered < before.offered:
        before = Counts()
    return (
        max(0, now.handled - before.handled),
        now.offered - before.offered,
        max(0, _dropped(now) - _dropped(before)),
    )


def _dropped(counts: Counts) -> int:
    return sum(counts.dropped.values())


def _identity(link: LinkSnapshot) -> tuple[Address, int, Address]:
    return link.sender, link.id, link.receiver


def _newcomer(node: NodeSnapshot) -> NodeSnapshot:
    return msgspec.structs.replace(node, to_self=Counts(), from_threads=Counts())
