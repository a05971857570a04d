"""A link into a FlowProviderNode comes out of a FlowConsumerNode, in another process or here."""

import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import trio

from eventgraph import Address, Event, Graph, views
from eventgraph.flows import (
    Block,
    Consumer,
    FlowClient,
    Provider,
    ProviderOptions,
    ServerOptions,
    SlowConsumer,
)
from eventgraph.flows.event_wire import EventPacker, EventUnpacker, RawUnpacker
from eventgraph.flows.nodes import FlowConsumerNode, FlowProviderNode
from eventgraph.state import NodeState
from eventgraph.testing import Probe, wait_idle

from .launching import server_in_process

TIMEOUT = 20  # seconds, many times what anything here takes
SHARED = ProviderOptions(inline=0, slots=4, max_block=1 << 20)
"""All in shared memory, and little of it."""


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[FlowClient]:
    options = ServerOptions("nodes", runtime_directory=tmp_path, registry="", idle_timeout=1)
    async with server_in_process(options) as (_, _, client):
        yield client


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(TIMEOUT):
        while not condition():  # noqa: ASYNC110  # a probe has nothing to wait on
            await trio.sleep(0.002)


class Ends:
    """A graph with a flow in the middle."""

    def __init__(self, graph: Graph, out: FlowProviderNode, into: FlowConsumerNode) -> None:
        self.graph = graph
        self.out, self.into = out, into
        self.delegate = graph.add_node(out)
        self.probe = Probe("b", "probe")
        graph.add_node(self.probe)
        graph.add_node(into).request_link_up("b", "probe")

    async def pass_on(self, *events: Event) -> list[Event]:
        """What comes of them on the other side."""
        before = len(self.probe.events)
        for event in events:
            self.delegate.deliver_self(event)
        await until(lambda: len(self.probe.events) >= before + len(events))
        return self.probe.events[before:]


@asynccontextmanager
async def ends(
    client: FlowClient,
    options: ProviderOptions | None = None,
    *,
    provide: dict[str, Any] | None = None,
    **consume: Any,
) -> AsyncIterator[Ends]:
    provider = await client.provide("a/out", options=options)
    consumer = await client.consume("a/out")
    await until(lambda: bool(provider.consumers and consumer.sources))
    async with Graph() as graph:
        yield Ends(
            graph,
            FlowProviderNode("a", "out", provider, **(provide or {})),
            FlowConsumerNode("b", "in", consumer, **consume),
        )


@pytest.mark.parametrize(
    "event",
    [
        Event(1, b"bytes"),
        Event(-(2**63), b""),
        Event(2**63, b"too large a cmd for the header"),
        Event(7, b"\x00" * 100_000, Address("a", "b" * 300)),
        Event(7, b"x", Address("a", "b" * 70_000)),
        Event(2, {"a": [1, 2.5, None], "b": "ü"}, Address("s", "n")),
        Event(3, None),
        Event(4, ["eb", b"eb"]),
    ],
    ids=[str(number) for number in range(8)],
)
@pytest.mark.parametrize("options", [None, SHARED], ids=["inline", "in shared memory"])
async def test_event_comes_out_as_it_went_in(
    event: Event, options: ProviderOptions | None, client: FlowClient
) -> None:
    async with ends(client, options) as flow:
        (got,) = await flow.pass_on(event)
        assert (got, type(got.obj)) == (event, type(event.obj))


@pytest.mark.parametrize("inline", [0, 60_000])
async def test_views_travel_as_their_bytes(inline: int, client: FlowClient) -> None:
    numbers = np.arange(12, dtype="<i4").reshape(3, 4)
    views_of = [numbers.data, memoryview(bytearray(b"ab")), memoryview(b"")]
    async with ends(client, ProviderOptions(inline=inline)) as flow:
        got = await flow.pass_on(*[Event(1, view) for view in views_of], Event(1, bytearray(b"c")))
        assert [event.obj for event in got] == [numbers.tobytes(), b"ab", b"", b"c"]


async def test_events_are_in_order_and_none_is_lost_if_the_flow_blocks(client: FlowClient) -> None:
    options = ProviderOptions(slow_consumer=SlowConsumer.BLOCK, slots=3, inline=64)
    provider = await client.provide("a/out", options=options)
    consumer = await client.consume("a/out")
    await until(lambda: bool(provider.consumers))
    count = 600

    class Slow(Probe):
        channel_size = 2

        async def on_event(self, event: Event) -> None:  # type: ignore[override]
            await trio.lowlevel.checkpoint()
            super().on_event(event)

    async with Graph() as here, Graph() as there:
        here.add_node(FlowProviderNode("a", "out", provider))
        source = here.add_node(Probe("a", "source"))
        link = source.request_link_up("a", "out")
        probe = Slow("b", "sink")
        there.add_node(probe)
        node = FlowConsumerNode("b", "in", consumer, patience=10)
        there.add_node(node).request_link_up("b", "sink")
        with trio.fail_after(TIMEOUT):
            for number in range(count):  # every other is larger than `inline`
                event = Event(number, bytes(1 + number % 2 * 1000))
                assert await source.deliver_within(link, event, 10)
        await until(lambda: len(probe.events) == count)
    assert [event.cmd for event in probe.events] == list(range(count))


