"""Congestion: which channels stay full, for how long, and who is the slow side.

A channel that is full for a moment is what channels are for. One that stays full loses events all
the time, and its senders can only say that it does, not why. While it lasts, the node's handler is
timed for a moment: if it is at work all the time, it is too slow for what is offered; if it is not,
its turns are rare, for others keep the graph's thread busy.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from enum import StrEnum
from time import perf_counter
from typing import Final

import msgspec
import trio

from eventgraph.background import open_background
from eventgraph.errors import TracerBusyError
from eventgraph.event import Address, Event
from eventgraph.link import Tally
from eventgraph.runner import Handle, Runner
from eventgraph.runtime import Runtime
from eventgraph.tracing import follow

LOOKS: Final = 4  # in the time after which a full channel is named
STOPWATCH_TIME: Final = 0.25  # seconds for which a handler is timed
TIMED_AT_ONCE: Final = 4  # nodes of a look; others have their turn in the next
BUSY: Final = 0.6  # share of the time in its handler from which on a node is the slow side

logger = logging.getLogger("eventgraph.congestion")


class SlowSide(StrEnum):
    """Why a channel stays full."""

    NODE = "node"  # its handler is at work, or waits, all the time
    GRAPH = "graph"  # its turns are rare: other nodes keep the thread busy
    UNKNOWN = "unknown"  # it was being traced, and could not be timed


class FullChannel(msgspec.Struct, frozen=True):
    """A channel that has stayed full.

    Attributes:
        depth: events in it.
        age: seconds since it was first seen full, or an eighth below; it was so at each look since.
        offered, handled: events a second.
        busy: share of the time in its handler, 0..1; None: it could not be timed.
    """

    address: Address
    depth: int
    age: float
    offered: float
    handled: float
    busy: float | None

    @property
    def slow(self) -> SlowSide:
        """Who would have to be faster."""
        if self.busy is None:
            return SlowSide.UNKNOWN
        return SlowSide.NODE if self.busy >= BUSY else SlowSide.GRAPH

    def __str__(self) -> str:
        return (
            f"the channel of {self.address} has been full ({self.depth} events) for "
            f"{self.age:.1f} s: {self.handled:.0f} events/s handled of {self.offered:.0f} offered"
            + _reason(self.busy, self.slow)
        )


def _reason(busy: float | None, slow: SlowSide) -> str:
    if busy is None:
        return ""
    share = f"; its on_event takes {busy:.0%} of the time: "
    if slow is SlowSide.NODE:
        return share + "the node is too slow for that"
    return share + "other nodes keep the graph's thread busy"


class ChannelWatch:
    """What has been seen; `Graph.watch_channels` makes one.

    Attributes:
        full: those that are full now, and have been for longer than the limit.
        count: channels that were named so far.
    """

    def __init__(self, runtime: Runtime, limit: float) -> None:
        self.full: dict[Address, FullChannel] = {}
        self.count = 0
        self._runtime = runtime
        self._limit = limit
        self._since: dict[Runner, float] = {}

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await trio.sleep(self._limit / LOOKS)
            for runner in self._look()[:TIMED_AT_ONCE]:
                await self._name(runner)

    def _look(self) -> list[Runner]:
        """Those that are to be named now."""
        now = trio.current_time()
        runners = [vertex for vertex in self._runtime.topology if isinstance(vertex, Runner)]
        full = [runner for runner in runners if _is_full(runner)]
        self._since = {runner: self._since.get(runner, now) for runner in full}
        for address in self.full.keys() - {runner.address for runner in full}:
            del self.full[address]
            logger.warning("the channel of %s has room again", address)
        due = now - self._limit
        return [
            r for r, since in self._since.items() if since <= due and r.address not in self.full
        ]

    async def _name(self, runner: Runner) -> None:
        began, before = perf_counter(), _counts(runner)
        busy = await self._time(runner)
        took, after = perf_counter() - began, _counts(runner)
        offered, handled = ((y - x) / took for x, y in zip(before, after, strict=True))
        age = trio.current_time() - self._since[runner]
        found = FullChannel(runner.address, len(runner.entries), age, offered, handled, busy)
        self.full[runner.address] = found
        self.count += 1
        logger.warning("%s", found)

    async def _time(self, runner: Runner) -> float | None:
        """The share of the time that it spends in its handler; None if it is being traced."""
        stopwatch = _Stopwatch(runner)
        wrapper = stopwatch.wrap
        try:
            follow(self._runtime, stopwatch)
        except TracerBusyError:
            await trio.sleep(STOPWATCH_TIME)
            return None
        runner.wrap(wrapper)
        try:
            began = perf_counter()
            await trio.sleep(STOPWATCH_TIME)
            return stopwatch.spent() / (perf_counter() - began)
        finally:
            runner.unwrap(wrapper)
            self._runtime.tracer = None


class _Stopwatch:
    """Adds up what the handler of a node takes, a call that has not returned included."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._handle: Handle
        self._spent = 0.0
        self._handled = 0
        self._began: float | None = None
        self._made = perf_counter()

    def wrap(self, handle: Handle) -> Handle:
        """Time what this does."""
        self._handle = handle
        return self._timed

    def _timed(self, event: Event) -> Awaitable[None] | None:
        self._began = perf_counter()
        try:
            result = self._handle(event)
        except BaseException:
            self._end()
            raise
        if inspect.isawaitable(result):
            return self._finish(result)
        self._end()
        return None

    async def _finish(self, handling: Awaitable[None]) -> None:
        try:
            await handling
        finally:
            self._end()

    def _end(self) -> None:
        if self._began is not None:
            self._spent += perf_counter() - self._began
            self._handled += 1
        self._began = None

    def spent(self) -> float:
        """Seconds so far."""
        if self._began is not None:
            return self._spent + perf_counter() - self._began
        # A call that began before we looked, and has not returned since, never came by here.
        stuck = not self._handled and self._runner.in_hook
        return perf_counter() - self._made if stuck else self._spent


def _is_full(runner: Runner) -> bool:
    """Whether as good as nothing fits in: one or two may have been taken out just now."""
    size = runner.channel_size
    return len(runner.entries) >= max(1, size - max(1, size // 8))


def _counts(runner: Runner) -> tuple[float, float]:
    """Events offered to the node so far, and handled; on the ways that stand now."""
    ways: list[Tally] = [runner.to_self, *runner.inputs.values()]
    if runner.from_threads is not None:
        ways.append(runner.from_threads)
    accepted = sum(way.accepted for way in ways)
    refused = sum(sum(way.refused.values()) for way in ways)
    discarded = sum(sum(way.discarded.values()) for way in ways)
    return accepted + refused, accepted - discarded - len(runner.entries)


@asynccontextmanager
async def watch_channels(runtime: Runtime, limit: float) -> AsyncIterator[ChannelWatch]:
    """As `Graph.watch_channels`."""
    if not 0 < limit < float("inf"):
        raise ValueError(f"limit is {limit} s; it must be above 0, and finite")
    watch = ChannelWatch(runtime, limit)
    async with open_background() as nursery:
        nursery.start_soon(watch.run)
        yield watch
