"""A channel that stays full is named, with its depth, its age, and who is the slow side."""

import logging
import time
from collections.abc import Callable

import pytest
import trio

from eventgraph import Address, Event, Graph, Node, NodeDelegate
from eventgraph.congestion import FullChannel, SlowSide
from eventgraph.testing import Probe

LIMIT = 0.2


def compute(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


class Sink(Node):
    channel_size = 32

    def on_event(self, event: Event) -> None:
        """Takes no time at all."""


class Slow(Sink):
    def on_event(self, event: Event) -> None:
        compute(0.005)


class Waiting(Sink):
    async def on_event(self, event: Event) -> None:  # type: ignore[override]  # def or async def
        await trio.sleep(event.obj)


class Hog(Sink):
    """Keeps everybody else from their turns."""

    def on_enter(self, delegate: NodeDelegate) -> None:
        self.delegate = delegate
        delegate.deliver_self(Event(1))

    def on_event(self, event: Event) -> None:
        compute(0.02)
        self.delegate.deliver_self(event)


async def flood(delegate: NodeDelegate, event: Event) -> None:
    """Always more than fits."""
    while True:
        for _ in range(100):
            delegate.broadcast(event)
        await trio.sleep(0.001)


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(30):
        while not condition():  # noqa: ASYNC110  # nothing to wait on
            await trio.sleep(0.01)


async def named(graph: Graph, node: Node, event: Event) -> FullChannel:
    source = graph.add_node(Probe("s", "source"))
    graph.add_node(node)
    source.request_link_up(node.scope, node.name)
    async with graph.watch_channels(limit=LIMIT) as watch, trio.open_nursery() as nursery:
        nursery.start_soon(flood, source, event)
        await until(lambda: bool(watch.full))
        (found,) = watch.full.values()
        nursery.cancel_scope.cancel()
    return found


@pytest.mark.parametrize(
    ("kind", "event"),
    [(Slow, Event(1)), (Waiting, Event(1, 0.005)), (Waiting, Event(1, 3600.0))],
    ids=["computes", "waits", "is stuck"],
)
async def test_node_that_is_too_slow_is_the_slow_side(
    kind: type[Sink], event: Event, caplog: pytest.LogCaptureFixture
) -> None:
    async with Graph(exit_timeout=0.01) as graph:
        found = await named(graph, kind("s", "slow"), event)
    assert found.address == Address("s", "slow")
    assert 28 <= found.depth <= 32
    assert found.age >= LIMIT
    assert found.slow is SlowSide.NODE
    assert found.handled < 400
    assert found.offered > 2 * found.handled
    message = next(r.getMessage() for r in caplog.records if r.levelno == logging.WARNING)
    assert message.startswith(f"the channel of slow@s has been full ({found.depth} events) for ")
    assert message.endswith("the node is too slow for that")


async def test_graph_is_the_slow_side_for_who_seldom_has_a_turn() -> None:
    async with Graph(exit_timeout=0.01) as graph:
        graph.add_node(Hog("s", "hog"))
        found = await named(graph, Sink("s", "starved"), Event(1))
    assert found.address == Address("s", "starved")
    assert found.slow is SlowSide.GRAPH
    assert "other nodes keep the graph's thread busy" in str(found)


async def test_channel_that_has_room_again_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async with Graph(exit_timeout=0.01) as graph:
        node = Waiting("s", "waiting")
        delegate = graph.add_node(node)
        for _ in range(33):
            delegate.deliver_self(Event(1, 0.03))
            await trio.lowlevel.checkpoint()
        async with graph.watch_channels(limit=0.01) as watch:
            while not watch.count:
                delegate.deliver_self(Event(1, 0.03))
                await trio.sleep(0.001)
            await until(lambda: not watch.full)
    assert "the channel of waiting@s has room again" in [r.getMessage() for r in caplog.records]


async def test_channel_that_is_full_for_a_moment_is_not_named() -> None:
    async with Graph() as graph, graph.watch_channels(limit=LIMIT) as watch:
        source = graph.add_node(Probe("s", "source"))
        graph.add_node(Sink("s", "sink"))
        source.request_link_up("s", "sink")
        for _ in range(50):
            for _ in range(64):
                source.broadcast(Event(1))
            await trio.sleep(0.02)
        assert watch.count == 0


async def test_who_traces_the_graph_is_not_disturbed() -> None:
    async with Graph(exit_timeout=0.01) as graph:
        source = graph.add_node(Probe("s", "source"))
        graph.add_node(Slow("s", "slow"))
        source.request_link_up("s", "slow")
        route = [Address("s", "source"), Address("s", "slow")]
        async with graph.watch_channels(limit=LIMIT) as watch, trio.open_nursery() as nursery:
            with graph.trace(route, lambda _trace: None):
                nursery.start_soon(flood, source, Event(1))
                await until(lambda: watch.count > 0)
            nursery.cancel_scope.cancel()
        assert watch.full[route[1]].slow is SlowSide.UNKNOWN


@pytest.mark.parametrize("limit", [0.0, -1.0, float("nan"), float("inf")])
async def test_limit_that_makes_no_sense_is_refused(limit: float) -> None:
    async with Graph() as graph:
        with pytest.raises(ValueError, match="limit"):
            async with graph.watch_channels(limit=limit):
                pass
