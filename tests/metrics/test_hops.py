"""What events wait, and what handling them takes, as a sample of them shows it."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random

import pytest
import trio

from eventgraph import Event, Graph, Node, NodeDelegate, TracerBusyError
from eventgraph.metrics import hops
from eventgraph.metrics.hops import HopCollector
from eventgraph.testing import Probe, wait_idle

from .scraping import samples

LIMIT = 20.0


class Busy(Node):
    """Computes for 4 ms."""

    def on_event(self, event: Event) -> None:
        end = time.perf_counter() + 0.004
        while time.perf_counter() < end:
            pass


class Slow(Node):
    """Waits so long for each event that a few of them fill a second."""

    async def on_event(self, event: Event) -> None:
        await trio.sleep(0.02)


class Quick(Node):
    pass


@asynccontextmanager
async def sampled(graph: Graph) -> AsyncIterator[HopCollector]:
    collector = HopCollector(graph, period=0.05, random=Random(1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(collector.run)
        yield collector
        nursery.cancel_scope.cancel()


async def keep_going(source: NodeDelegate, period: float, enough: Callable[[], bool]) -> None:
    with trio.fail_after(LIMIT):
        while not enough():
            source.broadcast(Event(1))
            await trio.sleep(period)


def count(collector: HopCollector, of: str, type_: str) -> float:
    return samples(collector).get(f"eventgraph_{of}_seconds_count{{type={type_}}}", 0)


async def test_handlers_are_timed_by_class_of_the_node() -> None:
    async with Graph() as graph:
        source = graph.add_node(Probe("s", "source"))
        for number, node in enumerate((Busy, Quick, Probe)):
            graph.add_node(node("s", f"n{number}"))
        source.request_link_up("s", "n0")
        source.request_link_up("s", "n1")  # nothing goes to the third
        await wait_idle(graph)
        async with sampled(graph) as collector:

            def enough() -> bool:
                return all(count(collector, "handler", t) >= 3 for t in ("Busy", "Quick"))

            await keep_going(source, 0.01, enough)
            shown = samples(collector)
    busy = shown["eventgraph_handler_seconds_count{type=Busy}"]
    assert shown["eventgraph_handler_seconds_bucket{le=0.003,type=Busy}"] == 0
    assert shown["eventgraph_handler_seconds_sum{type=Busy}"] >= 0.004 * busy
    quick = shown["eventgraph_handler_seconds_count{type=Quick}"]
    assert shown["eventgraph_handler_seconds_bucket{le=0.003,type=Quick}"] > 0
    assert shown["eventgraph_queue_wait_seconds_count{type=Quick}"] == quick
    assert "eventgraph_handler_seconds_count{type=Probe}" not in shown


async def test_long_waits_are_seen_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hops, "PATIENCE", 0.6)
    async with Graph(exit_timeout=0) as graph:
        source, slow = graph.add_node(Probe("s", "source")), Slow("s", "slow")
        slow.channel_size = 60  # more than a second's worth
        graph.add_node(slow)
        source.request_link_up("s", "slow")
        await wait_idle(graph)
        for _ in range(60):
            source.broadcast(Event(1))
        async with sampled(graph) as collector:
            await keep_going(source, 0.01, lambda: count(collector, "queue_wait", "Slow") >= 1)
            shown = samples(collector)
    assert shown["eventgraph_queue_wait_seconds_bucket{le=0.5,type=Slow}"] == 0
    assert shown["eventgraph_queue_wait_seconds_sum{type=Slow}"] == pytest.approx(0.6)


async def test_who_traces_on_purpose_comes_first() -> None:
    async with Graph() as graph:
        source, sink = graph.add_node(Probe("s", "source")), graph.add_node(Quick("s", "sink"))
        source.request_link_up("s", "sink")
        await wait_idle(graph)
        route = [source.address, sink.address]
        followed: list[object] = []
        background = graph.trace(route, followed.append, gives_way=True)
        with background, graph.trace(route, followed.append, interval=0) as tracer:
            assert not background.under_way
            with (
                pytest.raises(TracerBusyError),
                graph.trace(route, followed.append, gives_way=True),
            ):
                pass
            async with sampled(graph) as collector:
                for _ in range(30):
                    source.broadcast(Event(1))
                    await trio.sleep(0.01)
                assert count(collector, "handler", "Quick") == 0
            assert len(followed) == 30
            assert not tracer.missed
        with graph.trace(route, followed.append, interval=0):
            source.broadcast(Event(1))
            await wait_idle(graph)
        assert len(followed) == 31


async def test_nothing_of_it_is_left_in_the_graph() -> None:
    async with Graph() as graph:
        source, sink = graph.add_node(Probe("s", "source")), graph.add_node(Quick("s", "sink"))
        source.request_link_up("s", "sink")
        await wait_idle(graph)
        async with sampled(graph) as collector:
            await keep_going(source, 0.01, lambda: count(collector, "handler", "Quick") >= 1)
        with graph.trace([source.address, sink.address], lambda _: None):
            pass  # nobody else does
        snapshot = graph.snapshot()
        (link,) = snapshot.links
        assert link.counts.offered == link.counts.handled + link.counts.queued


async def test_nodes_that_leave_while_they_are_sampled_do_no_harm() -> None:
    async with Graph() as graph:
        source = graph.add_node(Probe("s", "source"))
        async with sampled(graph) as collector:
            for number in range(20):
                sink = graph.add_node(Quick("s", f"sink-{number}"))
                link = source.request_link_up("s", f"sink-{number}")
                with trio.move_on_after(0.15):
                    while True:
                        source.deliver(link, Event(1))
                        await trio.sleep(0.01)
                sink.request_exit()
                await sink.wait_exited()
            assert count(collector, "handler", "Quick") > 0
