"""Which links of a graph carry events, of a graph of any size at the same cost."""

from random import Random
from typing import Final

import trio

from eventgraph.event import Address
from eventgraph.graph import Graph

SENDERS: Final = 200
"""Whose links are looked at in a period."""

Link = tuple[Address, Address]


async def busy_links(graph: Graph, period: float, random: Random) -> dict[Link, int]:
    """Events of links that carried some in a period, of so many senders drawn at random.

    Args:
        period: seconds.
    """
    addresses = graph.addresses
    senders = random.sample(addresses, min(SENDERS, len(addresses)))
    before = graph.traffic(senders)
    await trio.sleep(period)
    now = graph.traffic(senders)
    grown = {link: count - before.get(link, count) for link, count in now.items()}
    return {link: count for link, count in grown.items() if count > 0}
