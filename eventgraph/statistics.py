"""What can be seen of a graph: frozen structs, taken at one instant.

For every link, and for the deliveries of a node to itself and from threads::

    offered == handled + queued + sum(dropped.values())
"""

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from eventgraph.counts import Counts, RemoteLink
from eventgraph.event import Address
from eventgraph.link import Link, Tally
from eventgraph.member import Member
from eventgraph.runtime import Crash, Runtime

REMOTE = "remote"


class LinkSnapshot(msgspec.Struct, frozen=True):
    """A link that is up, or that is down while its sender has yet to be told.

    One that leads out of the graph, or into it, has a negative id.
    """

    id: int
    sender: Address
    receiver: Address
    up: bool
    counts: Counts


class NodeSnapshot(msgspec.Struct, frozen=True):
    """A node, its limits and how full it is.

    The far end of a link that leads out of the graph is shown as a node in the state ``remote``.
    """

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
    restarts: int = 0  # after crashes, by its supervision


class GraphSnapshot(msgspec.Struct, frozen=True):
    """The whole graph. ``totals`` counts all that was ever offered, gone links included."""

    nodes: list[NodeSnapshot]
    links: list[LinkSnapshot]
    totals: Counts
    crash_count: int
    crashes: list[Crash]  # the latest, oldest first
    restart_count: int = 0  # of supervised nodes, those that have left included


def take_snapshot(runtime: Runtime) -> GraphSnapshot:
    """Count everything; costs as much as there are nodes, links and waiting events."""
    members = [vertex for vertex in runtime.topology if isinstance(vertex, Member)]
    with runtime.thread_lock:  # as briefly as can be: threads wait for it
        inboxes = [tuple(m.backlog.inbox) if m.backlog is not None else () for m in members]
        threads = [m.from_threads.copy() if m.from_threads else Tally() for m in members]
        retired_threads = runtime.retired_threads.copy()
    queued: Counter[Tally | None] = Counter()
    for member, inbox in zip(members, inboxes, strict=True):
        queued.update(tally for tally, _ in member.entries)
        queued.update(tally for tally, _ in inbox)
    nodes = [
        _node(member, len(inbox), tally, queued)
        for member, inbox, tally in zip(members, inboxes, threads, strict=True)
    ]
    links = [_link(link, queued) for member in members for link in _links_of(member)]
    present = {member.address for member in members}
    for member in members:
        for way in member.remote_links() if member.remote_links is not None else ():
            links.append(_remote_link(member, way))
            if way.far not in present:  # several ways may lead to one place
                present.add(way.far)
                nodes.append(_far_end(way))
    tallies: list[Tally] = [runtime.topology.retired, retired_threads, *threads]
    tallies += (member.to_self for member in members)
    tallies += (link for member in members for link in _links_of(member))
    totals = _counts(tallies, sum(queued.values()))
    return GraphSnapshot(
        nodes,
        links,
        totals,
        runtime.crash_count,
        list(runtime.crashes),
        runtime.restart_count,
    )


def _remote_link(member: Member, way: RemoteLink) -> LinkSnapshot:
    ends = (way.far, member.address) if way.incoming else (member.address, way.far)
    return LinkSnapshot(way.id, *ends, way.up, way.counts)


def _far_end(way: RemoteLink) -> NodeSnapshot:
    return NodeSnapshot(
        address=way.far,
        type=way.type,
        state=REMOTE,
        inputs=int(not way.incoming),
        outputs=int(way.incoming),
        max_links=1,
        channel_size=way.room,
        queued=way.counts.queued,
        waiting=0,
        to_self=Counts(),
        from_threads=Counts(),
    )


def _links_of(member: Member) -> list[Link]:
    return [*member.outputs.up.values(), *member.outputs.closing.values()]


def _node(
    member: Member, waiting: int, by_threads: Tally, queued: Mapping[Tally | None, int]
) -> NodeSnapshot:
    return NodeSnapshot(
        address=member.address,
        type=member.type_name,
        state=member.state.value,
        inputs=len(member.inputs),
        outputs=len(member.outputs.up),
        max_links=member.outputs.size,
        channel_size=member.channel_size,
        queued=len(member.entries),
        waiting=waiting,
        restarts=member.restarts,
        to_self=_counts([member.to_self], queued[member.to_self]),
        from_threads=_counts([by_threads], queued[member.from_threads]),
    )


def _link(link: Link, queued: Mapping[Tally | None, int]) -> LinkSnapshot:
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
        accepted += int(tally.accepted)
        refused += sum(tally.refused.values())
        discarded += sum(tally.discarded.values())
        for counts in (tally.refused, tally.discarded):
            for reason, count in counts.items():
                dropped[reason.value] = dropped.get(reason.value, 0) + count
    return Counts(accepted + refused, accepted - queued - discarded, queued, dropped)
