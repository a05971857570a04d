"""Members: the nodes and links of a composition that are in the graph, and how they come and go."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec
import trio

from eventgraph.delegate import NodeDelegate
from eventgraph.departure import DeparturePlan
from eventgraph.errors import GraphClosedError, GraphError, NodeNotFoundError
from eventgraph.event import Address
from eventgraph.graph import Graph
from eventgraph.node import Node
from eventgraph.state import TAKES_LINKS

from .ast import NOWHERE
from .difference import Difference
from .errors import CompositionError, ConflictError
from .plan import Pair, Plan, PlannedLink, PlannedNode

logger = logging.getLogger("eventgraph")

ENTER_LIMIT: Final = 5.0
"""Seconds that nodes have to enter, in a change."""
LEAVE_LIMIT: Final = 10.0
"""Seconds that nodes have to leave; above the usual exit time-out of a graph."""
FORCED_LIMIT: Final = 1.0
"""Seconds that nodes have to leave when a change is undone."""


class _Member(msgspec.Struct):
    planned: PlannedNode
    node: Node
    delegate: NodeDelegate


class Members:
    """What is there of a composition. It changes what it is told to, and undoes nothing."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._members: dict[Address, _Member] = {}
        self._links: dict[Pair, PlannedLink] = {}

    @property
    def delegates(self) -> dict[Address, NodeDelegate]:
        """Of the nodes that are there."""
        members = self._members.items()
        return {a: m.delegate for a, m in members if m.delegate.state in TAKES_LINKS}

    def is_own(self, address: Address) -> bool:
        """Whether the node at that address is one of these."""
        member = self._members.get(address)
        return member is not None and member.node is node_at(self._graph, address)

    def running(self) -> Plan:
        """What is there: without nodes that have left, and links that others took down."""
        nodes = {address: self._members[address].planned for address in self.delegates}
        links = {pair: x for pair, x in self._links.items() if self._graph.is_linked(*pair)}
        others = dict.fromkeys(address for pair in links for address in pair)
        return Plan(nodes, links, {address: NOWHERE for address in others if address not in nodes})

    def forget_gone(self) -> None:
        """Know no more of nodes and links that have gone by themselves."""
        self._members = {a: m for a, m in self._members.items() if self.is_own(a)}
        self._links = {pair: x for pair, x in self._links.items() if self._graph.is_linked(*pair)}

    async def change(
        self,
        new: Plan,
        change: Difference,
        make: Callable[[PlannedNode], Node],
        *,
        undoing: bool = False,
    ) -> None:
        """Do it; if it raises, some of it may be done.

        Nodes at free addresses go in first, with the links between them, in one step. When
        they have entered, others leave, and the rest follows in a second step.

        Args:
            make: makes a node, and raises what is wrong with it.
            undoing: go on although a node does not leave.
        Raises:
            ConflictError, CompositionError: what is in the way.
        """
        made: dict[Address, Node] = {}
        try:
            for address in (*change.added, *change.replaced):
                made[address] = make(new.nodes[address])
            added = set(change.added)
            between = [pair for pair in change.links_up if added.issuperset(pair)]
            rest = [pair for pair in change.links_up if not added.issuperset(pair)]
            self._bring(new, change.added, made, make, up=between)
            await self._wait_entered(change.added)
            stuck = await self._take_away([*change.removed, *change.replaced], force=undoing)
            if stuck:
                names = ", ".join(map(str, stuck))
                message = f"within {LEAVE_LIMIT:g} s these have not left: {names}"
                if not undoing:
                    raise CompositionError(message)
                logger.error("a change is being undone; %s", message)
            down = [pair for pair in change.links_down if self._graph.is_linked(*pair)]
            self._bring(new, change.replaced, made, make, up=rest, down=down)
            await self._wait_entered(change.replaced)
        finally:
            for node in made.values():
                _discard(node)

    def _bring(
        self,
        new: Plan,
        addresses: Iterable[Address],
        made: dict[Address, Node],
        make: Callable[[PlannedNode], Node],
        *,
        up: Sequence[Pair],
        down: Sequence[Pair] = (),
    ) -> None:
        """Nodes and links in, and links down, in one step."""
        for address in addresses:
            planned = new.nodes[address]
            try:
                member = self._add(planned, made[address], make)
            except GraphClosedError:
                raise
            except (GraphError, TypeError, ValueError) as error:
                raise ConflictError(str(error), planned.place) from error
            del made[address]
            self._members[address] = member
        try:
            self._graph.change_links(down=down, up=up)
        except GraphError as error:
            place = new.links[up[0]].place if up else NOWHERE
            raise ConflictError(f"the links cannot be changed: {error}", place) from error
        for pair in down:
            self._links.pop(pair, None)
        self._links.update((pair, new.links[pair]) for pair in up)

    def _add(
        self, planned: PlannedNode, node: Node, make: Callable[[PlannedNode], Node]
    ) -> _Member:
        if not planned.limits.restart:
            return _Member(planned, node, self._graph.add_node(node))
        lives = iter((node,))

        def build() -> Node:
            life = next(lives, None) or make(planned)
            if (member := self._members.get(planned.address)) is not None:
                member.node = life
            return life

        return _Member(planned, node, self._graph.supervise(build))

    async def _take_away(self, addresses: Sequence[Address], *, force: bool) -> list[Address]:
        """Let nodes leave, senders first, so that what they have accepted is still handled.

        Args:
            force: let all of them leave in the end, although one stands in the way.
        Returns:
            those that have not left in time.
        """
        leaving = [address for address in addresses if address in self._members]
        followers: dict[Address, list[Address]] = {address: [] for address in leaving}
        for sender, receiver in self._links:
            if sender in followers and receiver in followers:
                followers[sender].append(receiver)
        plan = DeparturePlan(followers)
        wave = plan.first()
        with trio.move_on_after(LEAVE_LIMIT):
            while wave:
                await self._leave(wave)
                wave = [address for gone in wave for address in plan.left(gone)]
        left_over = [address for address in leaving if address in self._members]
        if force and left_over:
            async with trio.open_nursery() as nursery:
                nursery.cancel_scope.deadline = trio.current_time() + FORCED_LIMIT
                for address in left_over:
                    nursery.start_soon(self._leave, [address])
        self._links = {pair: x for pair, x in self._links.items() if self._graph.is_linked(*pair)}
        return [address for address in left_over if address in self._members]

    async def wait_gone(self, addresses: Iterable[Address]) -> None:
        """Let those of these that are leaving leave, within a bound: others are to be there."""
        with trio.move_on_after(FORCED_LIMIT):
            for address in addresses:
                member = self._members.get(address)
                if member is not None and member.delegate.state not in TAKES_LINKS:
                    await member.delegate.wait_exited()

    async def _leave(self, addresses: Iterable[Address]) -> None:
        for address in addresses:
            self._members[address].delegate.request_exit()
        for address in addresses:
            await self._members[address].delegate.wait_exited()
            del self._members[address]

    async def _wait_entered(self, addresses: Iterable[Address]) -> None:
        planned: Mapping[Address, PlannedNode] = {a: self._members[a].planned for a in addresses}
        with trio.move_on_after(ENTER_LIMIT):
            for address in planned:
                await self._members[address].delegate.wait_entered()
        for address in planned:
            state = self._members[address].delegate.state
            if state == "entering":
                reason = f"on_enter has not returned within {ENTER_LIMIT:g} s"
            elif state not in TAKES_LINKS:
                reason = self._why(address)
            else:
                continue
            raise CompositionError(f"{address} did not come up: {reason}", planned[address].place)

    def _why(self, address: Address) -> str:
        for crash in reversed(self._graph.snapshot().crashes):
            if Address(crash.scope, crash.name) == address:
                return crash.error
        return "it has left"


def node_at(graph: Graph, address: Address) -> Node | None:
    """The node that is there, if any."""
    try:
        return graph.node_at(address)
    except NodeNotFoundError:
        return None


def _discard(node: Node) -> None:
    """A node that never got into the graph may hold something: then it has `discard`."""
    discard = getattr(node, "discard", None)
    if discard is not None:
        discard()
