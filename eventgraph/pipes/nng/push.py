"""The push end of the nng transport."""

from collections import deque
from collections.abc import Callable
from functools import partial

import trio

from eventgraph.pipes.nng.acceptor import Acceptor
from eventgraph.pipes.nng.connection import GONE, Connection
from eventgraph.pipes.nng.greeting import framing
from eventgraph.pipes.nng.means import Means, closed, refuse_too_large
from eventgraph.pipes.nng.reader import Reader
from eventgraph.pipes.nng.sp import Message, Protocol
from eventgraph.pipes.transport import Push
from eventgraph.pipes.url import Url


class SpPush(Push):
    """Nothing is queued here: a message goes to a connection that has sent all it took before."""

    def __init__(self, url: Url, means: Means, on_change: Callable[[], None]) -> None:
        self._means = means
        self._frame = framing(url, dialled=False)
        self._on_change = on_change
        self._closed = False
        self._standing: set[Connection] = set()
        self._ready: deque[Connection] = deque()
        self._pongs: dict[Connection, bytes] = {}  # that are due before the next message
        self._senders = trio.lowlevel.ParkingLot()
        self._acceptor = Acceptor(url, means, Protocol.PUSH, self._serve)

    @property
    def url(self) -> str:
        return self._acceptor.url

    @property
    def connections(self) -> int:
        return len(self._standing)

    async def send(self, message: Message) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        if isinstance(message, memoryview):
            message = message.cast("B")
        refuse_too_large(len(message), self._means.limits.max_message_size)
        head, body = self._frame(message)
        waited = False
        while not self._hand_over(head, body):
            await self._senders.park()
            waited = True
        if not waited:
            await trio.lowlevel.cancel_shielded_checkpoint()

    def _hand_over(self, head: bytes, body: Message) -> bool:
        if self._closed:
            raise closed()
        while self._ready:
            if self._gives(self._ready.popleft(), head, body):
                return True
        return False

    def _gives(self, connection: Connection, head: bytes, body: Message) -> bool:
        """Whether the connection takes it; then, or if it has no room, it is ready later."""
        if connection.closed:
            return False
        try:
            all_sent = connection.take(head, body)
        except BlockingIOError:
            self._acceptor.tasks.start_soon(self._flush, connection)
            return False
        except OSError:
            connection.close()
            return False
        if all_sent:
            self._ready.append(connection)
        else:
            self._acceptor.tasks.start_soon(self._flush, connection)
        return True

    def hang_up(self) -> None:
        self._acceptor.hang_up()
        self._standing.clear()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._means.ends.discard(self)
            self._acceptor.close()
            self._standing.clear()
            self._senders.unpark_all()

    # Tasks

    async def _serve(self, reader: Reader) -> None:
        connection = reader.connection
        reader.pong = partial(self._pong, connection)
        self._standing.add(connection)
        self._is_ready(connection)
        self._on_change()
        try:
            await reader.silence()
        finally:
            connection.close()
            self._standing.discard(connection)
            self._pongs.pop(connection, None)
            if connection in self._ready:
                self._ready.remove(connection)
            if not self._closed:
                self._on_change()

    async def _pong(self, connection: Connection, frame: bytes) -> None:
        """Between two messages; only the last ping needs an answer (RFC 6455, section 5.5.3)."""
        await trio.lowlevel.checkpoint()
        self._pongs[connection] = frame
        if connection in self._ready:
            self._ready.remove(connection)
            self._is_ready(connection)

    async def _flush(self, connection: Connection) -> None:
        try:
            await connection.flush()
        except GONE:
            connection.close()
        else:
            self._is_ready(connection)

    def _is_ready(self, connection: Connection) -> None:
        pong = self._pongs.pop(connection, None)
        if pong is None:
            self._ready.append(connection)
        elif not self._gives(connection, pong, b""):
            self._pongs[connection] = pong  # there is no room, or nobody
        if self._ready:
            self._senders.unpark()
