"""What can be seen of a graph: frozen structs, taken at one instant.

For every link, and for the deliveries of a node to itself and from threads::

    offered == handled + queued + sum(dropped.values())

The structs of nodes, links and counts hold nothing that could hold them, and there are thousands of
them: the garbage collector, which would stop everything to go through them, is not told of them.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping

import msgspec

from eventgraph.counts import Counts, RemoteLink
from eventgraph.event import Address
from eventgraph.link import Link, Tally, Vertex
from eventgraph.member import Member
from eventgraph.runtime import Crash, Runtime
from eventgraph.slices import Steps
from eventgraph.totals import total_steps

REMOTE = "remote"


class LinkSnapshot(msgspec.Struct, frozen=True, gc=False):
    """A link that is up, or that is down while its sender has yet to be told.

    One that leads out of the graph, or into it, has a negative id.
    """

    id: int
    sender: Address
    receiver: Address
    up: bool
    counts: Counts


class NodeSnapshot(msgspec.Struct, frozen=True, gc=False):
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


def snapshot_steps(runtime: Runtime) -> Steps[GraphSnapshot]:
    """Count everything; costs as much as there are nodes, links and waiting events.

    In slices each node is of one instant, with all links to it; what threads delivered is of the
    first, and the totals are as those of `total_steps`.
    """
    members = [vertex for vertex in runtime.topology if isinstance(vertex, Member)]
    with runtime.thread_lock:  # as briefly as can be: threads wait for it
        inboxes = {m: tuple(m.backlog.inbox) for m in members if m.backlog is not None}
        threads = {
            m: (m.from_threads, m.from_threads.copy())
            for m in members
            if m.from_threads is not None
        }
    queued: Counter[Tally] = Counter()  # of the channels that were looked at
    nodes: dict[Member, NodeSnapshot] = {}
    by_sender: defaultdict[Vertex, list[LinkSnapshot]] = defaultdict(list)
    for member in members:
        if not member.has_left:
            inbox = inboxes.get(member, ())
            for waiting in filter(None, (member.entries, inbox)):
                queued.update(tally for tally, _ in waiting)
            nodes[member] = _node(member, len(inbox), queued)
            for link in member.inputs.values():
                by_sender[link.sender].append(_link(link, True, queued))
        yield
    links: list[LinkSnapshot] = []
    far: dict[Address, NodeSnapshot] = {}
    for member, node in nodes.items():
        mine = by_sender[member]
        if member.outputs.closing:
            known = {link.id for link in mine}  # they were up when their receiver was looked at
            closing = (x for x in member.outputs.closing.values() if x.id not in known)
            mine += (_link(link, False, queued) for link in closing)
        links += mine if len(mine) < 2 else sorted(mine, key=lambda link: (not link.up, link.id))
        if member in threads:
            tally, counted = threads[member]
            by_threads = _counts(counted, queued[tally])
            nodes[member] = msgspec.structs.replace(node, from_threads=by_threads)
        if member.remote_links is not None and not member.has_left:
            for way in member.remote_links():  # several may lead to one place
                links.append(_remote_link(member, way))
                far.setdefault(way.far, _far_end(way))
        yield
    for node in nodes.values():
        far.pop(node.address, None)
    totals = yield from total_steps(runtime)
    return GraphSnapshot(
        [*nodes.values(), *far.values()],
        links,
        totals.counts,
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


def _node(member: Member, waiting: int, queued: Mapping[Tally, int]) -> NodeSnapshot:
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
        to_self=_counts(member.to_self, queued.get(member.to_self, 0)),
        from_threads=Counts(),
    )


def _link(link: Link, up: bool, queued: Mapping[Tally, int]) -> LinkSnapshot:
    counts = _counts(link, queued.get(link, 0))
    return LinkSnapshot(link.id, link.sender.address, link.receiver.address, up, counts)


def _counts(tally: Tally, queued: int) -> Counts:
    accepted = int(tally.accepted)
    if not tally.refused and not tally.discarded:
        return Counts(accepted, max(0, accepted - queued), min(queued, accepted))
    refused, discarded = sum(tally.refused.values()), sum(tally.discarded.values())
    dropped: dict[str, int] = {}
    for counts in (tally.refused, tally.discarded):
        for reason, count in counts.items():
            dropped[reason.value] = dropped.get(reason.value, 0) + count
    queued = min(queued, accepted - discarded)  # in slices it may seem to be more
    return Counts(accepted + refused, accepted - queued - discarded, queued, dropped)
