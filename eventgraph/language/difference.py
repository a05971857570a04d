"""What changes from one plan to another. Pure."""

from collections.abc import Iterable

import msgspec

from eventgraph.event import Address

from .format import format_name
from .plan import Pair, Plan


class Difference(msgspec.Struct, frozen=True):
    """The least that has to be done; what is not in it stays as it is.

    Attributes:
        replaced: nodes of another type or with other properties; their links go down and,
            where they are in both plans, up again.
        links_up, links_down: pairs of sender and receiver, those of `replaced` included.
    """

    added: tuple[Address, ...] = ()
    removed: tuple[Address, ...] = ()
    replaced: tuple[Address, ...] = ()
    links_up: tuple[Pair, ...] = ()
    links_down: tuple[Pair, ...] = ()

    def __bool__(self) -> bool:
        return any(msgspec.structs.astuple(self))

    def to_text(self) -> str:
        """For a terminal: a line for each change; ``+`` comes, ``-`` goes, ``~`` is replaced."""
        lines = [
            *_nodes("-", self.removed),
            *_nodes("~", self.replaced),
            *_nodes("+", self.added),
            *_links("-", self.links_down),
            *_links("+", self.links_up),
        ]
        return "".join(f"{line}\n" for line in lines) or "no change\n"


def difference_of(old: Plan, new: Plan) -> Difference:
    """What leads from the old plan to the new one."""
    replaced = [
        address
        for address, node in new.nodes.items()
        if address in old.nodes and not node.is_like(old.nodes[address])
    ]
    moved = set(replaced)

    def stays(pair: Pair) -> bool:
        return pair in old.links and pair in new.links and not moved.intersection(pair)

    return Difference(
        added=tuple(address for address in new.nodes if address not in old.nodes),
        removed=tuple(address for address in old.nodes if address not in new.nodes),
        replaced=tuple(replaced),
        links_up=tuple(pair for pair in new.links if not stays(pair)),
        links_down=tuple(pair for pair in old.links if not stays(pair)),
    )


def format_address(address: Address) -> str:
    """``[name@scope]``."""
    return f"[{format_name(address.name)}@{format_name(address.scope)}]"


def _nodes(sign: str, addresses: Iterable[Address]) -> Iterable[str]:
    return (f"{sign} {format_address(address)}" for address in addresses)


def _links(sign: str, pairs: Iterable[Pair]) -> Iterable[str]:
    return (f"{sign} {format_address(a)} -> {format_address(b)}" for a, b in pairs)
