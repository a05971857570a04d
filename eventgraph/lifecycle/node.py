"""Nodes that run by demand: one to inherit from, one to embed."""

from collections.abc import Awaitable
from typing import Any

from eventgraph.delegate import NodeDelegate
from eventgraph.errors import (
    GraphClosedError,
    GraphError,
    LinkExistsError,
    NodeExitedError,
    NodeNotFoundError,
)
from eventgraph.event import Address, Event
from eventgraph.lifecycle.attachment import server_links, servers_above
from eventgraph.lifecycle.errors import AttachedError, CycleError, NotAttachedError
from eventgraph.lifecycle.lifecycle import Lifecycle, LifecycleStatistics
from eventgraph.lifecycle.state import LifecycleState, Principal
from eventgraph.link import Link
from eventgraph.member import Member
from eventgraph.node import Node
from eventgraph.runner import Runner

HOOKS = ("on_start", "on_stop", "on_input", "output", "on_client_failed", "run")


class LifecycleNode(Node):
    """A node that is server and client at once, and runs while its principal role demands it.

    An attachment is a link from the server to the client. Override the hooks below, and
    ``async def run(self)`` if the node needs a task of its own: it begins when ``on_start``
    has returned, and is cancelled and awaited when the node stops. If ``run`` returns, the
    node runs on without it.

    ``on_enter``, ``on_event`` and ``on_exit`` belong to the lifecycle; who overrides
    ``on_enter`` or ``on_exit`` calls the base's (``await super().on_exit()``).
    """

    principal: Principal = Principal.CLIENT
    stays_attached: bool = False  # a principal server that stopped stays with its own server
    abrupt_stop: bool = False  # throw away what waits when it stops, counted
    linger: float = 0.0  # seconds that a principal server runs on after its last client left
    start_timeout: float = 30.0  # seconds that on_start may take; then it has failed
    stop_timeout: float = 5.0  # seconds that on_stop may take; then it is cancelled

    delegate: NodeDelegate
    _lifecycle: Lifecycle | None = None

    # Hooks

    def on_start(self) -> Awaitable[None] | None:
        """It is wanted: take what it needs. Events wait meanwhile.

        If it raises, or is cancelled because nobody wants the node any longer, it has to
        give back what it took: ``on_stop`` is not called.
        """

    def on_stop(self) -> Awaitable[None] | None:
        """It is not wanted: give it back. Its clients have stopped; once for each start."""

    def on_input(self, event: Event) -> Awaitable[None] | None:
        """An event has come; by default it is passed on to ``output``."""
        return self.output(event)

    def output(self, event: Event) -> Awaitable[None] | None:
        """Where events go; by default to every client."""
        self.delegate.broadcast(event)
        return None

    def on_client_failed(self, client: Node, error: BaseException) -> Awaitable[None] | None:
        """A client failed: to start, in ``run``, in ``on_stop``, or it crashed.

        It has been detached, and has stopped.
        """

    # Requests

    def attach(self, client: Node) -> int:
        """Make a node a client of this one: a link to it goes up.

        The client is a lifecycle node, or any other: that is ready at once, and may have
        several servers.

        Returns:
            the id of the link.
        Raises:
            AttachedError: it has a server already.
            CycleError: it is this node, or stands above it.
            LinkTableFullError: this node has ``max_links`` clients.
            NodeNotFoundError: they are not in the same graph.
            NodeExitedError, LinkRefusedError: this node has left; the client is leaving.
            GraphClosedError: the graph is being left.
        """
        member = self._find_member()
        if not member.runtime.open:
            raise GraphClosedError(f"the graph is being left: {member.address} takes no clients")
        if member.leaving:
            raise NodeExitedError(f"{member.address} is leaving and takes no clients")
        receiver = self._find(member, client)
        if isinstance(client, LifecycleNode):
            if receiver in servers_above(member):
                raise CycleError(f"{receiver.address} is above {member.address}, or the same")
            for link in server_links(receiver):
                raise AttachedError(
                    f"{receiver.address} is attached to {link.sender.address}; detach it first"
                )
        try:
            return member.runtime.topology.link_up(member, receiver).id
        except LinkExistsError as error:
            raise AttachedError(str(error)) from None

    def detach(self, client: Node) -> None:
        """Take the link to a client down; it handles what it has accepted, and stops.

        Its own clients are detached before it stops.

        Raises:
            NotAttachedError: it is not a client of this node.
            NodeNotFoundError: they are not in the same graph.
        """
        member = self._find_member()
        receiver = self._find(member, client)
        link: Link | None = receiver.inputs.get(member)
        if link is None or receiver is member:
            raise NotAttachedError(f"{receiver.address} is not attached to {member.address}")
        member.runtime.topology.link_down(link)

    def detach_self(self) -> None:
        """Leave the server, and so stop; nothing if there is none.

        Raises:
            NodeNotFoundError: this node was never added to a graph.
        """
        self._find_lifecycle().detach_from_servers()

    def request_stop(self) -> None:
        """Leave the server, if any, and bring down this node and all below it, in order.

        Raises:
            NodeNotFoundError: this node was never added to a graph.
        """
        lifecycle = self._find_lifecycle()
        lifecycle.detach_from_servers()
        lifecycle.let_go()

    # What can be seen

    @property
    def state(self) -> LifecycleState:
        """Whether it runs."""
        return LifecycleState.STOPPED if self._lifecycle is None else self._lifecycle.state

    @property
    def attached(self) -> bool:
        """Whether it has a server."""
        return self._lifecycle is not None and self._lifecycle.attached

    @property
    def error(self) -> BaseException | None:
        """What it failed of, until it starts again."""
        return None if self._lifecycle is None else self._lifecycle.error

    async def wait_state(self, state: LifecycleState) -> None:
        """Return when it is in a state, or has passed through it meanwhile.

        Raises:
            NodeExitedError: it has left the graph, and will not be.
            NodeNotFoundError: it was never added to a graph.
        """
        await self._find_lifecycle().wait_state(state)

    async def wait_stopped(self) -> None:
        """Return when it has stopped; at once if it does not run.

        Raises:
            NodeNotFoundError: it was never added to a graph.
        """
        await self._find_lifecycle().wait_state(LifecycleState.STOPPED)

    def statistics(self) -> LifecycleStatistics:
        """Its state, its counts and its drops.

        Raises:
            NodeNotFoundError: it was never added to a graph.
        """
        return self._find_lifecycle().statistics()

    # The graph calls these

    def take_part(self, member: Member) -> Lifecycle:
        self.delegate = NodeDelegate(member)
        self._lifecycle = Lifecycle(self, member)
        return self._lifecycle

    def on_enter(self, delegate: NodeDelegate) -> Awaitable[None] | None:
        self.delegate = delegate
        return None

    def on_event(self, event: Event) -> Awaitable[None] | None:
        return self._find_lifecycle().take(event)

    async def on_demand(self) -> None:
        """Something has changed in the links: start or stop."""
        await self._find_lifecycle().settle()

    async def on_exit(self) -> None:
        await self._find_lifecycle().close()

    def _find_lifecycle(self) -> Lifecycle:
        if self._lifecycle is None:
            raise NodeNotFoundError(f"{self.name}@{self.scope} is in no graph; add it first")
        return self._lifecycle

    def _find_member(self) -> Member:
        return self._find_lifecycle().member

    @staticmethod
    def _find(member: Member, client: Node) -> Member:
        """The client's place in the graph of a member."""
        found = member.runtime.topology.find(Address(client.scope, client.name))
        if not isinstance(found, Runner) or found.node is not client:
            raise NodeNotFoundError(
                f"the node at {found.address} is another one; attach and detach what was added"
            )
        return found


class DrivenNode(LifecycleNode):
    """A lifecycle node that is embedded: it calls the hooks of an object of any class.

    Args:
        owner: has some of ``on_start``, ``on_stop``, ``on_input``, ``output``,
            ``on_client_failed`` and ``run``; what it lacks is as in ``LifecycleNode``.
        options: class attributes of ``LifecycleNode`` to set, such as ``linger`` (seconds).
    Raises:
        GraphError: there is no such option.
    """

    def __init__(self, owner: object, scope: str, name: str, **options: Any) -> None:
        super().__init__(scope, name)
        self.owner = owner
        for hook in HOOKS:
            if hasattr(owner, hook):
                setattr(self, hook, getattr(owner, hook))
        for option, value in options.items():
            if option not in OPTIONS:
                raise GraphError(f"no option {option!r}; there are {', '.join(OPTIONS)}")
            setattr(self, option, value)


OPTIONS = (
    "principal",
    "stays_attached",
    "abrupt_stop",
    "linger",
    "start_timeout",
    "stop_timeout",
    "max_links",
    "channel_size",
)
