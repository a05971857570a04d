"""GET /metrics: the server as Prometheus sees it.

A text is kept for a second, so that any number of askers costs the graph no more than one. It is
made in a worker thread; what it tells is read in the server's own, each collector in one step.

Sources: Prometheus exposition formats, text 0.0.4 and OpenMetrics 1.0.
"""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Final

import trio
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from eventgraph import Graph
from eventgraph.background import open_background
from eventgraph.metrics import GraphCollector, HopCollector, LagCollector, process_collectors
from eventgraph.metrics.collector import TrioCollector, gauges
from eventgraph.watchdog import Watchdog
from rtp.metrics.network import NetworkCollector
from rtp.metrics.sound import SoundCollector
from rtp.network import RtpNetwork

from .config import MetricsConfig

PATH: Final = "/metrics"
KEPT: Final = 1.0
"""Seconds for which a text is answered again."""


class Metrics:
    """Answers with all that its registry has.

    Attributes:
        public: whether it is shown to who has no token.
    """

    def __init__(self, registry: CollectorRegistry, *, public: bool = False) -> None:
        self.public = public
        self._registry = registry
        self._texts: dict[str, tuple[float, bytes]] = {}  # by type: when it was made, what it is
        self._making = trio.Lock()

    def routes(self) -> list[Route]:
        """Of the HTTP edge."""
        return [Route(PATH, self._show)]

    async def _show(self, request: Request) -> Response:
        encode, content_type = choose_encoder(",".join(request.headers.getlist("accept")))
        body = await self._text(encode, content_type)
        headers = {"content-type": content_type, "cache-control": "no-store", "vary": "accept"}
        return Response(body, headers=headers)

    async def _text(self, encode: Callable[[CollectorRegistry], bytes], content_type: str) -> bytes:
        async with self._making:
            made, text = self._texts.get(content_type, (-KEPT, b""))
            now = trio.current_time()
            if not text or now - made >= KEPT:
                text = await trio.to_thread.run_sync(encode, self._registry)
                self._texts[content_type] = now, text
        return text


class _BuildCollector(TrioCollector):
    def read(self) -> list[Metric]:
        text = "What runs, always 1."
        return [gauges("eventgraph_build_info", text, "version", {(version("eventgraph"),): 1})]


@asynccontextmanager
async def open_metrics(
    graph: Graph,
    network: RtpNetwork,
    config: MetricsConfig,
    watchdog: Watchdog | None = None,
    more: Iterable[Collector] = (),
) -> AsyncIterator[Metrics | None]:
    """Measure what has to be measured all the time, as long as the block runs.

    Args:
        watchdog: whose incidents are shown.
        more: what else can be asked.
    """
    if not config.enabled:
        yield None
        return
    registry = CollectorRegistry()
    lag, hops = LagCollector(), HopCollector(graph)
    for collector in (
        _BuildCollector(),
        GraphCollector(graph, watchdog),
        lag,
        hops,
        NetworkCollector(network),
        SoundCollector(graph),
        *more,
    ):
        registry.register(collector)
    process_collectors(registry)
    async with open_background() as nursery:
        nursery.start_soon(lag.run, name="eventgraph lag")
        if config.sample_hops:
            nursery.start_soon(hops.run, name="eventgraph hops")
        yield Metrics(registry, public=config.public)
