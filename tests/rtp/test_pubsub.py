"""PubSub and Forwarder: fan-out, and what happens to those who refuse."""

import logging

import pytest
import trio
import trio.testing

from eventgraph import Event, Graph, Node
from eventgraph.testing import Probe, wait_idle
from rtp.nodes import Forwarder, PubSub


class Stuck(Node):
    """Takes one event and does not return from it until told to."""

    channel_size = 1

    def __init__(self, scope: str, name: str) -> None:
        super().__init__(scope, name)
        self.go_on = trio.Event()
        self.handled = 0

    async def on_event(self, event: Event) -> None:
        await self.go_on.wait()
        self.handled += 1


async def publish(pubsub: PubSub, count: int) -> None:
    """Events one by one, so that only a stuck channel is ever full."""
    for i in range(count):
        pubsub.on_event(Event(7, i))
        await trio.testing.wait_all_tasks_blocked()


async def test_every_subscriber_hears_what_comes_while_it_is_linked() -> None:
    async with Graph() as graph:
        pubsub = PubSub("room", "pubsub")
        hub = graph.add_node(pubsub)
        early, late = Probe("room", "early"), Probe("room", "late")
        graph.add_node(early)
        graph.add_node(late)
        hub.request_link_up("room", "early")
        hub.deliver_self(Event(1))
        await wait_idle(graph)
        link = hub.request_link_up("room", "late")
        hub.deliver_self(Event(2))
        await wait_idle(graph)
        hub.request_link_down(link)
        hub.deliver_self(Event(3))
        await wait_idle(graph)
        assert [event.cmd for event in early.events] == [1, 2, 3]
        assert [event.cmd for event in late.events] == [2]


async def test_subscriber_that_refuses_is_skipped_and_nobody_else_misses_anything() -> None:
    async with Graph() as graph:
        pubsub = PubSub("room", "pubsub")
        hub = graph.add_node(pubsub)
        stuck, healthy = Stuck("room", "stuck"), Probe("room", "healthy")
        graph.add_node(stuck)
        graph.add_node(healthy)
        hub.request_link_up("room", "stuck")
        hub.request_link_up("room", "healthy")
        await wait_idle(graph)
        await publish(pubsub, 10)
        assert len(healthy.events) == 10
        link = next(link for link in graph.snapshot().links if link.receiver.name == "stuck")
        assert link.up
        assert link.counts.dropped == {"full": 8}  # one runs, one waits
        assert pubsub.subscribers_dropped == 0
        stuck.go_on.set()


async def test_subscriber_that_refuses_so_many_in_a_row_is_dropped_and_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with Graph() as graph:
        pubsub = PubSub("room", "pubsub", drop_after=3)
        hub = graph.add_node(pubsub)
        stuck, healthy = Stuck("room", "stuck"), Probe("room", "healthy")
        graph.add_node(stuck)
        graph.add_node(healthy)
        hub.request_link_up("room", "stuck")
        hub.request_link_up("room", "healthy")
        await wait_idle(graph)
        with caplog.at_level(logging.WARNING, "rtp"):
            await publish(pubsub, 10)
        assert len(healthy.events) == 10
        assert pubsub.subscribers_dropped == 1
        assert [address.name for address in hub.links.values()] == ["healthy"]
        assert "stuck@room" in caplog.text
        stuck.go_on.set()
        await wait_idle(graph)
        assert stuck.handled == 2
        hub.request_link_up("room", "stuck")  # it may come again
        await publish(pubsub, 1)
        assert stuck.handled == 3


async def test_one_event_taken_begins_the_count_anew() -> None:
    async with Graph() as graph:
        pubsub = PubSub("room", "pubsub", drop_after=3)
        hub = graph.add_node(pubsub)
        stuck = Stuck("room", "stuck")
        graph.add_node(stuck)
        hub.request_link_up("room", "stuck")
        await wait_idle(graph)
        for _ in range(4):
            stuck.go_on = trio.Event()
            await publish(pubsub, 4)  # two taken, two refused
            stuck.go_on.set()
            await wait_idle(graph)
        assert pubsub.subscribers_dropped == 0
        assert stuck.handled == 8


def test_policy_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="drop_after"):
        PubSub("room", "pubsub", drop_after=0)


async def test_forwarder_passes_everything_on_as_it_is() -> None:
    async with Graph() as graph:
        forwarder = graph.add_node(Forwarder("room", "forwarder"))
        probes = [Probe("room", f"probe-{i}") for i in range(2)]
        for probe in probes:
            graph.add_node(probe)
            forwarder.request_link_up("room", probe.name)
        events = [Event(i, object()) for i in range(5)]
        for event in events:
            forwarder.deliver_self(event)
        await wait_idle(graph)
        for probe in probes:
            assert all(a is b for a, b in zip(probe.events, events, strict=True))
