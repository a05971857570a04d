"""Fan-out, saturated: what one delivery costs when each event goes to a hundred nodes.

             ,--> node 1
    driver --+--> ...
             '--> node 100

The driver broadcasts. The counters of the links must say that each node handled each event.

Baselines: as many asyncio.Queue, a task behind each; as many bare deques, emptied in turn.
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

WIDTH = 100  # receivers
# Events between two times that the receivers get their turn: 1,600 wait at a time. With 64 it is
# the garbage collector, which then goes through 6,400, that takes half of the graph's time.
BURST = 16


def cases(events: int) -> list[Case]:
    """What one of a hundred deliveries costs."""
    rounds = events // WIDTH
    baselines = both_loops(queue_fan_out, WIDTH, rounds)
    baselines["bare deque"] = partial(deque_fan_out, WIDTH, rounds)
    subject = partial(graph_fan_out, WIDTH, rounds)
    return [Case(f"fan-out to {WIDTH}, a delivery", subject, baselines, {"asyncio.Queue": 0.25})]


def graph_fan_out(width: int, events: int) -> float:
    """Nanoseconds a delivery, by ``broadcast``."""
    return trio.run(_graph_fan_out, width, events)


async def _graph_fan_out(width: int, events: int) -> float:
    async with Graph() as graph:
        source = Last("bench", "driver")
        source.max_links = width
        driver = graph.add_node(source)
        for number in range(width):
            graph.add_node(Last("bench", str(number)))
        await wait_all_tasks_blocked()
        for number in range(width):
            driver.request_link_up("bench", str(number))
        taken = 0
        start = perf_counter_ns()
        for begin in range(0, events, BURST):
            for _ in range(min(BURST, events - begin)):
                taken += driver.broadcast(EVENT)
            await trio.lowlevel.checkpoint()
            while not graph.idle:
                await trio.lowlevel.checkpoint()
        spent = perf_counter_ns() - start
        handled = [link.counts.handled for link in graph.snapshot().links]
        verify("taken", taken, events * width)
        verify("handled by each node", handled, [events] * width)
    return spent / events / width


async def queue_fan_out(width: int, events: int) -> float:
    """Nanoseconds a delivery, through asyncio.Queue and tasks."""
    queues: list[asyncio.Queue[Event]] = [asyncio.Queue(CHANNEL_SIZE) for _ in range(width)]
    handled = [0] * width

    async def receive(number: int) -> None:
        queue = queues[number]
        for _ in range(events):
            await queue.get()
            handled[number] += 1

    tasks = [asyncio.create_task(receive(number)) for number in range(width)]
    await asyncio.sleep(0)
    start = perf_counter_ns()
    for _ in range(events):  # in no bursts: a quarter quicker
        for queue in queues:
            await queue.put(EVENT)
    await asyncio.gather(*tasks)
    spent = perf_counter_ns() - start
    verify("handled by each task", handled, [events] * width)
    return spent / events / width


def deque_fan_out(width: int, events: int) -> float:
    """Nanoseconds a delivery, through deques that one function empties."""
    waiting: list[deque[Event]] = [deque() for _ in range(width)]
    handled = 0
    start = perf_counter_ns()
    for begin in range(0, events, BURST):
        for _ in range(min(BURST, events - begin)):
            for queue in waiting:
                queue.append(EVENT)
        for queue in waiting:
            while queue:
                queue.popleft()
                handled += 1
    spent = perf_counter_ns() - start
    verify("handled", handled, events * width)
    return spent / events / width
