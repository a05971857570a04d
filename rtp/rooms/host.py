"""Host: what people come to and leave, as a block at whose end all are sent home."""

from types import TracebackType
from typing import Self

import trio

from ..errors import RtpError


class ClosingError(RtpError):
    """It is being left: nobody can come in any more."""


class Host:
    """Base of `Rooms` and `Broadcasts`: ``async with host``.

    Attributes:
        closing: whether the block is being left.
    """

    def __init__(self) -> None:
        self.closing = False
        self._nursery_manager = trio.open_nursery()

    async def __aenter__(self) -> Self:
        self._nursery = await self._nursery_manager.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.closing = True
        # The nursery is not told of the body's exception, which so leaves as it is.
        self._nursery.cancel_scope.shield = True
        with trio.CancelScope(shield=True):
            await self.send_home()
        await self._nursery_manager.__aexit__(None, None, None)

    def check_open(self) -> None:
        """Whether somebody may come in.

        Raises:
            ClosingError: no.
        """
        if self.closing:
            raise ClosingError("the server ends just now")

    async def send_home(self) -> None:
        """End all that is open; not what is still beginning, which finds `closing`."""
        raise NotImplementedError
