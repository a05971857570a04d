"""What the size of its payload costs an event: nothing in a process, a copy or two between them.

    in the process    driver --> node                         handed over, never copied
    by flow           provider ==memfd or socket==> consumer  two processes
    by pipe           destination --nng--> member             two processes

Saturated. Each point is the least of its rounds, which go over all sizes again and again. Every
event is verified, as by the files that measure each way by itself.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from time import perf_counter_ns
from typing import Final

import trio

from benchmarks import flow_frame, pipe_batch
from benchmarks.chain import CHANNEL_SIZE, Last
from benchmarks.measure import verify
from benchmarks.result import Curve, Point
from eventgraph import Event, Graph
from eventgraph.testing import wait_idle

ROUNDS: Final = 2
EVENTS: Final = {100: 100_000, 1_000: 100_000, 10_000: 30_000, 100_000: 5_000, 1_000_000: 800}
"""How many, by the size of their payloads in bytes."""
PIPE_SHARE: Final = 0.5  # of these, for pipes take longer
IN_PROCESS: Final = 100_000  # whatever their size, for they are not copied

At = Callable[[int, int], float]  # bytes, events: ns for one


def curves(quick: bool) -> Iterator[Curve]:
    """All ways at all sizes, in turns."""
    ways: Mapping[str, At] = {"in the process": in_process, "by flow": by_flow, "by pipe": by_pipe}
    sizes = [min(EVENTS)] if quick else list(EVENTS)
    share = 0.05 if quick else 1.0
    least: dict[tuple[str, int], float] = {}
    for _ in range(1 if quick else ROUNDS):
        for size in sizes:
            for way, measure in ways.items():
                events = IN_PROCESS if measure is in_process else EVENTS[size]
                cost = measure(size, int(events * share))
                least[way, size] = min(cost, least.get((way, size), math.inf))
    for way in ways:
        points = [Point(size, least[way, size]) for size in sizes]
        yield Curve(name="an event", candidate=way, size="bytes of payload", points=points)


def by_flow(size: int, events: int) -> float:
    """Nanoseconds an event, from process to process."""
    return flow_frame.cost("flow", events, size)


def by_pipe(size: int, events: int) -> float:
    """Nanoseconds an event, from process to process."""
    return 1e9 / pipe_batch.measure("eventgraph", int(events * PIPE_SHARE), 0, size).rate


def in_process(size: int, events: int) -> float:
    """Nanoseconds an event, over one hop."""
    return trio.run(_in_process, bytes(size), events)


async def _in_process(payload: bytes, events: int) -> float:
    async with Graph() as graph:
        driver = graph.add_node(Last("bench", "driver"))
        graph.add_node(Last("bench", "node"))
        link = driver.request_link_up("bench", "node")
        await wait_idle(graph)
        sent = 0
        start = perf_counter_ns()
        while sent < events:
            for _ in range(min(CHANNEL_SIZE, events - sent)):
                if not driver.deliver(link, Event(1, payload)):
                    break
                sent += 1
            await trio.lowlevel.checkpoint()
        while not graph.idle:
            await trio.lowlevel.checkpoint()
        spent = perf_counter_ns() - start
        (counts,) = (found.counts for found in graph.snapshot().links)
        verify("handled", counts.handled, events)
    return spent / events
