"""An event that is followed stays so on its way through a pipe and a flow."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trio
from opentelemetry.sdk.trace import ReadableSpan

from eventgraph import Address, Event, FollowedEvent, Graph, Node, TraceContext
from eventgraph.flows import FlowClient, ProviderOptions, ServerOptions, SlowConsumer
from eventgraph.flows.nodes import FlowConsumerNode, FlowProviderNode
from eventgraph.pipes import DestinationNode, GroupNode, open_pipes
from eventgraph.telemetry import EventFollower
from eventgraph.testing import Probe
from tests.flows.launching import server_in_process
from tests.telemetry.spans import Recorded, interval, is_child, phase_of

TIMEOUT = 20  # seconds, many times what anything here takes
SOURCE = Address("a", "source")
PARENT = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(TIMEOUT):
        while not condition():  # noqa: ASYNC110  # a probe has nothing to wait on
            await trio.sleep(0.002)


class Ends:
    """Two graphs, one behind the other, each followed, in a trace of its own provider."""

    def __init__(self, here: Graph, there: Graph, out: Node, into: Node) -> None:
        self.here, self.there = Recorded(), Recorded()
        self.followers = (
            EventFollower(here, self.here.provider, origins=[SOURCE], interval=0.01),
            EventFollower(there, self.there.provider),
        )
        here.add_node(out)
        self.source = here.add_node(Node("a", "source"))
        self.link = self.source.request_link_up("a", "out")
        self.probe = Probe("b", "sink")
        there.add_node(self.probe)
        there.add_node(into).request_link_up("b", "sink")

    async def follow(self, make: Callable[[int], Event], count: int = 1) -> list[ReadableSpan]:
        """Deliver until so many have been followed; all spans."""
        number = 0
        here, there = self.followers
        with here, there, trio.fail_after(TIMEOUT):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(here.run)
                while there.continued < count:
                    number += 1
                    self.source.deliver(self.link, make(number))
                    await trio.sleep(0.005)
                nursery.cancel_scope.cancel()
            await until(lambda: len(self.probe.events) == number)
        return [*self.here.spans, *self.there.spans]


@asynccontextmanager
async def by_pipe(path: Path, **member: Any) -> AsyncIterator[Ends]:
    async with open_pipes(f"embedded:{path}/r") as pipes, Graph() as here, Graph() as there:
        destination = await pipes.register("sound")
        out = DestinationNode("a", "out", destination)
        into = GroupNode("b", "in", await pipes.join("sound", "g", **member), patience=TIMEOUT)
        await destination.wait_for_members("g")
        yield Ends(here, there, out, into)


@asynccontextmanager
async def by_flow(
    path: Path, options: ProviderOptions | None = None, **node: Any
) -> AsyncIterator[Ends]:
    server = ServerOptions("otel", runtime_directory=path, registry="", idle_timeout=1)
    async with server_in_process(server) as (_, _, client), Graph() as here, Graph() as there:
        assert isinstance(client, FlowClient)
        provider = await client.provide("a/out", options=options)
        consumer = await client.consume("a/out")
        await until(lambda: bool(provider.consumers and consumer.sources))
        out = FlowProviderNode("a", "out", provider)
        yield Ends(here, there, out, FlowConsumerNode("b", "in", consumer, **node))


WAYS: dict[str, tuple[Any, dict[str, Any]]] = {
    "pipe": (by_pipe, {}),
    "pipe of bytes": (by_pipe, {"payload_type": bytes}),
    "flow": (by_flow, {}),
    "flow with patience": (by_flow, {"patience": 1.0}),
    "flow that blocks": (by_flow, {"options": ProviderOptions(slow_consumer=SlowConsumer.BLOCK)}),
    "flow in shared memory": (by_flow, {"options": ProviderOptions(inline=0)}),
    "flow that hands over": (by_flow, {"hand_over": True}),
}


@pytest.mark.parametrize("way", WAYS)
async def test_times_add_up_from_the_first_channel_to_the_last_handler(
    way: str, tmp_path: Path
) -> None:
    connect, options = WAYS[way]
    async with connect(tmp_path, **options) as ends:
        spans = await ends.follow(lambda _number: Event(1, b"x" * 100, Address("a", "source")))
        assert not any(isinstance(event, FollowedEvent) for event in ends.probe.events)
        assert {event.reply_to for event in ends.probe.events} == {Address("a", "source")}
    (wire,) = ends.there.of("wire")[:1]
    assert wire.context is not None
    trace = wire.context.trace_id
    spans = [span for span in spans if span.context is not None and span.context.trace_id == trace]
    order = ["queue", "handler", "wire", "handler", "queue", "handler"]
    parts = sorted((span for span in spans if phase_of(span) != "event"), key=interval)
    assert [phase_of(span) for span in parts] == order
    assert [span.name for span in parts if phase_of(span) == "handler"] == [
        *("out@a", "in@b", "sink@b"),
    ]
    for before, after in pairwise(parts):
        assert interval(before)[1] == interval(after)[0]
    took = sum(end - start for start, end in map(interval, parts))
    assert took == interval(parts[-1])[1] - interval(parts[0])[0] > 0
    _, out, _, into, _, sink = parts
    assert is_child(wire, out)
    assert is_child(into, wire)
    assert is_child(sink, into)


@pytest.mark.parametrize("connect", [by_pipe, by_flow])
async def test_anything_that_travels_can_be_followed(connect: Any, tmp_path: Path) -> None:
    sent = [None, b"", {"a": [1, 2.5]}, "text", b"x" * 60_000]
    async with connect(tmp_path) as ends:
        await ends.follow(lambda number: Event(number, sent[number % len(sent)]), count=5)
        for event in ends.probe.events:
            assert event.obj == sent[event.cmd % len(sent)]
        assert not ends.followers[0].missed
        assert not ends.followers[1].missed


@pytest.mark.parametrize("connect", [by_pipe, by_flow])
async def test_where_nobody_follows_only_the_event_arrives(connect: Any, tmp_path: Path) -> None:
    async with connect(tmp_path) as ends:
        here, _ = ends.followers
        with here, trio.fail_after(TIMEOUT):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(here.run)
                sent = 0
                while here.begun < 3:
                    ends.source.deliver(ends.link, Event(1, b"x"))
                    sent += 1
                    await trio.sleep(0.005)
                nursery.cancel_scope.cancel()
        await until(lambda: len(ends.probe.events) == sent)
        assert set(map(type, ends.probe.events)) == {Event}


async def test_member_without_a_graph_sees_that_an_event_is_followed(tmp_path: Path) -> None:
    trace = TraceContext(PARENT, 5)
    async with open_pipes(f"embedded:{tmp_path}/r") as pipes:
        destination = await pipes.register("sound")
        member = await pipes.join("sound", "g")
        await destination.wait_for_members("g")
        destination.deliver(FollowedEvent(1, "x", trace=trace))
        destination.deliver(Event(2, "y"))
        with trio.fail_after(TIMEOUT):
            assert await anext(member) == FollowedEvent(1, "x", trace=trace)
            assert await anext(member) == Event(2, "y")


@pytest.mark.parametrize("parent", ["", "nonsense", "00-" + "0" * 32 + "-" + "0" * 16 + "-01"])
async def test_what_nobody_could_follow_is_not(parent: str, tmp_path: Path) -> None:
    async with by_pipe(tmp_path) as ends:
        with ends.followers[1]:
            await (
                ends.followers[0]
                ._graph.node_at(Address("a", "out"))
                .destination.deliver_within(  # type: ignore[attr-defined]
                    FollowedEvent(1, "x", trace=TraceContext(parent, 2**62)), 1
                )
            )
            await until(lambda: len(ends.probe.events) == 1)
        assert not ends.there.spans
        assert ends.followers[1].continued == 0


async def test_who_marks_all_events_is_followed_so_often_and_no_more(tmp_path: Path) -> None:
    async with by_pipe(tmp_path) as ends:
        with ends.followers[1] as follower:
            node = ends.followers[0]._graph.node_at(Address("a", "out"))
            assert isinstance(node, DestinationNode)
            for number in range(1000):
                trace = TraceContext(PARENT, number)
                await node.destination.deliver_within(FollowedEvent(1, "x", trace=trace), TIMEOUT)
            await until(lambda: len(ends.probe.events) == 1000)
        assert follower.continued + follower.missed["rate"] == 1000
        assert follower.missed["rate"] > 0
        wires = ends.there.of("wire")
        assert len(wires) == follower.continued
