"""Sums of a graph agree with its snapshot, and never fall."""

import threading

import trio

from eventgraph import Counts, Event, Graph, RestartPolicy
from eventgraph.testing import Probe, wait_idle


class Stuck(Probe):
    channel_size = 4

    async def on_event(self, event: Event) -> None:  # type: ignore[override]  # def or async def
        await trio.sleep_forever()


class Fragile(Probe):
    def on_event(self, event: Event) -> None:
        raise ValueError("as expected")


def check(graph: Graph) -> Counts:
    """What both say."""
    snapshot, totals = graph.snapshot(), graph.totals()
    assert totals.counts == snapshot.totals
    assert sum(totals.nodes.values()) == len(snapshot.nodes)
    assert totals.links == sum(link.up for link in snapshot.links)
    assert totals.crashes == snapshot.crash_count
    assert totals.restarts == snapshot.restart_count
    return totals.counts


async def test_sums_are_those_of_the_snapshot_while_events_wait_and_are_dropped() -> None:
    async with Graph(exit_timeout=0) as graph:
        source, stuck = graph.add_node(Probe("s", "source")), graph.add_node(Stuck("s", "stuck"))
        link = source.request_link_up("s", "stuck")
        await wait_idle(graph)
        for _ in range(9):
            source.deliver(link, Event(1))
        assert check(graph) == Counts(9, 0, 4, {"full": 5})
        await trio.testing.wait_all_tasks_blocked()
        assert check(graph) == Counts(9, 1, 3, {"full": 5})
        totals = graph.totals()
        assert totals.depths == {0: 1, 3: 1}
        assert totals.fullest == 0.75
        stuck.deliver_self(Event(2))
        assert check(graph).offered == 10


async def test_what_was_counted_stays_when_links_and_nodes_go() -> None:
    async with Graph() as graph:
        source, sink = graph.add_node(Probe("s", "source")), graph.add_node(Probe("s", "sink"))
        link = source.request_link_up("s", "sink")
        source.deliver(link, Event(1))
        await wait_idle(graph)
        source.request_link_down(link)
        assert graph.totals().closing == 1
        await wait_idle(graph)
        sink.request_exit()
        await sink.wait_exited()
        assert check(graph) == Counts(1, 1, 0, {})


async def test_deliveries_from_threads_are_in_the_sums_while_they_wait_for_room() -> None:
    async with Graph(exit_timeout=0) as graph:
        source = graph.add_node(Probe("s", "source"))
        graph.add_node(Stuck("s", "stuck"))
        link = source.request_link_up("s", "stuck")
        await wait_idle(graph)

        def deliver() -> None:
            for _ in range(10):
                source.deliver_from_thread(link, Event(1))

        thread = threading.Thread(target=deliver)
        thread.start()
        thread.join()
        assert check(graph) == Counts(10, 0, 4, {"full": 6})
        await trio.testing.wait_all_tasks_blocked()
        assert check(graph).offered == 10


async def test_restarts_are_counted_also_when_the_node_has_left(autojump_clock: object) -> None:
    async with Graph() as graph:
        node = graph.supervise(lambda: Fragile("s", "n"), RestartPolicy(max_restarts=2))
        for _ in range(3):
            await node.wait_entered()
            node.deliver_self(Event(1))
            await trio.sleep(10)
            check(graph)
        assert graph.totals().restarts >= 2
        graph.dismiss(node.address)
        await node.wait_exited()
        assert not graph.totals().nodes
        assert graph.totals().restarts == check_restarts(graph)


def check_restarts(graph: Graph) -> int:
    """As the snapshot says, without a node that could say it."""
    assert not graph.snapshot().nodes
    return graph.snapshot().restart_count
