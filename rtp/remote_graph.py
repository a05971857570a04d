"""The graph of a running server, over HTTP."""

import ipaddress
from typing import Final

import httpx
import msgspec

from eventgraph import GraphSnapshot, views

from .errors import RtpError

TIMEOUT: Final = 5.0
"""Seconds; a server that needs longer for its graph is stuck."""


class RemoteGraphError(RtpError):
    """There is no graph to be had there; the message is one line that says what to do."""


def fetch_graph(url: str, token: str = "") -> GraphSnapshot:
    """Ask a server for its graph.

    Args:
        url: of the server, as ``eventgraph serve`` prints it; with ``/graph`` or without.
        token: that the server wants, if any.
    Raises:
        RemoteGraphError: nobody answers, or not with a graph.
    """
    try:
        base = httpx.URL(url)
        if base.scheme not in {"http", "https"} or not base.host:
            raise httpx.InvalidURL("no http or https with a host")
        target = base.copy_with(path=base.path.removesuffix("/").removesuffix("/graph") + "/graph")
        # A proxy of the environment cannot know this machine's own servers.
        headers = {"authorization": f"Bearer {token}"} if token else {}
        with httpx.Client(
            trust_env=not _is_loopback(base.host), timeout=TIMEOUT, headers=headers
        ) as client:
            response = client.get(target, params={"format": "json"})
    except UnicodeEncodeError:
        raise RemoteGraphError("EVENTGRAPH_TOKEN is no token: it is not ASCII") from None
    except httpx.InvalidURL:
        raise RemoteGraphError(
            f"--url: expected something like http://127.0.0.1:8080, got {url!r}"
        ) from None
    except httpx.ConnectError as error:
        raise RemoteGraphError(
            f"no server answers at {url}: start one with `eventgraph serve`, "
            "or say where it is with --url"
        ) from error
    except httpx.TimeoutException as error:
        raise RemoteGraphError(
            f"the server at {url} has not answered for {TIMEOUT:g} s; is it stuck?"
        ) from error
    except httpx.HTTPError as error:
        raise RemoteGraphError(
            f"{url} does not answer like an eventgraph server ({error}); check --url"
        ) from error
    if response.status_code == httpx.codes.UNAUTHORIZED:
        raise RemoteGraphError(
            f"{url} wants {'another' if token else 'a'} token: "
            "set the environment variable EVENTGRAPH_TOKEN to that of the server"
        )
    if response.status_code != httpx.codes.OK:
        raise RemoteGraphError(
            f"{target} answers {response.status_code} {response.reason_phrase}; check --url"
        )
    try:
        return views.from_json(response.content)
    except msgspec.DecodeError as error:
        raise RemoteGraphError(
            f"{target} does not answer with a graph; is it an eventgraph server of this version?"
        ) from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
