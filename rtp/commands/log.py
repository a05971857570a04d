"""The command of ``eventgraph`` for the log of a running server."""

import os
from typing import TYPE_CHECKING, Literal

from cyclopts import App

from rtp.errors import RtpError

if TYPE_CHECKING:
    import httpx

LogLevel = Literal["debug", "info", "warning", "error"]


class LogCommandError(RtpError):
    """The command line contradicts itself, or the server refuses."""


def add_log_commands(app: App, default_url: str) -> None:
    """Add it; it looks at `default_url` unless told otherwise."""

    def log_level(
        level: LogLevel | Literal["reset"] | None = None,
        /,
        *,
        area: str | None = None,
        scope: str | None = None,
        url: str = default_url,
    ) -> int:
        """Show what a running server logs, or change it until it ends.

        Without a level it prints those that are set. With one and neither --area nor --scope it
        is that of the server's own areas, eventgraph and rtp.
        A token that the server wants is read from the environment variable EVENTGRAPH_TOKEN.

        Parameters
        ----------
        level
            This and worse; reset: as at the start, everything if neither area nor scope is given.
        area
            A part of the server, with what is below it, such as rtp.http or eventgraph.flows.
        scope
            Of the graph: records about its nodes, whatever their area.
        url
            Where the server is.
        """
        return _log_level(level, area, scope, url)

    app.command(log_level)


def _log_level(level: str | None, area: str | None, scope: str | None, url: str) -> int:
    if area is not None and scope is not None:
        raise LogCommandError("--area and --scope are two things: change one after the other")
    if level is None and (area is not None or scope is not None):
        raise LogCommandError("say which level it is to have: debug, info, warning, error or reset")
    if level is None:
        response = _ask("GET", url)
    elif level == "reset" and area is None and scope is None:
        response = _ask("DELETE", url)
    else:
        named = {"scope": scope} if scope is not None else {"area": area}
        several = [named] if any(named.values()) else [{"area": "eventgraph"}, {"area": "rtp"}]
        for one in several:
            response = _ask("PUT", url, {**one, "level": None if level == "reset" else level})
    _print(response)
    return 0


def _ask(method: str, url: str, change: dict[str, str | None] | None = None) -> "httpx.Response":
    import msgspec

    from rtp.remote.asking import ask, check_status

    response = ask(
        method,
        url,
        "/log/levels",
        os.environ.get("EVENTGRAPH_TOKEN", ""),
        headers={"content-type": "application/json"},
        content=None if change is None else msgspec.json.encode(change),
    )
    if response.headers.get("content-type") == "application/problem+json":
        raise LogCommandError(str(response.json().get("detail", response.reason_phrase)))
    check_status(response)
    return response


def _print(response: "httpx.Response") -> None:
    from eventgraph.views import printable

    levels = response.json()
    for area, level in sorted(levels["areas"].items()):
        print(f"{level:<8} {area or '(all others)'}")
    for scope, level in sorted(levels["scopes"].items()):
        print(f"{level:<8} scope {printable(scope)}")
