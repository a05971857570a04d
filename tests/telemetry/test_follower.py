"""A follower writes where the time of single events went, and leaves nothing behind."""

from random import Random
from typing import Any

import pytest
import trio
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import StatusCode

from eventgraph import Address, Event, Graph, Node, NodeDelegate, RestartPolicy, TracerBusyError
from eventgraph.listening import is_heard
from eventgraph.restart import Level
from eventgraph.runner import Runner
from eventgraph.telemetry import EventFollower
from eventgraph.telemetry.follower import PATIENCE
from eventgraph.testing import wait_idle
from tests.telemetry.spans import Recorded, interval, is_child, phase_of

SOURCE = Address("test", "source")


class Relay(Node):
    """Hands on."""

    def on_enter(self, delegate: NodeDelegate) -> None:
        self.delegate = delegate

    def on_event(self, event: Event) -> None:
        self.delegate.broadcast(Event(event.cmd, event.obj))


class Waiting(Relay):
    """The same in a task of its own, with time."""

    async def on_event(self, event: Event) -> None:  # type: ignore[override]  # may be either
        await trio.sleep(0.5)
        for link in self.delegate.links:
            await self.delegate.deliver_within(link, event, 1)


class Keeper(Relay):
    """Delivers what it got before, as a jitter buffer does."""

    kept = Event(0)

    def on_event(self, event: Event) -> None:
        if event.cmd:
            self.kept = event
        else:
            self.delegate.broadcast(self.kept)


class Slicer(Relay):
    """Goes on in its next turn."""

    def on_event(self, event: Event) -> None:
        if event.cmd > 0:
            self.delegate.deliver_self(Event(event.cmd - 1))
        else:
            self.delegate.broadcast(event)


class Fragile(Relay):
    def on_event(self, event: Event) -> None:
        if event.cmd == 13:
            raise ValueError("no")
        super().on_event(event)


def chain(graph: Graph, *nodes: Node) -> NodeDelegate:
    """Linked one to the next, behind a source; its delegate."""
    delegates = [graph.add_node(node) for node in (Node(*_parts(SOURCE)), *nodes)]
    for sender, node in zip(delegates, nodes, strict=False):
        sender.request_link_up(node.scope, node.name)
    return delegates[0]


def _parts(address: Address) -> tuple[str, str]:
    return address.scope, address.name


def nothing_is_left(graph: Graph) -> bool:
    runners = [vertex for vertex in graph.runtime.topology if isinstance(vertex, Runner)]
    return not any(runner._wrappers or is_heard(runner) for runner in runners)


