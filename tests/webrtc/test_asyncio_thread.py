"""The bridge between trio and asyncio: calls, their cancellation, and the end of it all."""

import asyncio
import threading
import time
from contextlib import suppress

import pytest
import trio
import uvloop

from rtp.asyncio_thread import AsyncioThread, AsyncioThreadClosedError

from .waiting import open_files, until


async def add(a: int, b: int = 0) -> int:
    await asyncio.sleep(0)
    return a + b


async def sleep_for_ever() -> None:
    await asyncio.sleep(3600)


async def test_call_runs_on_uvloop_in_a_thread_of_its_own() -> None:
    async def where() -> tuple[bool, int]:
        return isinstance(asyncio.get_running_loop(), uvloop.Loop), threading.get_ident()

    async with AsyncioThread() as thread:
        on_uvloop, ident = await thread.call(where)
        assert on_uvloop
        assert ident != threading.get_ident()
        assert await thread.call(add, 1, b=2) == 3
        assert await thread.call_shielded(add, 3) == 3


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(3), StopIteration(1)])
async def test_errors_come_back_as_they_are(error: BaseException) -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise error

    async with AsyncioThread() as thread:
        with pytest.raises((type(error), RuntimeError)) as caught:
            await thread.call(fail)
        if not isinstance(error, StopIteration):  # which no coroutine can raise
            assert caught.value is error
        assert await thread.call(add, 1) == 1  # the loop goes on


async def test_cancelled_call_waits_for_the_task_to_unwind_sixty_times() -> None:
    unwound = 0

    async def work(started: threading.Event) -> None:
        nonlocal unwound
        started.set()
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0.001)
            unwound += 1

    async with AsyncioThread() as thread:
        for n in range(60):
            started = threading.Event()
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(thread.call, work, started)
                    await until(started.is_set)
                    scope.cancel()
            assert scope.cancelled_caught
            assert unwound == n + 1
        assert await thread.call(lambda: add(len(asyncio.all_tasks()))) == 1


async def test_call_cancelled_before_it_began_is_cancelled() -> None:
    async with AsyncioThread() as thread:
        thread.loop.call_soon_threadsafe(time.sleep, 0.02)
        with trio.move_on_after(0.001) as scope:
            await thread.call(sleep_for_ever)
        assert scope.cancelled_caught


async def test_what_finishes_in_spite_of_cancellation_is_returned() -> None:
    async def stubborn() -> str:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
        return "done"

    async with AsyncioThread() as thread:
        with trio.move_on_after(0.01) as scope:
            result = await thread.call(stubborn)
        assert result == "done"
        assert scope.cancel_called


async def test_shielded_call_is_not_cut_short_by_cancellation() -> None:
    async with AsyncioThread() as thread:
        with trio.move_on_after(0.005):
            await thread.call_shielded(asyncio.sleep, 0.02)
            finished = True
        assert finished


async def test_task_cancelled_over_there_is_an_error_here() -> None:
    async def cancel_myself() -> None:
        raise asyncio.CancelledError

    async with AsyncioThread() as thread:
        with pytest.raises(AsyncioThreadClosedError):
            await thread.call(cancel_myself)


async def test_end_cuts_calls_off_and_waits_for_shielded_ones() -> None:
    ended: list[str] = []

    async def call(thread: AsyncioThread) -> None:
        with pytest.raises(AsyncioThreadClosedError, match="cut off"):
            await thread.call(sleep_for_ever)
        ended.append("call")

    async def close() -> None:
        await asyncio.sleep(0.02)
        ended.append("shielded")

    async def at_end() -> None:
        ended.append("at end")

    async with trio.open_nursery() as nursery, AsyncioThread() as thread:
        nursery.start_soon(call, thread)
        nursery.start_soon(thread.call_shielded, close)
        thread.loop.call_soon_threadsafe(thread.at_end, at_end)
        await trio.testing.wait_all_tasks_blocked()
    assert ended == ["at end", "shielded", "call"]


async def test_call_outside_the_block_is_refused() -> None:
    thread = AsyncioThread()
    with pytest.raises(AsyncioThreadClosedError):
        await thread.call(add, 1)
    async with thread:
        pass
    with pytest.raises(AsyncioThreadClosedError):
        await thread.call(add, 1)


async def test_nothing_is_left() -> None:
    async def leave_things() -> None:
        asyncio.get_running_loop().create_task(sleep_for_ever())
        await asyncio.get_running_loop().run_in_executor(None, time.sleep, 0)

    threads, files = threading.enumerate(), open_files()
    for _ in range(5):
        async with AsyncioThread() as thread:
            await thread.call(leave_things)
    assert threading.enumerate() == threads
    assert open_files() == files


async def test_end_names_a_task_that_does_not_unwind(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rtp.asyncio_thread.CLOSE_TIMEOUT", 0.02)

    async def never_ends() -> None:
        while True:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(3600)

    async def call(thread: AsyncioThread) -> None:
        with pytest.raises(AsyncioThreadClosedError):
            await thread.call(never_ends)

    async with trio.open_nursery() as nursery, AsyncioThread() as thread:
        nursery.start_soon(call, thread)
        await trio.testing.wait_all_tasks_blocked()
    assert "took longer" in caplog.text
