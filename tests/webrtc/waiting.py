"""What tests across threads wait for and count."""

import os
from collections.abc import Callable

import trio


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait for something that another thread or process brings about."""
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110  # what changes it knows no trio
            await trio.sleep(0.0005)


def open_files() -> int:
    """File descriptors of this process."""
    return len(os.listdir("/proc/self/fd"))
