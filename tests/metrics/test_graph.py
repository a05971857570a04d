"""A graph as Prometheus sees it."""

import threading

import pytest
import trio
from prometheus_client import CollectorRegistry, generate_latest

from eventgraph import Counts, Event, Graph, Node, RemoteLink
from eventgraph.event import Address
from eventgraph.member import LinkWatcher, Member
from eventgraph.metrics import GraphCollector, LagCollector, process_collectors
from eventgraph.metrics.graph import MAX_TYPES
from eventgraph.testing import Probe, wait_idle
from eventgraph.watchdog import watch_hooks
from tests.core.test_slices import churning

from .scraping import parse, samples


async def test_events_are_shown_by_outcome() -> None:
    async with Graph() as graph:
        source, sink = graph.add_node(Probe("s", "source")), graph.add_node(Probe("s", "sink"))
        link = source.request_link_up("s", "sink")
        for _ in range(130):
            source.deliver(link, Event(1))
        collector = GraphCollector(graph)
        shown = samples(collector)
        assert shown["eventgraph_events_offered_total"] == 130
        assert shown["eventgraph_events_queued"] == 128
        assert shown["eventgraph_events_dropped_total{reason=full}"] == 2
        assert shown["eventgraph_events_dropped_total{reason=stale}"] == 0  # there from the start
        assert shown["eventgraph_queue_fullest_ratio"] == 1
        assert shown["eventgraph_nodes{state=entering,type=Probe}"] == 2
        await wait_idle(graph)
        sink.request_exit()
        await sink.wait_exited()
        shown = samples(collector)
        assert shown["eventgraph_events_handled_total"] == 128
        assert shown["eventgraph_events_offered_total"] == 130
        assert shown["eventgraph_nodes{state=running,type=Probe}"] == 1
        assert shown["eventgraph_links{state=up}"] == 0


async def test_depths_of_all_nodes_are_observed_at_each_scrape() -> None:
    async with Graph() as graph:
        nodes = [graph.add_node(Probe("s", f"n{n}")) for n in range(3)]
        await wait_idle(graph)
        collector = GraphCollector(graph)
        for _ in range(3):
            nodes[0].deliver_self(Event(1))
        shown = samples(collector)
        assert shown["eventgraph_queue_depth_events_bucket{le=0.0}"] == 2
        assert shown["eventgraph_queue_depth_events_bucket{le=4.0}"] == 3
        assert shown["eventgraph_queue_depth_events_sum"] == 3
        await wait_idle(graph)
        shown = samples(collector)
        assert shown["eventgraph_queue_depth_events_bucket{le=0.0}"] == 5
        assert shown["eventgraph_queue_depth_events_count"] == 6


async def test_crashes_are_counted_and_their_nodes_go() -> None:
    class Fragile(Probe):
        def on_event(self, event: Event) -> None:
            raise ValueError("as expected")

    async with Graph() as graph:
        collector = GraphCollector(graph)
        node = graph.add_node(Fragile("s", "n"))
        await wait_idle(graph)
        assert samples(collector)["eventgraph_nodes{state=running,type=Fragile}"] == 1
        node.deliver_self(Event(1))
        await wait_idle(graph)
        shown = samples(collector)
        assert shown["eventgraph_crashes_total"] == 1
        assert shown["eventgraph_nodes{state=running,type=Fragile}"] == 0  # and not missing


async def test_number_of_series_is_bounded_whatever_types_there_are() -> None:
    async with Graph() as graph:
        for number in range(MAX_TYPES + 7):
            graph.add_node(type(f"Type{number}", (Node,), {})("s", f"n{number}"))
        await wait_idle(graph)
        shown = samples(GraphCollector(graph))
        types = [name for name in shown if name.startswith("eventgraph_nodes{")]
        assert len(types) == MAX_TYPES + 1
        assert shown["eventgraph_nodes{state=running,type=other}"] == 7


class Gateway(Node):
    """Has links to elsewhere, as many as it is told."""

    def __init__(self, name: str) -> None:
        super().__init__("s", name)
        self.ways: list[RemoteLink] = []

    def take_part(self, member: Member) -> LinkWatcher | None:
        member.remote_links = lambda: self.ways
        return None


