"""The latencies of a running server's graph, over HTTP."""

from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec

from eventgraph import Address, GraphSnapshot
from eventgraph.hop_times import RouteTimes

from .asking import TIMEOUT, RemoteError, ask, check_problem, check_status, decode_answer


def fetch_latency(
    url: str,
    route: Sequence[Address],
    token: str = "",
    *,
    seconds: float,
    rate: float,
    send: bool,
) -> RouteTimes:
    """Have a server follow events along a route.

    Args:
        seconds: for how long.
        rate: events a second that are followed, at most.
        send: probes of one's own, rather than events that pass anyway.
    Raises:
        RemoteError: nobody answers, or the server refuses; then with its reason.
    """
    wanted = {
        "route": [{"scope": address.scope, "name": address.name} for address in route],
        "seconds": seconds,
        "rate": rate,
        "probes": "send" if send else "ride",
    }
    response = ask(
        "POST",
        url,
        "/latency",
        token,
        headers={"content-type": "application/json"},
        content=msgspec.json.encode(wanted),
        timeout=seconds + TIMEOUT,
    )
    check_problem(response)
    check_status(response)
    return decode_answer(response, msgspec.json.Decoder(RouteTimes).decode, "latencies")


def find_route(
    graph: GraphSnapshot, sender: Address | None, receiver: Address | None
) -> list[Address]:
    """The shortest way between two nodes; where an end is open, the longest of those.

    Links that have carried nothing are left out if another way has.

    Raises:
        RemoteError: there is none.
    """
    links = [link for link in graph.links if link.up and link.id >= 0]
    known = {node.address for node in graph.nodes}
    for address in (sender, receiver):
        if address is not None and address not in known:
            raise RemoteError(
                f"there is no node {address}; `eventgraph graph` shows those there are"
            )
    for used in (True, False):
        onward: dict[Address, list[Address]] = {}
        for link in links:
            if link.counts.handled or not used:
                onward.setdefault(link.sender, []).append(link.receiver)
        ways = [
            way
            for start in ([sender] if sender else onward)
            for way in _ways(start, onward)
            if receiver in {None, way[-1]}
        ]
        if ways:
            return max(ways, key=len)
    ends = f"from {sender or 'any node'} to {receiver or 'any other'}"
    raise RemoteError(f"no links lead {ends}; `eventgraph graph` shows all")


def _ways(start: Address, onward: dict[Address, list[Address]]) -> list[list[Address]]:
    """The shortest way to each node that can be reached."""
    ways: dict[Address, list[Address]] = {start: [start]}
    waiting: deque[Any] = deque([start])
    while waiting:
        here = waiting.popleft()
        for there in onward.get(here, []):
            if there not in ways:
                ways[there] = [*ways[here], there]
                waiting.append(there)
    return [way for way in ways.values() if len(way) > 1]
