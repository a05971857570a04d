"""GraphCollector: what a graph has counted, as Prometheus wants it."""

from collections import Counter
from collections.abc import Iterable
from time import perf_counter
from typing import Final

from prometheus_client import Metric

from eventgraph.counts import RemoteLink
from eventgraph.event import Address
from eventgraph.graph import Graph
from eventgraph.link import DropReason
from eventgraph.metrics.collector import SlicedCollector, counter, counters, gauge, gauges
from eventgraph.metrics.distribution import Distribution
from eventgraph.metrics.ratchet import Ratchet
from eventgraph.slices import Steps
from eventgraph.state import NodeState
from eventgraph.totals import GraphTotals
from eventgraph.watchdog import Watchdog

DEPTHS: Final = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 1024)
"""Events; 128 is the default size of a channel."""
MAX_TYPES: Final = 64
"""Of nodes that are told apart: each is a series for each state. The others are `OTHER`."""
OTHER: Final = "other"
REMOTE: Final = ("group", "destination", "flow", "consumer")
"""Where links lead that leave the graph: pipes have the first two, flows the others."""

_UP: Final = {True: "up", False: "down"}

Way = tuple[Address, Address, bool, int]
"""A remote link: its near end, its far end, whether it leads in, and which of several."""


class GraphCollector(SlicedCollector):
    """Shows one graph; register it where Prometheus is answered::

        REGISTRY.register(GraphCollector(graph))

    Make it in the graph's thread. Each time that it is asked the graph is added up, which takes
    1 µs a node with two links, or 2 with 10,000; `eventgraph_read_seconds` tells. Asked in another
    thread, it holds the graph up for no more than a millisecond or so at a time.
    """

    def __init__(self, graph: Graph, watchdog: Watchdog | None = None) -> None:
        """
        Args:
            watchdog: whose incidents are shown, too.
        """
        super().__init__()
        self._graph = graph
        self._watchdog = watchdog
        self._types: set[str] = set()
        self._handled = 0
        self._depths = Distribution(DEPTHS)
        self._remote = Ratchet[Way, tuple[str, str]]()

    def read_steps(self) -> Steps[list[Metric]]:
        began, took = perf_counter(), 0.0
        steps = self._graph.total_steps()
        while True:
            try:
                next(steps)
            except StopIteration as done:
                totals: GraphTotals = done.value
                break
            took += perf_counter() - began
            yield
            began = perf_counter()
        self._handled = max(self._handled, totals.counts.handled)  # in slices it may fall
        for depth, nodes in totals.depths.items():
            self._depths.observe(depth, nodes)
        metrics = [
            *self._nodes(totals),
            *_events(totals, self._handled),
            *self._remote_links(totals.remote),
        ]
        if self._watchdog is not None:
            text = "Hooks that held everything up for longer than they may."
            metrics.append(counter("eventgraph_overdue_hooks", text, self._watchdog.count))
        text = "What it took to read the graph for this answer."
        metrics.append(gauge("eventgraph_read_seconds", text, took + perf_counter() - began))
        return metrics

    def _nodes(self, totals: GraphTotals) -> Iterable[Metric]:
        nodes: Counter[tuple[str, ...]] = Counter()
        for type_ in self._types:  # a type that was there once goes to 0 rather than away
            nodes[type_, NodeState.RUNNING] = 0
        for (type_, state), count in totals.nodes.items():
            nodes[self._known(type_), state] += count
        yield gauges("eventgraph_nodes", "Nodes, by class and state.", "type state", nodes)
        links = {("up",): totals.links, ("closing",): totals.closing}
        yield gauges("eventgraph_links", "Links within the graph.", "state", links)
        text = "Events in the channel of each node, all nodes looked at once an answer."
        yield self._depths.metric("eventgraph_queue_depth_events", text)
        text = "How full the fullest channel is, 0 to 1."
        yield gauge("eventgraph_queue_fullest_ratio", text, totals.fullest)
        yield counter("eventgraph_crashes", "Hooks that raised.", totals.crashes)
        text = "Nodes that their supervision restarted."
        yield counter("eventgraph_restarts", text, totals.restarts)

    def _known(self, type_: str) -> str:
        if type_ not in self._types:
            if len(self._types) >= MAX_TYPES:
                return OTHER
            self._types.add(type_)
        return type_

    def _remote_links(self, ways: list[tuple[Address, RemoteLink]]) -> Iterable[Metric]:
        links: Counter[tuple[str, ...]] = Counter({(k, s): 0 for k in REMOTE for s in _UP.values()})
        queued: Counter[tuple[str, ...]] = Counter({(kind,): 0 for kind in REMOTE})
        counts: dict[Way, Counter[tuple[str, str]]] = {}
        for near, way in ways:
            kind = way.type if way.type in REMOTE else OTHER
            links[kind, _UP[way.up]] += 1
            queued[kind,] += way.counts.queued
            mine = counts.setdefault(_identity(near, way), Counter())
            mine[kind, ""] += way.counts.handled
            for reason, count in way.counts.dropped.items():
                mine[kind, reason] += count
        for key, count_of in counts.items():
            self._remote.look(key, count_of)
        self._remote.forget_others(set(counts))
        handled: dict[tuple[str, ...], float] = {(kind,): 0 for kind in REMOTE}
        dropped: dict[tuple[str, ...], float] = {}
        for (kind, reason), total in self._remote.totals.items():
            if reason:
                dropped[kind, reason] = total
            else:
                handled[kind,] = total
        text = "Ways out of the graph and into it: of pipes (group, destination) and flows."
        yield gauges("eventgraph_remote_links", text, "kind state", links)
        text = "Events that passed on them: blocks, of flows."
        yield counters("eventgraph_remote_events_handled", text, "kind", handled)
        text = "Events that were lost on them."
        yield counters("eventgraph_remote_events_dropped", text, "kind reason", dropped)
        text = "Events that are on the way on them."
        yield gauges("eventgraph_remote_events_queued", text, "kind", queued)


def _identity(near: Address, way: RemoteLink) -> Way:
    number = 0 if way.type == "consumer" else way.id  # consumers are numbered anew when one goes
    return near, way.far, way.incoming, number


def _events(totals: GraphTotals, handled: int) -> Iterable[Metric]:
    counts = totals.counts
    text = "Events that somebody wanted to deliver: those handled, queued and dropped."
    yield counter("eventgraph_events_offered", text, counts.offered)
    text = "Events taken out of a channel for their hook."
    yield counter("eventgraph_events_handled", text, handled)
    dropped = {(reason.value,): counts.dropped.get(reason.value, 0) for reason in DropReason}
    yield counters("eventgraph_events_dropped", "Events that were not handled.", "reason", dropped)
    yield gauge("eventgraph_events_queued", "Events that wait in channels.", counts.queued)
