"""Pipes: from machine to machine.

A sender registers a *destination*; receivers join a *group* of it. Each group gets every
event, and its members share them. From the top down::

    nodes                                 a link into the one comes out of the other
    pipes                                 one process's part: owns sockets and tasks
    destination  member                   the two ends, each an endpoint with a task of its own
    pipe  registration  endpoint          one group's socket; keys that stay; a life
    ledger  intake  membership            pure: what was sent, what arrived, who is there
    wire  records  options                pure: what travels, what stands in the registry
    registry: embedded, etcd              who is where
    transport: nng, zmq                   how messages travel
    errors

The transports and etcd need the extra: ``pip install 'eventgraph[pipes]'``.
"""

from eventgraph.pipes.destination import Destination, DestinationStatistics
from eventgraph.pipes.errors import (
    DestinationClosedError,
    DestinationExistsError,
    EventFormatError,
    EventTooLargeError,
    GroupLeftError,
    LeaseLostError,
    PipeError,
    PipeNameError,
    PipeOptionError,
    RegistryError,
    RegistryUnavailableError,
    TransportError,
    WireError,
)
from eventgraph.pipes.intake import Delivery, MemberCounts
from eventgraph.pipes.ledger import PipeCounts
from eventgraph.pipes.member import Member, MemberState, MemberStatistics
from eventgraph.pipes.nodes import DestinationNode, GroupNode
from eventgraph.pipes.opening import open_registry
from eventgraph.pipes.options import Binding, DestinationOptions, Overflow, Reliability
from eventgraph.pipes.pipe import PipeStatistics
from eventgraph.pipes.pipes import Pipes, open_pipes
from eventgraph.pipes.records import DestinationEntry, GroupEntry
from eventgraph.pipes.registry import Lease, Registry, View
from eventgraph.pipes.transport import SocketLimits, Tls, Transport

__all__ = [
    "Binding",
    "Delivery",
    "Destination",
    "DestinationClosedError",
    "DestinationEntry",
    "DestinationExistsError",
    "DestinationNode",
    "DestinationOptions",
    "DestinationStatistics",
    "EventFormatError",
    "EventTooLargeError",
    "GroupEntry",
    "GroupLeftError",
    "GroupNode",
    "Lease",
    "LeaseLostError",
    "Member",
    "MemberCounts",
    "MemberState",
    "MemberStatistics",
    "Overflow",
    "PipeCounts",
    "PipeError",
    "PipeNameError",
    "PipeOptionError",
    "PipeStatistics",
    "Pipes",
    "Registry",
    "RegistryError",
    "RegistryUnavailableError",
    "Reliability",
    "SocketLimits",
    "Tls",
    "Transport",
    "TransportError",
    "View",
    "WireError",
    "open_pipes",
    "open_registry",
]
