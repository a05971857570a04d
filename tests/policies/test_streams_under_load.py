"""Rules change while feeds deliver as fast as they can: those that stay lose and double nothing."""

import random
from itertools import pairwise

import pytest
import trio

from eventgraph import Event, Graph, Node, NodeDelegate
from eventgraph.streams import Rule, Streams
from eventgraph.testing import wait_idle
from tests.policies.streaming import address

SWAPS = 400
STAYING = ("s0", "s1")
CHANGING = ("c0", "c1", "c2", "c3")
CLIENTS = ("x", "y", "z")


class Numbering(Node):
    """Numbers its events, one after the other, each to whoever is linked to it then."""

    channel_size = 4
    retreats = 0
    number = 0

    def on_enter(self, delegate: NodeDelegate) -> None:
        self.delegate = delegate
        self.running = True
        delegate.deliver_self(Event(1))

    def on_event(self, event: Event) -> None:
        refused: list[int] = []
        for _ in range(8):
            self.number += 1
            self.delegate.broadcast(Event(1, (self.name, self.number)), refused)
            assert not refused  # channels are large enough for a turn of all feeds
        if self.running:
            self.delegate.deliver_self(Event(1))


class AsyncNumbering(Numbering):
    async def on_event(self, event: Event) -> None:  # type: ignore[override]  # def or async def
        super().on_event(event)
        await trio.lowlevel.checkpoint()


class Counting(Node):
    channel_size = 4096

    def on_enter(self, delegate: NodeDelegate) -> None:
        self.heard: dict[str, list[int]] = {}

    def on_event(self, event: Event) -> None:
        feed, number = event.obj
        self.heard.setdefault(feed, []).append(number)


@pytest.mark.parametrize("kind", [Numbering, AsyncNumbering])
async def test_feeds_that_stay_lose_and_double_nothing_while_rules_change(
    kind: type[Numbering],
) -> None:
    dice = random.Random(4)
    async with Graph() as graph:
        streams = Streams(graph)
        clients = [Counting("s", name) for name in CLIENTS]
        feeds = {name: kind("s", name) for name in STAYING + CHANGING}
        for client in clients:
            graph.add_node(client)
            streams.register(address(client.name), "stream/live")
        streams.register(address("x"), "stream/other")  # wants some of the same links
        for name in feeds:
            streams.add_feed(name, address(name))
        streams.set_rule(Rule("live", STAYING))
        for feed in feeds.values():
            graph.add_node(feed)
        changes = 0
        for _ in range(SWAPS):
            some = dice.sample(CHANGING, dice.randrange(len(CHANGING) + 1))
            order = [*STAYING, *some]
            dice.shuffle(order)
            streams.set_rule(Rule("live", tuple(order)))
            streams.set_rule(Rule("other", tuple(dice.sample(STAYING + CHANGING, 2))))
            changes += 2
            await trio.lowlevel.checkpoint()
        for feed in feeds.values():
            feed.running = False
        await wait_idle(graph)
        totals = graph.snapshot().totals
    assert changes == 2 * SWAPS
    assert totals.dropped == {}
    assert min(feed.number for feed in feeds.values()) > SWAPS  # it ran all the while
    for client in clients:
        for name in STAYING:
            assert client.heard[name] == list(range(1, feeds[name].number + 1))
        for name in CHANGING:
            heard = client.heard.get(name, [])
            assert all(earlier < later for earlier, later in pairwise(heard))
            assert 0 < len(heard) < feeds[name].number


async def test_events_that_a_feed_has_delivered_before_it_is_taken_out_are_handled() -> None:
    async with Graph() as graph:
        streams = Streams(graph)
        client, feed = Counting("s", "x"), Numbering("s", "a")
        graph.add_node(client)
        streams.add_feed("a", address("a"))
        streams.register(address("x"), "stream/live")
        streams.set_rule(Rule("live", ("a",)))
        delegate = graph.add_node(feed)
        await wait_entered(graph)
        feed.running = False
        await wait_idle(graph)
        before = len(client.heard["a"])
        for number in range(5):
            delegate.broadcast(Event(1, ("a", number)))
        streams.set_rule(Rule("live", ()))
        assert delegate.broadcast(Event(1, ("a", 5))) == 0
        await wait_idle(graph)
        assert len(client.heard["a"]) == before + 5


async def wait_entered(graph: Graph) -> None:
    """Until every node has run its on_enter."""
    while any(node.state == "entering" for node in graph.snapshot().nodes):
        await trio.lowlevel.checkpoint()


async def test_slow_client_of_a_stream_loses_what_is_counted_and_others_nothing() -> None:
    class Slow(Node):
        channel_size = 2

        async def on_event(self, event: Event) -> None:
            await trio.sleep_forever()

    async with Graph(exit_timeout=0) as graph:
        streams = Streams(graph)
        client, slow, feed = Counting("s", "x"), Slow("s", "slow"), Node("s", "a")
        graph.add_node(client)
        graph.add_node(slow)
        delegate = graph.add_node(feed)
        streams.add_feed("a", address("a"))
        streams.set_rule(Rule("live", ("a",)))
        for name in ("x", "slow"):
            streams.register(address(name), "stream/live")
        for number in range(10):
            delegate.broadcast(Event(1, ("a", number)))
            streams.set_rule(Rule("live", ("a", f"b{number}")))
        counts = {link.client.name: link.counts for link in streams.snapshot().links}
        assert (counts["x"].offered, counts["x"].dropped) == (10, {})
        assert (counts["slow"].offered, counts["slow"].dropped) == (10, {"full": 8})
