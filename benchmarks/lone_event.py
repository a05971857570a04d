"""Lone event: how long one event takes through a graph in which nothing else goes on.

    sender --> node 1 --> ... --> node N     N = 1 and 10

The sender delivers and parks; everybody else is parked already. What counts is the time from
just before the delivery until the handler of the last node begins: the median of a run.

Baselines: tasks that wait at an asyncio.Queue each, or at trio memory channels.
"""

import asyncio
from functools import partial
from itertools import pairwise
from statistics import median
from time import perf_counter_ns

import trio
from trio.testing import wait_all_tasks_blocked

from benchmarks.chain import EVENT, Last, Relay
from benchmarks.loops import both_loops
from benchmarks.measure import Case, Measure, verify
from eventgraph import Event, Graph

WARM_UP = 50  # events that do not count


def cases(events: int) -> list[Case]:
    """How long one event takes, over one hop and over ten."""
    found = []
    for hops, goal in ((1, 1.3), (10, 0.3)):
        count = max(events // 100, 100)
        baselines: dict[str, Measure] = {
            **both_loops(queue_lone, hops, count),
            "memory channel": partial(memory_channel_lone, hops, count),
        }
        name = f"lone event, {hops} hop" + "s" * (hops > 1)
        subject = partial(graph_lone, hops, count)
        found.append(Case(name, subject, baselines, {"asyncio.Queue": goal}))
    return found


class Arrival(Last):
    """Notes when its handler began, and tells the sender."""

    def __init__(self, scope: str, name: str) -> None:
        super().__init__(scope, name)
        self.times: list[int] = []
        self.arrived = trio.Event()

    def on_event(self, event: Event) -> None:
        self.times.append(perf_counter_ns())
        self.arrived.set()


def graph_lone(hops: int, events: int) -> float:
    """Nanoseconds from delivery to handler, through nodes of a graph."""
    return trio.run(_graph_lone, hops, events)


async def _graph_lone(hops: int, events: int) -> float:
    async with Graph() as graph:
        sender = graph.add_node(Last("bench", "0"))
        relays = [Relay("bench", str(hop)) for hop in range(1, hops)]
        delegates = [sender, *map(graph.add_node, relays)]
        arrival = Arrival("bench", str(hops))
        graph.add_node(arrival)
        await wait_all_tasks_blocked()
        for hop, delegate in enumerate(delegates):
            link = delegate.request_link_up("bench", str(hop + 1))
            if hop:
                relays[hop - 1].link = link
        (first,) = sender.links
        begun = []
        for _ in range(events + WARM_UP):
            arrival.arrived = trio.Event()
            begun.append(perf_counter_ns())
            sender.deliver(first, EVENT)
            await arrival.arrived.wait()
        handled = [link.counts.handled for link in graph.snapshot().links]
        verify("handled at each hop", handled, [events + WARM_UP] * hops)
    return _median(begun, arrival.times)


async def queue_lone(hops: int, events: int) -> float:
    """Nanoseconds from ``put`` until the last task goes on."""
    queues: list[asyncio.Queue[Event]] = [asyncio.Queue() for _ in range(hops)]
    arrived = asyncio.Event()
    times = []

    async def relay(inlet: asyncio.Queue[Event], outlet: asyncio.Queue[Event]) -> None:
        while True:
            await outlet.put(await inlet.get())

    async def last(inlet: asyncio.Queue[Event]) -> None:
        while True:
            await inlet.get()
            times.append(perf_counter_ns())
            arrived.set()

    tasks = [asyncio.create_task(relay(inlet, outlet)) for inlet, outlet in pairwise(queues)]
    tasks.append(asyncio.create_task(last(queues[-1])))
    await asyncio.sleep(0)
    begun = []
    for _ in range(events + WARM_UP):
        arrived.clear()
        begun.append(perf_counter_ns())
        await queues[0].put(EVENT)
        await arrived.wait()
    for task in tasks:
        task.cancel()
    return _median(begun, times)


def memory_channel_lone(hops: int, events: int) -> float:
    """Nanoseconds from ``send`` until the last task goes on."""
    return trio.run(_memory_channel_lone, hops, events)


async def _memory_channel_lone(hops: int, events: int) -> float:
    channels = [trio.open_memory_channel[Event](1) for _ in range(hops)]
    arrived = trio.Event()
    times = []

    async def relay(
        inlet: trio.MemoryReceiveChannel[Event], outlet: trio.MemorySendChannel[Event]
    ) -> None:
        async with inlet, outlet:
            async for event in inlet:
                await outlet.send(event)

    async def last(inlet: trio.MemoryReceiveChannel[Event]) -> None:
        async with inlet:
            async for _ in inlet:
                times.append(perf_counter_ns())
                arrived.set()

    begun = []
    async with trio.open_nursery() as nursery:
        for (_, inlet), (outlet, _) in pairwise(channels):
            nursery.start_soon(relay, inlet, outlet)
        nursery.start_soon(last, channels[-1][1])
        await wait_all_tasks_blocked()
        async with channels[0][0] as first:
            for _ in range(events + WARM_UP):
                arrived = trio.Event()
                begun.append(perf_counter_ns())
                await first.send(EVENT)
                await arrived.wait()
    return _median(begun, times)


def _median(begun: list[int], ended: list[int]) -> float:
    verify("arrivals", len(ended), len(begun))
    times = [end - begin for begin, end in zip(begun, ended, strict=True)]
    return median(times[WARM_UP:])
