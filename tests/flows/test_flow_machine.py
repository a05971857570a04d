"""Any order of what providers and consumers do leaves the accounts right and no slot held."""

import struct
from collections import deque
from functools import partial

import pytest
import trio
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from eventgraph.flows.block import Block
from eventgraph.flows.consumer import Consumer
from eventgraph.flows.options import ProviderOptions, SlowConsumer
from eventgraph.flows.outlet import OutletStatistics
from eventgraph.flows.provider import Provider
from tests.flows.connected import FORMAT, KEY, TIMEOUT, connect, until

SLOTS = 6
MAX_CONSUMERS = 4


def content(sequence: int, size: int) -> bytes:
    return struct.pack("<II", sequence, size) * (size // 8)


class Taker:
    """A consumer, and what is to be said of it."""

    def __init__(self, name: str, consumer: Consumer, since: int) -> None:
        self.name = name
        self.consumer = consumer
        self.since = since
        self.last = since - 1
        self.received = 0
        self.held: deque[Block] = deque()


class Flow(RuleBasedStateMachine):
    """One provider; small blocks, and blocks in the ring. Rules run in trio, from a thread."""

    policy: SlowConsumer
    nursery: trio.Nursery

    def __init__(self) -> None:
        super().__init__()
        options = ProviderOptions(
            slow_consumer=self.policy, slots=SLOTS, max_block=4096, inline=100, backlog=5, history=8
        )
        self.provider = Provider(KEY, FORMAT, options)
        self.takers: list[Taker] = []
        self.orphans: list[tuple[Block, bytes]] = []
        self.names = 0
        self.blocks = 0
        trio.from_thread.run_sync(self.nursery.start_soon, self.provider.run)

    @rule(size=st.sampled_from([8, 80, 800, 4096]), times=st.integers(1, 12))
    def offer(self, size: int, times: int) -> None:
        trio.from_thread.run_sync(self._offer, size, times)

    def _offer(self, size: int, times: int) -> None:
        for _ in range(times):
            if self.provider.offer(content(self.blocks, size), 10 * self.blocks):
                self.blocks += 1
            else:
                waits = self.policy is SlowConsumer.BLOCK
                assert waits or not self.provider.running

    @rule(size=st.sampled_from([8, 4096]), give_up=st.booleans())
    def write_in_place(self, size: int, give_up: bool) -> None:
        trio.from_thread.run(self._write, size, give_up)

    async def _write(self, size: int, give_up: bool) -> None:
        with trio.move_on_after(0.005):
            try:
                async with self.provider.block() as draft:
                    draft.data[:size] = content(self.blocks, size)
                    draft.length = size
                    draft.timestamp = 10 * self.blocks
                    if give_up:
                        raise InterruptedError
                self.blocks += 1
            except InterruptedError:
                pass

    @rule()
    def pause_or_resume(self) -> None:
        trio.from_thread.run_sync(self.provider.set_running, not self.provider.running)

    @precondition(lambda self: len(self.takers) < MAX_CONSUMERS)
    @rule()
    def attach(self) -> None:
        self.names += 1
        name = str(self.names)
        consumer = trio.from_thread.run_sync(partial(connect, self.provider, name=name))
        self.takers.append(Taker(name, consumer, self.blocks))

    @precondition(lambda self: self.takers)
    @rule(data=st.data(), times=st.integers(1, 10), hold=st.booleans())
    def receive(self, data: st.DataObject, times: int, hold: bool) -> None:
        taker = data.draw(st.sampled_from(self.takers))
        trio.from_thread.run(self._receive, taker, times, hold)

    async def _receive(self, taker: Taker, times: int, hold: bool) -> None:
        with trio.move_on_after(0.005):
            for _ in range(times):
                block = await taker.consumer.receive()
                assert block.sequence > taker.last
                assert block.timestamp == 10 * block.sequence
                assert self.policy is SlowConsumer.DROP_OLDEST or block.sequence == taker.last + 1
                taker.last = block.sequence
                taker.received += 1
                self._keep(taker, block, hold)

    def _keep(self, taker: Taker, block: Block, hold: bool) -> None:
        assert intact(block)
        if hold:
            taker.held.append(block)
        else:
            block.release()

    @precondition(lambda self: self.takers)
    @rule(
        data=st.data(),
        limit=st.integers(1, 9),
        hold=st.booleans(),
        patience=st.sampled_from([0, 0.01]),
    )
    def ask(self, data: st.DataObject, limit: int, hold: bool, patience: float) -> None:
        taker = data.draw(st.sampled_from(self.takers))
        first = 10 * data.draw(st.integers(0, self.blocks))
        trio.from_thread.run(self._ask, taker, first, limit, hold, patience)

    async def _ask(self, taker: Taker, first: int, limit: int, hold: bool, patience: float) -> None:
        with trio.move_on_after(patience):
            blocks = await taker.consumer.between(first, 2**62, limit=limit)
            assert len(blocks) <= limit
            timestamps = [block.timestamp for block in blocks]
            assert timestamps == sorted(set(timestamps))
            assert all(timestamp >= first for timestamp in timestamps)
            for block in blocks:
                self._keep(taker, block, hold)

    @precondition(lambda self: self.takers)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        taker = data.draw(st.sampled_from(self.takers))
        trio.from_thread.run_sync(taker.held.clear)

    @precondition(lambda self: self.takers)
    @rule(data=st.data())
    def close(self, data: st.DataObject) -> None:
        taker = data.draw(st.sampled_from(self.takers))
        self.takers.remove(taker)
        trio.from_thread.run_sync(taker.consumer.close)
        while taker.held:
            block = taker.held.popleft()
            self.orphans.append((block, bytes(block.data)))

    @precondition(lambda self: self.orphans)
    @rule()
    def give_back_late(self) -> None:
        trio.from_thread.run_sync(self.orphans.clear)

    @invariant()
    def held_blocks_are_as_they_were(self) -> None:
        assert all(intact(block) for taker in self.takers for block in taker.held)
        assert all(bytes(block.data) == data for block, data in self.orphans)

    @invariant()
    def accounts_are_right(self) -> None:
        given = trio.from_thread.run_sync(self._given)
        for taker in self.takers:
            one = given[taker.name]
            assert one.sent + one.waiting + sum(one.dropped.values()) == self.blocks - taker.since
            assert self.policy is SlowConsumer.DROP_OLDEST or not one.dropped

    def _given(self) -> dict[str, OutletStatistics]:
        statistics = self.provider.statistics()
        assert statistics.blocks == self.blocks
        return {one.consumer: one for one in statistics.consumers}

    def teardown(self) -> None:
        trio.from_thread.run(self._teardown)
        super().teardown()

    async def _teardown(self) -> None:
        self.provider.set_running(True)
        self.orphans.clear()
        with trio.fail_after(TIMEOUT):
            for taker in self.takers:
                taker.held.clear()
            for taker in self.takers:
                while (one := self._given()[taker.name]).waiting or one.sent > taker.received:
                    await self._receive(taker, 100, False)
                counts = taker.consumer.statistics()
                assert (one.sent, counts.unread) == (taker.received, 0)
                # No gap is seen before the first that came, and after the last.
                assert one.dropped.get("slow", 0) >= counts.missed
            await until(lambda: self.provider.statistics().slots_held == 0)
        for taker in self.takers:
            taker.consumer.close()
        self.provider.close()


def intact(block: Block) -> bool:
    return bytes(block.data) == content(block.sequence, len(block.data))


@pytest.mark.parametrize("policy", list(SlowConsumer))
async def test_whatever_they_do_accounts_are_right_and_slots_come_back(
    policy: SlowConsumer,
) -> None:
    limits = settings(
        deadline=None,
        max_examples=40,
        stateful_step_count=30,
        phases=(Phase.explicit, Phase.reuse, Phase.generate),  # one that waits is long in shrinking
        suppress_health_check=list(HealthCheck),
    )
    async with trio.open_nursery() as nursery:
        machine = type("Flow", (Flow,), {"policy": policy, "nursery": nursery})
        await trio.to_thread.run_sync(partial(run_state_machine_as_test, machine, settings=limits))
        nursery.cancel_scope.cancel()
