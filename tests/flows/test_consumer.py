"""A consumer takes blocks of whoever provides its flow, in order, none twice, and of the past."""

import gc
import os
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator

import pytest
import trio
import trio.testing

from eventgraph.flows.block import Block
from eventgraph.flows.block_wire import DONE, HISTORY, INLINE, RELEASE, SLOT, pack, unpack
from eventgraph.flows.clock import now
from eventgraph.flows.consumer import MAX_UNREAD, Consumer
from eventgraph.flows.errors import (
    FlowClosedError,
    FlowOptionError,
    FlowProtocolError,
    FlowUnreadError,
)
from eventgraph.flows.key import FlowKey, FlowPattern
from eventgraph.flows.options import ProviderOptions, SlowConsumer
from eventgraph.flows.provider import Provider
from eventgraph.flows.ring import Ring, RingView
from eventgraph.flows.source import Source
from tests.flows.connected import (
    FORMAT,
    KEY,
    PATTERN,
    SHARED,
    TIMEOUT,
    connect,
    drained,
    hostile_provider,
    providing,
    received,
    until,
)

SMALL = ProviderOptions(history=100)


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    async with providing(SHARED) as provider:
        yield provider


@pytest.fixture
async def consumer() -> AsyncIterator[Consumer]:
    with Consumer(PATTERN) as consumer:
        yield consumer


@pytest.fixture
def ring() -> Iterator[Ring]:
    ring = Ring("consumed", 4, 4096)
    yield ring
    ring.close()


def sequences(blocks: list[Block]) -> list[int]:
    numbers = [block.sequence for block in blocks]
    for block in blocks:
        block.release()
    return numbers


def free(provider: Provider) -> bool:
    return provider.statistics().slots_held == 0


# Receive


async def test_gaps_are_those_blocks_that_were_dropped(
    provider: Provider, consumer: Consumer
) -> None:
    connect(provider, consumer)
    for _ in range(50):
        provider.offer(b"x")
    numbers = await drained(consumer)
    statistics = provider.statistics().consumers[0]
    assert (len(numbers), numbers[-1]) == (statistics.sent, 49)
    assert consumer.statistics().missed == 50 - len(numbers) == statistics.dropped["slow"]


async def test_consumer_that_joins_late_has_missed_nothing(
    provider: Provider, consumer: Consumer
) -> None:
    provider.offer(b"before")
    connect(provider, consumer)
    provider.offer(b"after")
    with await received(consumer) as block:
        assert block.sequence == 1
    assert consumer.statistics().missed == 0


async def test_blocks_are_shared_out_among_those_who_receive(
    provider: Provider, consumer: Consumer
) -> None:
    connect(provider, consumer)
    numbers: list[int] = []

    async def take() -> None:
        for _ in range(10):
            with await received(consumer) as block:
                numbers.append(block.sequence)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(take)
        for _ in range(30):
            await provider.send(b"x")
            await until(lambda: provider.statistics().consumers[0].waiting == 0)
    assert sorted(numbers) == list(range(30))
    await until(lambda: free(provider))


async def test_receive_that_is_cancelled_loses_no_block(
    provider: Provider, consumer: Consumer
) -> None:
    connect(provider, consumer)
    numbers = []
    for number in range(100):
        with trio.CancelScope() as scope:
            if number % 3:
                scope.cancel()
            else:
                provider.offer(b"x")
            with await received(consumer) as block:
                numbers.append(block.sequence)
    assert numbers == list(range(34))


async def test_many_flows_are_received_by_one_consumer_and_lossless_ones_lose_nothing() -> None:
    consumer = Consumer(FlowPattern("*", "flow"))
    options = ProviderOptions(slow_consumer=SlowConsumer.BLOCK)
    flows, count = 12, 400
    numbers: dict[FlowKey, list[int]] = {}

    async def provide(n: int) -> None:
        async with providing(options, FlowKey(f"group{n}", "flow")) as provider:
            connect(provider, consumer, flow=str(n))
            for _ in range(count):
                await provider.send(b"x")
            await provider.drain()

    with trio.fail_after(TIMEOUT):
        async with trio.open_nursery() as nursery:
            for n in range(flows):
                nursery.start_soon(provide, n)
            for _ in range(flows * count):
                with await consumer.receive() as block:
                    numbers.setdefault(block.key, []).append(block.sequence)
    assert len(numbers) == flows
    assert all(one == list(range(count)) for one in numbers.values())
    consumer.close()


