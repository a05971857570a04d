"""Whether there is room in the graph for a change."""

from collections import Counter

from eventgraph.event import Address
from eventgraph.graph import Graph

from .difference import Difference
from .errors import ConflictError
from .plan import Plan
from .registry import Registry


def check_room(graph: Graph, new: Plan, change: Difference, registry: Registry) -> None:
    """See to it that each link that goes up is not there yet, and fits into its sender's table.

    It costs as much as the links that change, whatever the size of the graph.

    Raises:
        ConflictError: one is, or does not.
    """
    fresh = {*change.added, *change.replaced}
    going = {pair for pair in change.links_down if graph.is_linked(*pair)}
    freed = Counter(sender for sender, _ in going)
    room: dict[Address, int] = {}
    for pair in change.links_up:
        sender, receiver = pair
        place = new.links[pair].place
        if pair not in going and fresh.isdisjoint(pair) and graph.is_linked(*pair):
            raise ConflictError(
                f"{sender} is linked to {receiver} already, and not by this text; "
                "take that link down first",
                place,
            )
        if sender not in room:
            own = _size(new, sender, registry) if sender in fresh else None
            room[sender] = graph.free_links(sender) + freed[sender] if own is None else own
        room[sender] -= 1
        if room[sender] < 0:
            raise ConflictError(
                f"{sender} has no room for this link; "
                "link it to less, or give it a larger max_links",
                place,
            )


def _size(new: Plan, address: Address, registry: Registry) -> int:
    planned = new.nodes[address]
    if planned.limits.max_links is not None:
        return planned.limits.max_links
    return registry.find(planned.type).node_class.max_links
