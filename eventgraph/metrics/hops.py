"""HopCollector: how long events wait in channels, and how long it takes to handle them; sampled.

Each second some links are looked at, and a few of those that carry events are traced for a moment,
each until one event was followed. Classes of receivers have their turn equally often, as each has
histograms of its own; within a class the busier link is the likelier, so that the samples are
spread as its events are. A graph of any size costs the same, and links that are not being traced
cost nothing.

What nodes deliver to themselves and what comes from threads is not on a link, and is not seen.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from random import Random
from typing import Final

import trio
from prometheus_client import Metric
from prometheus_client.core import HistogramMetricFamily

from eventgraph.busy_links import Link, busy_links
from eventgraph.errors import GraphError
from eventgraph.event import Address
from eventgraph.graph import Graph
from eventgraph.metrics.collector import TrioCollector
from eventgraph.metrics.distribution import Distribution
from eventgraph.tracing import Trace

PERIOD: Final = 1.0
"""Seconds."""
LINKS: Final = 5
"""That are traced in a period."""
WINDOW: Final = 0.1
"""Seconds until an event has to come by a link that is traced: five packets of sound."""
PATIENCE: Final = 0.9
"""Seconds until it has to be handled then; one that is not counts as having waited so long. Less
than the tracer's own, so that it is still known of."""
BOUNDS: Final = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.02, 0.05, 0.1, 0.5)
"""Seconds."""
MAX_TYPES: Final = 32
"""Of nodes that are told apart: each has two histograms. The others are `OTHER`."""
OTHER: Final = "other"


class HopCollector(TrioCollector):
    """Samples one graph as long as `run` runs; gives way to whoever traces it on purpose."""

    def __init__(
        self, graph: Graph, *, period: float = PERIOD, random: Random | None = None
    ) -> None:
        """
        Args:
            period: seconds.
            random: draws the links.
        """
        super().__init__()
        self._graph = graph
        self._period = period
        self._random = random or Random()
        self._waited: dict[str, Distribution] = {}
        self._handled: dict[str, Distribution] = {}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            for link in self._draw(await busy_links(self._graph, self._period, self._random)):
                await self._sample(link)

    def _draw(self, busy: Mapping[Link, int]) -> Iterator[Link]:
        """Of those, some; one that is much busier than the others may come several times."""
        by_type: dict[str, dict[Link, int]] = {}
        for link, count in busy.items():
            with suppress(GraphError):  # it has left
                type_ = type(self._graph.node_at(link[1])).__name__
                by_type.setdefault(type_, {})[link] = count
        for type_ in self._random.sample(sorted(by_type), min(LINKS, len(by_type))):
            links = by_type[type_]
            yield from self._random.choices(list(links), list(links.values()))

    async def _sample(self, link: Link) -> None:
        followed = trio.Event()

        def found(trace: Trace) -> None:
            if not followed.is_set():
                followed.set()
                self._observe(trace)

        try:
            with self._graph.trace(link, found, interval=0.0, gives_way=True) as tracer:
                with trio.move_on_after(WINDOW):
                    await followed.wait()
                if tracer.under_way:
                    with trio.move_on_after(PATIENCE) as limit:
                        await followed.wait()
                    if limit.cancelled_caught and tracer.under_way:
                        self._observe_late(link)
        except GraphError:  # it is gone, or somebody traces on purpose
            await trio.lowlevel.checkpoint()

    def _observe(self, trace: Trace) -> None:
        (hop,) = trace.hops
        with suppress(GraphError):  # it left in this very handler
            type_ = self._type_of(hop.node)
            self._waited[type_].observe(hop.waited)
            self._handled[type_].observe(hop.handled)

    def _observe_late(self, link: Link) -> None:
        self._waited[self._type_of(link[1])].observe(PATIENCE)

    def _type_of(self, address: Address) -> str:
        type_ = type(self._graph.node_at(address)).__name__
        if type_ not in self._waited:
            if len(self._waited) >= MAX_TYPES:
                type_ = OTHER
            for distributions in (self._waited, self._handled):
                distributions.setdefault(type_, Distribution(BOUNDS))
        return type_

    def read(self) -> list[Metric]:
        text = "How long events waited in the channel of a node of this class; a sample of them."
        waited = HistogramMetricFamily("eventgraph_queue_wait_seconds", text, labels=["type"])
        for type_, distribution in self._waited.items():
            distribution.add_to(waited, [type_])
        text = "How long the handler of a node of this class took; of the same events."
        handled = HistogramMetricFamily("eventgraph_handler_seconds", text, labels=["type"])
        for type_, distribution in self._handled.items():
            distribution.add_to(handled, [type_])
        return [waited, handled]