async def test_what_is_copied_stays_when_its_slot_is_written_again(client: FlowClient) -> None:
    async with ends(client, SHARED) as flow:
        first = (await flow.pass_on(Event(0, b"0" * 5000)))[0]
        for number in range(1, 9):
            await flow.pass_on(Event(number, bytes([48 + number]) * 5000))
        assert first.obj == b"0" * 5000
        await until(lambda: flow.out.provider.statistics().slots_held == 0)


async def test_view_that_is_asked_for_is_not_one_of_shared_memory(client: FlowClient) -> None:
    async with ends(client, SHARED, payload_type=memoryview) as flow:
        first, second = await flow.pass_on(
            Event(0, b"0" * 5000), Event(2**63, b"too large a cmd for the header" * 100)
        )
        for number in range(1, 9):
            await flow.pass_on(Event(number, bytes([48 + number]) * 5000))
        assert isinstance(first.obj, memoryview)
        assert (bytes(first.obj), bytes(second.obj)[:3]) == (b"0" * 5000, b"too")


async def test_block_that_is_handed_over_has_no_copy_and_holds_its_slot(
    client: FlowClient,
) -> None:
    async with ends(client, SHARED, hand_over=True) as flow:
        numbers = np.arange(1000, dtype="<f8")
        (event,) = await flow.pass_on(Event(5, numbers.data, Address("x", "y")))
        block = event.obj
        assert isinstance(block, Block)
        assert (event.cmd, event.reply_to) == (5, Address("x", "y"))
        array = np.frombuffer(block.data, "<f8")
        assert array.flags.aligned
        assert not array.flags.writeable
        assert (array == numbers).all()
        assert flow.out.provider.statistics().slots_held == 1
        block.release()
        await until(lambda: flow.out.provider.statistics().slots_held == 0)


async def test_block_that_is_handed_over_is_given_back_when_nobody_has_it(
    client: FlowClient,
) -> None:
    async with ends(client, SHARED, hand_over=True) as flow:
        await flow.pass_on(Event(1, b"x" * 9000), Event(2, {"not": "bytes"}))
        assert flow.out.provider.statistics().slots_held == 1
        flow.probe.events.clear()
        gc.collect()
        await until(lambda: flow.out.provider.statistics().slots_held == 0)


@pytest.mark.parametrize("hand_over", [False, True])
async def test_raw_block_has_key_format_and_timestamp(hand_over: bool, client: FlowClient) -> None:
    provider = await client.provide("mike/voice", "AUDIO,rate=8000", SHARED)
    consumer = await client.consume("*/voice")
    await until(lambda: bool(provider.consumers))
    async with Graph() as graph:
        probe = Probe("b", "probe")
        graph.add_node(probe)
        node = FlowConsumerNode("b", "in", consumer, raw=True, cmd=9, hand_over=hand_over)
        graph.add_node(node).request_link_up("b", "probe")
        provider.offer(b"sound", 12345)
        await until(lambda: bool(probe.events))
        (event,) = probe.events
        block = event.obj
        assert (event.cmd, block.key.group, str(block.format)) == (9, "mike", "AUDIO,rate=8000")
        assert (block.timestamp, bytes(block.data)) == (12345, b"sound")
        assert provider.statistics().slots_held == hand_over
        block.release()


async def test_raw_provider_sends_bytes_and_passes_blocks_on_with_their_timestamps(
    client: FlowClient,
) -> None:
    consumer = await client.consume("a/out")
    provider = await client.provide("a/out", "RAW")
    await until(lambda: bool(provider.consumers))
    async with Graph() as graph:
        node = FlowProviderNode("a", "out", provider, raw=True)
        delegate = graph.add_node(node)
        block = Block(provider.key, provider.format, 0, 777, memoryview(b"block"), None)
        for obj in (block, block, b"bytes", "text"):
            delegate.deliver_self(Event(1, obj))
        with trio.fail_after(TIMEOUT):
            with await consumer.receive() as first:
                assert (first.timestamp, bytes(first.data)) == (777, b"block")
            with await consumer.receive() as second:
                assert bytes(second.data) == b"bytes"
                assert second.timestamp > 777
        assert node.rejected == {"late": 1, "format": 1}


