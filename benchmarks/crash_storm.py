"""Crash storm: what it costs that a node crashes, everybody concerned told and the log written.

              ,--> node 1    each raises at its first event; the survivor hears of each
    survivor -+--> ...       link that went down, and links to the next fifty
              '--> node 50

Each crash must be on record, logged once with its traceback, each link down be told, and the
survivor live on: it handles one event of its own a round.

Baseline: as many asyncio tasks with a queue that raise, found by a callback, which logs.
"""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from time import perf_counter_ns

import trio
from trio.testing import wait_all_tasks_blocked

from benchmarks.chain import EVENT
from benchmarks.loops import both_loops
from benchmarks.measure import Case, verify
from eventgraph import Event, Graph, Node

STORM = 50  # nodes that crash in one go


class Survivor(Node):
    """Counts what it hears."""

    max_links = STORM
    downs = 0
    handled = 0

    def on_event(self, event: Event) -> None:
        self.handled += 1

    def on_link_down(self, link_id: int, scope: str, name: str) -> None:
        self.downs += 1


class Crashing(Node):
    """Raises at its first event."""

    def on_event(self, event: Event) -> None:
        raise RuntimeError("as it should")


class Counting(logging.Handler):
    """Formats each record, traceback and all, and keeps only how many there were."""

    count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += "as it should" in self.format(record)


def cases(events: int) -> list[Case]:
    """What one crash costs."""
    storms = max(events // 20_000, 2)
    subject = partial(graph_storm, storms)
    return [Case("crash storm, a crash", subject, both_loops(task_storm, storms))]


def graph_storm(storms: int) -> float:
    """Nanoseconds for a node to come, be linked to, crash and be gone."""
    return trio.run(_graph_storm, storms)


async def _graph_storm(storms: int) -> float:
    async with Graph() as graph:
        node = Survivor("bench", "survivor")
        survivor = graph.add_node(node)
        await wait_all_tasks_blocked()
        with counted_log("eventgraph") as log:
            start = perf_counter_ns()
            for _ in range(storms):
                for number in range(STORM):
                    graph.add_node(Crashing("storm", str(number)))
                    survivor.deliver(survivor.request_link_up("storm", str(number)), EVENT)
                survivor.deliver_self(EVENT)
                await wait_all_tasks_blocked()
            spent = perf_counter_ns() - start
        snapshot = graph.snapshot()
        crashes = storms * STORM
        verify("crashes", snapshot.crash_count, crashes)
        verify("logged", log.count, crashes)
        verify("on_link_down", node.downs, crashes)
        verify("handled by the survivor", node.handled, storms)
        verify("nodes left", len(snapshot.nodes), 1)
        verify("events counted", snapshot.totals.offered, crashes + storms)
        verify("events handled", snapshot.totals.handled, crashes + storms)
    return spent / crashes


async def task_storm(storms: int) -> float:
    """Nanoseconds for a task to come, raise and be gone."""
    logger = logging.getLogger("benchmarks.crash_storm")
    crashes = 0

    async def crash(queue: asyncio.Queue[Event]) -> None:
        await queue.get()
        raise RuntimeError("as it should")

    def done(task: asyncio.Task[None]) -> None:
        nonlocal crashes
        crashes += 1
        logger.error("a task crashed", exc_info=task.exception())

    with counted_log(logger.name) as log:
        start = perf_counter_ns()
        for _ in range(storms):
            tasks = []
            for _ in range(STORM):
                queue: asyncio.Queue[Event] = asyncio.Queue()
                task = asyncio.create_task(crash(queue))
                task.add_done_callback(done)
                await queue.put(EVENT)
                tasks.append(task)
            await asyncio.wait(tasks)
            await asyncio.sleep(0)
        spent = perf_counter_ns() - start
    verify("crashes", crashes, storms * STORM)
    verify("logged", log.count, crashes)
    return spent / crashes


@contextmanager
def counted_log(name: str) -> Iterator[Counting]:
    """What is logged under that name is formatted and counted, and goes nowhere else."""
    logger, handler = logging.getLogger(name), Counting()
    propagate, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate
