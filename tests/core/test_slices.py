"""What is read in slices lets others have their turn, and still adds up."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from random import Random

import pytest
import trio

from eventgraph import Counts, Event, Graph, GraphError, Node, NodeDelegate
from eventgraph.slices import Steps, at_once, in_slices
from eventgraph.testing import Probe, wait_idle


@pytest.fixture
def pausing_at_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eventgraph.slices.SLICE", -1.0)


class Busy(Node):
    """Passes on all that it gets, drops what does not fit, and crashes of some of it."""

    channel_size = 4
    max_links = 64

    def on_enter(self, delegate: NodeDelegate) -> None:
        self.delegate = delegate

    def on_event(self, event: Event) -> None:
        if event.cmd == 99:
            raise ValueError("as it happens")
        if event.cmd:
            self.delegate.broadcast(Event(event.cmd - 1))


@asynccontextmanager
async def churning(seed: int) -> AsyncIterator[Graph]:
    """A graph in which events pass, and links and nodes come and go, at each turn."""
    chance = Random(seed)

    async def churn() -> None:
        number = 0
        while True:
            number += 1
            if len(graph.addresses) < 20:
                graph.add_node(Busy("s", str(number)))
            one, two = chance.choice(graph.addresses), chance.choice(graph.addresses)
            with suppress(GraphError):
                (graph.link_down if graph.is_linked(one, two) else graph.link_up)(one, two)
            for address in chance.sample(graph.addresses, 3):
                node = graph.node_at(address)
                if isinstance(node, Busy) and hasattr(node, "delegate"):
                    node.delegate.deliver_self(Event(99 if chance.random() < 0.1 else 3))
                    if chance.random() < 0.1:
                        node.delegate.request_exit()
            await trio.lowlevel.checkpoint()

    async with Graph(exit_timeout=0) as graph, trio.open_nursery() as nursery:
        for number in range(10):
            graph.add_node(Busy("first", str(number)))
        nursery.start_soon(churn)
        yield graph
        nursery.cancel_scope.cancel()


def check(counts: Counts) -> None:
    assert counts.offered == counts.handled + counts.queued + sum(counts.dropped.values())
    assert min(counts.handled, counts.queued, *counts.dropped.values(), 0) == 0


@pytest.mark.usefixtures("pausing_at_each_step")
@pytest.mark.parametrize("seed", range(5))
async def test_snapshot_in_slices_adds_up_while_everything_comes_and_goes(seed: int) -> None:
    before = Counts()
    async with churning(seed) as graph:
        for _ in range(30):
            snapshot = await in_slices(graph.snapshot_steps())
            ways = {(link.sender, link.id) for link in snapshot.links}
            assert len(ways) == len(snapshot.links)
            addresses = [node.address for node in snapshot.nodes]
            assert len(set(addresses)) == len(addresses)
            assert not any(node.state == "exited" for node in snapshot.nodes)
            for counts in (
                *(link.counts for link in snapshot.links),
                *(node.to_self for node in snapshot.nodes),
                snapshot.totals,
            ):
                check(counts)
            assert snapshot.totals.offered >= before.offered
            for reason, count in before.dropped.items():
                assert snapshot.totals.dropped[reason] >= count
            before = snapshot.totals
        assert graph.totals().counts.offered >= before.offered
        assert graph.snapshot().totals == graph.totals().counts
    assert before.offered > 100


async def test_nothing_changes_meanwhile_and_both_are_the_same() -> None:
    async with Graph() as graph:
        delegates = [graph.add_node(Probe("s", str(number))) for number in range(10)]
        for one in delegates:
            for other in delegates[:3]:
                link = one.request_link_up(other.address.scope, other.address.name)
                one.deliver(link, Event(1))
        delegates[5].request_link_down(next(iter(delegates[5].links)))
        snapshot = graph.snapshot()
        assert await in_slices(graph.snapshot_steps()) == snapshot
        assert await in_slices(graph.total_steps()) == graph.totals()


async def test_others_have_their_turn_meanwhile() -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with Graph() as graph, trio.open_nursery() as nursery:
        for number in range(2000):
            graph.add_node(Probe("s", str(number)))
        await wait_idle(graph)
        nursery.start_soon(count)
        await trio.lowlevel.checkpoint()
        before = turns
        graph.snapshot()
        assert turns == before
        assert len((await in_slices(graph.snapshot_steps())).nodes) == 2000
        assert turns >= before + 3  # it takes 5 ms at the least
        nursery.cancel_scope.cancel()


async def test_sums_have_an_end_though_ways_go_all_the_time() -> None:
    async with Graph() as graph:
        for number in range(5):
            graph.add_node(Probe("s", str(number)))
        steps, paused = graph.total_steps(), 0

        def unlucky() -> Steps[object]:
            nonlocal paused
            while True:
                try:
                    next(steps)
                except StopIteration as done:
                    return done.value
                paused += 1
                graph._runtime.topology.retired.ways += 1
                yield

        assert at_once(unlucky()) == graph.totals()
        assert paused == 15
