"""Host: what people come to and leave, as a block at whose end all are sent home."""

import logging
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Protocol, Self

import trio

from ..errors import RtpError

logger = logging.getLogger("rtp")


class ClosingError(RtpError):
    """It is being left: nobody can come in any more."""


class Guest(Protocol):
    """Who comes to a host."""

    async def close(self) -> None:
        """Leave. Idempotent."""

    async def wait_left(self) -> None:
        """Wait until nothing of it is left."""


class Host:
    """Base of `Rooms` and `Broadcasts`: ``async with host``.

    A guest that fails to leave in order is logged, and is nobody else's concern.

    Attributes:
        closing: whether the block is being left.
    """

    def __init__(self) -> None:
        self.closing = False
        self._guests: dict[Guest, None] = {}
        self._nursery_manager = trio.open_nursery()

    async def __aenter__(self) -> Self:
        self.nursery = await self._nursery_manager.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.closing = True
        # The nursery is not told of the body's exception, which so leaves as it is.
        self.nursery.cancel_scope.shield = True
        try:
            with trio.CancelScope(shield=True):
                for guest in list(self._guests):
                    await send_home(guest)
        finally:
            await self._nursery_manager.__aexit__(None, None, None)

    def check_open(self) -> None:
        """Whether somebody may come in.

        Raises:
            ClosingError: no.
        """
        if self.closing:
            raise ClosingError("the server ends just now")

    def keep(self, guest: Guest, left: Callable[[], Awaitable[object]]) -> None:
        """Have a guest until it leaves; `left` is awaited then."""
        self._guests[guest] = None
        self.nursery.start_soon(self._stay, guest, left)

    async def _stay(self, guest: Guest, left: Callable[[], Awaitable[object]]) -> None:
        try:
            await guest.wait_left()
        except Exception:
            logger.exception("%r did not leave in order", guest)
        del self._guests[guest]
        await left()


async def send_home(guest: Guest) -> None:
    """Close it, whatever comes of that."""
    try:
        await guest.close()
    except Exception:
        logger.exception("%r could not be closed in order", guest)
