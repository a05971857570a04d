"""The command ``eventgraph top``."""

import os
import sys
from typing import Annotated, Literal

from cyclopts import App, Parameter, validators

from rtp.errors import RtpError

SortKey = Literal["trouble", "drops", "queue", "rate", "name"]
Interval = Annotated[float, Parameter(validator=validators.Number(gte=0.1, lte=3600))]


class TopError(RtpError):
    """It cannot be shown so."""


def add_top_command(app: App, default_url: str) -> None:
    """Add it; it looks at `default_url` unless told otherwise."""

    def top(
        *,
        url: str = default_url,
        sort: SortKey = "trouble",
        interval: Interval = 1.0,
        once: bool = False,
        json: bool = False,
    ) -> int:
        """Watch a running server, what hurts on top.

        Totals of the server, then its nodes: first those on whose way events are dropped, then
        those that are not running, whose channel fills, that were restarted. Keys: q quits,
        s sorts by something else, p pauses.
        A token that the server wants is read from the environment variable EVENTGRAPH_TOKEN.

        Parameters
        ----------
        url
            Where the server is.
        sort
            By what, at the start.
        interval
            Seconds between two looks.
        once
            Look twice, print it, and end: for scripts.
        json
            Print it as JSON, with --once.
        """
        from rtp.top.activity import Order
        from rtp.top.live import Top, show_live, show_once

        shown = Top(url, os.environ.get("EVENTGRAPH_TOKEN", ""), Order(sort))
        if once or json:
            show_once(shown, interval, json=json)
        elif not sys.stdout.isatty():
            raise TopError("top needs a terminal; --once prints what it would show")
        else:
            try:
                show_live(shown, interval)
            except KeyboardInterrupt:
                return 0
        return 0

    app.command(top)
