"""What can be seen of a graph: frozen structs, taken at one instant.

For every link, and for the deliveries of a node to itself and from threads::

    offered == handled + queued + sum(dropped.values())
"""

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from eventgraph.event import Address
from eventgraph.link import Link, Tally
from eventgraph.member import Member
from eventgraph.runtime import Crash, Runtime


class Counts(msgspec.Struct, frozen=True):
    """Events on one way into a channel."""

    offered: int = 0
    handled: int = 0
    queued: int = 0
    dropped: dict[str, int] = {}  # by reason


class LinkSnapshot(msgspec.Struct, frozen=True):
    """A link that is up, or that is down while its sender has yet to be told."""

    id: int
    sender: Address
    receiver: Address
    up: bool
    counts: Counts


class NodeSnapshot(msgspec.Struct, frozen=True):
    """A node, its limits and how full it is."""

    address: Address
    type: str  # name of its class
    state: str
    inputs: int  # links
    outputs: int  # links
    max_links: int
    channel_size: int  # events
    queued: int  # events in its channel
    waiting: int  # events from threads that wait for room in it
    to_self: Counts
    from_threads: Counts


class GraphSnapshot(msgspec.Struct, frozen=True):
    """The whole graph. ``totals`` counts all that was ever offered, gone links included."""

    nodes: list[NodeSnapshot]
    links: list[LinkSnapshot]
    totals: Counts
    crash_count: int
    crashes: list[Crash]  # the latest, oldest first


def take_snapshot(runtime: Runtime) -> GraphSnapshot:
    """Count everything; costs as much as there are nodes, links and waiting events."""
    members = [vertex for vertex in runtime.topology if isinstance(vertex, Member)]
    with runtime.thread_lock:  # else threads would deliver between the counts
        queued: Counter[Tally] = Counter()
        for member in members:
            queued.update(tally for tally, _ in member.entries)
            if member.backlog is not None:
                queued.update(tally for tally, _ in member.backlog.inbox)
        nodes = [_node(member, queued) for member in members]
        links = [_link(link, queued) for member in members for link in _links_of(member)]
        threads = [m.from_threads for m in members if m.from_threads is not None]
        tallies: list[Tally] = [runtime.topology.retired, runtime.retired_threads, *threads]
        tallies += (member.to_self for member in members)
        tallies += (link for member in members for link in _links_of(member))
        totals = _counts(tallies, sum(queued.values()))
    return GraphSnapshot(nodes, links, totals, runtime.crash_count, list(runtime.crashes))


def _links_of(member: Member) -> list[Link]:
    return [*member.outputs.up.values(), *member.outputs.closing.values()]


def _node(member: Member, queued: Mapping[Tally, int]) -> NodeSnapshot:
    threads = member.from_threads
    return NodeSnapshot(
        address=member.address,
        type=member.type_name,
        state=member.state.value,
        inputs=len(member.inputs),
        outputs=len(member.outputs.up),
        max_links=member.outputs.size,
        channel_size=member.capacity,
        queued=len(member.entries),
        waiting=len(member.backlog.inbox) if member.backlog is not None else 0,
        to_self=_counts([member.to_self], queued[member.to_self]),
        from_threads=_counts([threads], queued[threads]) if threads is not None else Counts(),
    )


def _link(link: Link, queued: Mapping[Tally, int]) -> LinkSnapshot:
    return LinkSnapshot(
        link.id,
        link.sender.address,
        link.receiver.address,
        link.id in link.sender.outputs.up,
        _counts([link], queued[link]),
    )


def _counts(tallies: Iterable[Tally], queued: int) -> Counts:
    accepted = refused = discarded = 0
    dropped: dict[str, int] = {}
    for tally in tallies:
        accepted += tally.accepted
        refused += sum(tally.refused.values())
        discarded += sum(tally.discarded.values())
        for counts in (tally.refused, tally.discarded):
            for reason, count in counts.items():
                dropped[reason.value] = dropped.get(reason.value, 0) + count
    return Counts(accepted + refused, accepted - queued - discarded, queued, dropped)
