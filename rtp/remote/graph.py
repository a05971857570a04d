"""The graph of a running server, over HTTP."""

from eventgraph import GraphSnapshot, views

from .asking import ask, check_status, decode_answer


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
    return decode_answer(response, views.from_json, "a graph")
