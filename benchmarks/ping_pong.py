"""Ping-pong: what one way costs when a single event goes to and fro.

    ping <--> pong

Nothing can be done in bulk here: each delivery finds its receiver parked. Both nodes must have
handled as many events as they handed back.

Baselines: two asyncio.Queue, or two trio memory channels, and two tasks.
"""

import asyncio
from functools import partial
from time import perf_counter_ns

import trio
from trio.testing import wait_all_tasks_blocked

from benchmarks.chain import EVENT
from benchmarks.growth import Player
from benchmarks.loops import both_loops
from benchmarks.measure import Case, Measure, verify
from eventgraph import Event, Graph


def cases(events: int) -> list[Case]:
    """What one way costs."""
    returns = events // 4
    baselines: dict[str, Measure] = {
        **both_loops(queue_ping_pong, returns),
        "memory channel": partial(memory_channel_ping_pong, returns // 4),
    }
    return [Case("ping-pong, one way", partial(graph_ping_pong, returns), baselines)]


def graph_ping_pong(returns: int) -> float:
    """Nanoseconds one way, between two nodes."""
    return trio.run(_graph_ping_pong, returns)


async def _graph_ping_pong(returns: int) -> float:
    async with Graph() as graph:
        players = [Player("bench", name) for name in ("ping", "pong")]
        ping, pong = map(graph.add_node, players)
        await wait_all_tasks_blocked()
        players[0].link = ping.request_link_up("bench", "pong")
        players[1].link = pong.request_link_up("bench", "ping")
        for player in players:
            player.left = returns
        start = perf_counter_ns()
        ping.deliver_self(EVENT)
        await wait_all_tasks_blocked()
        spent = perf_counter_ns() - start
        handled = [link.counts.handled for link in graph.snapshot().links]
        verify("handled by each", handled, [returns, returns])
    return spent / returns / 2


async def queue_ping_pong(returns: int) -> float:
    """Nanoseconds one way, between two tasks."""
    there: asyncio.Queue[Event] = asyncio.Queue()
    back: asyncio.Queue[Event] = asyncio.Queue()

    async def pong() -> int:
        for _ in range(returns):
            await back.put(await there.get())
        return returns

    task = asyncio.create_task(pong())
    start = perf_counter_ns()
    for _ in range(returns):
        await there.put(EVENT)
        await back.get()
    spent = perf_counter_ns() - start
    verify("handed back", await task, returns)
    return spent / returns / 2


def memory_channel_ping_pong(returns: int) -> float:
    """Nanoseconds one way, between two tasks of trio."""
    return trio.run(_memory_channel_ping_pong, returns)


async def _memory_channel_ping_pong(returns: int) -> float:
    to_pong, at_pong = trio.open_memory_channel[Event](1)
    to_ping, at_ping = trio.open_memory_channel[Event](1)
    handled = 0

    async def pong() -> None:
        nonlocal handled
        async for event in at_pong:
            await to_ping.send(event)
            handled += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(pong)
        start = perf_counter_ns()
        for _ in range(returns):
            await to_pong.send(EVENT)
            await at_ping.receive()
        spent = perf_counter_ns() - start
        to_pong.close()
    for end in (at_pong, to_ping, at_ping):
        end.close()
    verify("handed back", handled, returns)
    return spent / returns / 2
