"""A tracer follows single events, and leaves nothing behind."""

import time

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from eventgraph import (
    Address,
    Event,
    Graph,
    LinkNotFoundError,
    Node,
    NodeDelegate,
    NodeNotFoundError,
    Trace,
    TracerBusyError,
)
from eventgraph.hop_times import route_times

HANDLING = 0.002  # seconds
ROUTE = [Address("test", name) for name in "abc"]


class Relay(Node):
    """Takes its time, and hands on."""

    handling = 0.0

    def on_enter(self, delegate: NodeDelegate) -> None:
        self.delegate = delegate

    def on_event(self, event: Event) -> None:
        time.sleep(self.handling)  # a handler that takes long is the point
        self.delegate.broadcast(event)


class Waiting(Relay):
    """The same in a task of its own."""

    async def on_event(self, event: Event) -> None:  # type: ignore[override]  # may be either
        await trio.sleep(self.handling)
        for link in self.delegate.links:
            await self.delegate.deliver_within(link, event, 1)


class Ignorant(Node):
    """Knows only the number 1."""

    def __init__(self, scope: str, name: str) -> None:
        super().__init__(scope, name)
        self.handled: list[int] = []

    def on_enter(self, delegate: NodeDelegate) -> None:
        self.delegate = delegate

    def on_event(self, event: Event) -> None:
        self.handled.append(event.cmd)
        if event.cmd == 1:
            self.delegate.broadcast(event)


def chain(graph: Graph, *nodes: Node) -> tuple[NodeDelegate, int]:
    """Linked one to the next; the first, and its link."""
    delegates = [graph.add_node(node) for node in nodes]
    links = [
        delegate.request_link_up(node.scope, node.name)
        for delegate, node in zip(delegates, nodes[1:], strict=False)
    ]
    return delegates[0], links[0]


async def test_the_times_of_all_hops_add_up_to_the_whole() -> None:
    traces: list[Trace] = []
    middle = Relay("test", "b")
    middle.handling = HANDLING
    async with Graph() as graph:
        first, link = chain(graph, Relay("test", "a"), middle, Relay("test", "c"))
        await wait_all_tasks_blocked()
        with graph.trace(ROUTE, traces.append, interval=0) as tracer:
            for _ in range(20):
                began = time.perf_counter()
                first.deliver(link, Event(1))
                await wait_all_tasks_blocked()
                assert traces[-1].took < time.perf_counter() - began
        assert not tracer.missed
    assert len(traces) == 20
    for trace in traces:
        assert [hop.node for hop in trace.hops] == ROUTE[1:]
        assert trace.hops[0].handled >= HANDLING
        total = sum(hop.waited + hop.handled for hop in trace.hops)
        assert total == pytest.approx(trace.took, rel=0.01)
    times = route_times(ROUTE, traces, tracer.missed)
    assert times.end_to_end is not None
    assert times.sum == pytest.approx(times.end_to_end.mean, rel=0.01)
    assert times.hops[0].handled.p50 >= HANDLING


@pytest.mark.parametrize("kind", [Relay, Waiting])
async def test_events_that_stand_before_a_probe_are_in_the_time_it_waits(kind: type[Relay]) -> None:
    traces: list[Trace] = []
    arrived = trio.Event()

    def found(trace: Trace) -> None:
        traces.append(trace)
        arrived.set()

    busy = kind("test", "b")
    busy.handling = HANDLING
    async with Graph() as graph:
        first, link = chain(graph, Relay("test", "a"), busy, Relay("test", "c"))
        await wait_all_tasks_blocked()
        for _ in range(10):
            first.deliver(link, Event(2))
        with graph.trace(ROUTE, found), trio.fail_after(5):
            first.deliver(link, Event(1))
            await arrived.wait()
    (trace,) = traces
    assert trace.hops[0].waited >= 10 * HANDLING
    assert HANDLING <= trace.hops[0].handled < 10 * HANDLING


async def test_an_event_that_ends_on_its_way_is_counted_with_the_place() -> None:
    traces: list[Trace] = []
    async with Graph() as graph:
        nodes = Relay("test", "a"), Ignorant("test", "b"), Relay("test", "c")
        first, link = chain(graph, *nodes)
        await wait_all_tasks_blocked()
        with graph.trace(ROUTE, traces.append, interval=0) as tracer:
            for number in (2, 1):
                first.deliver(link, Event(number))
                await wait_all_tasks_blocked()
    assert tracer.missed == {"ends at b@test": 1}
    assert len(traces) == 1


