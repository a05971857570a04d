"""A provider meets the policy of its flow with every consumer, and survives any of them."""

import gc
import os
import socket
import struct
from collections.abc import AsyncIterator

import numpy as np
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from eventgraph.flows.block_wire import DONE, HEADER, HISTORY, LEAVE, RELEASE, SLOT, pack
from eventgraph.flows.clock import now
from eventgraph.flows.consumer import Consumer
from eventgraph.flows.errors import (
    BlockTooLargeError,
    FlowClosedError,
    FlowObsoleteError,
    FlowOptionError,
)
from eventgraph.flows.options import ProviderOptions, SlowConsumer
from eventgraph.flows.outlet import OutletStatistics
from eventgraph.flows.provider import Provider
from tests.flows.connected import (
    FORMAT,
    KEY,
    LOSSLESS,
    SHARED,
    TIMEOUT,
    connect,
    drained,
    hostile_consumer,
    providing,
    received,
    until,
)

SMALL = ProviderOptions(backlog=10, history=0)
SMALL_LOSSLESS = ProviderOptions(slow_consumer=SlowConsumer.BLOCK)
LIVE_LIMIT = 4  # of eight slots, in the hands of one consumer


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    async with providing(SHARED) as provider:
        yield provider


def accounts(provider: Provider) -> list[int]:
    """Of each consumer: what became of blocks."""
    return [
        one.sent + one.waiting + sum(one.dropped.values())
        for one in provider.statistics().consumers
    ]


def outlet(provider: Provider, name: str) -> OutletStatistics:
    return next(one for one in provider.statistics().consumers if one.consumer == name)


def free(provider: Provider) -> bool:
    return provider.statistics().slots_held == 0


# Both policies


@pytest.mark.parametrize("options", [LOSSLESS, SMALL_LOSSLESS])
async def test_lossless_flow_loses_nothing_with_consumers_of_different_speed(
    options: ProviderOptions,
) -> None:
    count = 2000
    taken: dict[str, list[int]] = {}

    async def consume(consumer: Consumer, name: str, pause_every: int) -> None:
        numbers = taken[name] = []
        with consumer:
            async for block in consumer:
                with block:
                    assert struct.unpack("<I", block.data)[0] == block.sequence
                    numbers.append(block.sequence)
                if block.sequence % pause_every == 0:
                    await trio.sleep(0.002)
                if block.sequence == count - 1:
                    assert consumer.statistics().missed == 0
                    return

    with trio.fail_after(TIMEOUT):
        async with providing(options) as provider, trio.open_nursery() as nursery:
            for name, pause_every in (("quick", count), ("slow", 20), ("slower", 7)):
                nursery.start_soon(consume, connect(provider, name=name), name, pause_every)
            for number in range(count):
                await provider.send(struct.pack("<I", number))
            await provider.drain()
            assert accounts(provider) == [count] * len(provider.consumers)
            await until(lambda: not provider.consumers)
            assert free(provider)
    assert all(numbers == list(range(count)) for numbers in taken.values())
    assert len(taken) == 3


async def test_stuck_consumer_that_is_served_last_leaves_slots_to_the_others(
    provider: Provider,
) -> None:
    well = connect(provider, name="well")
    stuck = connect(provider, name="stuck")
    for number in range(100):
        assert provider.offer(b"x")
        with await received(well) as block:
            assert block.sequence == number
    assert outlet(provider, "well").dropped == {}
    assert outlet(provider, "stuck").held == LIVE_LIMIT
    well.close()
    stuck.close()


@pytest.mark.parametrize("options", [SHARED, SMALL])
async def test_stuck_consumer_costs_the_others_nothing_and_loses_what_is_counted(
    options: ProviderOptions,
) -> None:
    count = 3000
    async with providing(options) as provider:
        stuck = connect(provider, name="stuck")
        well = [connect(provider, name=f"well {n}") for n in range(2)]
        counted = [0, 0]
        for number in range(count):
            with trio.fail_after(1):  # a flow that drops never waits
                await provider.send(b"block %d" % number)
            for n, consumer in enumerate(well):
                with await received(consumer) as block:
                    assert (block.sequence, bytes(block.data)) == (number, b"block %d" % number)
                counted[n] += 1
        assert counted == [count, count]
        assert accounts(provider) == [count] * 3
        lost = outlet(provider, "stuck").dropped["slow"]
        assert lost > count // 2
        assert outlet(provider, "well 0").dropped == {}
        numbers = await drained(stuck)
        assert numbers[-1] == count - 1
        assert numbers == sorted(set(numbers))
        assert count - len(numbers) == lost == stuck.statistics().missed
        assert outlet(provider, "stuck").sent == len(numbers)
        await until(lambda: free(provider))
        for consumer in (stuck, *well):
            consumer.close()


