"""A push that a pull has dialled."""

import logging
from collections import deque
from collections.abc import Callable
from contextlib import closing

import trio

from eventgraph.parking import ParkedTask
from eventgraph.pipes.nng.connection import GONE
from eventgraph.pipes.nng.dialling import dial
from eventgraph.pipes.nng.means import Means
from eventgraph.pipes.nng.reader import Reader
from eventgraph.pipes.nng.sp import Protocol
from eventgraph.pipes.url import Url

READ_AHEAD = 64 << 10  # bytes of messages after which no more are read: one large, or many small
OVERHEAD = 64  # bytes that a message counts for beside its own

_logger = logging.getLogger(__name__)


class Source:
    """Dials a URL again and again until it is closed, and reads while there is room.

    Attributes:
        connected: whether it stands.
    """

    def __init__(
        self,
        url: Url,
        means: Means,
        on_arrival: Callable[["Source"], None],
        on_change: Callable[[], None],
    ) -> None:
        """``on_arrival`` is told when there are messages and were none."""
        self.connected = False
        self._url = url
        self._means = means
        self._on_arrival = on_arrival
        self._on_change = on_change
        self._messages: deque[memoryview] = deque()
        self._size = 0
        self._room = ParkedTask()
        self._closed = False
        self._scope = trio.CancelScope(shield=True)  # `close` ends it, nothing else
        means.nursery.start_soon(self._run)

    def __len__(self) -> int:
        return len(self._messages)

    def take(self) -> memoryview:
        """The next message; there must be one."""
        message = self._messages.popleft()
        self._size -= len(message) + OVERHEAD
        if self._size < READ_AHEAD:
            self._room.unpark()
        return message

    def close(self) -> None:
        """Hang up, and throw away what was not taken. Idempotent."""
        self._closed = True
        self.connected = False
        self._messages.clear()
        self._scope.cancel()

    async def _run(self) -> None:
        limits = self._means.limits
        pause = limits.reconnect_min
        with self._scope:
            while True:
                try:
                    reader = await dial(self._url, self._means, Protocol.PULL)
                    pause = limits.reconnect_min
                    with closing(reader.connection):
                        await self._read(reader)
                except GONE as error:
                    _logger.debug("%s: %s", self._url, error)
                await trio.sleep(pause)
                pause = min(2 * pause, limits.reconnect_max)

    async def _read(self, reader: Reader) -> None:
        try:
            self._stands(True)
            while True:
                self._arrived(await reader.message())
                while self._size >= READ_AHEAD:
                    await self._room.park()
        finally:
            self._stands(False)

    def _stands(self, connected: bool) -> None:
        self.connected = connected and not self._closed
        self._on_change()

    def _arrived(self, message: bytes | bytearray) -> None:
        if self._closed:
            return
        self._messages.append(memoryview(message).toreadonly())
        self._size += len(message) + OVERHEAD
        if len(self._messages) == 1:
            self._on_arrival(self)
