"""A graph as Prometheus sees it; needs the extra ``metrics``.

::

    graph         what a graph has counted, read when it is asked for
    hops          what events wait, and what handling them takes: a few of them
    lag           how late a timer fires: what everything in this thread waits for
    process       what the process has open
    traces        how many events are followed for OpenTelemetry
    collector     reads in the graph's thread, whoever asks
    distribution  a histogram      ratchet  totals that never fall

Nothing here is on the way of an event, but for the few that are followed: a graph is read when
Prometheus asks, and costs nothing in between. No label has a name of a node, a session or a peer:
their number has no bound.
"""

from eventgraph.metrics.graph import GraphCollector as GraphCollector
from eventgraph.metrics.hops import HopCollector as HopCollector
from eventgraph.metrics.lag import LagCollector as LagCollector
from eventgraph.metrics.process import process_collectors as process_collectors
from eventgraph.metrics.traces import TraceCollector as TraceCollector
