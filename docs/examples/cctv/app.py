"""The program from its start to the last Ctrl-C."""

from collections.abc import Callable
from functools import partial

import trio

from eventgraph import Graph
from rtp.server.ending import ending_by_signal
from rtp.server.http import listen, url_of
from rtp.server.rules import open_rules
from rtp.webrtc import WebRtcNetwork

from .config import Config
from .edge import serve
from .site import Site


async def run(config: Config, announce: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; a second one drains nothing. Neither of them raises.

    Args:
        announce: is called with the URL once everything is up.
    Raises:
        StartError: the port cannot be had, a token is missing, or the file of rules cannot be used.
    """
    with ending_by_signal() as ending, listen(config.http) as listener, ending.hurry:
        async with (
            Graph(exit_timeout=config.graph.exit_timeout) as graph,
            WebRtcNetwork(graph) as webrtc,
        ):
            open_session = partial(
                webrtc.open,
                audio="forwarded",
                video="forwarded",
                consent_timeout=config.webrtc.consent_timeout,
                connect_timeout=config.webrtc.connect_timeout,
            )
            async with Site(graph, open_session, config) as site, trio.open_nursery() as edge:
                rules = open_rules(site.streams, config.streams)
                edge.start_soon(serve, graph, site, rules, config, listener)
                announce(url_of(listener))
                await ending.wanted.wait()
                edge.cancel_scope.cancel()
