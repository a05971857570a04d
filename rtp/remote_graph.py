"""The graph of a running server, over HTTP."""

import msgspec

from eventgraph import GraphSnapshot, views

from .remote import RemoteError, ask, check_status


def fetch_graph(url: str, token: str = "") -> GraphSnapshot:
    """Ask a server for its graph.

    Args:
        url: of the server, as ``eventgraph serve`` prints it; with ``/graph`` or without.
        token: that the server wants, if any.
    Raises:
        RemoteError: nobody answers, or not with a graph.
    """
    response = ask("GET", url, "/graph", token, params={"format": "json"})
    check_status(response)
    try:
        return views.from_json(response.content)
    except msgspec.DecodeError as error:
        raise RemoteError(
            f"{response.url.copy_with(query=None)} does not answer with a graph; "
            "is it an eventgraph server of this version?"
        ) from error