async def test_consumer_that_is_closed_ends_all_that_waits(
    provider: Provider, consumer: Consumer
) -> None:
    connect(provider, consumer)

    async def iterate() -> None:
        async for _ in consumer:
            pass

    async def receive() -> None:
        with pytest.raises(FlowClosedError):
            await consumer.receive()

    async with trio.open_nursery() as nursery:
        for task in (iterate, receive, receive):
            nursery.start_soon(task)
        await trio.testing.wait_all_tasks_blocked()
        consumer.close()
        consumer.close()
    for ask in (consumer.receive, consumer.latest, consumer.stop, consumer.start):
        with pytest.raises(FlowClosedError):
            await ask()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ring = RingView(os.dup(provider.ring.fd))
    consumer.connect(Source("late", KEY, FORMAT, theirs, ring))
    assert ours.recv(1) == b""
    ours.close()


async def test_question_is_answered_while_another_task_receives(
    provider: Provider, consumer: Consumer
) -> None:
    """Who does not wait must not take the answer that another waits for."""
    connect(provider, consumer)
    provider.offer(b"x", 1)
    answers: list[int] = []
    with await received(consumer):
        pass

    async def ask() -> None:
        with trio.fail_after(TIMEOUT):
            for _ in range(200):
                answers.extend(sequences(await consumer.between(0, 1)))

    async def receive() -> None:
        while True:
            with trio.move_on_after(0.0005):
                await consumer.receive()
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        nursery.start_soon(receive)
        await ask()
        nursery.cancel_scope.cancel()
    assert answers == [0] * 200
    await until(lambda: free(provider))


# The past


@pytest.mark.parametrize("options", [SHARED, SMALL])
async def test_past_is_found_by_timestamp(options: ProviderOptions) -> None:
    async with providing(options) as provider:
        consumer = connect(provider)
        assert await consumer.latest() is None
        for number in range(5):
            provider.offer(b"%d" % number, 10 * number)
            with await received(consumer):
                pass
        for at, wanted in ((25, 2), (20, 2), (19, 1), (0, 0), (10**6, 4), (None, 4)):
            block = await consumer.latest(at)
            assert block is not None
            with block:
                assert (block.sequence, bytes(block.data)) == (wanted, b"%d" % wanted)
        assert await consumer.latest(-1) is None
        assert sequences(await consumer.between(10, 30, limit=2)) == [2, 3]
        assert sequences(await consumer.between(11, 29)) == [2]
        assert await consumer.between(30, 10) == []
        assert await consumer.between(0, 99, limit=0) == []
        assert await consumer.between(-(2**70), 2**70, limit=2**70) != []
        await until(lambda: free(provider) or options is SHARED)
        gc.collect()
        await until(lambda: free(provider))
        assert consumer.statistics().blocks == 5
        consumer.close()


async def test_past_goes_as_far_as_the_ring(provider: Provider, consumer: Consumer) -> None:
    connect(provider, consumer)
    for number in range(20):
        provider.offer(b"%d" % number, number)
        with await received(consumer):
            pass
    assert await consumer.latest(11) is None  # eight slots
    block = await consumer.latest(12)
    assert block is not None
    for _ in range(20):  # it is not written again while it is held
        provider.offer(b"new")
        with await received(consumer):
            pass
    assert bytes(block.data) == b"12"
    block.release()
    await until(lambda: free(provider))


async def test_past_is_asked_for_while_blocks_flow(consumer: Consumer) -> None:
    options = ProviderOptions(slow_consumer=SlowConsumer.BLOCK, inline=0, slots=32, max_block=100)
    async with providing(options) as provider, trio.open_nursery() as nursery:
        connect(provider, consumer)
        live: list[int] = []

        async def receive() -> None:
            async for block in consumer:
                with block:
                    assert bytes(block.data) == b"%d" % block.sequence
                    live.append(block.sequence)

        async def ask() -> None:
            for _ in range(50):
                blocks = await consumer.between(0, 2**62, limit=8)
                timestamps = [block.timestamp for block in blocks]
                assert timestamps == sorted(timestamps)
                for block in blocks:
                    assert bytes(block.data) == b"%d" % block.sequence
                numbers = sequences(blocks)
                assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))

        nursery.start_soon(receive)
        with trio.fail_after(TIMEOUT):
            await provider.send(b"0")
            async with trio.open_nursery() as asking:
                asking.start_soon(ask)
                asking.start_soon(ask)
                for number in range(1, 1000):
                    await provider.send(b"%d" % number)
            await until(lambda: len(live) == 1000)
        assert live == list(range(1000))
        await until(lambda: free(provider))
        nursery.cancel_scope.cancel()


