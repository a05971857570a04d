"""eventgraph: an event-graph messaging runtime for media servers.

From the top down, each layer needing only those below it::

    graph                              owns nodes, links and tasks; entered and left
    congestion                         which channels stay full, and why
    watchdog                           names who holds everything up
    supervision  restart               nodes that run again after a crash
    statistics  totals  slices         what can be seen of it, in one go or bit by bit
    hop_times  tracing                 where single events lose their time
    tap  object_text  node_trace       events seen as they pass; what becomes of each
    wrapping                           who is told when an event is handled
    runner                             calls the hooks of one node, one at a time
    crossing                           how events leave a graph, and come into the next
    node                               what people subclass
    delegate                           a node's only handle on the graph
    member                             how a node takes part, and how it leaves
    runtime  backlog  dispatch         what nodes share; who waits; whose turn it is
    parking  background                one task that sleeps until it is wanted
    listening  following               who is told of what comes into a channel, or leaves
    topology  departure  link  state   plain data and pure decisions
    observer  counts  event  errors

``eventgraph.lifecycle`` runs nodes by demand.
``eventgraph.streams`` keeps links true to rules.
``eventgraph.formats`` says what fits to what, ``eventgraph.language`` composes graphs from text.
``eventgraph.pipes`` joins nodes on different machines.
``eventgraph.flows`` joins processes, through shared memory, and machines over pipes.
``eventgraph.metrics`` shows a graph to Prometheus.
``eventgraph.telemetry`` shows single events to OpenTelemetry.
``eventgraph.replay`` records what passes, and lets it happen again.
``eventgraph.plugins`` finds what other packages bring.
``eventgraph.views`` draws a snapshot; ``eventgraph.testing`` is for tests of one's own nodes.
"""

from eventgraph.counts import Counts, RemoteLink
from eventgraph.delegate import NodeDelegate
from eventgraph.errors import (
    FormatMismatchError,
    GraphClosedError,
    GraphError,
    GraphFailedError,
    HookOverdueError,
    LinkExistsError,
    LinkNotFoundError,
    LinkRefusedError,
    LinkTableFullError,
    NodeExistsError,
    NodeExitedError,
    NodeNotFoundError,
    TracerBusyError,
)
from eventgraph.event import Address, Event, FollowedEvent, TraceContext
from eventgraph.graph import Graph
from eventgraph.link import DropReason, Link, LinkTable
from eventgraph.node import Node
from eventgraph.node_trace import NodeTracer, TracedEvent
from eventgraph.observer import Observer
from eventgraph.restart import Level, Restart, RestartPolicy
from eventgraph.runtime import Crash
from eventgraph.state import NodeState
from eventgraph.statistics import GraphSnapshot, LinkSnapshot, NodeSnapshot
from eventgraph.tap import Passed, Tap, TapCounts
from eventgraph.totals import GraphTotals
from eventgraph.tracing import Hop, Trace, Tracer

__all__ = [
    "Address",
    "Counts",
    "Crash",
    "DropReason",
    "Event",
    "FollowedEvent",
    "FormatMismatchError",
    "Graph",
    "GraphClosedError",
    "GraphError",
    "GraphFailedError",
    "GraphSnapshot",
    "GraphTotals",
    "HookOverdueError",
    "Hop",
    "Level",
    "Link",
    "LinkExistsError",
    "LinkNotFoundError",
    "LinkRefusedError",
    "LinkSnapshot",
    "LinkTable",
    "LinkTableFullError",
    "Node",
    "NodeDelegate",
    "NodeExistsError",
    "NodeExitedError",
    "NodeNotFoundError",
    "NodeSnapshot",
    "NodeState",
    "NodeTracer",
    "Observer",
    "Passed",
    "RemoteLink",
    "Restart",
    "RestartPolicy",
    "Tap",
    "TapCounts",
    "Trace",
    "TraceContext",
    "TracedEvent",
    "Tracer",
    "TracerBusyError",
]
