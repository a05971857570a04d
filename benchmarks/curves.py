"""How costs change with size: what the pictures are drawn from.

    nodes in a row          a hop of a chain of 1 to 200 nodes
    receivers               a delivery to 1 to 1,000 receivers of a broadcast
    idle nodes beside it    a delivery with up to 100,000 nodes that have nothing to do

Each point is the least of its rounds, which go over all sizes again and again: what others take
of the processor only adds, and would bend a curve.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from benchmarks.chain import graph_chain, queue_chain
from benchmarks.fan_out import graph_fan_out, queue_fan_out
from benchmarks.growth import delivery
from benchmarks.loops import on_asyncio
from benchmarks.result import Curve, Point

ROUNDS = 5
HUGE = 100_000  # nodes; setting that many up takes half a minute, so once must do

At = Callable[[int], float]  # the figure for one unit, at a size


def curves(events: int) -> Iterator[Curve]:
    """Measure one after the other."""
    yield from _grow(
        "a hop of a chain",
        "nodes in a row",
        (1, 2, 5, 10, 20, 50, 100, 200),
        {
            "eventgraph": lambda size: graph_chain(size, max(events // size, 20)),
            "asyncio.Queue": lambda size: on_asyncio(queue_chain, size, max(events // size, 20)),
        },
    )
    yield from _grow(
        "a delivery of a broadcast",
        "receivers",
        (1, 3, 10, 30, 100, 300, 1000),
        {
            "eventgraph": lambda size: graph_fan_out(size, max(events // size, 20)),
            "asyncio.Queue": lambda size: on_asyncio(queue_fan_out, size, max(events // size, 20)),
        },
    )
    idle = (10, 100, 1_000, 10_000, 100_000)
    yield from _grow(
        "a delivery",
        "idle nodes beside it",
        [size for size in idle if size <= events],
        {"eventgraph": partial(_delivery_beside, events)},
    )


def _delivery_beside(events: int, idle_nodes: int) -> float:
    return delivery(idle_nodes, events)


def _grow(name: str, size: str, sizes: Sequence[int], at: Mapping[str, At]) -> list[Curve]:
    """All candidates at all sizes, in turns."""
    least: dict[tuple[str, int], float] = {}
    for number in range(ROUNDS):
        for x in sizes:
            for candidate, measure in at.items():
                if number == 0 or x < HUGE:
                    least[candidate, x] = min(measure(x), least.get((candidate, x), math.inf))
    return [
        Curve(
            name=name,
            candidate=candidate,
            size=size,
            points=[Point(x, least[candidate, x]) for x in sizes],
        )
        for candidate in at
    ]