async def test_question_that_is_cancelled_leaves_no_slot_held(
    provider: Provider, consumer: Consumer
) -> None:
    connect(provider, consumer)
    for number in range(4):
        provider.offer(b"x", number)
    assert len(await drained(consumer)) == 4
    for pause in range(20):
        with trio.move_on_after(pause * 0.0002):
            sequences(await consumer.between(0, 10))
    await drained(consumer)
    await until(lambda: free(provider))


async def test_latest_serves_who_never_receives(provider: Provider, consumer: Consumer) -> None:
    connect(provider, consumer)
    busy = connect(provider, name="busy")
    for number in range(100):
        provider.offer(b"%d" % number, number)
        with await received(busy):
            pass
        block = await consumer.latest()
        assert block is not None
        with block:
            assert block.sequence == number
    busy.close()


async def test_who_asks_and_never_receives_keeps_the_latest_blocks(consumer: Consumer) -> None:
    async with providing(SMALL) as provider:
        connect(provider, consumer)
        count = MAX_UNREAD + 500
        for number in range(count):
            provider.offer(b"x", number)
            if number % 20 == 0:
                sequences(await consumer.between(0, number, limit=1))
        sequences(await consumer.between(0, count, limit=1))
        numbers = await drained(consumer)
        assert numbers == list(range(count - len(numbers), count))
        statistics = consumer.statistics()
        assert statistics.unread == count - len(numbers) > 0
        assert statistics.missed == 0


async def test_who_asks_and_never_receives_what_must_not_be_lost_is_told(
    consumer: Consumer,
) -> None:
    async with providing(ProviderOptions(slow_consumer=SlowConsumer.BLOCK)) as provider:
        connect(provider, consumer)
        count = 0
        with pytest.raises(FlowUnreadError, match="receive"):
            while True:
                while provider.offer(b"x"):
                    count += 1
                sequences(await consumer.between(0, 10, limit=1))
        assert await drained(consumer) == list(range(count))
        assert consumer.statistics().missed == 0
        assert await consumer.between(0, 10) == []


async def test_past_of_several_flows_needs_a_key() -> None:
    consumer = Consumer(FlowPattern("*", "flow"))
    one, two = FlowKey("one", "flow"), FlowKey("two", "flow")
    async with providing(SMALL, one) as first, providing(SMALL, two) as second:
        connect(first, consumer, flow="1")
        connect(second, consumer, flow="2")
        second.offer(b"second")
        with pytest.raises(FlowOptionError, match="key="):
            await consumer.latest()
        assert await consumer.latest(key=one) is None
        block = await consumer.latest(key=two)
        assert block is not None
        assert bytes(block.data) == b"second"
        consumer.close()


async def test_question_ends_when_the_provider_does(consumer: Consumer, ring: Ring) -> None:
    peer = hostile_provider(consumer, ring.fd)
    async with trio.open_nursery() as nursery:

        async def ask() -> None:
            assert sequences(await consumer.between(0, 10)) == [3]

        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        kind, _, _, _, request, *_ = unpack(peer.recv(100))
        assert kind == HISTORY
        peer.send(pack(INLINE, 0, 0, 0, request, 3, 3))
        peer.close()


async def test_question_waits_till_there_is_room_for_it(consumer: Consumer, ring: Ring) -> None:
    """However often it is given up and put again to a provider that does not read."""
    peer = hostile_provider(consumer, ring.fd)
    for _ in range(500):
        with trio.move_on_after(0):
            await consumer.between(0, 10)
    for _ in range(400):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(consumer.between, 0, 10)
                await trio.lowlevel.checkpoint()
                await trio.lowlevel.checkpoint()
                scope.cancel()
    answered: list[list[Block]] = []

    async def ask() -> None:
        answered.append(await consumer.between(0, 10))

    async def answer() -> None:
        while not answered:
            try:
                peer.send(pack(DONE, 0, 0, 0, unpack(peer.recv(100))[4], 0, 0))
            except BlockingIOError:
                await trio.sleep(0.001)

    with trio.fail_after(TIMEOUT):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(answer)
    assert answered == [[]]
    peer.close()