async def sample(follower: EventFollower, source: NodeDelegate, event: Event) -> None:
    """Let it begin a trace with this event."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follower.run)
        await trio.sleep(1.5)
        source.broadcast(event)
        await trio.sleep(5)
        nursery.cancel_scope.cancel()


async def test_times_along_a_chain_add_up(autojump_clock: trio.abc.Clock) -> None:
    recorded = Recorded()
    async with Graph() as graph:
        source = chain(graph, Relay("test", "a"), Waiting("test", "b"), Relay("test", "c"))
        await wait_idle(graph)
        with EventFollower(graph, recorded.provider, origins=[SOURCE]) as follower:
            await sample(follower, source, Event(1))
            assert nothing_is_left(graph)
        assert follower.begun == 1
        assert not follower.missed
    root = recorded.named("event of source@test")
    rest = [span for span in recorded.spans if span is not root]
    assert [span.name for span in sorted(rest, key=interval)] == [
        *("queue of a@test", "a@test"),
        *("queue of b@test", "b@test"),
        *("queue of c@test", "c@test"),
    ]
    took = [end - start for start, end in map(interval, rest)]
    start, end = interval(root)
    assert sum(took) <= end - start
    # The root begins when its span is made, a moment before the event is in the first channel.
    assert sum(took) == end - interval(recorded.named("queue of a@test"))[0]
    for before, after in (("event of source@test", "a@test"), ("a@test", "b@test")):
        assert is_child(recorded.named(after), recorded.named(before))
        assert is_child(recorded.named(f"queue of {after}"), recorded.named(before))


async def test_an_event_is_followed_to_all_that_get_it(autojump_clock: trio.abc.Clock) -> None:
    recorded = Recorded()
    async with Graph() as graph:
        source = chain(graph, Relay("test", "fan"))
        for name in ("x", "y", "z"):
            graph.add_node(Node("test", name))
            graph.link_up(Address("test", "fan"), Address("test", name))
        graph.link_up(SOURCE, Address("test", "z"))
        await wait_idle(graph)
        with EventFollower(graph, recorded.provider, origins=[SOURCE]) as follower:
            await sample(follower, source, Event(1))
            assert nothing_is_left(graph)
    assert sorted(span.name for span in recorded.of("handler")) == [
        *("fan@test", "x@test", "y@test", "z@test", "z@test"),
    ]
    assert len(recorded.traces) == 1


async def test_it_knows_its_event_among_others(autojump_clock: trio.abc.Clock) -> None:
    recorded = Recorded()
    async with Graph() as graph:
        source = chain(graph, Relay("test", "a"), Node("test", "b"))
        await wait_idle(graph)
        with EventFollower(graph, recorded.provider, origins=[SOURCE]) as follower:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(follower.run)
                await trio.sleep(0.5)
                for _ in range(5):
                    source.broadcast(Event(1))
                graph.link_down(SOURCE, Address("test", "a"))
                graph.link_up(SOURCE, Address("test", "a"))
                await trio.sleep(1)
                same = Event(2)
                for _ in range(3):
                    source.broadcast(same)
                await trio.sleep(0.1)
                nursery.cancel_scope.cancel()
        assert nothing_is_left(graph)
    assert [span.name for span in recorded.of("handler")] == ["a@test", "b@test"]
    (waited,) = [span for span in recorded.of("queue") if span.name == "queue of a@test"]
    assert waited.attributes is not None
    assert waited.attributes["eventgraph.ahead"] == 0


async def test_what_a_node_keeps_is_not_followed_on(autojump_clock: trio.abc.Clock) -> None:
    recorded = Recorded()
    async with Graph() as graph:
        source = chain(graph, Keeper("test", "keeper"), Node("test", "b"))
        await wait_idle(graph)
        with EventFollower(graph, recorded.provider, origins=[SOURCE]) as follower:
            await sample(follower, source, Event(1))
    assert [span.name for span in recorded.of("handler")] == ["keeper@test"]


async def test_what_a_node_delivers_to_itself_is_followed_on(
    autojump_clock: trio.abc.Clock,
) -> None:
    recorded = Recorded()
    async with Graph() as graph:
        source = chain(graph, Slicer("test", "slicer"), Node("test", "b"))
        await wait_idle(graph)
        with EventFollower(graph, recorded.provider, origins=[SOURCE]) as follower:
            await sample(follower, source, Event(2))
        assert nothing_is_left(graph)
    names = [span.name for span in sorted(recorded.of("handler"), key=interval)]
    assert names == ["slicer@test", "slicer@test", "slicer@test", "b@test"]


async def test_any_node_that_delivers_may_be_where_a_trace_begins(
    autojump_clock: trio.abc.Clock,
) -> None:
    recorded = Recorded()
    async with Graph() as graph:
        source = chain(graph, Keeper("test", "keeper"), Node("test", "b"))
        with EventFollower(graph, recorded.provider) as follower:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(follower.run)
                for _ in range(1000):
                    source.broadcast(Event(1))
                    source.broadcast(Event(0))
                    await trio.sleep(0.05)
                nursery.cancel_scope.cancel()
        assert nothing_is_left(graph)
    roots = {span.name for span in recorded.of("event")}
    assert roots == {"event of source@test", "event of keeper@test"}
    assert follower.begun == len(recorded.traces) > 20


async def test_a_crash_is_told_and_what_waited_is_given_up(
    autojump_clock: trio.abc.Clock, caplog: pytest.LogCaptureFixture
) -> None:
    recorded = Recorded()
    async with Graph() as graph:
        source = chain(graph, Fragile("test", "fragile"), Node("test", "b"))
        await wait_idle(graph)
        with EventFollower(graph, recorded.provider, origins=[SOURCE]) as follower:
            await sample(follower, source, Event(13))
            assert nothing_is_left(graph)
        assert follower.missed == {"crashed": 1}
    (handled,) = recorded.of("handler")
    assert handled.status.status_code is StatusCode.ERROR
    assert handled.status.description == "crashed"
    assert "fragile@test crashed" in caplog.text


async def test_events_thrown_away_in_a_channel_are_lost_and_not_mistaken(
    autojump_clock: trio.abc.Clock, caplog: pytest.LogCaptureFixture
) -> None:
    recorded = Recorded()
    async with Graph() as graph:
        source = graph.add_node(Node("test", "source"))
        policy = RestartPolicy(backoff=0.01)
        graph.supervise(lambda: Fragile("test", "fragile"), policy)
        link = source.request_link_up("test", "fragile")
        await wait_idle(graph)
        with EventFollower(graph, recorded.provider, origins=[SOURCE]) as follower:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(follower.run)
                await trio.sleep(1.5)
                source.deliver(link, Event(13))  # followed, and crashes
                source.deliver(link, Event(1))
                await trio.sleep(0.6)
                source.deliver(link, Event(2))
                await trio.sleep(1)
                source.deliver(link, Event(3))
                await trio.sleep(1)
                nursery.cancel_scope.cancel()
        assert nothing_is_left(graph)
    assert follower.missed == {"crashed": 1}
    assert len(recorded.of("handler")) == 2
    assert "fragile@test crashed" in caplog.text


async def test_a_crash_takes_along_what_waits_behind(
    autojump_clock: trio.abc.Clock, caplog: pytest.LogCaptureFixture
) -> None:
    recorded = Recorded()
    async with Graph() as graph:
        source = chain(graph, Relay("test", "a"), Fragile("test", "fragile"))
        graph.link_up(SOURCE, Address("test", "fragile"))
        await wait_idle(graph)
        with EventFollower(graph, recorded.provider, origins=[SOURCE]) as follower:
            await sample(follower, source, Event(13))  # it comes both ways, and then its turn
        assert follower.missed == {"crashed": 2}
    assert "fragile@test crashed" in caplog.text


async def test_what_another_node_s_crash_throws_away_is_lost_and_not_mistaken(
    autojump_clock: trio.abc.Clock, caplog: pytest.LogCaptureFixture
) -> None:
    recorded = Recorded()
    policy = RestartPolicy(max_restarts=1, backoff=0.01, escalate=Level.SCOPE)
    async with Graph() as graph:
        source = graph.add_node(Node("test", "source"))
        graph.supervise(lambda: Waiting("pair", "slow"), policy)
        graph.supervise(lambda: Fragile("pair", "fragile"), policy)
        link = source.request_link_up("pair", "slow")
        crash = source.request_link_up("pair", "fragile")
        await wait_idle(graph)
        with EventFollower(graph, recorded.provider, origins=[SOURCE]) as follower:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(follower.run)
                source.deliver(crash, Event(13))
                await trio.sleep(0.9)
                source.deliver(link, Event(1))
                await trio.sleep(0.2)
                source.deliver(link, Event(2))  # followed, and waits for the first
                source.deliver(crash, Event(13))
                await trio.sleep(0.1)  # the scope is restarted
                source.deliver(link, Event(3))
                await trio.sleep(0.6)
                nursery.cancel_scope.cancel()
            assert nothing_is_left(graph)
        assert follower.missed == {"lost": 1}
    assert recorded.of("handler") == []
    assert "fragile@pair crashed" in caplog.text


async def test_only_one_event_of_an_origin_is_followed_at_a_time(
    autojump_clock: trio.abc.Clock,
) -> None:
    recorded = Recorded()
    async with Graph() as graph:
        source = chain(graph, Node("test", "a"))
        graph.add_node(Node("test", "b"))
        to_a, to_b = *source.links, source.request_link_up("test", "b")
        await wait_idle(graph)
        with EventFollower(graph, recorded.provider, origins=[SOURCE]) as follower:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(follower.run)
                await trio.sleep(1.5)
                source.deliver(to_a, Event(1))
                source.deliver(to_b, Event(2))
                await trio.sleep(0.1)
                nursery.cancel_scope.cancel()
        assert nothing_is_left(graph)
    assert [span.name for span in recorded.of("handler")] == ["a@test"]


async def test_no_trace_begins_with_an_event_that_is_followed_already(
    autojump_clock: trio.abc.Clock,
) -> None:
    class InTurn(Random):
        def choice(self, seq: Any) -> Any:
            return next(turns)

    turns = iter([SOURCE, *[Address("test", "a")] * 100])
    recorded = Recorded()
    async with Graph() as graph:
        source = chain(graph, Waiting("test", "a"), Node("test", "b"))
        await wait_idle(graph)
        options = {"origins": [SOURCE], "interval": 0.2, "random": InTurn()}
        with EventFollower(graph, recorded.provider, **options) as follower:  # type: ignore[arg-type]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(follower.run)
                await trio.sleep(0.3)
                source.broadcast(Event(1))
                await trio.sleep(1)
                nursery.cancel_scope.cancel()
        assert nothing_is_left(graph)
        assert follower.begun == 1
    assert len(recorded.of("handler")) == 2


async def test_no_more_are_under_way_than_allowed(autojump_clock: trio.abc.Clock) -> None:
    recorded = Recorded()
    async with Graph() as graph:
        source = chain(graph, Relay("test", "fan"))
        for number in range(10):
            graph.add_node(Node("test", str(number)))
            graph.link_up(Address("test", "fan"), Address("test", str(number)))
        await wait_idle(graph)
        with EventFollower(graph, recorded.provider, origins=[SOURCE], limit=4) as follower:
            await sample(follower, source, Event(1))
        assert nothing_is_left(graph)
    assert follower.missed == {"full": 7}  # one is in hand
    assert len(recorded.of("handler")) == 4


async def test_what_is_not_handled_in_time_is_given_up(autojump_clock: trio.abc.Clock) -> None:
    class Stuck(Node):
        async def on_event(self, event: Event) -> None:
            await trio.sleep(20)

    recorded = Recorded()
    async with Graph() as graph:
        source = chain(graph, Stuck("test", "stuck"))
        await wait_idle(graph)
        source.broadcast(Event(0))
        clock = iter(range(10**9, 10**15, 10**9))
        with pytest.MonkeyPatch.context() as patch:  # it reads the real clock
            patch.setattr("eventgraph.telemetry.spans.perf_counter_ns", lambda: next(clock))
            with EventFollower(graph, recorded.provider, origins=[SOURCE]) as follower:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(follower.run)
                    await trio.sleep(1.5)
                    source.broadcast(Event(1))
                    for _ in range(int(PATIENCE)):
                        next(clock)
                    await trio.sleep(2)
                    nursery.cancel_scope.cancel()
                assert nothing_is_left(graph)
                assert follower.missed == {"lost": 1}
    (waited,) = recorded.of("queue")
    assert waited.status.description == "lost"


async def test_leaving_in_the_middle_leaves_nothing(autojump_clock: trio.abc.Clock) -> None:
    recorded = Recorded()
    async with Graph() as graph:
        source = chain(graph, Waiting("test", "a"), Node("test", "b"))
        await wait_idle(graph)
        with EventFollower(graph, recorded.provider, origins=[SOURCE]) as follower:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(follower.run)
                await trio.sleep(1.5)
                source.broadcast(Event(1))
                await trio.sleep(0.1)
                nursery.cancel_scope.cancel()
            assert not nothing_is_left(graph)
        assert nothing_is_left(graph)
        assert {phase_of(span) for span in recorded.spans} == {"event", "queue", "handler"}
        await trio.sleep(2)
    assert len(recorded.spans) == 3


async def test_what_the_provider_does_not_sample_costs_no_wrapper(
    autojump_clock: trio.abc.Clock,
) -> None:
    async with Graph() as graph:
        source = chain(graph, Waiting("test", "a"))
        await wait_idle(graph)
        provider = TracerProvider(sampler=ALWAYS_OFF)
        with EventFollower(graph, provider, origins=[SOURCE]) as follower:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(follower.run)
                await trio.sleep(1.5)
                source.broadcast(Event(1))
                await trio.sleep(0.1)
                assert nothing_is_left(graph)
                nursery.cancel_scope.cancel()
        assert follower.begun == 0


async def test_a_graph_has_one_follower() -> None:
    async with Graph() as graph:
        with EventFollower(graph), pytest.raises(TracerBusyError), EventFollower(graph):
            pass  # pragma: no cover
        with EventFollower(graph):
            pass


@pytest.mark.parametrize("wrong", [{"interval": 0}, {"limit": 0}, {"rate": -1}])
async def test_settings_without_sense_are_refused(wrong: dict[str, int]) -> None:
    async with Graph() as graph:
        with pytest.raises(ValueError, match=r"at least|above"):
            EventFollower(graph, **wrong)  # type: ignore[arg-type]


async def test_following_beside_a_tracer_disturbs_neither(autojump_clock: trio.abc.Clock) -> None:
    recorded = Recorded()
    traces: list[object] = []
    async with Graph() as graph:
        source = chain(graph, Relay("test", "a"), Node("test", "b"))
        await wait_idle(graph)
        route = [SOURCE, Address("test", "a"), Address("test", "b")]
        with (
            EventFollower(graph, recorded.provider, origins=[SOURCE]) as follower,
            graph.trace(route, traces.append, interval=0) as tracer,
        ):
            await sample(follower, source, Event(1))
        assert nothing_is_left(graph)
        assert not tracer.missed
    assert len(traces) == 1
    assert len(recorded.of("handler")) == 2
