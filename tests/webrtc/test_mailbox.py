"""Mailboxes between the threads: order, bounds, batches."""

import asyncio
import time

import pytest
import trio

from rtp.asyncio_thread import AsyncioThread
from rtp.mailbox import SLICE, HopToAsyncio, HopToTrio, Mailbox

from .waiting import until


async def test_lone_item_goes_at_once_both_ways() -> None:
    async with AsyncioThread() as thread:
        back: list[float] = []
        home = Mailbox(HopToTrio(thread), back.append, capacity=4, name="home")
        out = Mailbox(HopToAsyncio(thread), home.put, capacity=4, name="out")
        took = []
        for _ in range(5):
            await trio.sleep(0.01)
            start = time.monotonic()
            assert out.put(start)
            back.clear()
            while not back:  # what arrives comes without a wake-up
                await trio.lowlevel.checkpoint()
            took.append(time.monotonic() - start)
        assert min(took) < SLICE


async def test_flood_towards_trio_is_batched_and_in_order() -> None:
    got: list[int] = []
    async with AsyncioThread() as thread:
        hop = HopToTrio(thread)
        boxes = [Mailbox(hop, got.append, capacity=5000, name=str(n)) for n in range(2)]

        async def flood() -> float:
            start = time.monotonic()
            for n in range(3000):
                assert boxes[n % 2].put(n)
                if n % 10 == 0:
                    await asyncio.sleep(0)
            return time.monotonic() - start

        seconds = await thread.call(flood)
        await until(lambda: len(got) == 3000)
    assert hop.wakeups <= 3 + seconds / SLICE
    assert [n for n in got if n % 2 == 0] == list(range(0, 3000, 2))
    assert [n for n in got if n % 2] == list(range(1, 3000, 2))


async def test_flood_towards_asyncio_is_batched_and_in_order() -> None:
    got: list[int] = []
    async with AsyncioThread() as thread:
        hop = HopToAsyncio(thread)
        box = Mailbox(hop, got.append, capacity=5000, name="out")
        for n in range(3000):
            assert box.put(n)
            if n % 10 == 0:
                await trio.lowlevel.checkpoint()
        await until(lambda: len(got) == 3000)
        assert got == list(range(3000))
        assert hop.wakeups <= 5
        await trio.sleep(3 * SLICE)  # it has gone back to sleep, and wakes again
        assert box.put(3000)
        await until(lambda: got[-1] == 3000)
        assert box.statistics().handled == 3001


async def test_full_and_closed_mailboxes_refuse_and_count() -> None:
    got: list[int] = []
    async with AsyncioThread() as thread:
        box = Mailbox(HopToAsyncio(thread), got.append, capacity=3, name="out")
        thread.loop.call_soon_threadsafe(time.sleep, 0.05)
        assert [box.put(n) for n in range(5)] == [True, True, True, False, False]
        assert box.statistics().queued == 3
        assert box.statistics().dropped == {"full": 2}
        box.close()
        assert not box.put(9)
        assert box.statistics().queued == 0
        assert box.statistics().dropped == {"full": 2, "closed": 4}
        await thread.call(asyncio.sleep, 0)
    assert got == []


async def test_receiver_that_raises_is_logged_once_and_hurts_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    got: list[int] = []

    def fail(_: int) -> None:
        raise ValueError("receiver")

    async with AsyncioThread() as thread:
        hop = HopToTrio(thread)
        bad = Mailbox(hop, fail, capacity=8, name="bad")
        good = Mailbox(hop, got.append, capacity=8, name="good")

        async def put() -> None:
            for n in range(3):
                bad.put(n)
                good.put(n)

        await thread.call(put)
        await until(lambda: len(got) == 3)
        assert bad.statistics().dropped == {"receiver failed": 3}
    assert caplog.text.count("mailbox bad failed") == 1


async def test_two_threads_lose_nothing_in_a_race() -> None:
    """Items ping-pong while both sides look for the mark of a wake-up at the same time."""
    async with AsyncioThread() as thread:
        got: list[int] = []
        home = Mailbox(HopToTrio(thread), got.append, capacity=1000, name="home")
        out = Mailbox(HopToAsyncio(thread), home.put, capacity=1000, name="out")
        for n in range(2000):
            assert out.put(n)
            if n % 7 == 0:
                await trio.lowlevel.checkpoint()
            if n % 97 == 0:
                await trio.sleep(SLICE)
        await until(lambda: len(got) == 2000)
        assert got == list(range(2000))


def test_capacity_is_checked() -> None:
    with pytest.raises(ValueError, match="capacity"):
        Mailbox(HopToTrio(AsyncioThread()), print, capacity=0, name="x")
