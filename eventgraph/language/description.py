"""What a text asks for: each node once, each link once. Pure; knows no types and no graph."""

from typing import Any, Final

import msgspec

from eventgraph.event import Address

from .ast import NOWHERE, NodeMention, Place, Text
from .errors import ConflictError, TextLimitError

MAX_NODES: Final = 1000
"""In one text: a change of all that takes some 50 ms, in which nothing else runs."""
MAX_LINKS: Final = 4000
"""In one text: a short one with two groups of n nodes asks for n * n links."""


class NodeWish(msgspec.Struct, frozen=True):
    """A node, with all that its mentions say together.

    Attributes:
        type: None: no mention says.
        properties: plain values; durations in seconds.
    """

    address: Address
    type: str | None = None
    properties: dict[str, Any] = {}
    place: Place = NOWHERE


class LinkWish(msgspec.Struct, frozen=True):
    """A link; `format`: that is demanded."""

    sender: Address
    receiver: Address
    format: str | None = None
    place: Place = NOWHERE


class Description(msgspec.Struct, frozen=True):
    """In the order of first mention."""

    nodes: dict[Address, NodeWish] = {}
    links: dict[tuple[Address, Address], LinkWish] = {}


def describe_text(text: Text, scope: str) -> Description:
    """Put together what a text says of each node.

    Args:
        scope: of nodes that are mentioned without one.
    Raises:
        ConflictError: it says two things of one node or link.
        TextLimitError: it asks for too much.
    """
    nodes: dict[Address, NodeWish] = {}
    links: dict[tuple[Address, Address], LinkWish] = {}
    for statement in text.statements:
        before: list[Address] = []
        for stage in statement.stages:
            reached = [_merge(nodes, mention, scope) for mention in stage.nodes]
            for sender in before:
                for receiver in reached:
                    wish = LinkWish(sender, receiver, stage.format, stage.place)
                    if links.setdefault((sender, receiver), wish) is not wish:
                        first = links[sender, receiver].place
                        raise ConflictError(
                            f"{sender} is linked to {receiver} already, in line {first.line}, "
                            f"column {first.column}",
                            stage.place,
                        )
                    if len(links) > MAX_LINKS:
                        raise TextLimitError(f"a text may have {MAX_LINKS} links", stage.place)
            before = reached
    return Description(nodes, links)


def _merge(nodes: dict[Address, NodeWish], mention: NodeMention, scope: str) -> Address:
    address = Address(mention.scope or scope, mention.name)
    properties: dict[str, Any] = {}
    for item in mention.properties:
        if item.key in properties:
            raise ConflictError(f"{address} has {item.key} twice", item.place)
        properties[item.key] = item.plain
    wish = NodeWish(address, mention.type, properties, mention.place)
    before = nodes.get(address)
    if before is not None:
        wish = _join(before, wish)
    elif len(nodes) >= MAX_NODES:
        raise TextLimitError(f"a text may have {MAX_NODES} nodes", mention.place)
    nodes[address] = wish
    return address


def _join(before: NodeWish, now: NodeWish) -> NodeWish:
    """Two mentions of one node; the one with the type, or else the first, is its place."""
    if before.type and now.type and before.type != now.type:
        raise ConflictError(
            f"{now.address} is a {now.type} here and a {before.type} in line {before.place.line}",
            now.place,
        )
    for key, value in now.properties.items():
        if key in before.properties and before.properties[key] != value:
            raise ConflictError(
                f"{key} of {now.address} is {value!r} here and {before.properties[key]!r} "
                f"in line {before.place.line}",
                now.place,
            )
    place = now.place if now.type and not before.type else before.place
    return NodeWish(
        now.address, before.type or now.type, {**before.properties, **now.properties}, place
    )
