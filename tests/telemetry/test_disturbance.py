"""Whatever becomes of nodes, providers and the follower itself, no node notices."""

from typing import Any

import pytest
import trio
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import Sampler

from eventgraph import Address, Event, Graph, Node, NodeDelegate
from eventgraph.telemetry import EventFollower
from eventgraph.telemetry.follower import STEPS
from eventgraph.testing import Probe, wait_idle
from tests.telemetry.spans import Recorded
from tests.telemetry.test_follower import (
    SOURCE,
    Relay,
    Waiting,
    chain,
    nothing_is_left,
    sample,
)


class BrokenError(Exception):
    """What a provider raises that is not ours."""


class Faulty(Recorded):
    """One that raises after so many calls."""

    def __init__(self, where: str, good: int) -> None:
        super().__init__()
        self._good = good
        if where == "sample":
            self.provider = TracerProvider(sampler=self)  # type: ignore[arg-type]
        else:
            self.provider.add_span_processor(self)  # type: ignore[arg-type]
        self.on_start = self._fail if where == "start" else self._pass
        self.on_end = self._fail if where == "end" else self._pass
        self._on_ending = self._pass

    def _fail(self, *_arguments: object, **_named: object) -> None:
        self._good -= 1
        if self._good < 0:
            raise BrokenError

    def _pass(self, *_arguments: object, **_named: object) -> None:
        pass

    def should_sample(self, *arguments: Any, **named: Any) -> Any:
        self._fail()
        return SAMPLER.should_sample(*arguments, **named)

    def get_description(self) -> str:
        return "faulty"

    def shutdown(self) -> None:
        pass


SAMPLER: Sampler = TracerProvider().sampler


@pytest.mark.parametrize("good", range(7))
@pytest.mark.parametrize("where", ["sample", "start", "end"])
async def test_no_node_notices_a_provider_that_raises(
    where: str, good: int, autojump_clock: trio.abc.Clock
) -> None:
    faulty = Faulty(where, good)
    probe = Probe("test", "sink")
    async with Graph() as graph:
        source = chain(graph, Relay("test", "a"), Waiting("test", "b"), probe)
        await wait_idle(graph)
        with EventFollower(graph, faulty.provider, origins=[SOURCE]) as follower:
            await sample(follower, source, Event(1))
            source.broadcast(Event(2))
            await trio.sleep(2)
            assert nothing_is_left(graph)
        assert [event.cmd for event in probe.events] == [1, 2]
        assert graph.snapshot().crash_count == 0
        assert follower.missed["failed"] > 0


async def test_where_an_event_is_in_the_channel_is_known_in_the_node_s_own_turn(
    autojump_clock: trio.abc.Clock,
) -> None:
    class Beginner(Relay):
        """Where a trace begins, with what it delivers to itself before it has done all it had."""

        def on_event(self, event: Event) -> None:
            if event.cmd == 1:
                self.delegate.deliver_self(Event(10))

    recorded = Recorded()
    async with Graph() as graph:
        node = graph.add_node(Beginner("test", "beginner"))
        source = chain(graph)
        link = source.request_link_up("test", "beginner")
        await wait_idle(graph)
        with EventFollower(graph, recorded.provider, origins=[node.address]) as follower:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(follower.run)
                await trio.sleep(1.5)
                for cmd in (0, 1, 2, 3):
                    source.deliver(link, Event(cmd))
                await trio.sleep(0.1)
                source.deliver(link, Event(4))
                await trio.sleep(0.1)
                nursery.cancel_scope.cancel()
            assert nothing_is_left(graph)
        assert not follower.missed
    assert [span.name for span in recorded.of("handler")] == ["beginner@test"]
    (waited,) = recorded.of("queue")
    assert waited.attributes is not None
    assert waited.attributes["eventgraph.ahead"] == 2


async def test_an_event_of_the_first_hook_is_followed(autojump_clock: trio.abc.Clock) -> None:
    class Starter(Node):
        def on_link_up(self, link_id: int, scope: str, name: str) -> None:
            self.delegate.deliver_self(Event(1))

        def on_enter(self, delegate: NodeDelegate) -> None:
            self.delegate = delegate

    recorded = Recorded()
    async with Graph() as graph:
        node = graph.add_node(Starter("test", "starter"))
        graph.add_node(Node("test", "other"))
        await wait_idle(graph)
        with EventFollower(graph, recorded.provider, origins=[node.address]) as follower:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(follower.run)
                await trio.sleep(1.5)
                graph.link_up(node.address, Address("test", "other"))
                await trio.sleep(0.1)
                nursery.cancel_scope.cancel()
            assert nothing_is_left(graph)
        assert not follower.missed
    assert [span.name for span in recorded.of("handler")] == ["starter@test"]