# Take-over


async def test_takeover_delivers_no_block_twice_and_keeps_the_order(consumer: Consumer) -> None:
    async with providing(SMALL) as old, providing(SMALL) as new:
        connect(old, consumer, flow="old")
        timestamps = []
        for timestamp in (10, 20, 30):
            old.offer(b"old", timestamp)
            with await received(consumer) as block:
                timestamps.append(block.timestamp)
        connect(new, consumer, flow="new")
        for timestamp in (20, 30, 40, 50):
            new.offer(b"new", timestamp)
        for timestamp in (35, 60, 70):
            old.offer(b"old", timestamp)
        await trio.sleep(0.01)
        old.close()
        new.offer(b"new", 80)
        with trio.move_on_after(0.2):
            while True:
                with await consumer.receive() as block:
                    timestamps.append(block.timestamp)
        assert timestamps == sorted(set(timestamps))
        assert {10, 20, 30, 80} <= set(timestamps)
        statistics = consumer.statistics()
        assert len(timestamps) + statistics.repeated == 11
        assert (statistics.takeovers, statistics.missed) == (1, 0)
        assert [source.flow for source in consumer.sources] == ["new"]


async def test_gap_of_a_takeover_is_measured(consumer: Consumer) -> None:
    async with providing(SMALL) as old, providing(SMALL) as new:
        connect(old, consumer, flow="old")
        old.offer(b"old")
        before = now()
        with await received(consumer):
            pass
        had = now()
        old.close()
        await trio.sleep(0.03)
        connect(new, consumer, flow="new")
        began = now()
        new.offer(b"new")
        with await received(consumer):
            pass
        assert began - had <= consumer.statistics().last_gap <= now() - before


async def test_provider_that_is_left_goes_on_when_the_one_that_took_over_dies(
    consumer: Consumer,
) -> None:
    async with providing(SMALL) as old, providing(SMALL) as new:
        connect(old, consumer, flow="old")
        old.offer(b"old")
        connect(new, consumer, flow="new")
        with await received(consumer):
            pass
        new.offer(b"new")
        with await received(consumer) as block:
            assert bytes(block.data) == b"new"
        new.close()
        with trio.move_on_after(0.05):
            await consumer.receive()
        assert [source.flow for source in consumer.sources] == ["old"]
        old.offer(b"old again")
        with await received(consumer) as block:
            assert bytes(block.data) == b"old again"


async def test_provider_that_connects_again_does_not_take_over_from_itself(
    provider: Provider, consumer: Consumer
) -> None:
    connect(provider, consumer, flow="same")
    provider.offer(b"0")
    with await received(consumer):
        pass
    connect(provider, consumer, flow="same")
    provider.offer(b"1")
    with await received(consumer) as block:
        assert block.sequence == 1
    with trio.move_on_after(0.05):
        await consumer.receive()
    statistics = consumer.statistics()
    assert (statistics.takeovers, statistics.missed, statistics.repeated) == (0, 0, 1)


# Providers that do what they must not


@pytest.mark.parametrize(
    "message",
    [
        b"x",
        pack(SLOT, 0, 4, 1, 0, 1, 1),
        pack(SLOT, 0, 0, 5000, 0, 1, 1),
        pack(RELEASE, 0, 0, 0, 0, 0, 0),
        pack(INLINE, 0, 0, 0, 0, 0, 10),  # its sequence number goes back
        pack(INLINE, 0, 0, 0, 0, 2, 0),  # its timestamp goes back
    ],
)
async def test_nonsense_of_a_provider_is_a_clear_error_and_loses_that_provider_alone(
    message: bytes, provider: Provider, ring: Ring
) -> None:
    lost: list[Source] = []
    consumer = Consumer(PATTERN, on_lost=lost.append)
    peer = hostile_provider(consumer, ring.fd)
    peer.send(pack(INLINE, 0, 0, 0, 0, 0, 0))
    with await received(consumer):
        pass
    peer.send(message)
    with pytest.raises(FlowProtocolError):
        await received(consumer)
    assert [source.flow for source in lost] == ["hostile"]
    assert peer.recv(100) == b""
    connect(provider, consumer)
    provider.offer(b"well")
    with await received(consumer) as block:
        assert bytes(block.data) == b"well"
    consumer.close()
    peer.close()


