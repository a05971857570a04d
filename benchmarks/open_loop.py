"""Latency by load: events that are due at a fixed rate, whatever becomes of those before them.

    source --> node 1 --> ... --> node N     N = 1 and 10

The source asks the clock again and again and delivers what is due; when it is refused, it tries
that event again at its next turn. A latency begins when the event was *due*, not when it was
sent: if anything stands still for 10 ms, all events that were due meanwhile show it. A source
that waits for its victim, and measures from when it sent at last, omits just those; that is
called coordinated omission.

Saturation is what the same source, with every event due at once, gets through the same nodes;
the loads are shares of it. Every event must be handled at each hop.

Baseline: tasks with an asyncio.Queue each, and a source that does the same in a task, at the same
shares of its own saturation.
"""

import asyncio
import gc
from collections.abc import Callable
from itertools import pairwise
from statistics import median
from time import perf_counter_ns
from typing import NamedTuple

import trio
from trio.testing import wait_all_tasks_blocked

from benchmarks.chain import CHANNEL_SIZE, Relay
from benchmarks.histogram import Recording
from benchmarks.measure import verify
from benchmarks.result import Percentiles
from eventgraph import Event, Graph, Node, NodeDelegate

LOADS = (0.1, 0.5, 0.8, 0.95)  # of saturation
TICK = Event(2)
GOAL = 10.0  # p99 / p50, of one hop at half load


class Run(NamedTuple):
    """Nanoseconds that each event took, and that all of them took together."""

    latencies: list[int]
    spent: int


Candidate = Callable[[int, int, float], Run]  # hops, events, ns between two of them


class Source(Node):
    """Delivers what is due, at every turn that it gets."""

    def __init__(self, events: int, interval: float) -> None:
        super().__init__("bench", "0")
        self.left = events
        self.interval = interval
        self.link = 0

    def on_enter(self, delegate: NodeDelegate) -> None:
        self.delegate = delegate

    def start(self) -> None:
        """The first event is due now."""
        self.due = float(perf_counter_ns())
        self.delegate.deliver_self(TICK)

    def on_event(self, event: Event) -> None:
        now, deliver = perf_counter_ns(), self.delegate.deliver
        while self.left and self.due <= now and deliver(self.link, Event(1, self.due)):
            self.due += self.interval
            self.left -= 1
        if self.left:
            self.delegate.deliver_self(TICK)


class Arrival(Node):
    """Notes how long each event took since it was due."""

    channel_size = CHANNEL_SIZE

    def __init__(self, hop: int) -> None:
        super().__init__("bench", str(hop))
        self.latencies: list[int] = []

    def on_event(self, event: Event) -> None:
        self.latencies.append(int(perf_counter_ns() - event.obj))


def through_graph(hops: int, events: int, interval: float) -> Run:
    """Through nodes of a graph."""
    return trio.run(_through_graph, hops, events, interval)


async def _through_graph(hops: int, events: int, interval: float) -> Run:
    async with Graph() as graph:
        source, arrival = Source(events, interval), Arrival(hops)
        relays = [Relay("bench", str(hop)) for hop in range(1, hops)]
        senders: list[Source | Relay] = [source, *relays]
        delegates = [graph.add_node(node) for node in senders]
        graph.add_node(arrival)
        await wait_all_tasks_blocked()
        for hop, (node, delegate) in enumerate(zip(senders, delegates, strict=True)):
            node.link = delegate.request_link_up("bench", str(hop + 1))
        start = perf_counter_ns()
        source.start()
        while len(arrival.latencies) < events:
            await trio.lowlevel.checkpoint()
        spent = perf_counter_ns() - start
        handled = [link.counts.handled for link in graph.snapshot().links]
        verify("handled at each hop", handled, [events] * hops)
    return Run(arrival.latencies, spent)


def through_queues(hops: int, events: int, interval: float) -> Run:
    """Through tasks with an asyncio.Queue each."""
    return asyncio.run(_through_queues(hops, events, interval))


async def _through_queues(hops: int, events: int, interval: float) -> Run:
    queues: list[asyncio.Queue[Event]] = [asyncio.Queue(CHANNEL_SIZE) for _ in range(hops)]
    latencies: list[int] = []

    async def relay(inlet: asyncio.Queue[Event], outlet: asyncio.Queue[Event]) -> None:
        while True:
            await outlet.put(await inlet.get())

    async def last(inlet: asyncio.Queue[Event]) -> None:
        for _ in range(events):
            event = await inlet.get()
            latencies.append(int(perf_counter_ns() - event.obj))

    relays = [asyncio.create_task(relay(inlet, outlet)) for inlet, outlet in pairwise(queues)]
    end = asyncio.create_task(last(queues[-1]))
    await asyncio.sleep(0)
    first, left = queues[0], events
    due = float(start := perf_counter_ns())
    while left:
        now = perf_counter_ns()
        while left and due <= now and not first.full():
            first.put_nowait(Event(1, due))
            due += interval
            left -= 1
        await asyncio.sleep(0)
    await end
    spent = perf_counter_ns() - start
    for task in relays:
        task.cancel()
    verify("handled by the last", len(latencies), events)
    return Run(latencies, spent)


CANDIDATES: dict[str, Candidate] = {"eventgraph": through_graph, "asyncio.Queue": through_queues}


def percentiles(hops: int, events: int, rounds: int) -> list[Percentiles]:
    """Latencies of all candidates at all loads, measured in turns."""
    found = []
    name = "one hop" if hops == 1 else f"chain of {hops}"
    saturation = {
        candidate: median(run(hops, events, 0.0).spent / events for _ in range(3))
        for candidate, run in CANDIDATES.items()
    }
    for load in LOADS:
        recordings = {candidate: Recording() for candidate in CANDIDATES}
        for number in range(rounds):
            for candidate in CANDIDATES if number % 2 else reversed(CANDIDATES):
                gc.collect()
                interval = saturation[candidate] / load
                run = CANDIDATES[candidate](hops, events, interval)
                recordings[candidate].add_round(run.latencies)
        for candidate, recording in recordings.items():
            goal = GOAL if (candidate, hops, load) == ("eventgraph", 1, 0.5) else None
            rate = 1e9 * load / saturation[candidate]
            found.append(recording.result(name, candidate, load, rate, goal))
    return found