async def test_stuck_consumer_that_came_first_leaves_slots_to_one_that_comes_later(
    provider: Provider,
) -> None:
    stuck = connect(provider, name="stuck")
    for _ in range(20):
        assert provider.offer(b"x")
    assert outlet(provider, "stuck").held == LIVE_LIMIT
    later = connect(provider, name="later")
    for number in range(20, 60):
        assert provider.offer(b"x")
        with await received(later) as block:
            assert block.sequence == number
    assert accounts(provider) == [60, 40]
    later.close()
    stuck.close()


async def test_one_ring_serves_many_and_each_slot_is_free_when_the_last_has_given_it_back(
    provider: Provider,
) -> None:
    consumers = [connect(provider, name=str(n)) for n in range(5)]
    await provider.send(b"to all")
    blocks = [await consumer.receive() for consumer in consumers]
    assert {bytes(block.data) for block in blocks} == {b"to all"}
    for block in blocks:
        assert provider.statistics().slots_held == 1
        block.release()
    await until(lambda: free(provider))
    for consumer in consumers:
        consumer.close()


async def test_offer_never_waits_and_counts_what_nobody_was_given() -> None:
    async with providing(LOSSLESS) as provider:
        consumer = connect(provider)
        taken = 0
        while provider.offer(b"x"):
            taken += 1
        assert taken == LOSSLESS.slots
        provider.set_running(False)
        assert not provider.offer(b"x")
        assert provider.statistics().dropped == {"no_slot": 1, "stopped": 1}
        provider.set_running(True)
        assert await drained(consumer) == list(range(taken))
        assert provider.offer(b"x")  # it looks for itself whether slots have come back
        consumer.close()


async def test_blocks_that_were_lost_on_their_way_to_the_provider_are_missed_and_not_counted() -> (
    None
):
    async with providing() as provider:
        consumer = connect(provider)
        for lost in (0, 3, 1):
            if lost:
                provider.skip(lost)
            await provider.send(b"block")
        sequences = []
        for _ in range(3):
            with await received(consumer) as block:
                sequences.append(block.sequence)
        assert sequences == [0, 4, 6]
        assert consumer.statistics().missed == 4
        assert provider.statistics().blocks == 3
        assert provider.statistics().dropped == {"lost": 4}
        consumer.close()


async def test_send_waits_where_offer_drops() -> None:
    async with providing(LOSSLESS) as provider:
        consumer = connect(provider)
        while provider.offer(b"x"):
            pass
        with trio.move_on_after(0.02) as scope:
            await provider.send(b"late")
        assert scope.cancelled_caught
        async with trio.open_nursery() as nursery:
            nursery.start_soon(provider.send, b"after")
            blocks = [await consumer.receive() for _ in range(LOSSLESS.slots)]
            blocks[3].release()
            with await received(consumer) as block:
                assert bytes(block.data) == b"after"
        for block in blocks:
            block.release()
        await until(lambda: free(provider))
        consumer.close()


async def test_stopped_flow_waits_until_it_runs(autojump_clock: trio.testing.MockClock) -> None:
    async with providing(SMALL) as provider:
        consumer = connect(provider)
        provider.set_running(False)
        done: list[str] = []

        async def send(kind: str) -> None:
            if kind == "small":
                await provider.send(b"x")
            elif kind == "draft":
                async with provider.block() as draft:
                    draft.length = 1
            else:
                await provider.wait_running()
            done.append(kind)

        async with trio.open_nursery() as nursery:
            for kind in ("small", "draft", "wait"):
                nursery.start_soon(send, kind)
            await trio.sleep(10)
            assert not done
            assert not provider.statistics().running
            provider.set_running(True)
            provider.set_running(True)
        assert sorted(done) == ["draft", "small", "wait"]
        consumer.close()


