"""What nodes get is what they get without a follower, whatever is done to the graph meanwhile."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from random import Random
from typing import Any

import msgspec
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider

from eventgraph import Address, Event, Graph, GraphError, Node, NodeDelegate, RestartPolicy
from eventgraph.telemetry import EventFollower
from eventgraph.testing import run
from tests.telemetry.test_follower import nothing_is_left

CRASH = 13
PACE = 0.0501  # seconds between two acts
NAMES = "abcd"
KINDS = ("relay", "twice", "slicer", "keeper", "waiting", "patient")

Log = dict[str, list[tuple[str, int]]]
"""Of each node, what it got, in order."""


class Busy(Node):
    """Notes what it gets, and hands it on as its kind does."""

    channel_size = 4
    delegate: NodeDelegate

    def __init__(self, name: str, kind: str, log: Log) -> None:
        super().__init__("test", name)
        self.kind = kind
        self.log = log.setdefault(name, [])
        self.kept = Event(0)
        self.times = Random(name)

    def on_enter(self, delegate: NodeDelegate) -> None:
        self.delegate = delegate
        self.log.append(("enters", 0))

    def on_exit(self) -> None:
        self.log.append(("exits", 0))

    def note(self, event: Event) -> Event:
        assert type(event) is Event
        self.log.append(("got", event.cmd))
        if event.cmd == CRASH:
            raise ValueError(self.name)
        return event if event.cmd <= 0 else Event(event.cmd - 1, event.obj)

    def on_event(self, event: Event) -> Any:
        then = self.note(event)
        if event.cmd <= 0:
            return
        match self.kind:
            case "twice":
                self.delegate.broadcast(then)
                self.delegate.broadcast(then)
            case "slicer":
                self.delegate.deliver_self(then)
                self.delegate.broadcast(then)
            case "keeper":
                self.delegate.broadcast(self.kept)
                self.kept = then
            case _:
                self.delegate.broadcast(then)


class Slow(Busy):
    """In a task of its own.

    Whether it or the dispatcher has the first turn is drawn by trio. So it is never full, and what
    others notice it does when they are done, each at a time of its own.
    """

    channel_size = 10_000

    async def on_event(self, event: Event) -> None:
        await trio.sleep(self.times.uniform(0.001, 0.007))
        then = self.note(event)
        if event.cmd <= 0:
            return
        if self.kind == "patient":
            for link in list(self.delegate.links)[:1]:  # before a second, others have their turn
                await self.delegate.deliver_within(link, then, 0.0123)
        else:
            self.delegate.broadcast(then)


class Spans:
    """Counts those that have begun and not ended."""

    def __init__(self) -> None:
        self.provider = TracerProvider()
        self.provider.add_span_processor(self)  # type: ignore[arg-type]
        self.open = self.ended = 0

    def on_start(self, _span: object, parent_context: object) -> None:
        self.open += 1

    def _on_ending(self, _span: object) -> None:
        pass

    def on_end(self, _span: object) -> None:
        self.open -= 1
        self.ended += 1

    def shutdown(self) -> None:
        pass


class Act(msgspec.Struct, frozen=True):
    """What is done to the graph.

    Attributes:
        how: the name of a method of `Run`, and what it is to be told.
    """

    how: str
    arguments: tuple[Any, ...]


class Run:
    """One run of the acts."""

    def __init__(self, kinds: dict[str, str], restarts: bool) -> None:
        self.log: Log = {}
        self._kinds = kinds
        self._restarts = restarts
        self._watching: list[AbstractContextManager[object]] = []

    def node(self, name: str) -> Node:
        kind = self._kinds[name]
        return (Slow if kind in {"waiting", "patient"} else Busy)(name, kind, self.log)

    def add(self, graph: Graph, name: str) -> None:
        with suppress(GraphError):
            if self._restarts:
                policy = RestartPolicy(max_restarts=1000, backoff=0.0102, jitter=0)
                graph.supervise(lambda: self.node(name), policy)
            else:
                graph.add_node(self.node(name))

    def _delegate(self, graph: Graph, name: str) -> NodeDelegate:
        return graph.runtime.topology.find(Address("test", name)).delegate  # type: ignore[attr-defined,no-any-return]

    def deliver(self, graph: Graph, name: str, cmds: list[int]) -> None:
        delegate = self._delegate(graph, name)
        for cmd in cmds:
            delegate.broadcast(Event(cmd))

    def itself(self, graph: Graph, name: str, cmds: list[int]) -> None:
        delegate = self._delegate(graph, name)
        for cmd in cmds:
            delegate.deliver_self(Event(cmd))

    def thread(self, graph: Graph, name: str, cmds: list[int]) -> None:
        delegate = self._delegate(graph, name)
        for link in delegate.links:
            for cmd in cmds:
                delegate.deliver_from_thread(link, Event(cmd))

    def link(self, graph: Graph, name: str, other: str) -> None:
        graph.link_up(Address("test", name), Address("test", other))

    def unlink(self, graph: Graph, name: str, other: str) -> None:
        graph.link_down(Address("test", name), Address("test", other))

    def exit(self, graph: Graph, name: str) -> None:
        self._delegate(graph, name).request_exit()

    def watch(self, graph: Graph, how: str, name: str, other: str) -> None:
        """By what is of no account either."""
        address = Address("test", name)
        found: AbstractContextManager[object]
        if how == "tap":
            found = graph.tap(address, size=2)
        elif how == "trace":
            route = [address, Address("test", other)]
            found = graph.trace(route, lambda _trace: None, interval=0)
        else:
            found = graph.trace_node(address, interval=0)
        found.__enter__()
        self._watching.append(found)

    def unwatch(self, _graph: Graph, which: int) -> None:
        if self._watching:
            self._watching.pop(which % len(self._watching)).__exit__(None, None, None)

    def look(self, graph: Graph) -> list[object]:
        """All counts."""
        found = graph.snapshot()
        for way in [link.counts for link in found.links] + [found.totals]:
            assert way.offered == way.handled + way.queued + sum(way.dropped.values())
        return [found.nodes, found.links, found.totals, found.crash_count, found.restart_count]


@contextmanager
def followed(
    graph: Graph, spans: Spans, origins: list[Address], limit: int
) -> Iterator[EventFollower]:
    with EventFollower(
        graph, spans.provider, origins=origins, interval=0.6 * PACE, limit=limit
    ) as follower:
        yield follower
    assert not follower._stops
    assert not follower._under_way
    assert not follower.missed["failed"]


async def carry_out(
    kinds: dict[str, str], links: set[tuple[str, str]], acts: list[Act], limit: int, restarts: bool
) -> tuple[Log, list[list[object]], int]:
    """What all nodes got, in order, and the counts after each act; limit 0: not followed."""
    acting, looks, spans = Run(kinds, restarts), list[list[object]](), Spans()
    async with Graph() as graph:
        for name in kinds:
            acting.add(graph, name)
        for name, other in sorted(links):
            acting.link(graph, name, other)
        await trio.sleep(PACE)
        with ExitStack() as stack:
            origins = [Address("test", name) for name in NAMES[:2]]
            async with trio.open_nursery() as nursery:
                if limit:
                    nursery.start_soon(
                        stack.enter_context(followed(graph, spans, origins, limit)).run
                    )
                for act in acts:
                    with suppress(GraphError, ValueError):  # or a route of one node
                        getattr(acting, act.how)(graph, *act.arguments)
                    await trio.sleep(PACE)
                    if act.how not in {"watch", "unwatch"}:
                        looks.append(acting.look(graph))
                nursery.cancel_scope.cancel()
            while acting._watching:
                acting.unwatch(graph, len(looks))
        assert nothing_is_left(graph)
        await trio.sleep(5)
        looks.append(acting.look(graph))
        for name in kinds:
            with suppress(GraphError):
                acting.exit(graph, name)
            await trio.sleep(5)
        looks.append(acting.look(graph))
    assert not spans.open
    return acting.log, looks, spans.ended


names = st.sampled_from(NAMES)
cmds = st.lists(st.sampled_from([1, 2, 3, 4, 0, CRASH]), min_size=1, max_size=6)
deliveries = st.builds(
    Act,
    st.sampled_from(["deliver", "deliver", "itself", "thread"]),
    st.tuples(st.sampled_from(NAMES[:2]), cmds),
)
acts = st.one_of(
    deliveries,
    deliveries,
    deliveries,
    st.builds(Act, st.sampled_from(["link", "unlink"]), st.tuples(names, names)),
    st.builds(Act, st.just("exit"), st.tuples(names)),
    st.builds(Act, st.just("add"), st.tuples(names)),
    st.builds(
        Act,
        st.just("watch"),
        st.tuples(st.sampled_from(["tap", "tap", "trace", "node"]), names, names),
    ),
    st.builds(Act, st.just("unwatch"), st.tuples(st.integers(0, 9))),
)


@pytest.mark.filterwarnings("error")
@settings(max_examples=100, deadline=None)
@given(
    kinds=st.fixed_dictionaries({name: st.sampled_from(KINDS) for name in NAMES}),
    links=st.sets(st.tuples(names, names), min_size=4, max_size=10),
    acts=st.lists(acts, min_size=10, max_size=25),
    limit=st.sampled_from([1, 3, 64]),
    restarts=st.booleans(),
)
def test_nodes_get_the_same_in_the_same_order_with_a_follower(
    kinds: dict[str, str],
    links: set[tuple[str, str]],
    acts: list[Act],
    limit: int,
    restarts: bool,
) -> None:
    with pytest.MonkeyPatch.context() as patch:  # turns are not cut short on a busy machine
        patch.setattr("eventgraph.dispatch.perf_counter", lambda: 0.0)
        without = run(carry_out, kinds, links, acts, 0, restarts)
        assert run(carry_out, kinds, links, acts, limit, restarts)[:2] == without[:2]
