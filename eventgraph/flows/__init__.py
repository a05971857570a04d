"""Flows: timestamped media between processes and machines, through shared memory.

From the bottom to the top::

    client  server/                who is connected to whom, and under which server
    provider  consumer             the two ends of a flow, which know sockets and no server
    ring  slots  history  outlet  source     one end each of the way from one to the other
    authentication/  balancing/  conversion/     plugins
    key  format  options  clock    plain data

A server never stands in the way of a block: it connects provider and consumer with each other.
"""

from eventgraph.flows.authentication.options import AuthenticationOptions
from eventgraph.flows.block import Block
from eventgraph.flows.client import FlowClient
from eventgraph.flows.clock import now
from eventgraph.flows.consumer import Consumer, ConsumerStatistics
from eventgraph.flows.errors import (
    AuthenticationError,
    BlockTooLargeError,
    FlowClosedError,
    FlowConversionError,
    FlowDirectoryError,
    FlowError,
    FlowNameError,
    FlowObsoleteError,
    FlowOptionError,
    FlowProtocolError,
    FlowRefusedError,
    FlowServerError,
    FlowUnreadError,
    FlowVersionError,
    FlowWorkerError,
)
from eventgraph.flows.format import FlowFormat
from eventgraph.flows.key import FlowKey, FlowPattern
from eventgraph.flows.listing import (
    ClientListing,
    ConsumerListing,
    FlowListing,
    Listing,
    MachineListing,
    WaitingListing,
)
from eventgraph.flows.opening import open_flows
from eventgraph.flows.options import ProviderOptions, SlowConsumer
from eventgraph.flows.protocol import Launch
from eventgraph.flows.provider import Draft, Provider, ProviderStatistics
from eventgraph.flows.server.options import ServerOptions

__all__ = [
    "AuthenticationError",
    "AuthenticationOptions",
    "Block",
    "BlockTooLargeError",
    "ClientListing",
    "Consumer",
    "ConsumerListing",
    "ConsumerStatistics",
    "Draft",
    "FlowClient",
    "FlowClosedError",
    "FlowConversionError",
    "FlowDirectoryError",
    "FlowError",
    "FlowFormat",
    "FlowKey",
    "FlowListing",
    "FlowNameError",
    "FlowObsoleteError",
    "FlowOptionError",
    "FlowPattern",
    "FlowProtocolError",
    "FlowRefusedError",
    "FlowServerError",
    "FlowUnreadError",
    "FlowVersionError",
    "FlowWorkerError",
    "Launch",
    "Listing",
    "MachineListing",
    "Provider",
    "ProviderOptions",
    "ProviderStatistics",
    "ServerOptions",
    "SlowConsumer",
    "WaitingListing",
    "now",
    "open_flows",
]