# What is sent


async def test_block_is_written_in_place(provider: Provider) -> None:
    consumer = connect(provider)
    async with provider.block() as draft:
        assert len(draft.data) == SHARED.max_block
        draft.data[:3] = b"abc"
        draft.length = 3
        draft.timestamp = 77
    with await consumer.receive() as block:
        assert (bytes(block.data), block.timestamp) == (b"abc", 77)
        assert block.data.readonly
    with pytest.raises(ValueError, match="given up"):
        async with provider.block():
            raise ValueError("given up")
    with trio.CancelScope() as scope:
        async with provider.block():
            scope.cancel()
            await trio.sleep_forever()
    assert provider.statistics().blocks == 1
    await until(lambda: free(provider))
    consumer.close()


async def test_large_and_small_blocks_keep_their_order_and_their_bytes() -> None:
    async with providing(ProviderOptions(inline=100, slots=8, max_block=4096)) as provider:
        consumer = connect(provider)
        sizes = [1, 2, 3, 200, 4, 0, 100, 101, 4096, 5]
        blocks = [bytes([n]) * size for n, size in enumerate(sizes)]
        for data in blocks:
            await provider.send(data[1:], head=data[:1])
            with await received(consumer) as block:
                assert bytes(block.data) == data
        for data in blocks[:5]:
            assert provider.offer(bytearray(data))
        for data in blocks[:5]:
            with await received(consumer) as block:
                assert bytes(block.data) == data
        samples = np.arange(20, dtype="<f4").reshape(4, 5)
        await provider.send(samples.data)
        with await consumer.receive() as block:
            assert bytes(block.data) == samples.tobytes()
        consumer.close()


@given(st.lists(st.integers(0, 70_000), min_size=1, max_size=60))
@settings(deadline=None, max_examples=20)
async def test_burst_of_any_sizes_arrives_whole_and_in_order(sizes: list[int]) -> None:
    options = ProviderOptions(
        slow_consumer=SlowConsumer.BLOCK, inline=64 << 10, slots=4, max_block=80_000
    )
    async with providing(options) as provider, trio.open_nursery() as nursery:
        consumer = connect(provider)

        async def send() -> None:
            for number, size in enumerate(sizes):
                await provider.send(bytes([number]) * size)

        nursery.start_soon(send)
        with trio.fail_after(TIMEOUT):
            for number, size in enumerate(sizes):
                with await consumer.receive() as block:
                    assert block.data == bytes([number]) * size
        await until(lambda: free(provider))
        consumer.close()


async def test_lone_small_block_goes_at_once_and_a_burst_when_others_have_their_turn() -> None:
    async with providing(SMALL) as provider:
        peer = hostile_consumer(provider)
        assert provider.offer(b"lone")
        assert len(peer.recv(1000)) == HEADER.size + 4
        for _ in range(3):
            provider.offer(b"more")
        with trio.fail_after(TIMEOUT):
            await trio.lowlevel.wait_readable(peer)
        size = 0
        while size < 3 * (HEADER.size + 4):
            await trio.lowlevel.checkpoint()
            try:
                size += len(peer.recv(1000))
            except BlockingIOError:
                continue
        assert size == 3 * (HEADER.size + 4)
        assert outlet(provider, "hostile").sent == 4
        peer.close()


async def test_timestamps_never_go_back(provider: Provider) -> None:
    consumer = connect(provider)
    before = now()
    await provider.send(b"")
    ahead = now() + 10**12
    await provider.send(b"", ahead)
    await provider.send(b"")
    for wrong in (ahead, ahead + 1, 0, -(2**63), 2**63, 2**70):
        with pytest.raises(FlowOptionError, match="timestamp"):
            await provider.send(b"", wrong)
        with pytest.raises(FlowOptionError, match="timestamp"):
            provider.offer(b"", wrong)
        with pytest.raises(FlowOptionError, match="timestamp"):
            async with provider.block() as draft:
                draft.timestamp = wrong
    timestamps = []
    for _ in range(3):
        with await consumer.receive() as block:
            timestamps.append(block.timestamp)
    assert timestamps[1:] == [ahead, ahead + 1]
    assert before <= timestamps[0] <= now()
    assert provider.statistics().blocks == 3
    await until(lambda: free(provider))
    consumer.close()


