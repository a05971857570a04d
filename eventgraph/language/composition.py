"""Composition: what a text has made in a graph, and how that is changed.

A change is done, or undone. What can be checked is checked before anything changes. If
something fails all the same, the way back is a change too: from what runs by then to what ran
before.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import trio

from eventgraph.delegate import NodeDelegate
from eventgraph.event import Address
from eventgraph.formats import Capabilities
from eventgraph.graph import Graph
from eventgraph.node import Node

from .ast import Text
from .describe import plan_to_text
from .description import describe_text
from .difference import Difference, difference_of
from .errors import LanguageError, NodeTypeError
from .format import format_text
from .members import Members, node_at
from .parse import parse
from .plan import Plan, PlannedNode, make_plan
from .registry import Registry
from .room import check_room

logger = logging.getLogger("eventgraph")


class Composition:
    """The nodes and links that a text has made; begin with `compose`.

    Attributes:
        scope: of nodes that a text mentions without one.
    """

    def __init__(
        self, graph: Graph, registry: Registry, *, scope: str = "main", context: Any = None
    ) -> None:
        """Nothing yet.

        Args:
            context: is handed to the factories of nodes, which know what it is.
        """
        self.scope = scope
        self._graph = graph
        self._registry = registry
        self._context = context
        self._members = Members(graph)
        self._lock = trio.Lock()

    @property
    def nodes(self) -> Mapping[Address, NodeDelegate]:
        """Those that it made and that are still in the graph."""
        return self._members.delegates

    def running(self) -> Plan:
        """What is there now: without nodes that have left, and links that others took down."""
        return self._members.running()

    def describe(self) -> str:
        """What is there now, as a text; composed again it makes the same."""
        return format_text(plan_to_text(self.running(), self.scope))

    def difference(self, text: str | Text) -> Difference:
        """What `apply` would do. All is checked that can be, and nothing is changed.

        Raises:
            LanguageError: it would not work; says where and why.
        """
        with _located(text):
            return self._prepare(text)[2]

    async def apply(self, text: str | Text) -> Difference:
        """Change what there is to what the text says: all of it, or nothing.

        Nodes and links that are in both stay as they are, link ids included. Changes wait for
        each other.

        Returns:
            What was done.
        Raises:
            LanguageError: it does not work; says where and why. Nothing has changed, or what
                was changed has been put back.
            GraphClosedError: the graph is being left.
        """
        async with self._lock:
            with _located(text):
                self._members.forget_gone()
                old, new, change = self._prepare(text)
                try:
                    await self._members.change(new, change, self._make)
                except BaseException:
                    with trio.CancelScope(shield=True):
                        await self._go_back(old)
                    raise
                return change

    async def dissolve(self) -> None:
        """Take out all that it made; raises as `apply`."""
        await self.apply(Text())

    def _prepare(self, text: str | Text) -> tuple[Plan, Plan, Difference]:
        """What there is, what is wanted, and what leads there."""
        tree = parse(text) if isinstance(text, str) else text
        old = self.running()
        new = make_plan(describe_text(tree, self.scope), self._registry, self._others)
        change = difference_of(old, new)
        check_room(self._graph, new, change, self._registry)
        return old, new, change

    def _others(self, address: Address) -> Capabilities | None:
        """Of a node in the graph that this composition did not make."""
        node = None if self._members.is_own(address) else node_at(self._graph, address)
        return None if node is None else self._registry.capabilities_of(node)

    def _make(self, planned: PlannedNode) -> Node:
        """Raises: NodeTypeError: whatever the factory raised."""
        address = planned.address
        make = self._registry.find(planned.type).make
        try:
            node = make(address.scope, address.name, planned.options, self._context)
            if (node.scope, node.name) != (address.scope, address.name):
                raise ValueError(f"its factory made {node.name}@{node.scope}")
        except Exception as error:  # of a constructor, which may be anybody's
            reason = str(error) or type(error).__name__
            message = f"{address} ({planned.type}): {reason}"
            raise NodeTypeError(message, planned.place) from error
        if planned.limits.max_links is not None:
            node.max_links = planned.limits.max_links
        if planned.limits.channel_size is not None:
            node.channel_size = planned.limits.channel_size
        return node

    async def _go_back(self, old: Plan) -> None:
        """To what ran before; what of it cannot be had again is logged."""
        await self._members.wait_gone(old.nodes)  # of newcomers that crashed where they were
        self._members.forget_gone()
        running = self.running()
        lost = {a for a in old.nodes if a not in running.nodes and node_at(self._graph, a)}
        for address in lost:
            logger.error("%s cannot be put back: it is still leaving", address)
        try:
            back = difference_of(running, old.without(lost))
            await self._members.change(old, back, self._make, undoing=True)
        except Exception:
            logger.exception("a change of a composition failed, and so did undoing it")


@contextmanager
def _located(text: str | Text) -> Iterator[None]:
    """Errors that pass through get the text, so that they can show the line."""
    try:
        yield
    except LanguageError as error:
        if isinstance(text, str):
            error.source = text
        raise


async def compose(
    graph: Graph,
    text: str | Text,
    *,
    registry: Registry,
    scope: str = "main",
    context: Any = None,
) -> Composition:
    """Make what a text says: all of it, or nothing.

    Args:
        registry: which types there are.
        scope: of nodes that are mentioned without one.
        context: is handed to the factories of nodes.
    Returns:
        What was made, which can be described, changed and dissolved.
    Raises:
        LanguageError: it does not work; says where and why. Then nothing is left of it.
        GraphClosedError: the graph is not open.
    """
    composition = Composition(graph, registry, scope=scope, context=context)
    await composition.apply(text)
    return composition


def diff(old: str | Text | Composition, new: str | Text, registry: Registry) -> Difference:
    """What would change from one text, or from what runs, to another text.

    Raises:
        LanguageError: one of them does not work.
    """
    if isinstance(old, Composition):
        return old.difference(new)
    plans: list[Plan] = []
    for text in (old, new):
        with _located(text):
            tree = parse(text) if isinstance(text, str) else text
            plans.append(make_plan(describe_text(tree, "main"), registry, lambda _: None))
    return difference_of(*plans)
