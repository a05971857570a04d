"""Growth: what the size of a graph costs those who do not use it.

    ten nodes in a ring, playing        beside them: nothing, or N idle nodes,
    n0 --> n1 --> ... --> n9 --> n0     each linked to three others

A delivery in the ring must cost the same whatever stands beside it; so must a link-up and
link-down. The baseline is the same ring in a graph of its own.

Also here: what an idle node takes of memory, beside a task that waits at an asyncio.Queue.
"""

import asyncio
import gc
import tracemalloc
from functools import partial
from time import perf_counter_ns

import trio
from trio.testing import wait_all_tasks_blocked

from benchmarks.measure import Case, verify
from benchmarks.result import Size
from eventgraph import Event, Graph, Node, NodeDelegate

RING = 10
LINKS_EACH = 3
BALLS = 100  # events that run round the ring, so that every turn has some work
LARGE = 20  # events for each idle node beside them
IDLE_NODE_GOAL = 3000  # bytes


def cases(events: int) -> list[Case]:
    """What a delivery and a link cost with many nodes beside them."""
    large = events // LARGE
    found = []
    for what, measure, count in (("delivery", delivery, events), ("relinking", relinking, large)):
        others, nobody = partial(measure, large, count), partial(measure, 0, count)
        name = f"{what}, + {large:,} nodes"
        found.append(Case(name, others, {"no others": nobody}, {"no others": 1.3}))
    return found


def idle_node(count: int) -> Size:
    """What one node takes that has nothing to do."""
    return Size(
        name="an idle node",
        bytes=memory_of_an_idle_node(count),
        baseline_name="task and asyncio.Queue",
        baseline=asyncio.run(memory_of_an_idle_task(count)),
        goal=IDLE_NODE_GOAL,
    )


class Player(Node):
    """Hands the ball on until it has gone round often enough."""

    def on_enter(self, delegate: NodeDelegate) -> None:
        self.delegate = delegate
        self.link = 0
        self.left = 0

    def on_event(self, event: Event) -> None:
        if self.left:
            self.left -= 1
            self.delegate.deliver(self.link, event)


async def _populate(graph: Graph, count: int) -> None:
    """Add idle nodes, each linked to the next three."""
    delegates = [graph.add_node(Node("idle", str(i))) for i in range(count)]
    await wait_all_tasks_blocked()
    for i, delegate in enumerate(delegates):
        for step in range(1, LINKS_EACH + 1):
            delegate.request_link_up("idle", str((i + step) % count))


def delivery(idle_nodes: int, deliveries: int) -> float:
    """Nanoseconds a delivery round the ring, with that many idle nodes beside it."""
    return trio.run(_delivery, idle_nodes, deliveries)


async def _delivery(idle_nodes: int, deliveries: int) -> float:
    async with Graph(exit_timeout=60) as graph:
        await _populate(graph, idle_nodes)
        players = [Player("ring", str(i)) for i in range(RING)]
        delegates = [graph.add_node(player) for player in players]
        await wait_all_tasks_blocked()
        for i, (player, delegate) in enumerate(zip(players, delegates, strict=True)):
            player.link = delegate.request_link_up("ring", str((i + 1) % RING))
            player.left = deliveries // RING
        gc.collect()
        start = perf_counter_ns()
        for _ in range(BALLS):
            delegates[0].deliver_self(Event(1))
        await wait_all_tasks_blocked()
        spent = perf_counter_ns() - start
        snapshot = graph.snapshot()
        verify("links", len(snapshot.links), RING + LINKS_EACH * idle_nodes)
        handled = sum(link.counts.handled for link in snapshot.links)
        verify("handled at least", handled > deliveries * 0.95, True)
    return spent / handled


def relinking(idle_nodes: int, times: int) -> float:
    """Nanoseconds to put one link up and down again, on_link_down included."""
    return trio.run(_relinking, idle_nodes, times)


async def _relinking(idle_nodes: int, times: int) -> float:
    class Counting(Node):
        downs = 0

        def on_link_down(self, link_id: int, scope: str, name: str) -> None:
            self.downs += 1

    async with Graph(exit_timeout=60) as graph:
        await _populate(graph, idle_nodes)
        counting = Counting("ring", "a")
        a = graph.add_node(counting)
        graph.add_node(Node("ring", "b"))
        await wait_all_tasks_blocked()
        gc.collect()
        start = perf_counter_ns()
        for _ in range(times):
            a.request_link_down(a.request_link_up("ring", "b"))
        await wait_all_tasks_blocked()
        spent = perf_counter_ns() - start
        verify("on_link_down", counting.downs, times)
    return spent / times


def memory_of_an_idle_node(count: int) -> float:
    """Bytes that a node takes when it has entered and has nothing to do."""
    return trio.run(_memory_of_an_idle_node, count)


async def _memory_of_an_idle_node(count: int) -> float:
    async with Graph() as graph:
        gc.collect()
        tracemalloc.start()
        try:
            for i in range(count):
                graph.add_node(Node("idle", str(i)))
            await wait_all_tasks_blocked()
            gc.collect()
            used, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        verify("nodes", len(graph.snapshot().nodes), count)
    return used / count


async def memory_of_an_idle_task(count: int) -> float:
    """Bytes that a task takes which waits at a queue of its own."""
    gc.collect()
    tracemalloc.start()
    try:
        queues: list[asyncio.Queue[Event]] = [asyncio.Queue() for _ in range(count)]
        tasks = [asyncio.create_task(queue.get()) for queue in queues]
        await asyncio.sleep(0)
        gc.collect()
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    verify("tasks that wait", sum(not task.done() for task in tasks), count)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return used / count
