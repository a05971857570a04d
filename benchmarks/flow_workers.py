"""Four nodes that have much to compute: in one process, and in workers that flows lead to.

    source --> deflate 0..3 --> collector            all in one process

    source ==flow "0/frames"==> deflate 0 ==flow "0/packed"==> collector
           ==flow "1/frames"==> deflate 1 ==flow "1/packed"==>
             ...                 (processes)

Each node packs frames with zlib. All processes together run on two cores. The nodes are the same;
they do not know where they are. Every result is unpacked, and compared with its frame. What a frame
costs is the time for all by how many there were.

What a frame costs on the way, some 0.3 ms of processor for all of it, is the less the more there
is to compute: so there are frames of 400 kB, which take 6 ms each, and, without a goal, of 100 kB,
which take 1.5 ms.
"""

import os
import random
import tempfile
import time
import zlib
from contextlib import AsyncExitStack
from functools import cache, partial
from pathlib import Path
from typing import Final

import trio

from benchmarks.measure import Case, verify
from eventgraph import Event, Graph, Node, NodeDelegate
from eventgraph.flows import (
    FlowClient,
    ProviderOptions,
    ServerOptions,
    SlowConsumer,
    open_flows,
)
from eventgraph.flows.nodes import FlowConsumerNode, FlowProviderNode
from eventgraph.flows.worker import worker

NODES: Final = 4
CORES: Final = 2
PROCESSES: Final = 2
FRAMES: Final = {400_000: 300, 100_000: 1000}
"""How many, by their size in bytes."""
GOALS: Final = {400_000: 0.67}  # two cores are to do the work of 1.5
PATIENCE: Final = 60.0  # seconds for one event
NOTHING_IS_LOST: Final = ProviderOptions(slow_consumer=SlowConsumer.BLOCK, slots=8)


def cases(quick: bool) -> list[Case]:
    """Heavy frames, and light ones."""
    return [
        Case(
            f"{size // 1000} kB frame packed by {PROCESSES} workers",
            partial(cost, size, count // (10 if quick else 1), PROCESSES),
            {"in one process": partial(cost, size, count // (10 if quick else 1), 0)},
            {"in one process": GOALS[size]} if size in GOALS else {},
            dear=True,
        )
        for size, count in FRAMES.items()
        if not quick or size in GOALS
    ]


def cost(size: int, count: int, processes: int) -> float:
    """Nanoseconds a frame, by that many workers, or in this process; on two cores."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(cores)[:CORES])
    try:
        return trio.run(_cost, make_frames(size), count, processes)
    finally:
        os.sched_setaffinity(0, cores)


async def _cost(frames: list[bytes], count: int, processes: int) -> float:
    if not processes:
        return await measure(frames, count, None)
    with tempfile.TemporaryDirectory() as directory:
        options = ServerOptions(
            "benchmark", runtime_directory=Path(directory), registry="", idle_timeout=1
        )
        async with open_flows(options) as client, AsyncExitStack() as workers:
            for place in range(processes):
                numbers = {"numbers": list(range(place, NODES, processes))}
                await workers.enter_async_context(
                    worker(client, set_up, scope=f"worker-{place}", arguments=numbers)
                )
            return await measure(frames, count, client)


class Deflate(Node):
    """Packs what it gets."""

    channel_size = 4

    def on_enter(self, delegate: NodeDelegate) -> None:
        self._delegate = delegate

    async def on_event(self, event: Event) -> None:
        packed = Event(event.cmd, zlib.compress(event.obj))
        for link in self._delegate.links:
            await self._delegate.deliver_within(link, packed, PATIENCE)


class Collector(Node):
    """Has all results, by number."""

    def __init__(self, expected: int) -> None:
        super().__init__("here", "collector")
        self.results: dict[int, bytes] = {}
        self.done = trio.Event()
        self._expected = expected

    def on_event(self, event: Event) -> None:
        self.results[event.cmd] = event.obj
        if len(self.results) == self._expected:
            self.done.set()


class Source(Node):
    """Gives frames to the nodes in turn, as fast as they take them."""

    def __init__(self, frames: list[bytes], count: int) -> None:
        super().__init__("here", "source")
        self._frames = frames
        self._count = count

    async def on_enter(self, delegate: NodeDelegate) -> None:
        self._delegate = delegate

    async def on_event(self, _event: Event) -> None:
        links = list(self._delegate.links)
        async with trio.open_nursery() as nursery:
            for place, link in enumerate(links):
                nursery.start_soon(self._feed, link, range(place, self._count, len(links)))

    async def _feed(self, link: int, numbers: range) -> None:
        for number in numbers:
            frame = self._frames[number % len(self._frames)]
            await self._delegate.deliver_within(link, Event(number, frame), PATIENCE)


async def set_up(graph: Graph, client: FlowClient, scope: str, numbers: list[int]) -> None:
    """In a worker: some of the nodes, and the flows from and to them."""
    for number in numbers:
        frames = await client.consume(f"{number}/frames")
        packed = await client.provide(f"{number}/packed", options=NOTHING_IS_LOST)
        into, node, out = f"in-{number}", f"deflate-{number}", f"out-{number}"
        graph.add_node(FlowProviderNode(scope, out, packed))
        graph.add_node(Deflate(scope, node)).request_link_up(scope, out)
        consumer = FlowConsumerNode(scope, into, frames, patience=PATIENCE)
        graph.add_node(consumer).request_link_up(scope, node)


def build_here(graph: Graph, source: NodeDelegate) -> None:
    """All in this process."""
    for number in range(NODES):
        name = f"deflate-{number}"
        graph.add_node(Deflate("here", name)).request_link_up("here", "collector")
        source.request_link_up("here", name)


async def build_there(graph: Graph, source: NodeDelegate, client: FlowClient) -> None:
    """In place of each node, the flows to and from it."""
    for number in range(NODES):
        frames = await client.provide(f"{number}/frames", options=NOTHING_IS_LOST)
        packed = await client.consume(f"{number}/packed")
        out, into = f"out-{number}", f"in-{number}"
        graph.add_node(FlowProviderNode("here", out, frames))
        consumer = FlowConsumerNode("here", into, packed, patience=PATIENCE)
        graph.add_node(consumer).request_link_up("here", "collector")
        source.request_link_up("here", out)
        while not (frames.consumers and packed.sources):  # noqa: ASYNC110  # nobody tells
            await trio.sleep(0.01)


async def measure(frames: list[bytes], count: int, client: FlowClient | None) -> float:
    """Nanoseconds a frame; without a client, in one process."""
    async with Graph() as graph:
        collector = Collector(count)
        graph.add_node(collector)
        source = graph.add_node(Source(frames, count))
        if client is None:
            build_here(graph, source)
        else:
            await build_there(graph, source, client)
        began = time.perf_counter()
        source.deliver_self(Event(0))
        with trio.fail_after(PATIENCE):
            await collector.done.wait()
        took = time.perf_counter() - began
    for number in range(count):
        frame = frames[number % len(frames)]
        verify(f"frame {number}", zlib.decompress(collector.results[number]) == frame, True)
    return took / count * 1e9


@cache
def make_frames(size: int) -> list[bytes]:
    """Like text: about half of it remains."""
    chance = random.Random(1)
    words = [chance.randbytes(chance.randint(2, 9)) for _ in range(2000)]
    frames = []
    for _ in range(8):
        frame = b"".join(chance.choices(words, k=size // 4))
        frames.append(frame[:size])
    return frames