@pytest.mark.parametrize("inline", [0, 16 << 10])
async def test_block_that_is_too_large_is_refused_and_takes_no_slot(inline: int) -> None:
    async with providing(ProviderOptions(inline=inline, max_block=5000)) as provider:
        for data in (bytes(5001), bytes(20_000)):
            with pytest.raises(BlockTooLargeError, match="max_block is 5000"):
                await provider.send(data)
            with pytest.raises(BlockTooLargeError):
                provider.offer(data)
        with pytest.raises(BlockTooLargeError):
            async with provider.block() as draft:
                draft.length = 5001
        with pytest.raises(BlockTooLargeError):
            async with provider.block() as draft:
                draft.length = -1
        assert (provider.statistics().blocks, free(provider)) == (0, True)


# The end


@pytest.mark.parametrize("size", [10, 4000])
async def test_provider_that_is_closed_says_so_whatever_is_asked_of_it(size: int) -> None:
    async with providing(ProviderOptions(inline=100)) as provider:
        closed: list[str] = []
        provider.on_closed = lambda: closed.append("told")
        error = FlowObsoleteError("another has taken over")
        provider.close(error)
        provider.close()
        assert closed == ["told"]
        for _ in range(3):
            with pytest.raises(FlowObsoleteError):
                await provider.send(bytes(size))
            with pytest.raises(FlowObsoleteError):
                provider.offer(bytes(size))
            with pytest.raises(FlowObsoleteError):
                async with provider.block():
                    pass
            with pytest.raises(FlowObsoleteError):
                await provider.drain()
            with pytest.raises(FlowObsoleteError):
                await provider.wait_running()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        provider.attach("late", ours)
        assert theirs.recv(1) == b""
        theirs.close()


async def test_who_waits_learns_that_the_provider_was_closed() -> None:
    async with providing(LOSSLESS) as provider:
        consumer = connect(provider)
        while provider.offer(b"x"):
            pass

        async def fail() -> None:
            with pytest.raises(FlowClosedError):
                await provider.send(b"x")

        with trio.fail_after(TIMEOUT):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fail)
                nursery.start_soon(fail)
                await trio.testing.wait_all_tasks_blocked()
                provider.close()
        assert len(await drained(consumer)) == LOSSLESS.slots
        consumer.close()


async def test_provider_may_be_closed_as_consumers_give_slots_back() -> None:
    for turns in range(20):
        async with providing(LOSSLESS) as provider:
            consumer = connect(provider)
            await provider.send(b"x")
            (await received(consumer)).release()
            for _ in range(turns % 5):
                await trio.lowlevel.checkpoint()
            provider.close()
            consumer.close()
            await trio.lowlevel.checkpoint()


async def test_draft_that_is_open_when_the_provider_is_closed_is_refused() -> None:
    async with providing(SHARED) as provider:
        consumer = connect(provider)
        with pytest.raises(FlowClosedError):
            async with provider.block() as draft:
                provider.close()
                draft.data[:4] = b"safe"
        assert consumer.statistics().blocks == 0
        consumer.close()


async def test_what_was_sent_arrives_after_the_provider_is_closed(provider: Provider) -> None:
    consumer = connect(provider)
    await provider.send(b"first")
    with await consumer.receive() as block:
        pass
    await provider.send(b"second")
    provider.close()  # with slots that it has not been told are free
    with await received(consumer) as block:
        assert bytes(block.data) == b"second"
    consumer.close()


async def test_burst_arrives_though_the_provider_is_closed_at_once() -> None:
    async with providing(SMALL) as provider:
        consumer = connect(provider)
        for number in range(20):
            provider.offer(bytes([number]))
        provider.close()
        assert await drained(consumer) == list(range(20))
        consumer.close()


async def test_drain_waits_for_what_consumers_have_not_been_sent() -> None:
    async with providing(SMALL_LOSSLESS) as provider, trio.open_nursery() as nursery:
        consumer = connect(provider)
        count = 0
        while provider.offer(bytes(10_000)):
            count += 1
        assert outlet(provider, "consumer").waiting > 0
        nursery.start_soon(provider.drain)
        await trio.testing.wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 1
        assert await drained(consumer) == list(range(count))
        await until(lambda: not nursery.child_tasks)
        consumer.close()


