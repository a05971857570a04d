"""OpenTelemetry traces of single events, sent to a collector as long as the server runs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from eventgraph import Graph
from eventgraph.background import open_background
from eventgraph.metrics.traces import TraceCounts
from rtp.node_address import parse_address

from .config import TracesConfig
from .errors import StartError


@asynccontextmanager
async def open_traces(graph: Graph, config: TracesConfig) -> AsyncIterator[TraceCounts | None]:
    """Follow events if there is a collector; None: there is none.

    Raises:
        StartError: OpenTelemetry is not installed.
    """
    if not config.endpoint:
        yield None
        return
    try:
        from eventgraph.telemetry import EventFollower
        from eventgraph.telemetry.otlp import open_otlp
    except ImportError as error:
        raise StartError(
            f"traces.endpoint is set, but {error.name} is not installed: "
            "pip install 'eventgraph[otel]'"
        ) from None
    origins = [parse_address(name) for name in config.origins]
    async with open_otlp(config.endpoint) as provider, open_background() as nursery:
        with EventFollower(graph, provider, origins=origins, interval=config.interval) as follower:
            nursery.start_soon(follower.run, name="eventgraph traces")
            yield follower
