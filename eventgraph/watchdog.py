"""Watchdog: names the node whose hook holds up all others, while it does.

Plain hooks share the graph's thread, so one that computes or blocks for long stops the whole graph,
and no task of the graph could tell. A thread of its own can: a heartbeat of the graph's thread is
late, and that thread's stack says who is at work. A hook that holds Python's global lock for good,
in an extension that never lets go of it, stops the watchdog too.
"""

import logging
import sys
import threading
import traceback
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import perf_counter
from types import FrameType
from typing import Final

import msgspec
import trio

from eventgraph.background import open_background
from eventgraph.errors import HookOverdueError
from eventgraph.event import Address
from eventgraph.runner import Runner, whose_hook

INCIDENTS_KEPT: Final = 64
BEATS: Final = 4  # in the limit of a hook
STACK_LENGTH: Final = 30  # frames, the innermost ones

logger = logging.getLogger("eventgraph.watchdog")


class Incident(msgspec.Struct, frozen=True):
    """The graph's thread was held up."""

    address: Address | None  # None: by what is no hook of a node
    hook: str
    seconds: float
    stack: str  # at the moment that it was noticed


class Watchdog:
    """What has been seen so far. `watch_hooks` makes one."""

    def __init__(self, limit: float, crash: bool) -> None:
        self.lag = 0.0
        """Seconds by which the last heartbeat was late: so long other tasks wait for a turn."""
        self.count = 0
        """Incidents so far."""
        self.incidents: deque[Incident] = deque(maxlen=INCIDENTS_KEPT)
        """The latest ones, oldest first."""
        self._limit = limit
        self._crash = crash
        self._interval = limit / BEATS
        self._due = perf_counter() + self._interval  # when the next heartbeat is
        self._held: tuple[Runner | None, str, str] | None = None  # by whom, in which hook, stack
        self._watched = threading.get_ident()
        self._ended = threading.Event()

    # In the graph's thread

    async def beat(self) -> None:
        """Show again and again that the thread goes on."""
        while True:
            await trio.sleep(self._interval)
            now = perf_counter()
            self.lag = max(0.0, now - self._due)
            self._due = now + self._interval
            held, self._held = self._held, None
            if held is not None:
                self._close(*held)

    def _close(self, runner: Runner | None, hook: str, stack: str) -> None:
        address = runner.address if runner is not None else None
        self.count += 1
        self.incidents.append(Incident(address, hook, self.lag, stack))
        logger.warning("%s held everything up for %.3g s", _describe(runner, hook), self.lag)
        if self._crash and runner is not None:
            runner.delegate.report_failure(
                HookOverdueError(
                    f"{hook} held everything up for {self.lag:.3g} s; "
                    f"it may for {self._limit:g} s: let a thread or a process do heavy work"
                )
            )

    # In the thread of the watchdog

    def watch(self) -> None:
        """Look whether the heartbeat is late, until `end`."""
        while not self._ended.wait(self._interval):
            late = perf_counter() - self._due
            if late > self._limit and self._held is None:
                self._report(late, sys._current_frames().get(self._watched))

    def end(self) -> None:
        """Let the thread return."""
        self._ended.set()

    def _report(self, late: float, frame: FrameType | None) -> None:
        runner = whose_hook(frame)
        hook = runner.hook if runner is not None else ""
        stack = "".join(traceback.format_stack(frame)[-STACK_LENGTH:])
        self._held = runner, hook, stack
        logger.warning(
            "%s has held everything up for %.3g s:\n%s", _describe(runner, hook), late, stack
        )


def _describe(runner: Runner | None, hook: str) -> str:
    if runner is None:
        return "something that is no hook of a node"
    return f"{hook} of node {runner.address}"


@asynccontextmanager
async def watch_hooks(*, limit: float = 0.5, crash: bool = False) -> AsyncIterator[Watchdog]:
    """Watch the graphs of this thread as long as the block is running.

    Args:
        limit: seconds for which a hook may hold up everything else.
        crash: let a node whose hook has taken longer crash when it has returned, with a
            `HookOverdueError`; under supervision it is restarted.
    Raises:
        ValueError: the limit is not above 0.
    """
    if not 0 < limit < float("inf"):
        raise ValueError(f"limit is {limit} s; it must be above 0, and finite")
    watchdog = Watchdog(limit, crash)
    thread = threading.Thread(target=watchdog.watch, name="eventgraph watchdog", daemon=True)
    thread.start()
    try:
        async with open_background() as nursery:
            nursery.start_soon(watchdog.beat)
            yield watchdog
    finally:
        watchdog.end()
        thread.join()