async def test_run_that_is_cancelled_closes_the_provider() -> None:
    closed = Provider(KEY, FORMAT, SHARED)
    with trio.CancelScope() as scope:
        scope.cancel()
        await closed.run()
    assert closed.error is not None
    before = set(os.listdir("/proc/self/fd"))
    async with providing(SHARED) as provider:
        consumer = connect(provider)
    consumer.close()
    del consumer, provider
    gc.collect()
    assert set(os.listdir("/proc/self/fd")) == before


# Consumers that come, go, and do what they must not


@pytest.mark.parametrize("options", [SHARED, LOSSLESS])
async def test_consumer_that_goes_with_blocks_in_every_state_leaves_no_slot_held(
    options: ProviderOptions,
) -> None:
    async with providing(options) as provider:
        consumer = connect(provider)
        while provider.offer(b"x") and provider.statistics().blocks < 20:
            pass
        held = [await consumer.receive() for _ in range(2)]
        with trio.move_on_after(0.01):
            await consumer.between(-1, now(), limit=3)
        consumer.close()
        assert bytes(held[0].data) == b"x"
        held.clear()
        await until(lambda: not provider.consumers and free(provider))
        for _ in range(20):
            assert provider.offer(b"x")


async def test_block_that_is_held_when_its_consumer_is_closed_is_not_written_again(
    provider: Provider,
) -> None:
    consumer = connect(provider)
    await provider.send(b"kept")
    block = await consumer.receive()
    consumer.close()
    await until(lambda: not provider.consumers)
    for _ in range(3 * SHARED.slots):
        assert provider.offer(b"new!")
    assert bytes(block.data) == b"kept"
    assert provider.statistics().slots_held == 1
    block.release()
    await until(lambda: free(provider))


async def test_lossless_provider_does_not_wait_for_a_consumer_that_was_closed() -> None:
    async with providing(LOSSLESS) as provider:
        consumer = connect(provider)
        while provider.offer(b"x"):
            pass
        block = await consumer.receive()
        other = connect(provider, name="other")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(provider.send, b"after")
            await trio.testing.wait_all_tasks_blocked()
            consumer.close()
            block.release()
            with await received(other) as after:
                assert bytes(after.data) == b"after"
        other.close()


@pytest.mark.parametrize(
    "message",
    [
        b"x",
        pack(RELEASE, 0, 3, 0, 0, 0, 0),
        pack(RELEASE, 0, 65535, 0, 0, 0, 0),
        pack(SLOT, 0, 0, 0, 0, 0, 0),
        pack(0, 0, 0, 0, 0, 0, 0),
        pack(HISTORY, 0, 0, 1, 1, 0, 0) * 2,
        pack(HISTORY, 0, 0, 1, 1, 0, 0) + b"x",
        bytes(100_000),
    ],
)
async def test_nonsense_of_a_consumer_cuts_it_off_and_nobody_else(
    message: bytes, provider: Provider
) -> None:
    well = connect(provider, name="well")
    peer = hostile_consumer(provider)
    assert provider.offer(b"before")
    assert peer.recv(100)
    peer.send(message)
    await until(lambda: provider.consumers == ["well"])
    assert provider.offer(b"after")
    for wanted in (b"before", b"after"):
        with await received(well) as block:
            assert bytes(block.data) == wanted
    await until(lambda: free(provider))
    well.close()
    peer.close()


async def test_slot_that_is_given_back_twice_cuts_the_consumer_off(provider: Provider) -> None:
    peer = hostile_consumer(provider)
    provider.offer(b"x")
    slot = HEADER.unpack(peer.recv(100))[2]
    peer.send(pack(RELEASE, 0, slot, 0, 0, 0, 0) * 2)
    await until(lambda: not provider.consumers)
    assert free(provider)
    peer.close()


async def test_consumer_that_asks_and_never_reads_is_cut_off(provider: Provider) -> None:
    well = connect(provider, name="well")
    peer = hostile_consumer(provider)
    with trio.fail_after(TIMEOUT):
        while "hostile" in provider.consumers:
            try:
                peer.send(pack(HISTORY, 0, 0, 2**32 - 1, 1, -(2**63), 2**63 - 1))
            except BlockingIOError:
                await trio.sleep(0.001)
            except OSError:
                break
            provider.offer(b"x")
            with await well.receive():
                pass
    await until(lambda: provider.consumers == ["well"])
    await until(lambda: free(provider))
    well.close()
    peer.close()


