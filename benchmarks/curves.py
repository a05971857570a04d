"""How costs change with size: what the pictures are drawn from.

nodes in a row          throughput of a chain of 1 to 200 nodes
receivers               cost of a delivery to 1 to 1,000 receivers of a broadcast
idle nodes beside it    cost of a delivery with up to 100,000 nodes that have nothing to do
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from statistics import median

from benchmarks.chain import graph_chain, queue_chain
from benchmarks.fan_out import graph_fan_out, queue_fan_out
from benchmarks.growth import delivery
from benchmarks.loops import on_asyncio
from benchmarks.result import Curve, Point

ROUNDS = 3
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
    figures: dict[str, list[Point]] = {candidate: [] for candidate in at}
    for x in sizes:
        rounds = [
            {candidate: measure(x) for candidate, measure in at.items()}
            for _ in range(ROUNDS if x < HUGE else 1)
        ]
        for candidate, points in figures.items():
            points.append(Point(x, median(each[candidate] for each in rounds)))
    return [
        Curve(name=name, candidate=candidate, size=size, points=points)
        for candidate, points in figures.items()
    ]