async def test_what_cannot_travel_is_counted_and_nobody_crashes(
    client: FlowClient, caplog: pytest.LogCaptureFixture
) -> None:
    async with ends(client) as flow:
        every_other = np.zeros(4, np.int16)[::2]
        for obj in (object(), object(), every_other.data, bytes(2 << 20)):
            flow.delegate.deliver_self(Event(1, obj))
        assert await flow.pass_on(Event(2, "fine")) == [Event(2, "fine")]
        assert flow.out.rejected == {"format": 3, "too_large": 1}
        assert flow.delegate.state is NodeState.RUNNING
        assert len(caplog.records) == 2


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"eb",
        b"eb\x02" + bytes(13),
        b"eb\x01\x00\xff\xff" + bytes(10),
        b"eb\x01\x00\x20\x00\x02\x00" + bytes(8) + b"\xc1\xc1" + bytes(14),
        b"eb\x01\x00\x10\x00\x05\x00" + bytes(8),
        b"eg\x01\x00" + bytes(12),
        b"eg\x01\x00" + bytes(12) + b"\xdd\xff\xff\xff\xff",
        EventPacker()(Event(1, "text, not a number")).data,
        b"".join(reversed(EventPacker()(Event(1, b"bytes, not a number"))[:2])),
        b"\x93" * 5000,
    ],
    ids=lambda block: repr(bytes(block[:12])),
)
async def test_block_that_is_no_event_is_counted_and_given_back(
    block: bytes, client: FlowClient, caplog: pytest.LogCaptureFixture
) -> None:
    async with ends(client, SHARED, payload_type=int, hand_over=block[:2] == b"eg") as flow:
        for number in range(10):
            flow.out.provider.offer(block)
            await until(lambda number=number: flow.into.rejected["format"] > number)  # type: ignore[misc]
        assert [(e.cmd, e.obj) for e in await flow.pass_on(Event(2, 42))] == [(2, 42)]
        assert flow.into.rejected == {"format": 10}
        assert len(caplog.records) == 1
        await until(lambda: flow.out.provider.statistics().slots_held == 0)


async def test_block_of_too_many_elements_is_counted_and_given_back(
    client: FlowClient, caplog: pytest.LogCaptureFixture
) -> None:
    large, allowed = Event(1, [[]] * 200_000), Event(1, [[]] * 100_000)
    async with ends(client, SHARED) as flow:
        flow.out.provider.offer(EventPacker()(large).data)
        await until(lambda: flow.into.rejected["format"] == 1)
        assert "more than 131072 elements" in caplog.text
        assert await flow.pass_on(allowed) == [allowed]
    async with ends(client, SHARED, unpack=EventUnpacker(max_elements=300_000)) as flow:
        assert await flow.pass_on(large) == [large]


class Point(msgspec.Struct):
    x: int


async def test_payload_is_what_was_asked_for(client: FlowClient) -> None:
    async with ends(client, payload_type=Point) as flow:
        assert (await flow.pass_on(Event(1, Point(3))))[0].obj == Point(3)


async def test_own_ways_to_pack_and_unpack(client: FlowClient) -> None:
    pack = EventPacker(lambda number: [number.real, number.imag])
    async with ends(client, provide={"pack": pack}, unpack=RawUnpacker(8)) as flow:
        (event,) = await flow.pass_on(Event(1, 2 + 1j))
        assert event.cmd == 8
        assert msgspec.msgpack.encode([2.0, 1.0]) in bytes(event.obj.data)


async def test_node_drops_and_counts_while_its_flow_is_stopped(client: FlowClient) -> None:
    async with ends(client, ProviderOptions(allow_flow_control=True)) as flow:
        await flow.into.consumer.stop()
        await until(lambda: not flow.out.provider.running)
        for _ in range(5):
            flow.delegate.deliver_self(Event(1))
        await wait_idle(flow.graph)
        (out,) = [link for link in flow.graph.snapshot().links if link.id == -1 and not link.up]
        assert (out.counts.offered, out.counts.dropped) == (5, {"stopped": 5})
        await flow.into.consumer.start()
        await until(lambda: flow.out.provider.running)
        assert await flow.pass_on(Event(2)) == [Event(2)]


