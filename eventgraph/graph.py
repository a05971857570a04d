"""Graph: owns the nodes, the links, and the tasks that run them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Self

import trio

from eventgraph.congestion import ChannelWatch, watch_channels
from eventgraph.delegate import NodeDelegate
from eventgraph.departure import DeparturePlan
from eventgraph.errors import GraphClosedError
from eventgraph.event import Address
from eventgraph.link import Vertex
from eventgraph.node import Node
from eventgraph.node_trace import NodeTracer
from eventgraph.observer import Observer
from eventgraph.restart import RestartPolicy
from eventgraph.runner import Runner, logger, make_runner
from eventgraph.runtime import Runtime
from eventgraph.slices import Steps, at_once
from eventgraph.statistics import GraphSnapshot, snapshot_steps
from eventgraph.supervision import Keeper, Supervisor
from eventgraph.tap import Tap
from eventgraph.totals import GraphTotals, take_traffic, total_steps
from eventgraph.tracing import Trace, Tracer


class Graph:
    """An event graph; use it as ``async with Graph() as graph``.

    Leaving the block exits every node: senders first, so that what they sent is still
    handled, and cycles together. Leaving it by an exception drains nothing: what waits in
    the channels is dropped and counted, running hooks are cancelled, ``on_exit`` is still
    called, and the exception goes on as it is. Either way nothing is left running.

    Args:
        exit_timeout: seconds that the nodes have to drain when the block is left; what has
            not returned by then is cancelled and named in the log. Each ``on_exit`` also
            has this long.
    """

    def __init__(self, *, exit_timeout: float = 5.0) -> None:
        if not exit_timeout >= 0:
            raise ValueError(f"exit_timeout is {exit_timeout} s; it must not be negative")
        self._runtime = Runtime(exit_timeout, self._departed)
        self._plan: DeparturePlan[Vertex] | None = None
        self._empty = trio.Event()
        self._supervisor = Supervisor(self._runtime, self._add)
        self._nursery_manager = trio.open_nursery()

    async def __aenter__(self) -> Self:
        if self._runtime.nursery is not None:
            raise GraphClosedError("a graph is entered once; make a new one")
        self._runtime.token = trio.lowlevel.current_trio_token()
        self._runtime.nursery = nursery = await self._nursery_manager.__aenter__()
        nursery.start_soon(self._runtime.dispatcher.run, name="eventgraph dispatcher")
        self._runtime.open = True
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._runtime.open = False
        self._supervisor.stop()
        raised: list[BaseException] = []
        try:
            if error is None:
                await self._drain()
        except BaseException as interruption:  # cancelled from outside, or Ctrl-C
            raised.append(interruption)
        raised += self._cut_off()
        raised += await self._close_nursery()
        # Ctrl-C out of a hook weighs more than what the body raised or was cancelled by.
        for grave in raised:
            if not isinstance(grave, trio.Cancelled):
                raise grave
        if error is None and raised:
            raise raised[0]

    def add_node(self, node: Node) -> NodeDelegate:
        """Take a node in; ``on_enter`` follows. Others may link to it from now on.

        Raises:
            NodeExistsError: its address is in use.
            GraphClosedError: the graph is not entered, or is being left.
            GraphError, TypeError, ValueError: the node was not initialised, or a limit of it
                is not an int or out of range.
        """
        return self._add(node, None).delegate

    def supervise(
        self, factory: Callable[[], Node], policy: RestartPolicy | None = None
    ) -> NodeDelegate:
        """Take in a node that is restarted when it crashes.

        While it restarts it is *suspended*: it keeps its address and its links with their ids,
        and deliveries to it return False. Then the factory builds another node, whose first call
        is ``on_enter`` with the same delegate; links that it does not ask for there are told by
        ``on_link_up``. The limits stay those of the first.

        Args:
            factory: builds the node, each time with the same address.
            policy: when it is restarted and when it is given up; by default after crashes, at
                the most five times in ten seconds.
        Raises:
            as ``add_node``, and what the factory raises.
        """
        keeper = Keeper(self._supervisor, factory, policy or RestartPolicy())
        return self._supervisor.add(keeper).delegate

    def dismiss(self, address: Address) -> None:
        """Let a supervised node leave for good, as by ``request_exit``.

        Raises:
            NodeNotFoundError: nobody is there.
            GraphError: the node there is not supervised.
        """
        runner = _runner(self._runtime.topology.find(address))
        self._supervisor.dismiss(address)
        runner.begin_exit()

    def _add(self, node: Node, keeper: Keeper | None) -> Runner:
        if not self._runtime.open:
            raise GraphClosedError("the graph is not open: add nodes inside its async with block")
        runner = make_runner(node, self._runtime)
        runner.keeper = keeper
        self._runtime.topology.add(runner)
        runner.watcher = node.take_part(runner)
        self._runtime.observers.on_node_added(runner.address)
        runner.start()
        return runner

    def link_up(self, sender: Address, receiver: Address) -> int:
        """Link two nodes on the sender's behalf; it learns the id by ``on_link_up``.

        Returns:
            The id of the link in the sender's table.
        Raises:
            NodeNotFoundError, LinkExistsError, LinkTableFullError, LinkRefusedError,
            NodeExitedError: as ``NodeDelegate.request_link_up``.
        """
        topology = self._runtime.topology
        return topology.link_up_for(topology.find(sender), topology.find(receiver)).id

    def link_down(self, sender: Address, receiver: Address) -> None:
        """Take the link between two nodes down; the sender is told by ``on_link_down``.

        Raises:
            NodeNotFoundError: one of them does not exist.
            LinkNotFoundError: they are not linked in this direction.
        """
        topology = self._runtime.topology
        topology.link_down(topology.find_link(topology.find(sender), topology.find(receiver)))

    def change_links(
        self,
        *,
        down: Iterable[tuple[Address, Address]] = (),
        up: Iterable[tuple[Address, Address]] = (),
    ) -> None:
        """Take links down and put others up, in one step: all of them, or none.

        What goes down makes room for what comes up. Senders are told as by ``link_up`` and
        ``link_down``.

        Args:
            down, up: each a sender and a receiver.
        Raises:
            what ``link_up`` and ``link_down`` raise; then nothing has changed.
        """
        topology = self._runtime.topology
        find = topology.find
        topology.change(
            [topology.find_link(find(sender), find(receiver)) for sender, receiver in down],
            [(find(sender), find(receiver)) for sender, receiver in up],
        )

    def can_link(self, sender: Address, receiver: Address) -> bool:
        """Whether both nodes are there to stay, and not linked in this direction.

        The sender may still have no room for the link.
        """
        return self._runtime.topology.can_link(sender, receiver)

    # Watching

    @property
    def runtime(self) -> Runtime:
        """What its nodes share: for what builds on the graph from within."""
        return self._runtime

    def observe(self, observer: Observer) -> None:
        """Tell the observer of nodes that come and go and of links that go down, from now on."""
        self._runtime.observers.all += (observer,)

    def unobserve(self, observer: Observer) -> None:
        """Tell it no more.

        Raises:
            ValueError: it does not observe this graph.
        """
        observers = list(self._runtime.observers.all)
        observers.remove(observer)
        self._runtime.observers.all = tuple(observers)

    def is_linked(self, sender: Address, receiver: Address) -> bool:
        """Whether both are there, and there is a link in this direction."""
        return self._runtime.topology.is_linked(sender, receiver)

    def free_links(self, address: Address) -> int:
        """How many more output links the node has room for.

        Raises:
            NodeNotFoundError: nobody is there.
        """
        outputs = self._runtime.topology.find(address).outputs
        return outputs.size - len(outputs.up)

    def node_at(self, address: Address) -> Node:
        """The node that is there.

        Raises:
            NodeNotFoundError: nobody is.
        """
        return _runner(self._runtime.topology.find(address)).node

    def snapshot(self) -> GraphSnapshot:
        """Everything there is to know of the graph at this instant, as frozen structs.

        It holds the graph up for some 4 ms for each 1,000 nodes.
        """
        return at_once(self.snapshot_steps())

    def snapshot_steps(self) -> Steps[GraphSnapshot]:
        """The same bit by bit: ``await in_slices(graph.snapshot_steps())`` holds nobody up.

        In slices each node is of one instant with the links to it, others may be of another. What
        comes or goes meanwhile may be missing.
        """
        return snapshot_steps(self._runtime)

    def totals(self) -> GraphTotals:
        """The graph at this instant in sums; cheaper than a snapshot."""
        return at_once(self.total_steps())

    def total_steps(self) -> Steps[GraphTotals]:
        """The same bit by bit, as `snapshot_steps`.

        In slices what was handled may be less than before, by what came into channels meanwhile.
        """
        return total_steps(self._runtime)

    @property
    def addresses(self) -> list[Address]:
        """Where there are nodes."""
        return [vertex.address for vertex in self._runtime.topology]

    def traffic(self, senders: Iterable[Address]) -> dict[tuple[Address, Address], int]:
        """Events accepted so far on each link that is up, of these senders; some may have left."""
        return take_traffic(self._runtime, senders)

    def watch_channels(self, *, limit: float = 2.0) -> AbstractAsyncContextManager[ChannelWatch]:
        """Name nodes whose channels stay full, in the log, as long as the block runs.

        ``async with graph.watch_channels() as watch``: with depth, age, rates and the slow side.

        Args:
            limit: seconds for which a channel may be full.
        Raises:
            ValueError: on entry, the limit is not above 0.
        """
        return watch_channels(self._runtime, limit)

    def trace(
        self,
        route: Sequence[Address],
        found: Callable[[Trace], object],
        *,
        interval: float = 0.01,
        gives_way: bool = False,
    ) -> Tracer:
        """Follow events along a route: ``with graph.trace(route, found) as tracer``.

        Args:
            route: a sender, and at least one hop, each linked to the next.
            found: gets a trace of each event that was followed to the end; must return soon.
            interval: seconds from the beginning of a probe until the next may begin.
            gives_way: ends when another begins, and finds nothing more.
        Raises:
            NodeNotFoundError, LinkNotFoundError: the route does not exist.
            TracerBusyError: on entry, somebody else traces this graph.
            ValueError: the route is too short, or the interval negative.
        """
        return Tracer(self._runtime, route, found, interval, gives_way)

    def trace_node(
        self, address: Address, *, interval: float = 0.01, size: int = 256
    ) -> NodeTracer:
        """Follow events that come to a node: ``with graph.trace_node(address) as tracer``.

        Args:
            interval: seconds from the beginning of one that is followed until the next may begin.
            size: how many traces are kept until they are taken.
        Raises:
            NodeNotFoundError: nobody is there.
            ValueError: the interval is negative, or the size less than 1.
        """
        runner = _runner(self._runtime.topology.find(address))
        return NodeTracer(runner, interval=interval, size=size)

    def tap(
        self,
        receiver: Address,
        sender: Address | None = None,
        *,
        itself: bool = True,
        interval: float = 0.0,
        size: int = 256,
    ) -> Tap:
        """See what is delivered to a node: ``with graph.tap(receiver) as tap``.

        Args:
            sender: only what it delivers; it may be linked later, or not yet be there.
            itself: also what the node delivers to itself, if no sender is named.
            interval: seconds from one event that is looked at to the next; 0: all of them.
            size: how many are kept until they are taken, with what they hold.
        Raises:
            NodeNotFoundError: nobody is at the receiver's address.
            ValueError: the interval is negative, or the size less than 1.
        """
        runner = _runner(self._runtime.topology.find(receiver))
        return Tap(runner, sender, itself=itself, interval=interval, size=size)

    @property
    def busy(self) -> list[Address]:
        """The nodes for which an event waits or of which a hook runs."""
        runners = map(_runner, self._runtime.topology)
        return [r.address for r in runners if not r.parked or r.backlog]

    @property
    def idle(self) -> bool:
        """Whether no event waits and no hook runs."""
        return not self.busy

    # Leaving

    async def _drain(self) -> None:
        """Exit all nodes in the direction of the links, for at most the exit time-out."""
        topology = self._runtime.topology
        with trio.move_on_after(self._runtime.exit_timeout):
            for vertex in topology:
                await _runner(vertex).wait_entered()  # it may be about to link and deliver
            self._plan = DeparturePlan(
                {v: [link.receiver for link in v.outputs.up.values()] for v in topology}
            )
            for vertex in self._plan.first():
                _runner(vertex).begin_exit()
            if len(topology):
                await self._empty.wait()
        for vertex in topology:
            if reason := _runner(vertex).held_up_by():
                logger.warning("node %s held up the exit: %s", vertex.address, reason)

    def _departed(self, vertex: Vertex) -> None:
        if self._plan is not None:
            for follower in self._plan.left(vertex):
                _runner(follower).begin_exit()
            if not len(self._runtime.topology):
                self._empty.set()

    def _cut_off(self) -> list[BaseException]:
        """Whoever is still there leaves now; plain nodes at once, tasks when cancelled.

        Returns:
            what passed out of hooks meanwhile, such as Ctrl-C; it stops nobody's on_exit.
        """
        self._plan = None
        passed: list[BaseException] = []
        dispatcher = self._runtime.dispatcher
        for vertex in self._runtime.topology:
            _runner(vertex).cut_off()
        while dispatcher.ready:
            try:
                dispatcher.run_for(math.inf)
            except BaseException as error:
                passed.append(error)
        return passed

    async def _close_nursery(self) -> list[BaseException]:
        """Wait for all tasks; what they died of, such as Ctrl-C in a hook.

        The nursery is not told of an exception in the body: it would wrap it in a group,
        and rebuild a group that it contains.
        """
        self._runtime.dispatcher.stop()
        try:
            await self._nursery_manager.__aexit__(None, None, None)
        except BaseExceptionGroup as group:
            return list(group.exceptions)
        except trio.Cancelled as cancelled:
            return [cancelled]
        return []


def _runner(vertex: Vertex) -> Runner:
    assert isinstance(vertex, Runner)
    return vertex
