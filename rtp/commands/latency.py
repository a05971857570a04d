"""``eventgraph bench latency``: where the time goes in a running server."""

import os
import sys
from typing import Annotated

from cyclopts import App, Parameter, validators

from rtp.errors import RtpError


class LatencyError(RtpError):
    """Nothing could be measured; the message says what to do."""


Seconds = Annotated[float, Parameter(validator=validators.Number(gt=0, lte=30))]
Rate = Annotated[float, Parameter(validator=validators.Number(gt=0, lte=1000))]


def add_latency_command(app: App, default_url: str) -> None:
    """Add it; it asks the server at `default_url` unless told otherwise."""

    @app.command(help_flags=("--help", "-h"))
    def latency(
        sender: str | None = None,
        receiver: str | None = None,
        /,
        *,
        seconds: Seconds = 2.0,
        rate: Rate = 100.0,
        send: Annotated[bool, Parameter(negative=())] = False,
        json: Annotated[bool, Parameter(negative=())] = False,
        url: str = default_url,
    ) -> int:
        """Follow events through nodes of a running server, and print the times of each hop.

        Probes ride on events that pass anyway, so the graph does its own work and no more. Of
        each hop it shows how long they waited in its channel, and how long it handled them until
        it delivered on. All times together are those from end to end.
        A token that the server wants is read from the environment variable EVENTGRAPH_TOKEN.

        Parameters
        ----------
        sender
            Where the route begins, as NAME@SCOPE; by default where the longest one does.
        receiver
            Where it ends; by default as far from there as links lead.
        seconds
            How long to follow.
        rate
            How many a second, at most.
        send
            Put events of its own on the way, for when nothing passes. Nodes get them with a
            number that they do not know; only for nodes that ignore such events, as all that
            come with eventgraph do.
        json
            Print JSON; times are in seconds.
        url
            Where the server is.
        """
        return measure(sender, receiver, seconds, rate, url, send=send, as_json=json)


def measure(
    sender: str | None,
    receiver: str | None,
    seconds: float,
    rate: float,
    url: str,
    *,
    send: bool,
    as_json: bool,
) -> int:
    """Raises: RtpError."""
    import msgspec

    from eventgraph import Address
    from rtp.remote.graph import fetch_graph
    from rtp.remote.latency import fetch_latency, find_route
    from rtp.route_table import to_text

    def address(text: str | None) -> Address | None:
        if text is None:
            return None
        name, _, scope = text.rpartition("@")
        if not name or not scope:
            raise LatencyError(f"{text!r} is no node: give NAME@SCOPE, as `eventgraph graph` shows")
        return Address(scope, name)

    token = os.environ.get("EVENTGRAPH_TOKEN", "")
    ends = address(sender), address(receiver)
    route = find_route(fetch_graph(url, token), *ends)
    times = fetch_latency(url, route, token, seconds=seconds, rate=rate, send=send)
    if as_json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(times)).decode() + "\n")
    elif times.probes:
        sys.stdout.write(to_text(times))
    if not times.probes:
        way = " -> ".join(map(str, route))
        why = ", ".join(f"{count} {reason}" for reason, count in times.missed.items())
        raise LatencyError(
            f"of {way} no event went all the way in {seconds:g} s"
            f" ({why or 'none passed'}): name another route, or put events on it with --send"
        )
    return 0
