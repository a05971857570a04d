"""A link into a DestinationNode comes out of a GroupNode."""

import tempfile
from collections.abc import AsyncIterator

import pytest
import trio

from eventgraph import Address, Event, Graph, views
from eventgraph.pipes import DestinationNode, DestinationOptions, GroupNode, Pipes, open_pipes
from eventgraph.state import NodeState
from eventgraph.testing import Probe, wait_idle

TIMEOUT = 20  # seconds, many times what anything here takes


@pytest.fixture
async def pipes() -> AsyncIterator[Pipes]:
    with tempfile.TemporaryDirectory() as directory:
        async with open_pipes(f"embedded:{directory}/r") as pipes:
            yield pipes


async def events(probe: Probe, count: int) -> list[object]:
    with trio.fail_after(TIMEOUT):
        while len(probe.events) < count:  # noqa: ASYNC110  (a probe has nothing to wait on)
            await trio.sleep(0.002)
    return [event.obj for event in probe.events]


async def test_link_into_the_one_comes_out_of_the_other(pipes: Pipes) -> None:
    async with Graph() as here, Graph() as there:
        destination = await pipes.register("sound")
        here.add_node(DestinationNode("a", "out", destination))
        source = here.add_node(Probe("a", "source"))
        link = source.request_link_up("a", "out")
        probe = Probe("b", "sink")
        there.add_node(probe)
        member = await pipes.join("sound", "g")
        there.add_node(GroupNode("b", "in", member)).request_link_up("b", "sink")
        await destination.wait_for_members("g")
        for number in range(100):
            source.deliver(link, Event(1, number))
        assert await events(probe, 100) == list(range(100))


async def test_remote_link_looks_like_one_in_the_snapshot(pipes: Pipes) -> None:
    async with Graph() as here, Graph() as there:
        destination = await pipes.register("sound")
        node = here.add_node(DestinationNode("a", "out", destination))
        member = await pipes.join("sound", "g")
        probe = Probe("b", "sink")
        there.add_node(probe)
        there.add_node(GroupNode("b", "in", member)).request_link_up("b", "sink")
        await destination.wait_for_members("g")
        for number in range(10):
            node.deliver_self(Event(1, number))
        await events(probe, 10)
        far = Address("sound", "g")
        with trio.fail_after(TIMEOUT):
            while True:
                (out,) = [link for link in here.snapshot().links if link.receiver == far]
                if out.counts.handled == 10:
                    break
                await trio.sleep(0.005)
        assert (out.sender, out.up, out.counts.offered) == (Address("a", "out"), True, 10)
        (into,) = [link for link in there.snapshot().links if link.sender == far]
        assert (into.receiver, into.counts.handled) == (Address("b", "in"), 10)
        for snapshot in (here.snapshot(), there.snapshot()):
            (remote,) = [node for node in snapshot.nodes if node.state == "remote"]
            assert remote.address == far
            assert views.from_json(views.to_json(snapshot)) == snapshot
            for view in (views.to_text, views.to_mermaid, views.to_dot):
                assert "remote" in view(snapshot)


async def test_place_that_several_ways_lead_to_is_shown_once(pipes: Pipes) -> None:
    async with Graph() as graph:
        destination = await pipes.register("sound")
        graph.add_node(DestinationNode("a", "out", destination))
        graph.add_node(GroupNode("b", "in", await pipes.join("sound", "g")))
        await destination.wait_for_members("g")
        snapshot = graph.snapshot()
        assert [str(node.address) for node in snapshot.nodes if node.state == "remote"] == [
            "g@sound"
        ]
        assert len([link for link in snapshot.links if link.id < 0]) == 2


async def test_event_that_cannot_travel_is_counted_and_nobody_crashes(
    pipes: Pipes, caplog: pytest.LogCaptureFixture
) -> None:
    async with Graph() as graph:
        destination = await pipes.register("sound")
        node = DestinationNode("a", "out", destination)
        delegate = graph.add_node(node)
        for _ in range(3):
            delegate.deliver_self(Event(1, object()))
        delegate.deliver_self(Event(1, bytes(20 << 20)))
        await wait_idle(graph)
        assert node.rejected == {"format": 3, "too_large": 1}
        assert delegate.state is NodeState.RUNNING
        assert len(caplog.records) == 2


async def test_node_crashes_when_its_destination_is_closed_under_it(pipes: Pipes) -> None:
    async with Graph() as graph:
        destination = await pipes.register("sound")
        delegate = graph.add_node(DestinationNode("a", "out", destination))
        await destination.unregister()
        delegate.deliver_self(Event(1))
        await delegate.wait_exited()
        assert "sound is unregistered" in graph.snapshot().crashes[0].error


async def test_node_crashes_when_its_member_has_left(pipes: Pipes) -> None:
    async with Graph() as graph:
        member = await pipes.join("sound", "g")
        delegate = graph.add_node(GroupNode("b", "in", member))
        await delegate.wait_entered()
        await member.leave()
        with trio.fail_after(TIMEOUT):
            await delegate.wait_exited()
        assert "has left" in graph.snapshot().crashes[0].error


async def test_endpoints_end_with_their_nodes(pipes: Pipes) -> None:
    async with Graph() as graph:
        destination = await pipes.register("sound")
        member = await pipes.join("sound", "g")
        graph.add_node(DestinationNode("a", "out", destination))
        graph.add_node(GroupNode("b", "in", member))
    with trio.fail_after(TIMEOUT):
        await destination.wait_over()
        await member.wait_over()
    assert await pipes.list() == {}


async def test_full_channel_drops_media_and_patience_waits(pipes: Pipes) -> None:
    """A receiver that is held up: without patience its link counts drops, with it none."""

    class Slow(Probe):
        channel_size = 4

        async def on_event(self, event: Event) -> None:  # type: ignore[override]
            await trio.sleep(0.002)
            super().on_event(event)

    options = DestinationOptions(max_batch_events=10)
    async with Graph() as graph:
        destination = await pipes.register("sound", options)
        probes = {}
        for group, patience in (("hasty", 0.0), ("patient", 10.0)):
            probes[group] = Slow(group, "sink")
            graph.add_node(probes[group])
            member = await pipes.join("sound", group)
            node = GroupNode(group, "in", member, patience=patience)
            graph.add_node(node).request_link_up(group, "sink")
            await destination.wait_for_members(group)
        for number in range(200):
            destination.deliver(Event(1, number))
        assert await events(probes["patient"], 200) == list(range(200))
        assert len(probes["hasty"].events) < 200
        dropped = {
            link.sender.scope: link.counts.dropped.get("full", 0)
            for link in graph.snapshot().links
            if link.id > 0
        }
        assert dropped["patient"] == 0
        assert dropped["hasty"] == 200 - len(probes["hasty"].events)
