"""Chain, saturated: what one event costs for each hop, with accounting on.

    driver --> node 1 --> node 2 --> ... --> node N      (N = 1: one hop)

The driver keeps the first channel full. Every node but the last hands each event on. The
counters of the links must say in the end that every event was handled by every node.

Baselines: the same chain of asyncio.Queue (on asyncio's loop and on uvloop) or of trio memory
channels, a task for each node; and of bare deques, where one function moves all that waits
from each to the next, with no fairness, no limit and nobody told.
"""

import asyncio
from collections import deque
from functools import partial
from itertools import pairwise
from time import perf_counter_ns

import trio
import trio.testing

from benchmarks.loops import both_loops
from benchmarks.measure import Case, Measure, verify
from eventgraph import Event, Graph, Node, NodeDelegate

CHANNEL_SIZE = 1024  # events; the same for all candidates
EVENT = Event(1)
HOPS = 10


def cases(events: int) -> list[Case]:
    """What one event costs for each hop of ten."""
    goals = {"asyncio.Queue": 0.25}
    return [Case(f"chain of {HOPS}, a hop", *candidates(HOPS, events // 4), goals)]


def candidates(hops: int, events: int) -> tuple[Measure, dict[str, Measure]]:
    """The graph's chain, and its baselines."""
    baselines: dict[str, Measure] = {
        **both_loops(queue_chain, hops, events),
        "memory channel": partial(memory_channel_chain, hops, events // 4),
        "bare deque": partial(deque_chain, hops, events),
    }
    return partial(graph_chain, hops, events), baselines


class Relay(Node):
    """Hands every event on through its one link."""

    channel_size = CHANNEL_SIZE

    def on_enter(self, delegate: NodeDelegate) -> None:
        self.delegate = delegate
        self.link = 0

    def on_event(self, event: Event) -> None:
        self.delegate.deliver(self.link, event)


class Last(Node):
    """Does nothing with what comes."""

    channel_size = CHANNEL_SIZE

    def on_event(self, event: Event) -> None:
        pass


def graph_chain(hops: int, events: int) -> float:
    """Nanoseconds an event and hop, through nodes of a graph."""
    return trio.run(_graph_chain, hops, events)


async def _graph_chain(hops: int, events: int) -> float:
    async with Graph() as graph:
        driver = graph.add_node(Last("bench", "driver"))
        relays = [Relay("bench", str(hop)) for hop in range(1, hops)]
        delegates = [driver, *map(graph.add_node, relays)]
        graph.add_node(Last("bench", str(hops)))
        await trio.testing.wait_all_tasks_blocked()
        for hop, delegate in enumerate(delegates):
            link = delegate.request_link_up("bench", str(hop + 1))
            if hop:
                relays[hop - 1].link = link
        (first,) = driver.links
        deliver = driver.deliver
        sent = 0
        start = perf_counter_ns()
        while sent < events:
            for _ in range(min(CHANNEL_SIZE, events - sent)):
                if not deliver(first, EVENT):
                    break
                sent += 1
            await trio.lowlevel.checkpoint()
        while not graph.idle:
            await trio.lowlevel.checkpoint()
        spent = perf_counter_ns() - start
        handled = [link.counts.handled for link in graph.snapshot().links]
        verify("handled at each hop", handled, [events] * hops)
    return spent / events / hops


async def queue_chain(hops: int, events: int) -> float:
    """Nanoseconds an event and hop, through asyncio.Queue and tasks."""
    queues: list[asyncio.Queue[Event]] = [asyncio.Queue(CHANNEL_SIZE) for _ in range(hops)]
    handled = 0

    async def relay(inlet: asyncio.Queue[Event], outlet: asyncio.Queue[Event]) -> None:
        while True:
            await outlet.put(await inlet.get())

    async def last(inlet: asyncio.Queue[Event]) -> None:
        nonlocal handled
        for _ in range(events):
            await inlet.get()
        handled = events

    relays = [asyncio.create_task(relay(inlet, outlet)) for inlet, outlet in pairwise(queues)]
    end = asyncio.create_task(last(queues[-1]))
    put = queues[0].put
    start = perf_counter_ns()
    for _ in range(events):
        await put(EVENT)
    await end
    spent = perf_counter_ns() - start
    for task in relays:
        task.cancel()
    verify("handled by the last", handled, events)
    return spent / events / hops


def memory_channel_chain(hops: int, events: int) -> float:
    """Nanoseconds an event and hop, through trio memory channels and tasks."""
    return trio.run(_memory_channel_chain, hops, events)


async def _memory_channel_chain(hops: int, events: int) -> float:
    channels = [trio.open_memory_channel[Event](CHANNEL_SIZE) for _ in range(hops)]
    handled = 0

    async def relay(
        inlet: trio.MemoryReceiveChannel[Event], outlet: trio.MemorySendChannel[Event]
    ) -> None:
        async with inlet, outlet:
            async for event in inlet:
                await outlet.send(event)

    async def last(inlet: trio.MemoryReceiveChannel[Event]) -> None:
        nonlocal handled
        async with inlet:
            async for _ in inlet:
                handled += 1

    start = perf_counter_ns()
    async with trio.open_nursery() as nursery:
        for (_, inlet), (outlet, _) in pairwise(channels):
            nursery.start_soon(relay, inlet, outlet)
        nursery.start_soon(last, channels[-1][1])
        async with channels[0][0] as first:
            for _ in range(events):
                await first.send(EVENT)
    spent = perf_counter_ns() - start
    verify("handled by the last", handled, events)
    return spent / events / hops


def deque_chain(hops: int, events: int) -> float:
    """Nanoseconds an event and hop, through deques that one function empties."""
    waiting: list[deque[Event]] = [deque() for _ in range(hops)]
    first, last = waiting[0], waiting[-1]
    handled = sent = 0
    start = perf_counter_ns()
    while sent < events:
        for _ in range(min(CHANNEL_SIZE, events - sent)):
            first.append(EVENT)
            sent += 1
        for inlet, outlet in pairwise(waiting):
            while inlet:
                outlet.append(inlet.popleft())
        while last:
            last.popleft()
            handled += 1
    spent = perf_counter_ns() - start
    verify("handled by the last", handled, events)
    return spent / events / hops
