"""Accepting where a socket listens, and coming to terms with who has dialled."""

import logging
import math
import socket
from collections.abc import Awaitable, Callable

import trio

from eventgraph.pipes.nng.bind import Listening
from eventgraph.pipes.nng.connection import GONE, Connection
from eventgraph.pipes.nng.greeting import greet
from eventgraph.pipes.nng.means import Means
from eventgraph.pipes.nng.reader import Reader
from eventgraph.pipes.nng.sp import Protocol
from eventgraph.pipes.url import TLS, Url

MAX_GREETING = 64  # connections that may be about to greet at once; others wait in the backlog
FULL_PAUSE = 0.1  # seconds to the next try when the process has no descriptor left
WARN_EVERY = 10.0  # seconds between two warnings of connections that were refused

_logger = logging.getLogger(__name__)


class Acceptor:
    """Serves each connection that has greeted in time, until it is cut.

    Attributes:
        tasks: where what belongs to the connections can run; it is cancelled by `close`.
    """

    tasks: trio.Nursery

    def __init__(
        self, url: Url, means: Means, ours: Protocol, serve: Callable[[Reader], Awaitable[None]]
    ) -> None:
        self._listening = Listening(url)
        self._limits = means.limits
        self._context = means.server_context if url.scheme in TLS else None
        self._ours = ours
        self._serve = serve
        self._closed = False
        self._scope = trio.CancelScope(shield=True)  # `close` ends it, nothing else
        self._greeting = trio.Semaphore(MAX_GREETING)
        self._open: set[Connection] = set()
        self._warned = -math.inf
        means.nursery.start_soon(self._run)

    @property
    def url(self) -> str:
        """Where it listens, with the port that it got."""
        return str(self._listening.url)

    def hang_up(self) -> None:
        """Cut every connection."""
        for connection in list(self._open):
            connection.close()

    def close(self) -> None:
        """Listen no more, and cut every connection. Idempotent."""
        if not self._closed:
            self._closed = True
            self._scope.cancel()
            self.hang_up()
            trio.lowlevel.notify_closing(self._listening.socket)
            self._listening.close()

    def warn(self, what: str) -> None:
        """Say that a connection was refused or cut, unless something was said a moment ago."""
        now = trio.current_time()
        if not self._closed and now - self._warned >= WARN_EVERY:
            self._warned = now
            _logger.warning("%s: %s", self.url, what)

    async def _run(self) -> None:
        with self._scope:
            async with trio.open_nursery() as self.tasks:
                while True:
                    await self._greeting.acquire()
                    self.tasks.start_soon(self._attend, await self._accept())

    async def _accept(self) -> socket.socket:
        listener = self._listening.socket
        while True:
            if self._closed:
                await trio.sleep_forever()  # `close` has cancelled us
            try:
                await trio.lowlevel.wait_readable(listener)
                accepted, _ = listener.accept()
            except (trio.ClosedResourceError, BlockingIOError, ConnectionAbortedError):
                continue
            except OSError as error:
                self.warn(str(error))
                await trio.sleep(FULL_PAUSE)
            else:
                accepted.setblocking(False)
                return accepted

    async def _attend(self, accepted: socket.socket) -> None:
        connection = Connection(accepted, self._context)
        self._open.add(connection)
        try:
            await self._serve(await self._greet(connection))
        except GONE as error:
            _logger.debug("%s: %s", self.url, error)
        finally:
            connection.close()
            self._open.discard(connection)

    async def _greet(self, connection: Connection) -> Reader:
        url = self._listening.url
        try:
            return await greet(connection, url, self._ours, self._limits, dialled=False)
        except GONE as error:
            if not connection.closed:
                self.warn(f"a connection was refused: {error.__cause__ or error}")
            raise
        finally:
            self._greeting.release()
