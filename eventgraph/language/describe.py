"""A plan back to a text, which comes to the same plan again. Pure."""

from typing import Any

from eventgraph.event import Address

from .ast import NodeMention, Property, Stage, Statement, Text
from .plan import Plan, PlannedNode


def plan_to_text(plan: Plan, scope: str) -> Text:
    """Say what a plan has: each node in full where it comes first, each sender with its links.

    Converters that were put between are said like all other nodes, so that the text says what
    there is. Formats are not demanded: they follow from the nodes.

    Args:
        scope: that need not be said.
    """
    return _Describer(plan, scope).text()


class _Describer:
    def __init__(self, plan: Plan, scope: str) -> None:
        self._plan = plan
        self._scope = scope
        self._said: set[Address] = set()

    def text(self) -> Text:
        receivers: dict[Address, list[Address]] = {}
        for sender, receiver in self._plan.links:
            receivers.setdefault(sender, []).append(receiver)
        linked = {address for pair in self._plan.links for address in pair}
        statements = [self._statement(*ends) for ends in receivers.items()]
        alone = (address for address in self._plan.nodes if address not in linked)
        statements += (Statement((Stage((self._mention(address),)),)) for address in alone)
        return Text(tuple(statements))

    def _statement(self, sender: Address, receivers: list[Address]) -> Statement:
        first = Stage((self._mention(sender),))
        return Statement((first, Stage(tuple(self._mention(address) for address in receivers))))

    def _mention(self, address: Address) -> NodeMention:
        scope = None if address.scope == self._scope else address.scope
        node = self._plan.nodes.get(address)
        if node is None or address in self._said:
            return NodeMention(address.name, scope)
        self._said.add(address)
        return NodeMention(address.name, scope, node.type, _properties(node))


def _properties(node: PlannedNode) -> tuple[Property, ...]:
    return tuple(Property(key, _value(value)) for key, value in node.properties.items())


def _value(value: Any) -> bool | int | float | str:
    assert isinstance(value, bool | int | float | str)
    return value
