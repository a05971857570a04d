"""Counts: events on one way, at one instant; also on the ways that lead out of the graph."""

import msgspec

from eventgraph.event import Address


class Counts(msgspec.Struct, frozen=True, gc=False):
    """Events on one way into a channel."""

    offered: int = 0
    handled: int = 0
    queued: int = 0
    dropped: dict[str, int] = {}  # by reason


class RemoteLink(msgspec.Struct, frozen=True):
    """A way between a node and somewhere outside of its graph, for the snapshot to show."""

    id: int  # negative; unique among those of the node
    far: Address  # how the other end is called
    type: str  # what it is
    incoming: bool  # it leads to the node, not away from it
    up: bool
    room: int  # events that may wait on it
    counts: Counts
