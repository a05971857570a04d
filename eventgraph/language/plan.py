"""What a text comes to in a graph: which nodes are made, which links put up. Pure.

Types are found, properties checked, formats negotiated and converters put between. Nothing
is made, and the graph is only asked what is there.
"""

from collections.abc import Callable, Collection
from typing import Any

import msgspec

from eventgraph.errors import FormatMismatchError
from eventgraph.event import Address
from eventgraph.formats import Capabilities, Converter, Formats

from .ast import NOWHERE, Place
from .description import Description, LinkWish, NodeWish
from .errors import ConflictError, LinkFormatError, NodeTypeError
from .options import LIMITS, Limits, convert, limits_of
from .registry import NodeType, Registry

Pair = tuple[Address, Address]

FindCapabilities = Callable[[Address], Capabilities | None]
"""Of a node that others have put into the graph; None: there is none."""


class PlannedNode(msgspec.Struct, frozen=True):
    """A node that the text makes.

    Attributes:
        type: its name.
        properties: as given; `options` and `limits` are what they come to.
        place: where the text has it; None for a converter that was put between.
    """

    address: Address
    type: str
    properties: dict[str, Any]
    options: msgspec.Struct
    limits: Limits
    place: Place = NOWHERE

    def is_like(self, other: "PlannedNode") -> bool:
        """Whether the one would do for the other."""
        return (self.type, self.options, self.limits) == (other.type, other.options, other.limits)


class PlannedLink(msgspec.Struct, frozen=True):
    """A link; `format` is that of what it carries, as far as known."""

    sender: Address
    receiver: Address
    format: str | None = None
    place: Place = NOWHERE

    @property
    def pair(self) -> Pair:
        """By which it is known."""
        return self.sender, self.receiver


class Plan(msgspec.Struct, frozen=True):
    """All of it; `references` are the nodes of others that it links."""

    nodes: dict[Address, PlannedNode] = {}
    links: dict[Pair, PlannedLink] = {}
    references: dict[Address, Place] = {}

    def without(self, addresses: Collection[Address]) -> "Plan":
        """The rest, when these nodes and their links are taken out."""
        nodes = {address: node for address, node in self.nodes.items() if address not in addresses}
        links = {
            pair: link for pair, link in self.links.items() if not any(a in addresses for a in pair)
        }
        return Plan(nodes, links, self.references)


def make_plan(description: Description, registry: Registry, others: FindCapabilities) -> Plan:
    """Plan what a text asks for.

    A node whose mentions say no type is one of others at that address, if there is one; else
    its type is its name.

    Raises:
        NodeTypeError: a type or a property is not known, or a value is wrong.
        ConflictError: the address of a node, or of a converter, is in use.
        LinkFormatError: two sides have no format in common.
    """
    return _Planner(description, registry, others).plan()


class _Planner:
    def __init__(
        self, description: Description, registry: Registry, others: FindCapabilities
    ) -> None:
        self._description = description
        self._registry = registry
        self._others = others
        self._capabilities: dict[Address, Capabilities] = {}
        self._nodes: dict[Address, PlannedNode] = {}
        self._links: dict[Pair, PlannedLink] = {}
        self._references: dict[Address, Place] = {}

    def plan(self) -> Plan:
        for wish in self._description.nodes.values():
            self._add(wish)
        carried = self._carried()
        for link in self._description.links.values():
            self._link(link, carried[link.sender])
        return Plan(self._nodes, self._links, self._references)

    def _add(self, wish: NodeWish) -> None:
        there = self._others(wish.address)
        if there is not None:
            if wish.type is None and not wish.properties:
                self._references[wish.address] = wish.place
                self._capabilities[wish.address] = there
                return
            raise ConflictError(
                f"there is a node at {wish.address} already, which is not of this text; "
                f"write [{wish.address}] to link it, or choose another name",
                wish.place,
            )
        try:
            found = self._registry.find(wish.type or wish.address.name)
        except LookupError as error:
            nobody = "" if wish.type else f"there is no node at {wish.address}, and "
            raise NodeTypeError(f"{nobody}{error.args[0]}", wish.place) from None
        self._nodes[wish.address] = _node(wish, found)
        self._capabilities[wish.address] = found.capabilities

    def _carried(self) -> dict[Address, Formats]:
        """What goes out of each node; of those that pass on, what comes in. Cycles settle."""
        carried: dict[Address, Formats] = {}
        waiting: list[Address] = []
        into: dict[Address, list[LinkWish]] = {}
        out_of: dict[Address, list[Address]] = {}
        for link in self._description.links.values():
            into.setdefault(link.receiver, []).append(link)
            out_of.setdefault(link.sender, []).append(link.receiver)
        for address, capabilities in self._capabilities.items():
            if capabilities.passes_on and address in into:
                carried[address] = ()
                waiting.append(address)
            else:
                carried[address] = capabilities.offers
        passing = set(waiting)
        while waiting:  # sets only grow, so each node is looked at again a few times at most
            address = waiting.pop()
            arriving = _union(
                (link.format,) if link.format else carried[link.sender] for link in into[address]
            )
            if arriving != carried[address]:
                carried[address] = arriving
                waiting += (next_ for next_ in out_of.get(address, ()) if next_ in passing)
        return {
            address: formats if formats != () or address not in passing else None
            for address, formats in carried.items()
        }

    def _link(self, link: LinkWish, offers: Formats) -> None:
        accepts = self._capabilities[link.receiver].accepts
        try:
            connection = self._registry.converters.connect(offers, accepts, link.format)
        except FormatMismatchError as error:
            message = f"{link.sender} cannot be linked to {link.receiver}: {error}"
            raise LinkFormatError(message, link.place) from None
        sender = link.sender
        for converter in connection.converters:
            address = self._put_between(link, converter)
            self._put_link(sender, address, converter.source, link.place)
            sender = address
        self._put_link(sender, link.receiver, connection.format, link.place)

    def _put_link(self, sender: Address, receiver: Address, format: str | None, at: Place) -> None:
        self._links[sender, receiver] = PlannedLink(sender, receiver, format, at)

    def _put_between(self, link: LinkWish, converter: Converter) -> Address:
        """A converter, beside the receiver: it is there for its sake."""
        scope = link.receiver.scope
        sender = link.sender.name if link.sender.scope == scope else str(link.sender)
        address = Address(scope, f"{sender}>{link.receiver.name}:{converter.name}")
        if address in self._nodes or address in self._references or self._others(address):
            raise ConflictError(
                f"the converter between {link.sender} and {link.receiver} would be {address}, "
                "which there is already; give one of the nodes another name",
                link.place,
            )
        self._nodes[address] = _node(
            NodeWish(address, converter.name, {}, link.place), self._registry.find(converter.name)
        )
        return address


def _node(wish: NodeWish, found: NodeType) -> PlannedNode:
    own = {key: value for key, value in wish.properties.items() if key not in LIMITS}
    try:
        options = convert(found.options, own)
        limits = limits_of(wish.properties)
    except ValueError as error:
        raise NodeTypeError(f"{wish.address} ({found.name}): {error}", wish.place) from None
    return PlannedNode(wish.address, found.name, wish.properties, options, limits, wish.place)


def _union(several: Any) -> Formats:
    """All formats of several; anything, if one of them is."""
    found: dict[str, None] = {}
    for formats in several:
        if formats is None:
            return None
        found.update(dict.fromkeys(formats))
    return tuple(sorted(found))
