"""Cross-thread: what it costs to hand an event from another thread to a node.

    thread --deliver_from_thread--> node

The thread delivers as fast as it is let, and gives way when it is refused. Each event that was
taken must be handled, and each refusal counted.

Baselines: the same thread through ``call_soon_threadsafe`` into an asyncio.Queue (on asyncio's
loop and on uvloop), with as many in flight at most.
"""

import asyncio
import threading
import time
from functools import partial
from time import perf_counter_ns

import trio
from trio.testing import wait_all_tasks_blocked

from benchmarks.chain import CHANNEL_SIZE, EVENT, Last
from benchmarks.loops import both_loops
from benchmarks.measure import Case, verify
from eventgraph import Event, Graph

RETREAT = 0.0001  # seconds that a refused thread gives way


def cases(events: int) -> list[Case]:
    """What one event from another thread costs."""
    count = events // 4
    subject = partial(graph_cross_thread, count)
    return [Case("cross-thread", subject, both_loops(queue_cross_thread, count))]


def graph_cross_thread(events: int) -> float:
    """Nanoseconds an event, by ``deliver_from_thread``."""
    return trio.run(_graph_cross_thread, events)


async def _graph_cross_thread(events: int) -> float:
    async with Graph() as graph:
        driver = graph.add_node(Last("bench", "driver"))
        graph.add_node(Last("bench", "node"))
        await wait_all_tasks_blocked()
        link = driver.request_link_up("bench", "node")
        refused = 0

        def send() -> None:
            nonlocal refused
            for _ in range(events):
                while not driver.deliver_from_thread(link, EVENT):
                    refused += 1
                    time.sleep(RETREAT)

        start = perf_counter_ns()
        await trio.to_thread.run_sync(send)
        while not graph.idle:
            await trio.lowlevel.checkpoint()
        spent = perf_counter_ns() - start
        (counts,) = [n.from_threads for n in graph.snapshot().nodes if n.from_threads.offered]
        verify("offered", counts.offered, events + refused)
        verify("handled", counts.handled, events)
        verify("dropped", sum(counts.dropped.values()), refused)
    return spent / events


async def queue_cross_thread(events: int) -> float:
    """Nanoseconds an event, by ``call_soon_threadsafe``."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[Event] = asyncio.Queue()
    handled = 0

    def send() -> None:
        for sent in range(events):
            while sent - handled >= CHANNEL_SIZE:
                time.sleep(RETREAT)
            loop.call_soon_threadsafe(queue.put_nowait, EVENT)

    thread = threading.Thread(target=send)
    start = perf_counter_ns()
    thread.start()
    for _ in range(events):
        await queue.get()
        handled += 1
    spent = perf_counter_ns() - start
    await loop.run_in_executor(None, thread.join)
    verify("handled", handled, events)
    verify("left", queue.qsize(), 0)
    return spent / events
