"""``eventgraph tap`` and ``trace``: events of a running server as they pass."""

import os
import sys
from typing import Annotated

from cyclopts import App, Parameter, validators

Seconds = Annotated[float, Parameter(validator=validators.Number(gt=0, lte=3600))]
Rate = Annotated[float, Parameter(validator=validators.Number(gt=0, lte=1000))]
Length = Annotated[int, Parameter(validator=validators.Number(gte=1, lte=2000))]


def add_tap_commands(app: App, default_url: str) -> None:
    """Add them; they ask the server at `default_url` unless told otherwise."""

    @app.command(sort_key=4)
    def tap(
        node: str,
        receiver: str | None = None,
        /,
        *,
        seconds: Seconds = 3600.0,
        rate: Rate = 20.0,
        length: Length = 200,
        json: Annotated[bool, Parameter(negative=())] = False,
        url: str = default_url,
    ) -> int:
        """Show events of a running server as they are delivered, until Ctrl-C.

        Some of them, if there are many: it never holds the graph up. At the end it says on standard
        error how many passed that were not shown.
        A token that the server wants is read from the environment variable EVENTGRAPH_TOKEN.

        Parameters
        ----------
        node
            A node, as NAME@SCOPE: all that is delivered to it. Or the sender of a link.
        receiver
            The receiver of that link.
        seconds
            How long at most.
        rate
            How many a second at most.
        length
            Characters of each object at most.
        json
            Print a JSON object a line.
        url
            Where the server is.
        """
        return show(
            node, receiver, seconds=seconds, rate=rate, length=length, url=url, as_json=json
        )

    @app.command(sort_key=4)
    def trace(
        node: str,
        /,
        *,
        seconds: Seconds = 3600.0,
        rate: Rate = 20.0,
        json: Annotated[bool, Parameter(negative=())] = False,
        url: str = default_url,
    ) -> int:
        """Show what events wait for a node of a running server, and take there, until Ctrl-C.

        Of some events, one at a time: who sent it, how long it was in the channel, how long the
        handler took, how many events the node delivered meanwhile, and whether it crashed.
        A token that the server wants is read from the environment variable EVENTGRAPH_TOKEN.

        Parameters
        ----------
        node
            The node, as NAME@SCOPE.
        seconds
            How long at most.
        rate
            How many a second at most.
        json
            Print a JSON object a line; times are in seconds.
        url
            Where the server is.
        """
        return show_trace(node, seconds=seconds, rate=rate, url=url, as_json=json)


def show(
    node: str,
    receiver: str | None,
    *,
    seconds: float,
    rate: float,
    length: int,
    url: str,
    as_json: bool,
) -> int:
    """Raises: RtpError."""
    import msgspec

    from eventgraph.views import printable
    from rtp.node_address import parse_address
    from rtp.remote.seen_events import SeenEvent
    from rtp.remote.tap import fetch_tap

    token = os.environ.get("EVENTGRAPH_TOKEN", "")
    first = parse_address(node)
    to, sender = (first, None) if receiver is None else (parse_address(receiver), first)
    events = fetch_tap(url, to, sender, token, seconds=seconds, rate=rate, length=length)
    for event in events:
        if as_json:
            sys.stdout.write(msgspec.json.encode(event).decode() + "\n")
        elif isinstance(event, SeenEvent):
            way = f"{printable(str(event.sender))} -> {printable(str(event.receiver))}"
            queue = f"  ({event.ahead} before it)" if event.ahead else ""
            text = printable(event.object)
            sys.stdout.write(f"{event.time:10.4f}  {way}  {event.cmd}  {text}{queue}\n")
        else:
            counts = event.counts
            sys.stderr.write(
                f"{counts.passed:,} passed: {counts.taken:,} shown, {counts.skipped:,} skipped, "
                f"{counts.dropped:,} dropped ({event.reason})\n"
            )
        sys.stdout.flush()
    return 0


def show_trace(node: str, *, seconds: float, rate: float, url: str, as_json: bool) -> int:
    """Raises: RtpError."""
    import msgspec

    from eventgraph import TracedEvent
    from eventgraph.views import printable
    from rtp.node_address import parse_address
    from rtp.remote.tap import fetch_node_trace

    token = os.environ.get("EVENTGRAPH_TOKEN", "")
    for event in fetch_node_trace(url, parse_address(node), token, seconds=seconds, rate=rate):
        if as_json:
            sys.stdout.write(msgspec.json.encode(event).decode() + "\n")
        elif isinstance(event, TracedEvent):
            sys.stdout.write(
                f"queue {event.waited * 1e6:10,.1f} µs  handler {event.handled * 1e6:10,.1f} µs  "
                f"{event.outcome}, {event.delivered} delivered  {event.cmd} from "
                f"{printable(str(event.sender))}, {event.ahead} before it\n"
            )
        else:
            sys.stderr.write(
                f"{event.passed:,} passed, {event.refused:,} refused, "
                f"{event.dropped:,} not shown ({event.reason})\n"
            )
        sys.stdout.flush()
    return 0
