"""What can be seen of streams: frozen structs, taken at one instant.

Events are counted by the links themselves, from when they came up; nothing more is counted
for streams. Two snapshots make a rate: the difference of their counts over that of their times.
"""

import enum
from collections import Counter
from collections.abc import Collection, Iterable

import msgspec

from eventgraph.counts import Counts
from eventgraph.event import Address
from eventgraph.state import TAKES_LINKS
from eventgraph.statistics import GraphSnapshot
from eventgraph.streams.definitions import Definitions, Pair
from eventgraph.streams.rule import Rule


class StreamLinkState(enum.StrEnum):
    """What has become of a link that is wanted."""

    UP = "up"
    BY_PROGRAM = "by_program"  # it is up, and was put up by others: it is theirs
    WAITING = "waiting"  # the feed's or the client's node is not there, or is leaving
    NO_ROOM = "no_room"  # the link table of the feed is full


class StreamLink(msgspec.Struct, frozen=True):
    """A link that is wanted."""

    feed: Address
    client: Address
    state: StreamLinkState
    wanted: int  # by so many registrations and rules
    counts: Counts  # since it is up


class FeedSnapshot(msgspec.Struct, frozen=True):
    """A feed, and what it has sent to clients by links that are up."""

    name: str
    address: Address
    there: bool  # whether its node is in the graph, and not leaving
    counts: Counts


class ClientSnapshot(msgspec.Struct, frozen=True):
    """A client, and what has been sent to it by links that are up."""

    address: Address
    sources: list[str]  # what it is registered to
    there: bool
    counts: Counts


class StreamsSnapshot(msgspec.Struct, frozen=True):
    """All feeds, rules and clients, and the links that follow from them."""

    feeds: list[FeedSnapshot]
    rules: list[Rule]
    clients: list[ClientSnapshot]
    links: list[StreamLink]


def take_snapshot(
    graph: GraphSnapshot,
    definitions: Definitions,
    wanted: Counter[Pair],
    own: Collection[Pair],
) -> StreamsSnapshot:
    """What there is, out of what is in the graph and what is wanted."""
    there = {node.address for node in graph.nodes if node.state in TAKES_LINKS}
    up = {(link.sender, link.receiver): link.counts for link in graph.links if link.up}
    links = []
    for pair, count in wanted.items():
        if pair in up:
            state = StreamLinkState.UP if pair in own else StreamLinkState.BY_PROGRAM
        elif pair[0] in there and pair[1] in there:
            state = StreamLinkState.NO_ROOM
        else:
            state = StreamLinkState.WAITING
        links.append(StreamLink(*pair, state, count, up.get(pair, Counts())))
    from_feed: dict[Address, list[Counts]] = {}
    to_client: dict[Address, list[Counts]] = {}
    for link in links:
        from_feed.setdefault(link.feed, []).append(link.counts)
        to_client.setdefault(link.client, []).append(link.counts)
    feeds = [
        FeedSnapshot(name, address, address in there, _sum(from_feed.get(address, [])))
        for name, address in definitions.feeds.items()
    ]
    sources: dict[Address, list[str]] = {}
    for source, registered in definitions.clients.items():
        for address in registered:
            sources.setdefault(address, []).append(source)
    clients = [
        ClientSnapshot(address, names, address in there, _sum(to_client.get(address, [])))
        for address, names in sources.items()
    ]
    return StreamsSnapshot(feeds, list(definitions.rules.values()), clients, links)


def _sum(all_counts: Iterable[Counts]) -> Counts:
    offered = handled = queued = 0
    dropped: Counter[str] = Counter()
    for counts in all_counts:
        offered += counts.offered
        handled += counts.handled
        queued += counts.queued
        dropped.update(counts.dropped)
    return Counts(offered, handled, queued, dict(dropped))
