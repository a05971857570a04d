"""What graph.snapshot shows."""

import pytest

from eventgraph import Address, Event, Graph, GraphSnapshot
from eventgraph.testing import Probe, wait_idle


async def test_snapshot_shows_nodes_links_and_counters() -> None:
    async with Graph() as graph:
        probe = Probe("call-1", "source")
        probe.max_links, probe.channel_size = 3, 5
        source = graph.add_node(probe)
        graph.add_node(Probe("call-2", "sink"))
        link = source.request_link_up("call-2", "sink")
        await wait_idle(graph)
        source.deliver(link, Event(1))
        snapshot = graph.snapshot()
        first, second = snapshot.nodes
        assert (first.address, first.type, first.state) == (
            Address("call-1", "source"),
            "Probe",
            "running",
        )
        assert (first.inputs, first.outputs) == (0, 1)
        assert (first.max_links, first.channel_size) == (3, 5)
        assert (second.inputs, second.outputs, second.queued) == (1, 0, 1)
        (shown,) = snapshot.links
        assert (shown.id, shown.sender, shown.receiver, shown.up) == (
            link,
            Address("call-1", "source"),
            Address("call-2", "sink"),
            True,
        )
        assert snapshot.totals == shown.counts


async def test_snapshot_is_of_one_instant_and_frozen() -> None:
    async with Graph() as graph:
        node = graph.add_node(Probe("s", "a"))
        snapshot = graph.snapshot()
        node.deliver_self(Event(1))
        assert snapshot.totals.offered == 0
        with pytest.raises(AttributeError):
            snapshot.nodes[0].queued = 3  # type: ignore[misc]  # what is tested


async def test_snapshot_may_be_taken_inside_a_hook() -> None:
    class Curious(Probe):
        def on_event(self, event: Event) -> None:
            snapshots.append(graph.snapshot())

    snapshots: list[GraphSnapshot] = []
    async with Graph() as graph:
        node = graph.add_node(Curious("s", "a"))
        for _ in range(3):
            node.deliver_self(Event(1))
        await wait_idle(graph)
    assert [(s.totals.handled, s.totals.queued) for s in snapshots] == [(1, 2), (2, 1), (3, 0)]


async def test_totals_survive_nodes_and_links() -> None:
    async with Graph() as graph:
        for _ in range(3):
            a, b = graph.add_node(Probe("s", "a")), graph.add_node(Probe("s", "b"))
            link = a.request_link_up("s", "b")
            a.deliver(link, Event(1))
            a.deliver_self(Event(2))
            a.deliver_from_thread(link, Event(3))
            await wait_idle(graph)
            for node in (a, b):
                node.request_exit()
                await node.wait_exited()
    totals = graph.snapshot().totals
    assert (totals.offered, totals.handled, totals.queued, totals.dropped) == (9, 9, 0, {})
