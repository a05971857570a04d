"""Follower: who follows events out of a graph, and into it.

A graph has one or none. That of `eventgraph.telemetry` writes OpenTelemetry spans.
"""

from contextlib import AbstractContextManager
from typing import Protocol

from eventgraph.event import TraceContext
from eventgraph.link import Vertex


class Follower(Protocol):
    """Is asked by the nodes that lead out of the graph and into it."""

    def departing(self, sender: Vertex) -> TraceContext | None:
        """What to send along, if the event that the node handles just now is followed."""

    def arriving(self, receiver: Vertex, trace: TraceContext) -> AbstractContextManager[object]:
        """Within it, what the node delivers is what has come."""
