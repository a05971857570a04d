"""Endpoint: what a destination and a member have in common, a life in a task of its own."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable

import trio

from eventgraph.pipes.errors import PipeError

_logger = logging.getLogger(__name__)


class Endpoint(ABC):
    """Starts, is ready, and is over; by its owner's wish or with an error.

    Its task belongs to the nursery of `Pipes`. An error of one endpoint is its own: it is kept,
    raised by whatever is called next, and nobody else notices.
    """

    def __init__(self, label: str) -> None:
        self.label = label
        self.error: Exception | None = None
        """Why it is over, if not by its owner's wish."""
        self._scope = trio.CancelScope()
        self._ready = trio.Event()
        self._over = trio.Event()
        self._changed = trio.lowlevel.ParkingLot()
        self._nursery: trio.Nursery | None = None

    @abstractmethod
    async def _farewell(self) -> None:
        """What is due before an end in order; bounded in time."""

    @abstractmethod
    async def _run(self) -> None:
        """Live until cancelled."""

    @abstractmethod
    def _close(self) -> None:
        """Close all that is left; called once, at the end."""

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self._over.is_set()

    async def wait_over(self) -> None:
        """Wait for its end.

        Raises:
            PipeError: it has failed, with this.
        """
        await self._over.wait()
        if self.error is not None:
            raise self.error

    async def start(self, nursery: trio.Nursery) -> None:
        """Begin, and wait until it is ready; if cancelled, it ends by itself.

        Raises:
            PipeError: it could not begin.
        """
        self._nursery = nursery
        nursery.start_soon(self._live, name=self.label)
        try:
            await self._until(self._ready.is_set)
        except BaseException:
            self._scope.cancel()
            raise

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that `_tell` is called for.

        Raises:
            PipeError: it is over before.
        """
        await trio.lowlevel.checkpoint()
        while not condition():
            if self.over:
                raise self.error or PipeError(f"{self.label} is over")
            await self._changed.park()

    def _tell(self) -> None:
        """Something changed that somebody may wait for."""
        self._changed.unpark_all()

    def _become_ready(self) -> None:
        self._ready.set()
        self._tell()

    async def _live(self) -> None:
        try:
            with self._scope:
                await self._run()
        except* PipeError as group:
            self.error = _first(group)
        except* Exception as group:
            self.error = _first(group)
            _logger.exception("%s has failed", self.label, exc_info=self.error)
        finally:
            self._close()
            self._over.set()
            self._tell()

    async def _end(self) -> None:
        """Say good-bye, then end; if cancelled meanwhile, end at once."""
        try:
            if not self.over:
                await self._farewell()
        finally:
            self._scope.cancel()
        await self._over.wait()

    def end_soon(self) -> None:
        """End in order, without waiting for it."""
        if self._nursery is not None and not self.over:
            self._nursery.start_soon(self._end, name=f"end of {self.label}")


def _first(error: BaseException) -> Exception:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, Exception)
    return error