async def test_a_probe_that_is_sent_goes_all_the_way_by_itself() -> None:
    traces: list[Trace] = []
    nodes = [Ignorant("test", name) for name in "abc"]
    async with Graph() as graph:
        chain(graph, *nodes)
        await wait_all_tasks_blocked()
        with graph.trace(ROUTE, traces.append) as tracer:
            for _ in range(3):
                assert tracer.send(Event(7))
                assert not tracer.send(Event(7))  # one at a time
                await wait_all_tasks_blocked()
        handled = [link.counts.handled for link in graph.snapshot().links]
    assert len(traces) == 3
    assert [node.handled for node in nodes] == [[], [7] * 3, [7] * 3]
    assert handled == [3, 3]


async def test_a_channel_that_is_full_refuses_a_probe_too() -> None:
    last = Relay("test", "b")
    last.channel_size = 1
    async with Graph() as graph:
        first, link = chain(graph, Relay("test", "a"), last)
        await wait_all_tasks_blocked()
        with graph.trace(ROUTE[:2], lambda _: None, interval=60) as tracer:
            first.deliver(link, Event(1))
            await wait_all_tasks_blocked()
            first.deliver(link, Event(1))
            assert not tracer.send(Event(7))
    assert tracer.missed == {"b@test refused": 1}


async def test_a_crash_ends_the_probe_and_not_the_tracer() -> None:
    class Faulty(Node):
        def on_event(self, event: Event) -> None:
            raise ValueError("as it happens")

    async with Graph() as graph:
        first, link = chain(graph, Relay("test", "a"), Faulty("test", "b"))
        await wait_all_tasks_blocked()
        with graph.trace(ROUTE[:2], lambda _: None) as tracer:
            first.deliver(link, Event(1))
            await wait_all_tasks_blocked()
            assert not first.deliver(link, Event(1))
    assert tracer.missed == {"b@test crashed": 1}


async def test_what_was_lost_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eventgraph.tracing.PATIENCE", 0.0)
    traces: list[Trace] = []
    stuck = Waiting("test", "b")
    stuck.handling = 60
    async with Graph(exit_timeout=0) as graph:
        first, link = chain(graph, Relay("test", "a"), stuck)
        await wait_all_tasks_blocked()
        with graph.trace(ROUTE[:2], traces.append, interval=0) as tracer:
            first.deliver(link, Event(1))
            await wait_all_tasks_blocked()
            first.deliver(link, Event(1))
    assert tracer.missed["lost"] == 1
    assert not traces


async def test_nothing_of_it_is_left() -> None:
    traces: list[Trace] = []
    async with Graph() as graph:
        first, link = chain(graph, Relay("test", "a"), Relay("test", "b"))
        await wait_all_tasks_blocked()
        runtime = graph._runtime
        vertices = [runtime.topology.find(address) for address in ROUTE[:2]]
        (wire,) = vertices[0].outputs.up.values()
        before = wire.entries, vertices[1]._on_event  # type: ignore[attr-defined]  # of a runner
        with graph.trace(ROUTE[:2], traces.append):
            assert wire.entries is not before[0]
            with pytest.raises(TracerBusyError), graph.trace(ROUTE[:2], traces.append):
                pass
        assert wire.entries is before[0]
        assert vertices[1]._on_event == before[1]  # type: ignore[attr-defined]  # as above
        first.deliver(link, Event(1))
        await wait_all_tasks_blocked()
        assert not traces
        with graph.trace(ROUTE[:2], traces.append):
            first.deliver(link, Event(1))
            await wait_all_tasks_blocked()
        assert len(traces) == 1


async def test_a_route_that_is_none_is_refused() -> None:
    async with Graph() as graph:
        chain(graph, Relay("test", "a"), Relay("test", "b"), Relay("test", "c"))
        a, b, c = ROUTE
        with pytest.raises(LinkNotFoundError):
            graph.trace([a, c], print)
        with pytest.raises(NodeNotFoundError):
            graph.trace([a, Address("test", "d")], print)
        for route in ([a], [a, b, a]):
            with pytest.raises(ValueError, match="at least two nodes, and none of them twice"):
                graph.trace(route, print)
        with pytest.raises(ValueError, match="interval"):
            graph.trace([a, b], print, interval=-1)


def test_no_trace_says_nothing() -> None:
    times = route_times(ROUTE, [], {"lost": 1})
    assert (times.probes, times.hops, times.end_to_end, times.sum) == (0, [], None, 0)
