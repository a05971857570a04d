"""Mesh: what one delivery costs when everybody is linked to everybody.

    n0 <--> n1 <--> n2 <--> ...     ten nodes, ninety links; each node hands what it gets
     ^-------^------^               to the next of its nine neighbours in turn

A hundred events wander, and each ends at a node that has handed on its share already. All that
was handed on must have been handled, and every link have had its part.

Baseline: ten tasks with an asyncio.Queue each that do the same.
"""

import asyncio
from functools import partial
from itertools import cycle
from time import perf_counter_ns

import trio
from trio.testing import wait_all_tasks_blocked

from benchmarks.chain import CHANNEL_SIZE, EVENT
from benchmarks.loops import both_loops
from benchmarks.measure import Case, verify
from eventgraph import Event, Graph, Node, NodeDelegate

NODES = 10
WANDERERS = 10  # events that begin at each node


def cases(events: int) -> list[Case]:
    """What one delivery costs."""
    share = events // NODES // (NODES - 1) * (NODES - 1)  # the same for each link
    subject = partial(graph_mesh, share)
    return [Case(f"mesh of {NODES}, a delivery", subject, both_loops(queue_mesh, share))]


class Wanderer(Node):
    """Hands each event to the next neighbour, until its share is done."""

    channel_size = CHANNEL_SIZE

    def on_enter(self, delegate: NodeDelegate) -> None:
        self.delegate = delegate

    def begin(self, share: int, links: list[int]) -> None:
        """Hand on that many, to these links in turn."""
        self.left = share
        self.turns = cycle(links)

    def on_event(self, event: Event) -> None:
        if self.left:
            self.left -= 1
            self.delegate.deliver(next(self.turns), event)


def graph_mesh(share: int) -> float:
    """Nanoseconds a delivery, between the nodes of a graph."""
    return trio.run(_graph_mesh, share)


async def _graph_mesh(share: int) -> float:
    async with Graph() as graph:
        nodes = [Wanderer("bench", str(number)) for number in range(NODES)]
        delegates = [graph.add_node(node) for node in nodes]
        await wait_all_tasks_blocked()
        for number, (node, delegate) in enumerate(zip(nodes, delegates, strict=True)):
            others = [(number + step) % NODES for step in range(1, NODES)]
            node.begin(share, [delegate.request_link_up("bench", str(other)) for other in others])
        start = perf_counter_ns()
        for delegate in delegates:
            for _ in range(WANDERERS):
                delegate.deliver_self(EVENT)
        await wait_all_tasks_blocked()
        spent = perf_counter_ns() - start
        handled = [link.counts.handled for link in graph.snapshot().links]
        verify("links", len(handled), NODES * (NODES - 1))
        verify("every link used", all(handled), True)
        verify("most of it handled", sum(handled) > 0.9 * share * NODES, True)
        verify("handed on and handled", sum(handled), sum(share - node.left for node in nodes))
    return spent / sum(handled)


async def queue_mesh(share: int) -> float:
    """Nanoseconds a delivery, between tasks with an asyncio.Queue each."""
    queues: list[asyncio.Queue[Event]] = [asyncio.Queue() for _ in range(NODES)]
    left = [share] * NODES
    handled = ended = 0
    all_ended = asyncio.Event()

    async def wander(number: int) -> None:
        nonlocal handled, ended
        inlet = queues[number]
        turns = cycle([queues[(number + step) % NODES] for step in range(1, NODES)])
        while True:
            event = await inlet.get()
            handled += 1
            if left[number]:
                left[number] -= 1
                await next(turns).put(event)
            else:
                ended += 1
                if ended == NODES * WANDERERS:
                    all_ended.set()

    tasks = [asyncio.create_task(wander(number)) for number in range(NODES)]
    start = perf_counter_ns()
    for queue in queues:
        for _ in range(WANDERERS):
            await queue.put(EVENT)
    await all_ended.wait()
    spent = perf_counter_ns() - start
    for task in tasks:
        task.cancel()
    passed = NODES * share - sum(left)
    verify("handed on and handled", handled, passed + NODES * WANDERERS)
    verify("most of it handled", passed > 0.9 * share * NODES, True)
    return spent / passed
