"""Ending a command by a signal: the first time in order, the second at once."""

import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import trio

from eventgraph.background import open_background

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Signals that came; made by `run_interruptibly`."""

    def __init__(self) -> None:
        self.signal = 0  # the first that came
        self._work: trio.CancelScope | None = None
        self._all = trio.CancelScope()

    def work(self) -> trio.CancelScope:
        """For a block that the first signal ends; what follows it puts things in order."""
        self._work = trio.CancelScope()
        return self._work

    @asynccontextmanager
    async def _listening(self) -> AsyncIterator[None]:
        with trio.open_signal_receiver(*SIGNALS) as signals:
            async with open_background() as nursery:
                nursery.start_soon(self._listen, signals)
                with self._all:
                    yield

    async def _listen(self, signals: AsyncIterator[int]) -> None:
        async for number in signals:
            if self._work is not None and not self.signal:
                self._work.cancel()
            else:  # again, or there is nothing yet to put in order
                self._all.cancel()
            self.signal = self.signal or number


async def run_interruptibly(command: Callable[[Interruption], Awaitable[int]]) -> int:
    """The exit status of a command; 128 more than the number of the signal that ended it."""
    interruption = Interruption()
    status = 0
    async with interruption._listening():
        status = await command(interruption)
    return 128 + interruption.signal if interruption.signal else status
