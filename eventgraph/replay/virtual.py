"""Like ``trio.run``, but so that the same program does the same each time.

Four things make two runs differ, and none is left here:

* the clock. It is virtual: it stands while anything can go on, and then jumps to the next deadline.
* the order of tasks that can go on at the same time. trio shuffles them, and puts those that wake
  at one deadline in the order of their addresses in memory; here it is that of their making.
* threads, which are done when they are done. Here ``trio.to_thread.run_sync`` calls at once, with
  no thread. (Were there one, the clock would wait for it, which trio's own autojump does not.)
* the slices of the dispatcher, which end by the real clock. Here they have no end.

The first is trio's; for the others names of trio and of the dispatcher are set while it runs, and
put back. Other runs of trio in the process go on meanwhile, in that order of tasks.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from random import Random
from typing import Any, Final, TypeVar

import trio
import trio.testing
from trio._core import _run as trio_run  # no public name; tests watch it

from eventgraph import dispatch

T = TypeVar("T")

IDLE: Final = 0.01
"""Real seconds from one look to the next while only something outside can go on."""


def run_virtually(async_function: Callable[..., Awaitable[T]], *args: object) -> T:
    """Run an async function to its end, as fast as it goes.

    Not for what talks to others: sockets and processes do not know of the clock.

    Raises:
        what the function raises.
    """
    clock = trio.testing.MockClock()
    with _same_order(clock):
        return trio.run(_run, clock, async_function, args, clock=clock)


async def _run(
    clock: trio.testing.MockClock,
    async_function: Callable[..., Awaitable[T]],
    args: tuple[object, ...],
) -> T:
    results: list[T] = []
    raised: list[BaseException] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_advance, clock)
        try:
            results.append(await async_function(*args))
        except BaseException as error:  # out of the nursery, which would wrap it in a group
            raised.append(error)
        nursery.cancel_scope.cancel()
    for reason in raised:
        raise reason
    return results[0]


async def _advance(clock: trio.testing.MockClock) -> None:
    """Jump to the next deadline, whenever nothing else can go on."""
    while True:
        await trio.testing.wait_all_tasks_blocked()
        if trio.testing.active_thread_count():
            await trio.testing.wait_all_threads_completed()
            continue
        seconds = trio.lowlevel.current_statistics().seconds_to_next_deadline
        if seconds == math.inf:
            await trio.testing.wait_all_tasks_blocked(IDLE)
        elif seconds > 0:
            clock.jump(seconds)


class _Unshuffled(Random):
    """Leaves the order as it is."""

    def shuffle(self, x: object) -> None:
        """Do nothing."""


@contextmanager
def _same_order(clock: trio.testing.MockClock) -> Iterator[None]:
    in_thread: Any = trio.to_thread.run_sync

    async def run_sync(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        if trio.lowlevel.current_clock() is not clock:
            return await in_thread(function, *args, **options)
        await trio.lowlevel.checkpoint()
        return function(*args)

    with ExitStack() as stack:
        for owner, name, value in (
            (trio_run, "_ALLOW_DETERMINISTIC_SCHEDULING", True),
            (trio_run, "_r", _Unshuffled(0)),
            (trio.to_thread, "run_sync", run_sync),
            (dispatch, "SLICE", math.inf),
        ):
            stack.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, value)
        yield
