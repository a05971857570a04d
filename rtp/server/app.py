"""The server: network, graph, demo and HTTP edge, from the start to the last Ctrl-C."""

from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version

import trio
from prometheus_client.registry import Collector

from eventgraph import Graph
from eventgraph.metrics import TraceCollector
from eventgraph.metrics.traces import TraceCounts
from eventgraph.streams import Streams
from rtp.logs.output import LogOutput
from rtp.metrics.logs import LogCollector
from rtp.network import RtpNetwork

from .admission import Admission
from .calls import Calls, open_calls
from .composition import open_composition, open_endpoints
from .config import Config
from .demo import NO_DEMO, start_demo
from .draining import drain
from .ending import ending_by_signal
from .flows import open_flow_view
from .http import listen, serve_http, url_of
from .metrics import open_metrics
from .rules import open_rules
from .status import Status
from .systemd import Notifier
from .token import find_token
from .traces import open_traces
from .watching import watching
from .welcome import Running


async def run_server(
    config: Config,
    announce: Callable[[Running], None],
    log: LogOutput | None = None,
    *,
    prepare: Callable[[Graph, Streams], None] = lambda _graph, _streams: None,
) -> None:
    """Serve until SIGINT or SIGTERM; a second one drains nothing. Neither of them raises.

    Args:
        config: all settings.
        announce: is called once everything is up.
        log: whose levels can be changed over HTTP.
        prepare: adds nodes, feeds and clients of one's own before anybody can call.
    Raises:
        StartError: a port, an address, a file, a directory or a needed token cannot be had.
    """
    notifier = Notifier.from_environment()
    with ending_by_signal() as ending, listen(config.http) as listener, ending.hurry:
        async with RtpNetwork() as network, Graph(exit_timeout=config.graph.exit_timeout) as graph:
            endpoints = open_endpoints(network, config)
            composition = open_composition(graph, endpoints, config)
            demo = NO_DEMO
            if config.demo.enabled:
                demo = await start_demo(composition, endpoints, network, config)
            streams = Streams(graph)
            prepare(graph, streams)
            rules = open_rules(streams, config.streams)
            flows = open_flow_view(config.flows)
            admission = Admission(config.limits)
            async with (
                open_calls(graph, network, config, admission.check) as calls,
                watching(graph, config.watchdog) as watchdog,
                open_traces(graph, config.traces) as traces,
                open_metrics(
                    graph, network, config.metrics, watchdog, _collectors(calls, traces, log)
                ) as metrics,
                trio.open_nursery() as edge,
            ):
                edge.start_soon(admission.run)
                edge.start_soon(notifier.watch)
                await edge.start(
                    partial(
                        serve_http,
                        graph,
                        config.http,
                        sessions=demo.sessions,
                        calls=calls,
                        composition=composition,
                        rules=rules,
                        flows=flows,
                        network=network,
                        metrics=metrics,
                        log=log,
                        status=Status(admission, calls.sessions),
                        listener=listener,
                    )
                )
                announce(
                    Running(
                        version=version("eventgraph"),
                        url=url_of(listener, secure=bool(config.http.certificate)),
                        rtp_host=config.rtp.host,
                        echo_port=demo.echo_port,
                        recordings=demo.recordings,
                        guarded=find_token(config.http) is not None,
                    )
                )
                notifier.notify("READY=1")
                await ending.wanted.wait()
                notifier.notify("STOPPING=1")
                await drain(admission, calls.sessions, ending, config.shutdown.drain_timeout)
                edge.cancel_scope.cancel()


def _collectors(
    calls: Calls, traces: TraceCounts | None, log: LogOutput | None
) -> Iterator[Collector]:
    yield from calls.collectors
    yield TraceCollector(traces)
    if log is not None:
        yield LogCollector(log)