def way(number: int, handled: int, lost: int = 0) -> RemoteLink:
    counts = Counts(handled + lost, handled, 0, {"lost": lost} if lost else {})
    return RemoteLink(-1 - number, Address("news", "archive"), "group", False, True, 10, counts)


async def test_totals_of_remote_links_never_fall() -> None:
    async with Graph() as graph:
        gateway, other = Gateway("a"), Gateway("b")
        node = graph.add_node(gateway)
        graph.add_node(other)
        collector = GraphCollector(graph)

        def handled() -> float:
            return samples(collector)["eventgraph_remote_events_handled_total{kind=group}"]

        gateway.ways, other.ways = [way(1, 10, lost=2)], [way(1, 100)]
        shown = samples(collector)
        assert shown["eventgraph_remote_links{kind=group,state=up}"] == 2
        assert shown["eventgraph_remote_events_dropped_total{kind=group,reason=lost}"] == 2
        assert handled() == 110
        gateway.ways = [way(1, 12, lost=2), way(2, 5)]  # another pipe to the same group
        assert handled() == 117
        gateway.ways = [way(2, 6)]  # the first is over
        assert handled() == 118
        gateway.ways = [way(2, 1)]  # began again at 0
        assert handled() == 119
        node.request_exit()
        await node.wait_exited()
        assert handled() == 119


async def test_it_may_be_asked_in_any_thread() -> None:
    async with Graph() as graph:
        graph.add_node(Probe("s", "n"))
        await wait_idle(graph)
        registry = CollectorRegistry()
        registry.register(GraphCollector(graph))
        texts = [await trio.to_thread.run_sync(generate_latest, registry)]
        thread = threading.Thread(target=lambda: texts.append(generate_latest(registry)))
        thread.start()  # a stranger to trio, as prometheus_client.start_http_server has them
        while thread.is_alive():  # noqa: ASYNC110  # nothing to wait on
            await trio.sleep(0.001)
        for text in texts:
            assert dict(parse(text))["eventgraph_nodes{state=running,type=Probe}"] == 1


def test_after_the_end_of_trio_it_tells_nothing_and_does_not_hang() -> None:
    async def main() -> GraphCollector:
        async with Graph() as graph:
            return GraphCollector(graph)

    assert list(trio.run(main).collect()) == []


async def test_lag_is_how_late_timers_fire(autojump_clock: trio.testing.MockClock) -> None:
    collector = LagCollector()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(collector.run)
        await trio.sleep(1.05)
        assert samples(collector)["eventgraph_lag_seconds_bucket{le=0.001}"] == 10
        autojump_clock.jump(0.3)  # as if something had computed for so long
        await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    shown = samples(collector)
    assert shown["eventgraph_lag_seconds_count"] == 11
    assert shown["eventgraph_lag_seconds_bucket{le=0.1}"] == 10
    assert collector.latest == pytest.approx(0.25)


async def test_incidents_of_a_watchdog_are_shown() -> None:
    async with Graph() as graph, watch_hooks(limit=10) as watchdog:
        watchdog.count = 3
        assert samples(GraphCollector(graph, watchdog))["eventgraph_overdue_hooks_total"] == 3


async def test_process_has_threads_tasks_and_descriptors() -> None:
    registry = CollectorRegistry()
    process_collectors(registry)
    shown = dict(parse(generate_latest(registry)))
    assert shown["eventgraph_threads"] >= 1
    assert shown["eventgraph_tasks"] >= 1
    assert shown["process_open_fds"] > 3
    assert shown["process_cpu_seconds_total"] > 0


async def test_counters_never_fall_though_they_are_read_in_slices(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("eventgraph.slices.SLICE", -1.0)  # a pause at each step
    before: dict[str, float] = {}
    async with churning(seed=0) as graph:
        collector = GraphCollector(graph)
        for _ in range(20):
            shown = await trio.to_thread.run_sync(samples, collector)
            for name, value in before.items():
                assert not name.endswith("_total") or shown[name] >= value, name
            before = shown
    assert before["eventgraph_events_handled_total"] > 0
    assert before["eventgraph_crashes_total"] > 0