@pytest.mark.parametrize("policy", list(SlowConsumer))
async def test_provider_node_crashes_at_once_when_another_takes_over(
    policy: SlowConsumer, client: FlowClient
) -> None:
    async with Graph() as graph:
        old = await client.provide("a/out", options=ProviderOptions(slow_consumer=policy))
        delegate = graph.add_node(FlowProviderNode("a", "out", old))
        await delegate.wait_entered()
        await client.provide("a/out")
        with trio.fail_after(TIMEOUT):
            await delegate.wait_exited()
        assert "FlowObsoleteError" in graph.snapshot().crashes[0].error


async def test_provider_node_that_waits_for_room_crashes_when_another_takes_over(
    client: FlowClient,
) -> None:
    options = ProviderOptions(slow_consumer=SlowConsumer.BLOCK, wait_clients=1)
    async with Graph() as graph:
        old = await client.provide("a/out", options=options)
        delegate = graph.add_node(FlowProviderNode("a", "out", old))
        for number in range(delegate._member.capacity):  # so that it is full
            delegate.deliver_self(Event(number))
        await delegate.wait_entered()
        await client.provide("a/out")
        with trio.fail_after(TIMEOUT):
            await delegate.wait_exited()
        assert "FlowObsoleteError" in graph.snapshot().crashes[0].error


@pytest.mark.parametrize("end", ["provider", "consumer"])
async def test_node_whose_end_is_closed_already_crashes(end: str, client: FlowClient) -> None:
    closed: Provider | Consumer
    node: FlowProviderNode | FlowConsumerNode
    if end == "provider":
        closed = await client.provide("a/out")
        node = FlowProviderNode("a", "out", closed)
    else:
        closed = await client.consume("a/out")
        node = FlowConsumerNode("a", "out", closed)
    closed.close()
    async with Graph() as graph:
        with trio.fail_after(TIMEOUT):
            await graph.add_node(node).wait_exited()
        assert "was closed" in graph.snapshot().crashes[0].error


async def test_consumer_node_crashes_when_its_consumer_is_closed_under_it(
    client: FlowClient,
) -> None:
    async with Graph() as graph:
        consumer = await client.consume("a/out")
        delegate = graph.add_node(FlowConsumerNode("b", "in", consumer))
        await delegate.wait_entered()
        consumer.close()
        with trio.fail_after(TIMEOUT):
            await delegate.wait_exited()
        assert "the consumer of a/out was closed" in graph.snapshot().crashes[0].error


async def test_ends_are_closed_with_their_nodes(client: FlowClient) -> None:
    async with ends(client) as flow:
        provider, consumer = flow.out.provider, flow.into.consumer
    assert provider.error is not None
    assert consumer.error is not None
    listing = await client.look()
    assert not list(listing.flows())


async def test_flow_looks_like_links_in_the_snapshot(client: FlowClient) -> None:
    async with ends(client) as flow:
        await flow.pass_on(*[Event(number) for number in range(10)])
        flow.out.provider.offer(b"nothing to be read")
        await until(lambda: flow.into.rejected["format"] == 1)
        snapshot = flow.graph.snapshot()
        remote = {
            (str(link.sender), str(link.receiver)): link.counts
            for link in snapshot.links
            if link.id < 0
        }
        assert {ways: counts.handled for ways, counts in remote.items()} == {
            ("out@a", "out@a"): 11,
            ("out@a", "test@a/out"): 11,
            ("out@a", "in@b"): 10,
        }
        for counts in remote.values():
            assert counts.offered == counts.handled + counts.queued + sum(counts.dropped.values())
        assert remote["out@a", "in@b"].dropped == {"format": 1}
        assert views.from_json(views.to_json(snapshot)) == snapshot
        for view in (views.to_text, views.to_mermaid, views.to_dot):
            assert "remote" in view(snapshot)


async def test_full_channel_drops_media_and_is_counted_on_the_link(client: FlowClient) -> None:
    class Slow(Probe):
        channel_size = 4

        async def on_event(self, event: Event) -> None:  # type: ignore[override]
            await trio.sleep(0.01)
            super().on_event(event)

    provider = await client.provide("a/out", options=ProviderOptions(backlog=1000))
    consumer = await client.consume("a/out")
    await until(lambda: bool(provider.consumers))
    async with Graph() as graph:
        probe = Slow("b", "sink")
        graph.add_node(probe)
        graph.add_node(FlowConsumerNode("b", "in", consumer)).request_link_up("b", "sink")
        for _ in range(100):
            provider.offer(b"eb\x01\x00\x10\x00" + bytes(10))
        await until(lambda: consumer.statistics().blocks == 100)
        (link,) = [link for link in graph.snapshot().links if link.receiver == Address("b", "sink")]
        assert link.counts.offered == 100
        assert link.counts.dropped["full"] > 50
