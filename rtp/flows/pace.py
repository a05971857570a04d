"""Pace: when the next block is due, by deadlines that do not drift."""

from typing import Final

import trio

from eventgraph.flows import now

LATE: Final = 200_000_000  # nanoseconds: what is later was stopped, and does not catch up


class Pace:
    """A deadline each so many seconds, from the first on."""

    def __init__(self, interval: float) -> None:
        self._interval = round(interval * 1e9)
        self._due = 0

    async def wait(self) -> int:
        """Until the next is due: nanoseconds of `eventgraph.flows.now`, later than the last."""
        due = self._due + self._interval
        if now() - due > max(LATE, self._interval):
            due = now()
        self._due = due
        await trio.sleep(max(0, due - now()) / 1e9)
        return due