async def test_answer_that_was_not_asked_for_is_given_back(consumer: Consumer, ring: Ring) -> None:
    peer = hostile_provider(consumer, ring.fd)
    peer.send(pack(SLOT, 0, 2, 1, 77, 0, 0) + pack(DONE, 0, 0, 0, 77, 0, 0))
    peer.send(pack(INLINE, 0, 0, 0, 0, 0, 0))
    with await received(consumer):
        pass
    assert unpack(peer.recv(100))[:3] == (RELEASE, 0, 2)
    peer.close()


async def test_answer_longer_than_was_asked_for_is_a_clear_error(
    consumer: Consumer, ring: Ring
) -> None:
    peer = hostile_provider(consumer, ring.fd)
    async with trio.open_nursery() as nursery:

        async def ask() -> None:
            with pytest.raises(FlowProtocolError, match="more blocks"):
                await consumer.between(0, 10, limit=2)

        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        request = unpack(peer.recv(100))[4]
        for number in range(3):
            peer.send(pack(INLINE, 0, 0, 0, request, number, number))
    peer.close()


async def test_provider_that_answers_for_another_is_not_believed(ring: Ring) -> None:
    consumer = Consumer(FlowPattern("*", "flow"))
    async with providing(SMALL, FlowKey("honest", "flow")) as provider:
        peer = hostile_provider(consumer, ring.fd)
        connect(provider, consumer)
        provider.offer(b"honest")
        with await received(consumer):
            pass
        for request in range(10):
            peer.send(pack(INLINE, 0, 0, 0, request + 1, 0, 0))
            peer.send(pack(DONE, 0, 0, 0, request + 1, 0, 0))
        block = await consumer.latest(key=provider.key)
        assert block is not None
        assert bytes(block.data) == b"honest"
    consumer.close()
    peer.close()


# Blocks


async def test_blocks_are_given_back_in_any_thread_and_by_the_garbage_collector(
    consumer: Consumer,
) -> None:
    options = ProviderOptions(slow_consumer=SlowConsumer.BLOCK, inline=0, slots=64, max_block=64)
    async with providing(options) as provider:
        connect(provider, consumer)
        count = 3000
        blocks: list[Block] = []
        over = threading.Event()

        def release(kind: int) -> None:
            while not over.is_set() or blocks:
                try:
                    block = blocks.pop()
                except IndexError:
                    over.wait(0.0005)
                    continue
                if kind == 0:
                    block.release()
                elif kind == 1:
                    cycle: list[object] = [block]
                    cycle.append(cycle)
                    del block, cycle
                    gc.collect(0)

        async def take() -> None:
            for number in range(count):
                block = await consumer.receive()
                assert block.sequence == number
                blocks.append(block)
            over.set()

        with trio.fail_after(2 * TIMEOUT):
            async with trio.open_nursery() as nursery:
                for kind in (0, 1, 2):
                    nursery.start_soon(trio.to_thread.run_sync, release, kind)
                nursery.start_soon(take)
                for _ in range(count):
                    await provider.send(b"x")
        gc.collect()
        await until(lambda: free(provider))
        assert provider.consumers == ["consumer"]


def test_block_that_is_held_when_the_interpreter_ends_says_nothing() -> None:
    program = """
import trio
from tests.flows.connected import connect, providing, SHARED

async def main():
    global block, other, consumer
    async with providing(SHARED) as provider:
        consumer = connect(provider)
        await provider.send(b"x")
        await provider.send(b"y")
        block = await consumer.receive()
        other = await consumer.receive()

trio.run(main)
"""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "ignore::ResourceWarning", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")


async def test_idle_consumer_uses_no_processor(provider: Provider, consumer: Consumer) -> None:
    connect(provider, consumer)
    other = connect(provider, consumer, flow="other")
    async with trio.open_nursery() as nursery:

        async def receive() -> None:
            async for block in consumer:
                block.release()

        nursery.start_soon(receive)
        provider.offer(b"x")
        provider.close()
        await trio.sleep(0.05)
        assert consumer.sources == []
        steps = Steps()
        trio.lowlevel.add_instrument(steps)
        await trio.sleep(0.1)
        trio.lowlevel.remove_instrument(steps)
        assert steps.steps < 10
        nursery.cancel_scope.cancel()
    assert other is consumer


class Steps(trio.abc.Instrument):
    """Counts what tasks do."""

    def __init__(self) -> None:
        self.steps = 0

    def before_task_step(self, _task: trio.lowlevel.Task) -> None:
        self.steps += 1
