"""Nodes that a server of the soak has beside its own: some crash when they are told to."""

from functools import partial
from typing import Final

from eventgraph import Address, Event, Graph, Node, NodeDelegate, RestartPolicy
from eventgraph.streams import Streams
from rtp.media import RTP
from rtp.nodes import ToneSource

CRASH: Final = b"crash!"
"""Begins the payload of a packet that a node cannot digest."""
FEEDS: Final = ("low", "high")
VIEWERS: Final = 4
STREAM: Final = "live"


class FragileError(Exception):
    """It was told to crash."""


class Fragile(Node):
    """Passes packets on, but for one of a kind that nobody thought of."""

    def on_enter(self, delegate: NodeDelegate) -> None:
        self._broadcast = delegate.broadcast

    def on_event(self, event: Event) -> None:
        if event.cmd == RTP and event.obj.payload.startswith(CRASH):
            raise FragileError("as it was told to")
        self._broadcast(event)


class Viewer(Node):
    """Takes what its stream is made of."""

    def on_event(self, event: Event) -> None:
        pass


def prepare(calls: int, graph: Graph, streams: Streams) -> None:
    """Add supervised nodes for so many calls, and feeds and viewers of a stream."""
    policy = RestartPolicy(max_restarts=1000, period=60, max_backoff=0.05)
    for number in range(calls):
        graph.supervise(partial(Fragile, f"echo-{number}", "fragile"), policy)
    for name in FEEDS:
        graph.add_node(ToneSource("feeds", name, frequency=440))
        streams.add_feed(name, Address("feeds", name))
    for number in range(VIEWERS):
        viewer = Address("viewers", str(number))
        graph.add_node(Viewer(viewer.scope, viewer.name))
        streams.register(viewer, f"stream/{STREAM}")
