"""Even steps by a timer of the kernel."""

import os
import resource
import time

import pytest
import trio

from rtp.ticker import Ticker

STEP = 0.005  # seconds


async def test_ticks_come_in_even_steps_however_long_the_work_between_takes() -> None:
    ticker = Ticker(STEP)
    began = time.perf_counter()
    with ticker:
        for _ in range(10):
            await ticker.wait()
            time.sleep(STEP / 2)  # noqa: ASYNC251  # work
    assert 10 * STEP <= time.perf_counter() - began < 14 * STEP
    ticker.close()


async def test_ticks_that_nobody_waited_for_count_as_one() -> None:
    ticker = Ticker(STEP)
    with ticker:
        time.sleep(5 * STEP)  # noqa: ASYNC251  # nobody waits
        await ticker.wait()
        began = time.perf_counter()
        await ticker.wait()
    assert time.perf_counter() - began > STEP / 100
    ticker.close()


async def test_it_stands_still_outside_and_goes_on_when_it_is_entered_again() -> None:
    ticker = Ticker(STEP)
    with ticker:
        await ticker.wait()
    with trio.move_on_after(5 * STEP) as waited:
        await ticker.wait()
    assert waited.cancelled_caught
    with ticker, trio.fail_after(5):
        await ticker.wait()
    ticker.close()


async def test_closing_gives_the_descriptor_back() -> None:
    before = len(os.listdir("/proc/self/fd"))
    ticker = Ticker(STEP)
    ticker.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_no_descriptor_left_is_told() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(OSError, match="timerfd_create"):
            Ticker(STEP)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
