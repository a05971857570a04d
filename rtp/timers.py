"""Timers of all sessions, in one task.

Sessions want to be called every few seconds. A trio task for each would cost two
kilobytes and a wake-up apiece; here one task sleeps until the earliest, and then looks
after all that are due within `GRAIN`.
"""

import logging
from collections.abc import Callable
from math import inf
from typing import Final, Protocol

import trio
from sortedcontainers import SortedList  # type: ignore[import-untyped]  # has no stubs

from eventgraph.parking import ParkedTask

GRAIN: Final = 0.01
"""Seconds; a timer may be so late. RTCP intervals are random within seconds."""
BATCH: Final = 16
"""Timers before other tasks have a turn; writing a report takes some 50 µs."""

logger = logging.getLogger("rtp")


class Timed(Protocol):
    """Who has a timer; hashable by identity."""

    def handle_timer(self, now: float) -> float | None:
        """Called at about the time that was set. Returns when next (seconds), None: never."""


class Timers:
    """At most one time for each owner."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """
        Args:
            clock: trio's own, or one in step with it (seconds).
        """
        self._clock = clock
        self._times: dict[Timed, float] = {}
        self._sorted = SortedList()  # (time, id of the owner, the owner)
        self._parking = ParkedTask()

    def __len__(self) -> int:
        return len(self._sorted)

    def set(self, owner: Timed, at: float | None) -> None:
        """Call the owner at `at` seconds and not at the time set before; None: not at all."""
        before = self._times.pop(owner, None)
        if before is not None:
            self._sorted.remove((before, id(owner), owner))
        if at is not None:
            self._times[owner] = at
            self._sorted.add((at, id(owner), owner))
            if self._sorted[0][2] is owner:
                self._parking.unpark()

    async def run(self) -> None:
        """Call whoever is due, until cancelled."""
        while True:
            self.run_due(self._clock())
            earliest = self._sorted[0][0] if self._sorted else inf
            if earliest <= self._clock():
                await trio.lowlevel.checkpoint()
                continue
            with trio.move_on_at(earliest):
                await self._parking.park()
            await trio.sleep(GRAIN)

    def run_due(self, now: float) -> None:
        """Call those that are due at `now` (seconds), at most `BATCH` of them."""
        for _ in range(BATCH):
            if not self._sorted or self._sorted[0][0] > now:
                return
            owner: Timed = self._sorted[0][2]
            self.set(owner, None)
            try:
                following = owner.handle_timer(now)
            except Exception:
                logger.exception("timer of %r failed; it is not called again", owner)
            else:
                if following is not None:
                    self.set(owner, following)