async def test_flood_of_questions_holds_nobody_up(provider: Provider) -> None:
    well = connect(provider, name="well")
    peer = hostile_consumer(provider)
    scope = trio.CancelScope()

    async def flood() -> None:
        with scope:
            while True:
                try:
                    peer.send(pack(HISTORY, 0, 0, 64, 1, -(2**63), 2**63 - 1))
                    while True:
                        kind, _, slot, *_ = HEADER.unpack(peer.recv(100))
                        if kind == SLOT:
                            peer.send(pack(RELEASE, 0, slot, 0, 0, 0, 0))
                except BlockingIOError:
                    await trio.lowlevel.checkpoint()

    with trio.fail_after(TIMEOUT):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood)
            for number in range(100):
                assert provider.offer(b"x")
                with await well.receive() as block:
                    assert block.sequence == number
            scope.cancel()
    assert provider.consumers == ["well", "hostile"]
    well.close()
    peer.close()


async def test_consumer_cannot_take_all_slots_by_asking(provider: Provider) -> None:
    peer = hostile_consumer(provider)
    for _ in range(100):
        provider.offer(b"x")
        peer.send(pack(HISTORY, 0, 0, 64, 1, -(2**63), 2**63 - 1))
        await trio.lowlevel.checkpoint()
        while True:
            try:
                peer.recv(1000)
            except BlockingIOError:
                break
    assert outlet(provider, "hostile").held <= SHARED.slots - 2
    later = connect(provider, name="later")
    assert provider.offer(b"after")
    with await received(later) as block:
        assert bytes(block.data) == b"after"
    later.close()
    peer.close()


async def test_consumer_that_leaves_gets_nothing_more_and_keeps_its_slots(
    provider: Provider,
) -> None:
    peer = hostile_consumer(provider)
    provider.offer(b"x")
    slot = HEADER.unpack(peer.recv(100))[2]
    peer.send(pack(LEAVE, 0, 0, 0, 0, 0, 0))
    await until(lambda: not provider.consumers)
    provider.offer(b"y")
    with pytest.raises(BlockingIOError):
        peer.recv(100)
    assert provider.statistics().slots_held == 1
    peer.send(pack(RELEASE, 0, slot, 0, 0, 0, 0))
    await until(lambda: free(provider))
    peer.close()


async def test_answer_ends_with_done(provider: Provider) -> None:
    for number in range(3):
        provider.offer(bytes([number]), number)
    peer = hostile_consumer(provider)
    peer.send(pack(HISTORY, 0, 0, 2, 99, 0, 10))
    answer: list[tuple[int, ...]] = []
    with trio.fail_after(TIMEOUT):
        while not answer or answer[-1][0] != DONE:
            await trio.lowlevel.wait_readable(peer)
            answer += HEADER.iter_unpack(peer.recv(HEADER.size))
    assert [(one[0], one[4], one[5]) for one in answer] == [
        (SLOT, 99, 1),
        (SLOT, 99, 2),
        (DONE, 99, 0),
    ]
    peer.close()
    await until(lambda: free(provider))


async def test_idle_provider_uses_no_processor(provider: Provider) -> None:
    consumers = [connect(provider, name=str(n)) for n in range(3)]
    stuck = hostile_consumer(provider, "stuck")
    for _ in range(100):
        provider.offer(b"x")
    held = [await consumer.receive() for consumer in consumers]
    consumers[0].close()  # holds a block still
    await trio.sleep(0.05)
    instruments = Steps()
    trio.lowlevel.add_instrument(instruments)
    await trio.sleep(0.2)
    trio.lowlevel.remove_instrument(instruments)
    assert instruments.steps < 10
    for block in held:
        block.release()
    stuck.close()
    for consumer in consumers[1:]:
        consumer.close()


class Steps(trio.abc.Instrument):
    """Counts what tasks do."""

    def __init__(self) -> None:
        self.steps = 0

    def before_task_step(self, _task: trio.lowlevel.Task) -> None:
        self.steps += 1
