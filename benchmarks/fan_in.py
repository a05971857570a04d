"""Fan-in, saturated: what one delivery costs when a hundred nodes send to one.

    node 1 ----.
    ...      --+--> sink
    node 100 --'

Each node delivers in turn, by a link of its own. The counters of the links must say that the
sink handled as many from each.

Baselines: one asyncio.Queue that a hundred tasks put into; one bare deque.
"""

import asyncio
from collections import deque
from functools import partial
from time import perf_counter_ns

import trio
from trio.testing import wait_all_tasks_blocked

from benchmarks.chain import CHANNEL_SIZE, EVENT, Last
from benchmarks.loops import both_loops
from benchmarks.measure import Case, verify
from eventgraph import Event, Graph

WIDTH = 100  # senders
BURST = CHANNEL_SIZE // WIDTH  # events of each sender that fit the channel together


def cases(events: int) -> list[Case]:
    """What one delivery of a hundred senders costs."""
    each = events // WIDTH
    baselines = both_loops(queue_fan_in, WIDTH, each)
    baselines["bare deque"] = partial(deque_fan_in, WIDTH, each)
    return [Case(f"fan-in from {WIDTH}, a delivery", partial(graph_fan_in, WIDTH, each), baselines)]


class Sink(Last):
    """Counts; asking a hundred nodes whether they are idle would cost more than the events."""

    handled = 0

    def on_event(self, event: Event) -> None:
        self.handled += 1


def graph_fan_in(width: int, each: int) -> float:
    """Nanoseconds a delivery, through links to one node."""
    return trio.run(_graph_fan_in, width, each)


async def _graph_fan_in(width: int, each: int) -> float:
    async with Graph() as graph:
        sink = Sink("bench", "sink")
        graph.add_node(sink)
        senders = [graph.add_node(Last("bench", str(number))) for number in range(width)]
        await wait_all_tasks_blocked()
        ways = [(sender.deliver, sender.request_link_up("bench", "sink")) for sender in senders]
        start = perf_counter_ns()
        for begin in range(0, each, BURST):
            for _ in range(min(BURST, each - begin)):
                for deliver, link in ways:
                    deliver(link, EVENT)
            while sink.handled < min(begin + BURST, each) * width:
                await trio.lowlevel.checkpoint()
        spent = perf_counter_ns() - start
        handled = [link.counts.handled for link in graph.snapshot().links]
        verify("handled from each node", handled, [each] * width)
    return spent / each / width


async def queue_fan_in(width: int, each: int) -> float:
    """Nanoseconds a delivery, through one asyncio.Queue."""
    queue: asyncio.Queue[Event] = asyncio.Queue(CHANNEL_SIZE)

    async def send() -> None:
        for _ in range(each):
            await queue.put(EVENT)

    start = perf_counter_ns()
    tasks = [asyncio.create_task(send()) for _ in range(width)]
    for _ in range(each * width):
        await queue.get()
    await asyncio.gather(*tasks)
    spent = perf_counter_ns() - start
    verify("left", queue.qsize(), 0)
    return spent / each / width


def deque_fan_in(width: int, each: int) -> float:
    """Nanoseconds a delivery, through one deque."""
    waiting: deque[Event] = deque()
    handled = 0
    start = perf_counter_ns()
    for begin in range(0, each, BURST):
        for _ in range(min(BURST, each - begin)):
            for _ in range(width):
                waiting.append(EVENT)
        while waiting:
            waiting.popleft()
            handled += 1
    spent = perf_counter_ns() - start
    verify("handled", handled, each * width)
    return spent / each / width
