"""The push end of the nng transport, which is not nng's own.

nng 1.11 keeps a connection that is cut at the wrong moment in the list of those that are ready,
and hands the next message to freed memory (push.c lets ``push0_send_cb`` come after
``push0_pipe_close``): under load, one connection of some thousand that are cut ended the process.
The protocol is small (see `sp`), so this end speaks it itself. That is also faster, as no thread
stands between, and TCP finds out about half-open connections within the keepalive time.
"""

import logging
import math
import socket
from collections import deque
from collections.abc import Callable

import trio

from eventgraph.pipes.errors import TransportError
from eventgraph.pipes.nng.bind import Listening, check_own_process
from eventgraph.pipes.nng.connection import (
    GONE,
    Connection,
    PlainConnection,
    TlsConnection,
    watch,
)
from eventgraph.pipes.nng.greeting import greet
from eventgraph.pipes.nng.socket import Means
from eventgraph.pipes.nng.sp import Message, Protocol, stream_frame, unix_frame
from eventgraph.pipes.nng.web import web_frame
from eventgraph.pipes.transport import Push
from eventgraph.pipes.url import LOCAL, TLS, Url

MAX_GREETING = 64  # connections that may be about to greet at once; others wait in the backlog
FULL_PAUSE = 0.1  # seconds to the next try when the process has no descriptor left
WARN_EVERY = 10.0  # seconds between two warnings of connections that were refused

_FRAMES = {"ipc": unix_frame, "inproc": unix_frame, "ws": web_frame, "wss": web_frame}

_logger = logging.getLogger(__name__)


class SpPush(Push):
    """Nothing is queued here: a message goes to a connection that has sent all it took before."""

    def __init__(self, url: Url, means: Means, on_change: Callable[[], None]) -> None:
        self._listening = Listening(url)
        self._means = means
        self._limits = means.limits
        self._context = means.server_context if url.scheme in TLS else None
        self._frame = _FRAMES.get(url.scheme, stream_frame)
        self._on_change = on_change
        self._closed = False
        self._scope = trio.CancelScope(shield=True)  # `close` ends it, nothing else
        self._greeting = trio.Semaphore(MAX_GREETING)
        self._open: set[Connection] = set()
        self._standing: set[Connection] = set()
        self._ready: deque[Connection] = deque()
        self._senders = trio.lowlevel.ParkingLot()
        self._warned = -math.inf
        means.nursery.start_soon(self._run)

    @property
    def url(self) -> str:
        return str(self._listening.url)

    @property
    def connections(self) -> int:
        return len(self._standing)

    async def send(self, message: Message) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        if isinstance(message, memoryview):
            message = message.cast("B")
        size = len(message)
        limit = self._limits.max_message_size
        if size > limit:
            raise TransportError(f"a message of {size} bytes; max_message_size is {limit}")
        head, body = self._frame(message)
        waited = False
        while not self._hand_over(head, body):
            await self._senders.park()
            waited = True
        if not waited:
            await trio.lowlevel.cancel_shielded_checkpoint()

    def _hand_over(self, head: bytes, body: Message) -> bool:
        if self._closed:
            raise TransportError("the socket is closed")
        while self._ready:
            connection = self._ready.popleft()
            if connection.closed:
                continue
            try:
                all_sent = connection.take(head, body)
            except BlockingIOError:
                self._tasks.start_soon(self._flush, connection)
            except OSError:
                connection.close()
            else:
                if all_sent:
                    self._ready.append(connection)
                else:
                    self._tasks.start_soon(self._flush, connection)
                return True
        return False

    def hang_up(self) -> None:
        for connection in list(self._open):
            connection.close()
        self._standing.clear()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._means.ends.discard(self)
            self._scope.cancel()
            self.hang_up()
            trio.lowlevel.notify_closing(self._listening.socket)
            self._listening.close()
            self._senders.unpark_all()

    # Tasks

    async def _run(self) -> None:
        with self._scope:
            async with trio.open_nursery() as self._tasks:
                while True:
                    await self._greeting.acquire()
                    self._tasks.start_soon(self._serve, await self._accept())

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
                self._warn(error)
                await trio.sleep(FULL_PAUSE)
            else:
                accepted.setblocking(False)
                return accepted

    async def _serve(self, accepted: socket.socket) -> None:
        connection: Connection | None = None
        greeted = False
        try:
            connection = self._connection(accepted)
            self._open.add(connection)
            with trio.fail_after(self._limits.keepalive):
                reader = await greet(
                    connection,
                    self._listening.url,
                    Protocol.PUSH,
                    self._limits.max_message_size,
                    dialled=False,
                )
            greeted = True
            self._greeting.release()
            self._standing.add(connection)
            self._is_ready(connection)
            self._on_change()
            await reader.exactly(1)  # a pull says nothing more: it hangs up
        except (*GONE, trio.TooSlowError) as error:
            if not greeted and not (connection and connection.closed):
                self._warn(error)
        finally:
            if connection is None:
                accepted.close()
            else:
                connection.close()
                self._open.discard(connection)
                self._standing.discard(connection)
            if not greeted:
                self._greeting.release()
            elif not self._closed:
                self._on_change()

    def _connection(self, accepted: socket.socket) -> Connection:
        scheme = self._listening.url.scheme
        if scheme not in LOCAL:
            watch(accepted, self._limits.keepalive)
        elif scheme == "inproc":
            check_own_process(accepted)
        return (
            TlsConnection(accepted, self._context) if self._context else PlainConnection(accepted)
        )

    async def _flush(self, connection: Connection) -> None:
        try:
            await connection.flush()
        except GONE:
            connection.close()
        else:
            self._is_ready(connection)

    def _is_ready(self, connection: Connection) -> None:
        self._ready.append(connection)
        self._senders.unpark()

    def _warn(self, error: Exception) -> None:
        now = trio.current_time()
        if not self._closed and now - self._warned >= WARN_EVERY:
            self._warned = now
            cause = error.__cause__ or error
            _logger.warning("%s: a connection was refused: %s", self.url, cause)
