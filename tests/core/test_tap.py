"""A tap sees what passes, holds nothing up, counts what it misses, and leaves nothing behind."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from eventgraph import (
    Address,
    Event,
    Graph,
    Node,
    NodeDelegate,
    RestartPolicy,
    Tap,
    TapCounts,
    Trace,
)
from eventgraph.object_text import object_text
from eventgraph.testing import Probe, wait_idle

A, B, C = (Address("test", name) for name in "abc")


def add(graph: Graph, *names: str) -> list[NodeDelegate]:
    return [graph.add_node(Probe("test", name)) for name in names]


async def test_events_are_seen_with_their_time_and_way(autojump_clock: object) -> None:
    async with Graph() as graph:
        a, b, c = add(graph, "a", "b", "c")
        links = a.request_link_up("test", "c"), b.request_link_up("test", "c")
        began = trio.current_time()
        with graph.tap(C) as tap:
            a.deliver(links[0], Event(1))
            b.deliver(links[1], Event(2))
            c.deliver_self(Event(3))
            await trio.sleep(2)
            a.broadcast(Event(4))
            assert await b.deliver_within(links[1], Event(5), 1)
            seen = tap.take()
            assert not tap.take()
    assert [(p.event.cmd, p.sender, p.receiver) for p in seen] == [
        (1, A, C),
        (2, B, C),
        (3, C, C),
        (4, A, C),
        (5, B, C),
    ]
    assert [p.time - began for p in seen] == [0, 0, 0, 2, 2]
    assert [p.ahead for p in seen] == [0, 1, 2, 0, 1]
    assert tap.counts == TapCounts(5, 0, 0, 5)


async def test_what_threads_deliver_is_seen_when_the_graph_takes_it_over() -> None:
    async with Graph() as graph:
        a, b, c = add(graph, "a", "b", "c")
        links = a.request_link_up("test", "c"), b.request_link_up("test", "c")
        with graph.tap(C) as tap, graph.tap(C, B) as of_b, graph.tap(C, C) as of_itself:
            for number in range(3):
                assert await trio.to_thread.run_sync(a.deliver_from_thread, links[0], Event(number))
            assert await trio.to_thread.run_sync(b.deliver_from_thread, links[1], Event(3))
            c.deliver_self(Event(4))
            await wait_idle(graph)
            seen = tap.take()
            assert [p.event.cmd for p in of_b.take()] == [3]
            assert [p.event.cmd for p in of_itself.take()] == [4]
            assert (len(of_b), of_b.counts) == (0, TapCounts(1, 0, 0, 1))
    assert sorted((p.event.cmd, p.sender) for p in seen) == [
        *((0, A), (1, A), (2, A), (3, B), (4, C))
    ]


async def test_what_a_node_delivers_to_itself_can_be_left_out() -> None:
    async with Graph() as graph:
        a, b = add(graph, "a", "b")
        link = a.request_link_up("test", "b")
        with graph.tap(B, itself=False) as tap:
            b.deliver_self(Event(1))
            a.deliver(link, Event(2))
            assert [p.event.cmd for p in tap.take()] == [2]
            assert tap.counts.passed == 1


async def test_a_tap_may_come_and_go_within_a_handler_and_nothing_is_lost() -> None:
    """Whoever takes events out may hold the channel that was there before."""
    taps: list[Tap] = []
    handled: list[int] = []
    graph = Graph()

    class Tapping(Node):
        def on_event(self, event: Event) -> None:
            handled.append(event.cmd)
            if event.cmd == 2:
                taps.append(graph.tap(B).__enter__())
                assert delegate.deliver_self(Event(10))
            elif event.cmd == 10:
                taps[0].__exit__(None, None, None)
                assert delegate.deliver_self(Event(11))

    async with graph:
        (a,) = add(graph, "a")
        delegate = graph.add_node(Tapping("test", "b"))
        link = a.request_link_up("test", "b")
        for number in range(5):
            a.deliver(link, Event(number))
        await wait_idle(graph)
        assert [p.event.cmd for p in taps[0].take()] == [10]
        assert handled == [0, 1, 2, 3, 4, 10, 11]
        counts = graph.totals().counts
        assert (counts.offered, counts.handled) == (7, 7)


async def test_one_sender_of_several_is_seen_and_may_be_linked_later() -> None:
    async with Graph() as graph:
        a, b, _ = add(graph, "a", "b", "c")
        other = b.request_link_up("test", "c")
        with graph.tap(C, A) as tap:
            for _ in range(2):
                link = a.request_link_up("test", "c")
                a.deliver(link, Event(1))
                b.deliver(other, Event(2))
                a.request_link_down(link)
                await wait_idle(graph)
            assert [p.event.cmd for p in tap.take()] == [1, 1]


async def test_a_full_tap_drops_for_itself_and_the_graph_goes_on() -> None:
    async with Graph() as graph:
        (a,) = add(graph, "a")
        probe = Probe("test", "b")
        graph.add_node(probe)
        link = a.request_link_up("test", "b")
        with graph.tap(B, size=3) as tap:
            for number in range(10):
                assert a.deliver(link, Event(number))
            await wait_idle(graph)
            assert [p.event.cmd for p in tap.take()] == [0, 1, 2]
            a.deliver(link, Event(10))
            assert len(tap) == 1
            counts = tap.counts
        await wait_idle(graph)
    assert len(probe.events) == 11
    assert counts == TapCounts(passed=11, skipped=0, dropped=7, taken=3)


async def test_with_an_interval_it_looks_now_and_then(autojump_clock: object) -> None:
    async with Graph() as graph:
        a, _ = add(graph, "a", "b")
        link = a.request_link_up("test", "b")
        with graph.tap(B, interval=1.0) as tap:
            for number in range(30):
                a.deliver(link, Event(number))
                await trio.sleep(0.125)
            assert [p.event.cmd for p in tap.take()] == [0, 8, 16, 24]
            assert tap.counts == TapCounts(passed=30, skipped=26, dropped=0, taken=4)


async def test_nothing_of_it_is_left_and_several_taps_and_a_tracer_get_on() -> None:
    traces: list[Trace] = []
    async with Graph() as graph:
        a, _ = add(graph, "a", "b")
        link_id = a.request_link_up("test", "b")
        await wait_all_tasks_blocked()
        receiver = graph._runtime.topology.find(B)
        (link,) = receiver.inputs.values()
        before = receiver.entries, receiver._on_event  # type: ignore[attr-defined]  # of a runner
        assert link.entries is before[0]
        first, tracer = graph.tap(B), graph.trace([A, B], traces.append, interval=0)
        with first:
            with tracer:
                with graph.tap(B) as second:
                    a.deliver(link_id, Event(1))
                    await wait_idle(graph)
                a.deliver(link_id, Event(2))
                await wait_idle(graph)
            a.deliver(link_id, Event(3))
            await wait_idle(graph)
            assert link.entries is receiver.entries is not before[0]
        assert link.entries is receiver.entries is before[0]
        assert receiver._on_event == before[1]  # type: ignore[attr-defined]  # as above
        a.deliver(link_id, Event(4))
        assert [p.event.cmd for p in first.take()] == [1, 2, 3]
        assert [p.event.cmd for p in second.take()] == [1]
        assert len(traces) == 2


async def test_a_node_that_is_restarted_is_still_seen(autojump_clock: object) -> None:
    class Faulty(Node):
        def on_event(self, event: Event) -> None:
            if event.cmd == 1:
                raise ValueError("as it happens")

    async with Graph() as graph:
        (a,) = add(graph, "a")
        graph.supervise(lambda: Faulty("test", "b"), RestartPolicy())
        link = a.request_link_up("test", "b")
        with graph.tap(B) as tap:
            for number in (0, 1):
                a.deliver(link, Event(number))
                await wait_all_tasks_blocked()
            assert not tap.over
            await trio.sleep(5)
            a.deliver(link, Event(2))
            await trio.to_thread.run_sync(a.deliver_from_thread, link, Event(3))
            await wait_idle(graph)
            assert [p.event.cmd for p in tap.take()] == [0, 1, 2, 3]


async def test_it_is_over_when_the_node_has_left() -> None:
    async with Graph() as graph:
        a, b = add(graph, "a", "b")
        link = a.request_link_up("test", "b")
        with graph.tap(B) as tap:
            a.deliver(link, Event(1))
            before = tap.over
            b.request_exit()
            await b.wait_exited()
            assert (before, tap.over) == (False, True)
            assert len(tap.take()) == 1


@pytest.mark.parametrize("options", [{"interval": -1.0}, {"interval": float("nan")}, {"size": 0}])
async def test_what_makes_no_sense_is_refused(options: dict[str, float]) -> None:
    async with Graph() as graph:
        add(graph, "b")
        with pytest.raises(ValueError, match="it must"):
            graph.tap(B, **options)  # type: ignore[arg-type]  # on purpose


class Secretive:
    def __repr__(self) -> str:
        raise AssertionError("nobody asked")


@pytest.mark.parametrize(
    ("obj", "text"),
    [
        (None, "None"),
        (True, "True"),
        (1.5, "1.5"),
        ("a\n\x1b[2J", r"'a\n\x1b[2J'"),
        ("x" * 100, f"'{'x' * 32}'… 100 characters"),
        pytest.param(bytes(10**8), f"{bytes(32)!r}… 100000000 bytes", id="bytes"),
        pytest.param(1 << 1_000_000, "int of 1000001 bits", id="int"),
        (Secretive(), "Secretive"),
        ([1, "a", [Secretive()]], "list(1, 'a', list(Secretive))"),
        pytest.param([*range(10**6)], "list(0, 1, 2, 3, 4, 5, 6, 7, … 1000000 in all)", id="list"),
        ({"a": 1}, "dict('a': 1)"),
        ([[[[[1]]]]], "list(list(list(list…)))"),
        (Event(1, b"x"), "Event(cmd=1, obj=b'x', reply_to=None)"),
    ],
)
def test_the_text_of_an_object_is_short_and_calls_nothing(obj: object, text: str) -> None:
    assert object_text(obj, 1000) == text
    short = object_text(obj, 10)
    assert len(short) <= 10


def test_a_cycle_of_containers_has_an_end() -> None:
    cycle: list[object] = []
    cycle.append(cycle)
    assert object_text(cycle) == "list(list(list(list…)))"