async def test_a_hook_that_was_exchanged_is_called_as_without_a_follower(
    autojump_clock: trio.abc.Clock,
) -> None:
    class Exchanging(Node):
        """The graph looks at its hooks when it is added, and not later."""

        def __init__(self, scope: str, name: str) -> None:
            super().__init__(scope, name)
            self.got: list[int] = []

        def on_event(self, event: Event) -> None:
            self.got.append(event.cmd)
            self.on_event = lambda event: None  # type: ignore[method-assign]

    recorded = Recorded()
    node = Exchanging("test", "a")
    async with Graph() as graph:
        source = chain(graph, node)
        await wait_idle(graph)
        with EventFollower(graph, recorded.provider, origins=[SOURCE]) as follower:
            source.broadcast(Event(1))
            await wait_idle(graph)
            await sample(follower, source, Event(2))
        source.broadcast(Event(3))
        await wait_idle(graph)
    assert node.got == [1, 2, 3]


async def test_a_follower_that_is_closed_begins_nothing(autojump_clock: trio.abc.Clock) -> None:
    recorded = Recorded()
    async with Graph() as graph, trio.open_nursery() as nursery:
        source = chain(graph, Waiting("test", "a"), Node("test", "b"))
        await wait_idle(graph)
        with EventFollower(graph, recorded.provider, origins=[SOURCE]) as follower:
            nursery.start_soon(follower.run)
            await trio.sleep(1.5)
        assert nursery.child_tasks  # not yet told
        source.broadcast(Event(1))
        await trio.sleep(0.1)
        assert not nursery.child_tasks
        assert nothing_is_left(graph)
        with follower:  # again
            await sample(follower, source, Event(2))
    assert follower.begun == 1
    assert len(recorded.of("handler")) == 2


async def test_a_handler_may_close_the_follower(autojump_clock: trio.abc.Clock) -> None:
    class Closing(Relay):
        def on_event(self, event: Event) -> None:
            super().on_event(event)
            follower.__exit__(None, None, None)
            super().on_event(event)

    recorded = Recorded()
    probe = Probe("test", "sink")
    async with Graph() as graph, trio.open_nursery() as nursery:
        source = chain(graph, Closing("test", "closing"), probe)
        await wait_idle(graph)
        follower = EventFollower(graph, recorded.provider, origins=[SOURCE])
        follower.__enter__()
        nursery.start_soon(follower.run)
        await trio.sleep(1.5)
        source.broadcast(Event(1))
        await trio.sleep(0.1)
        assert not nursery.child_tasks
        assert nothing_is_left(graph)
    assert len(probe.events) == 2
    assert follower.missed == {"lost": 2}


async def test_an_event_that_never_ends_is_followed_for_so_many_steps(
    autojump_clock: trio.abc.Clock,
) -> None:
    recorded = Recorded()
    async with Graph() as graph:
        source = chain(graph, Relay("test", "a"), Relay("test", "b"))
        graph.link_up(Address("test", "b"), Address("test", "a"))
        await wait_idle(graph)
        with EventFollower(graph, recorded.provider, origins=[SOURCE]) as follower:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(follower.run)
                await trio.sleep(1.5)
                source.broadcast(Event(1))
                while not follower.missed:
                    await trio.lowlevel.checkpoint()
                    assert len(recorded.spans) < 3 * STEPS
                nursery.cancel_scope.cancel()
            assert nothing_is_left(graph)
        assert follower.missed == {"long": 1}
        graph.link_down(Address("test", "b"), Address("test", "a"))
    assert len(recorded.of("handler")) == STEPS - 1  # one is the source's
    assert len(recorded.of("event")) == 1


async def test_a_handler_that_never_returns_is_given_up(
    autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Playing(Relay):
        async def on_event(self, event: Event) -> None:  # type: ignore[override]
            for number in range(10_000):
                self.delegate.broadcast(Event(number))
                await trio.sleep(0.02)

    monkeypatch.setattr(  # it reads the real clock
        "eventgraph.telemetry.spans.perf_counter_ns", lambda: int(trio.current_time() * 1e9)
    )
    recorded = Recorded()
    async with Graph() as graph:
        source = chain(graph, Playing("test", "playing"), Node("test", "b"))
        await wait_idle(graph)
        with EventFollower(graph, recorded.provider, origins=[SOURCE]) as follower:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(follower.run)
                await trio.sleep(1.5)
                source.broadcast(Event(1))
                await trio.sleep(15)
                nursery.cancel_scope.cancel()
            assert follower.missed == {"lost": 1}
            assert nothing_is_left(graph)
        await trio.sleep(200)
