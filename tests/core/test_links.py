"""Links: who may link to whom, and who is told when a link is gone."""

import pytest

from eventgraph import (
    Address,
    Event,
    Graph,
    LinkExistsError,
    LinkNotFoundError,
    LinkRefusedError,
    LinkTableFullError,
    NodeExitedError,
    NodeNotFoundError,
)
from eventgraph.testing import Probe, wait_idle


async def test_link_to_nobody_is_an_error() -> None:
    async with Graph() as graph:
        node = graph.add_node(Probe("s", "a"))
        with pytest.raises(NodeNotFoundError, match="b@s"):
            node.request_link_up("s", "b")


async def test_one_link_a_direction() -> None:
    async with Graph() as graph:
        a, b = graph.add_node(Probe("s", "a")), graph.add_node(Probe("s", "b"))
        a.request_link_up("s", "b")
        b.request_link_up("s", "a")
        a.request_link_up("s", "a")
        with pytest.raises(LinkExistsError):
            a.request_link_up("s", "b")
        with pytest.raises(LinkExistsError):
            graph.link_up(Address("s", "a"), Address("s", "b"))


async def test_link_table_is_of_fixed_size() -> None:
    async with Graph() as graph:
        probe = Probe("s", "a")
        probe.max_links = 2
        node = graph.add_node(probe)
        probe.max_links = 100  # too late: limits are fixed from add_node on
        for name in "bcd":
            graph.add_node(Probe("s", name))
        first = node.request_link_up("s", "b")
        node.request_link_up("s", "c")
        with pytest.raises(LinkTableFullError, match="max_links"):
            node.request_link_up("s", "d")
        node.request_link_down(first)
        node.request_link_up("s", "d")
        assert sorted(node.links.values()) == [Address("s", "c"), Address("s", "d")]


async def test_own_request_link_down_is_followed_by_on_link_down_once() -> None:
    async with Graph() as graph:
        probe = Probe("s", "a")
        node = graph.add_node(probe)
        graph.add_node(Probe("s", "b"))
        link = node.request_link_up("s", "b")
        node.request_link_down(link)
        node.request_link_down(link)  # until on_link_down has run, this does nothing
        assert probe.links_down == []
        await wait_idle(graph)
        assert probe.links_down == [(link, "s", "b")]
        with pytest.raises(LinkNotFoundError, match="gone"):
            node.request_link_down(link)
        with pytest.raises(LinkNotFoundError, match="never issued"):
            node.request_link_down(12345678)


async def test_link_down_of_a_link_that_the_receiver_took_with_it_does_nothing() -> None:
    async with Graph() as graph:
        probe = Probe("s", "a")
        node, other = graph.add_node(probe), graph.add_node(Probe("s", "b"))
        link = node.request_link_up("s", "b")
        other.request_exit()
        node.request_link_down(link)
        await wait_idle(graph)
        assert probe.links_down == [(link, "s", "b")]


async def test_events_accepted_before_a_link_went_down_are_handled() -> None:
    async with Graph() as graph:
        receiver = Probe("s", "b")
        node = graph.add_node(Probe("s", "a"))
        graph.add_node(receiver)
        link = node.request_link_up("s", "b")
        node.deliver(link, Event(1))
        node.request_link_down(link)
        assert not node.deliver(link, Event(2))
        await wait_idle(graph)
        assert [e.cmd for e in receiver.events] == [1]
        totals = graph.snapshot().totals
        assert (totals.offered, totals.handled, totals.dropped) == (2, 1, {"link_down": 1})


async def test_policy_links_on_behalf_of_the_sender_which_learns_the_id() -> None:
    async with Graph() as graph:
        probe, receiver = Probe("s", "a"), Probe("s", "b")
        node = graph.add_node(probe)
        graph.add_node(receiver)
        link = graph.link_up(Address("s", "a"), Address("s", "b"))
        await wait_idle(graph)
        assert probe.links_up == [(link, "s", "b")]
        assert receiver.links_up == []
        assert node.deliver(link, Event(1))
        graph.link_down(Address("s", "a"), Address("s", "b"))
        await wait_idle(graph)
        assert probe.links_down == [(link, "s", "b")]
        with pytest.raises(LinkNotFoundError):
            graph.link_down(Address("s", "a"), Address("s", "b"))


async def test_leaving_receiver_refuses_links_and_left_sender_cannot_link() -> None:
    async with Graph() as graph:
        a, b = graph.add_node(Probe("s", "a")), graph.add_node(Probe("s", "b"))
        b.request_exit()
        with pytest.raises(LinkRefusedError):
            a.request_link_up("s", "b")
        await b.wait_exited()
        with pytest.raises(NodeNotFoundError):
            a.request_link_up("s", "b")
        with pytest.raises(NodeExitedError):
            b.request_link_up("s", "a")


async def test_control_overtakes_data() -> None:
    async with Graph() as graph:
        probe = Probe("s", "a")
        node = graph.add_node(probe)
        graph.add_node(Probe("s", "b"))
        await wait_idle(graph)
        for cmd in range(3):
            node.deliver_self(Event(cmd))
        graph.link_up(Address("s", "a"), Address("s", "b"))
        await wait_idle(graph)
        assert probe.calls == ["on_enter", "on_link_up", "on_event", "on_event", "on_event"]


async def test_control_that_comes_up_in_a_handler_goes_before_the_next_event() -> None:
    class Unlinker(Probe):
        def on_event(self, event: Event) -> None:
            super().on_event(event)
            if event.cmd == 0:
                (link,) = self.delegate.links
                self.delegate.request_link_down(link)

    async with Graph() as graph:
        probe = Unlinker("s", "a")
        node = graph.add_node(probe)
        graph.add_node(Probe("s", "b"))
        node.request_link_up("s", "b")
        for cmd in range(3):
            node.deliver_self(Event(cmd))
        await wait_idle(graph)
        assert probe.calls[1:] == ["on_event", "on_link_down", "on_event", "on_event"]


async def test_ids_stay_distinct_over_many_uses_of_a_slot() -> None:
    async with Graph() as graph:
        probe = Probe("s", "a")
        probe.max_links = 1
        node = graph.add_node(probe)
        graph.add_node(Probe("s", "b"))
        links = []
        for _ in range(1000):
            links.append(node.request_link_up("s", "b"))
            node.request_link_down(links[-1])
        await wait_idle(graph)
        assert len(set(links)) == 1000
        assert [link for link, _, _ in probe.links_down] == links
