"""A node tracer tells what became of events that came to a node, and leaves nothing behind."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from eventgraph import Address, Event, Graph, Node, TracedEvent
from eventgraph.testing import wait_idle
from tests.core.test_tracing import HANDLING, Relay, Waiting, chain

A, B = Address("test", "a"), Address("test", "b")


@pytest.mark.parametrize("kind", [Relay, Waiting])
async def test_queue_and_handler_time_and_what_was_delivered_on(kind: type[Relay]) -> None:
    middle = kind("test", "b")
    middle.handling = HANDLING
    async with Graph() as graph:
        first, link = chain(graph, Relay("test", "a"), middle, Relay("test", "c"))
        await wait_all_tasks_blocked()
        with graph.trace_node(B, interval=0) as tracer:
            for number in range(5):
                first.deliver(link, Event(number))
            await wait_idle(graph)
            first.deliver(link, Event(5))
            await wait_idle(graph)
            found = tracer.take()
            assert (tracer.passed, tracer.refused, tracer.dropped) == (6, 0, 0)
    assert [(t.sender, t.cmd, t.ahead, t.delivered, t.outcome) for t in found] == [
        (A, 0, 0, 1, "handled"),
        (A, 5, 0, 1, "handled"),
    ]
    assert all(t.handled >= HANDLING for t in found)


async def test_what_stands_before_it_is_in_the_time_it_waits() -> None:
    middle = Relay("test", "b")
    middle.handling = HANDLING
    async with Graph() as graph:
        first, link = chain(graph, Relay("test", "a"), middle)
        await wait_all_tasks_blocked()
        for _ in range(10):
            first.deliver(link, Event(2))
        with graph.trace_node(B) as tracer:
            first.deliver(link, Event(1))
            await wait_idle(graph)
            (found,) = tracer.take()
    assert (found.cmd, found.ahead) == (1, 10)
    assert found.waited >= 10 * HANDLING > found.handled >= HANDLING


async def test_refusals_and_a_crash_are_told() -> None:
    class Faulty(Node):
        channel_size = 2

        def on_event(self, event: Event) -> None:
            raise ValueError("as it happens")

    async with Graph() as graph:
        first, link = chain(graph, Relay("test", "a"), Faulty("test", "b"))
        await wait_all_tasks_blocked()
        with graph.trace_node(B, interval=0) as tracer:
            assert [first.deliver(link, Event(n)) for n in range(3)] == [True, True, False]
            refused = tracer.refused
            await wait_all_tasks_blocked()
            (found,) = tracer.take()
            assert tracer.over
    assert refused == 1
    assert (found.cmd, found.outcome) == (0, "crashed")


async def test_what_is_never_handled_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    stuck = Waiting("test", "b")
    stuck.handling = 60
    async with Graph(exit_timeout=0) as graph:
        first, link = chain(graph, Relay("test", "a"), stuck)
        await wait_all_tasks_blocked()
        with graph.trace_node(B, interval=0) as tracer:
            first.deliver(link, Event(1))
            await wait_all_tasks_blocked()
            assert not tracer.take()
            monkeypatch.setattr("eventgraph.node_trace.PATIENCE", 0.0)
            (found,) = tracer.take()
    assert found.outcome == "lost"


async def test_it_is_bounded_and_nothing_of_it_is_left() -> None:
    async with Graph() as graph:
        first, link_id = chain(graph, Relay("test", "a"), Relay("test", "b"))
        await wait_all_tasks_blocked()
        receiver = graph._runtime.topology.find(B)
        (link,) = receiver.inputs.values()
        before = link.entries, receiver._on_event  # type: ignore[attr-defined]  # of a runner
        with graph.trace_node(B, interval=0, size=2) as tracer, graph.tap(B) as tap:
            with graph.trace([A, B], print, interval=60):
                pass
            for _ in range(5):
                first.deliver(link_id, Event(1))
                await wait_idle(graph)
            found: list[TracedEvent] = tracer.take()
            assert (len(found), tracer.dropped, len(tap)) == (2, 3, 5)
        assert link.entries is receiver.entries is before[0]
        assert receiver._on_event == before[1]  # type: ignore[attr-defined]  # as above
        for options in ({"interval": -1.0}, {"size": 0}):
            with pytest.raises(ValueError, match="it must"):
                graph.trace_node(B, **options)


async def test_what_comes_from_threads_and_from_the_node_itself_is_followed_too() -> None:
    async with Graph() as graph:
        first, link = chain(graph, Relay("test", "a"), Waiting("test", "b"))
        own = graph._runtime.topology.find(B).delegate  # type: ignore[attr-defined]  # of a runner
        await wait_all_tasks_blocked()
        with graph.trace_node(B, interval=0) as tracer:
            assert await trio.to_thread.run_sync(first.deliver_from_thread, link, Event(1))
            await wait_idle(graph)
            assert own.deliver_self(Event(2))
            await wait_idle(graph)
            found = tracer.take()
            assert (tracer.passed, tracer.refused, tracer.dropped) == (2, 0, 0)
    assert [(t.sender, t.cmd, t.outcome) for t in found] == [(A, 1, "handled"), (B, 2, "handled")]


async def test_refusals_of_a_link_that_is_gone_take_nothing_away_from_others() -> None:
    class Small(Relay):
        channel_size = 1

    async with Graph() as graph:
        first, link = chain(graph, Relay("test", "a"), Small("test", "b"))
        other = graph.add_node(Relay("test", "c"))
        second = other.request_link_up("test", "b")
        await wait_all_tasks_blocked()
        assert [first.deliver(link, Event(2)) for _ in range(4)] == [True, False, False, False]
        with graph.trace_node(B) as tracer:
            assert not other.deliver(second, Event(2))
            assert tracer.refused == 1
            first.request_link_down(link)
            assert tracer.refused == 1


async def test_a_link_that_comes_later_is_followed_too() -> None:
    async with Graph() as graph:
        a = graph.add_node(Relay("test", "a"))
        graph.add_node(Relay("test", "b"))
        with graph.trace_node(B, interval=0) as tracer:
            for _ in range(2):
                link = a.request_link_up("test", "b")
                a.deliver(link, Event(1))
                await trio.testing.wait_all_tasks_blocked()
                a.request_link_down(link)
                await wait_idle(graph)
            assert [found.outcome for found in tracer.take()] == ["handled"] * 2
