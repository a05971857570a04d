"""One connection of the HTTP edge: HTTP/1.1, and nothing else.

Hypercorn's protocol is used, its loop around it is not. That also speaks HTTP/2 and WebSocket with
anybody who asks for it, and a broken way to ask raises; it has no end for a request that never
becomes whole, once its head has come; and nobody outside learns for whom it waits. Here a client
has `HEAD_LIMIT` for the head of a request (the gate has a limit for its body), may be idle for
`IDLE_LIMIT` between two of them, and `waiting` tells whether the next word is the client's.
"""

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

import h11
import trio
from hypercorn.config import Config as HypercornConfig
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.events import Response
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ASGIReceiveEvent, ConnectionState, Scope
from hypercorn.utils import parse_socket_addr

logger = logging.getLogger("rtp.http")

Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]

HANDSHAKE_LIMIT: Final = 5.0
"""Seconds for that of TLS."""
HEAD_LIMIT: Final = 5.0
"""Seconds for the head of a request, from the beginning of the connection or of the head."""
IDLE_LIMIT: Final = 75.0
"""Seconds between an answer and the next request. Longer than proxies and clients keep an idle
connection (60 s is usual): who closes it must be the one who sends, for a request that meets the
server's close is lost."""
CLOSE_LIMIT: Final = 1.0
"""Seconds for the last word of TLS, to a client that may not read."""
LINGER_LIMIT: Final = 1.0
"""Seconds to take what a client still sends that was answered before it had sent all."""
CHUNK: Final = 1 << 16  # bytes that are read at once


class _Http1(H11Protocol):
    """Whatever other protocol is asked for is not spoken, as RFC 9110 §7.8 allows."""

    @property
    def is_early(self) -> bool:
        """Whether an answer would come before the request is whole."""
        return self.connection.their_state is h11.SEND_BODY

    async def stream_send(self, event: StreamEvent) -> None:
        if isinstance(event, Response) and self.is_early:
            # The connection ends then (RFC 9112 §9.3): say so, lest the client uses it again.
            event = replace(event, headers=[*event.headers, (b"connection", b"close")])
        await super().stream_send(event)

    async def _check_protocol(self, event: h11.Request) -> None:
        pass

    async def _create_stream(self, request: h11.Request) -> None:
        headers = [(name, value) for name, value in request.headers if name != b"upgrade"]
        plain = h11.Request(
            method=request.method,
            target=request.target,
            headers=headers,
            http_version=request.http_version,
        )
        await super()._create_stream(plain)


class _Tasks(TaskGroup):
    """Tells applications that the client is gone without waiting for them to ask.

    Hypercorn puts that behind the parts of the body, for which there is little room: an application
    that answers and does not take them would be stuck in its last word, and the connection with it.
    """

    async def spawn_app(
        self, app: AppWrapper, config: HypercornConfig, scope: Scope, send: Any
    ) -> Callable[[ASGIReceiveEvent], Awaitable[None]]:
        async def listening(
            scope: Scope, receive: Any, send: Any, sync_spawn: Any, call_soon: Any
        ) -> None:
            async def receive_or_gone() -> Any:
                try:
                    return await receive()
                except trio.EndOfChannel:
                    return {"type": "http.disconnect"}

            await app(scope, receive_or_gone, send, sync_spawn, call_soon)

        put: Any = await super().spawn_app(listening, config, scope, send)
        channel: trio.MemorySendChannel[ASGIReceiveEvent] = put.__self__

        async def put_or_close(message: ASGIReceiveEvent) -> None:
            if message["type"] == "http.disconnect":
                channel.close()
                return
            with suppress(trio.ClosedResourceError):  # while it waited for room
                await channel.send(message)

        return put_or_close


class Connection:
    """Serves one client until it leaves, is too slow, or `end_soon` or `cancel` is called.

    Args:
        stream: to the client; closed at the end.
        application: an ASGI application, wrapped for Hypercorn.
        context: of all connections.
        turns: of all connections; so many of them are served each time round the event loop, for
            in between comes what matters more: media.
    Attributes:
        waits_since: when it began to wait for the client, seconds on trio's clock; see `waiting`.
        fault: why the client was cut off: "handshake", "slow", "evicted"; empty: it was not.
    """

    def __init__(
        self,
        stream: Stream,
        application: Any,
        config: HypercornConfig,
        context: WorkerContext,
        turns: trio.Semaphore,
    ) -> None:
        self.waits_since = trio.current_time()
        self.fault = ""
        self._stream = stream
        self._application = application
        self._config = config
        self._context = context
        self._turns = turns
        self._protocol: _Http1 | None = None
        self._reading = trio.CancelScope()
        self._all = trio.CancelScope(shield=True)
        self._sending = trio.Lock()
        self._idle = False  # nothing has come since the last answer
        self._early = False  # the last answer came before the request was whole, or it was none

    @property
    def waiting(self) -> bool:
        """Whether it waits for the client: for its handshake, or for a whole request."""
        if self._protocol is None:
            return True
        return self._protocol.connection.their_state in {h11.IDLE, h11.SEND_BODY, h11.ERROR}

    def evict(self) -> None:
        """Somebody else is to have its place."""
        self.fault = "evicted"
        self._all.cancel()

    def end_soon(self) -> None:
        """End, if no request is being answered; Hypercorn ends it after the answer if one is."""
        if self._reading.deadline != float("inf"):
            self._reading.cancel()

    def cancel(self) -> None:
        """End now."""
        self._all.cancel()

    async def run(self) -> None:
        """Until it is over; then the stream is closed."""
        with self._all:
            try:
                if await self._shake_hands():
                    await self._serve()
            except OSError:
                pass  # the client was gone before we could see who it is
            finally:
                await self._close()

    async def _shake_hands(self) -> bool:
        if isinstance(self._stream, trio.SocketStream):
            return True
        try:
            with trio.fail_after(HANDSHAKE_LIMIT):
                await self._stream.do_handshake()
        except (trio.BrokenResourceError, trio.TooSlowError):
            self.fault = "handshake"
            return False
        return True

    async def _serve(self) -> None:
        secure = isinstance(self._stream, trio.SSLStream)
        socket = _socket_of(self._stream)
        async with _Tasks() as group:
            self._protocol = protocol = _Http1(
                self._application,
                self._config,
                self._context,
                group,
                ConnectionState({}),
                secure,
                parse_socket_addr(socket.family, socket.getpeername()),
                parse_socket_addr(socket.family, socket.getsockname()),
                self._take,
            )
            self._reading.deadline = trio.current_time() + HEAD_LIMIT
            with self._reading:
                await self._read(protocol)
            if self._reading.cancelled_caught and not self._context.terminated.is_set():
                self.fault = "slow" if protocol.connection.trailing_data[0] else ""
            await protocol.handle(Closed())
            if self._early:
                await self._linger()

    async def _linger(self) -> None:
        """Read on for a moment; else the system resets the connection, and the answer may be lost.

        Source: RFC 9112 §9.6.
        """
        with trio.move_on_after(LINGER_LIMIT), suppress(trio.BrokenResourceError):
            if isinstance(self._stream, trio.SocketStream):
                await self._stream.send_eof()
            while await self._stream.receive_some(CHUNK):
                pass

    async def _read(self, protocol: _Http1) -> None:
        while True:
            try:
                data = await self._stream.receive_some(CHUNK)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return
            if self._idle:
                self._idle = False
                self._reading.deadline = trio.current_time() + HEAD_LIMIT
            async with self._turns:
                await trio.lowlevel.checkpoint()
            await protocol.handle(RawData(bytes(data)))
            if not data:
                return

    async def _take(self, event: Event) -> None:
        """What the protocol wants to be done."""
        match event:
            case RawData():
                async with self._sending:
                    try:
                        await self._stream.send_all(event.data)
                    except (trio.BrokenResourceError, trio.ClosedResourceError):
                        self._reading.cancel()  # what is made of it then is told to nobody
            case Updated():
                self._reading.deadline = self._deadline(event.idle)
            case Closed():
                assert self._protocol is not None
                theirs = self._protocol.connection.their_state
                self._early = theirs in {h11.SEND_BODY, h11.ERROR}
                self._reading.cancel()

    def _deadline(self, idle: bool) -> float:
        """Until when the client must have said what it has to say."""
        assert self._protocol is not None
        if not idle:
            return float("inf")
        begun = bool(self._protocol.connection.trailing_data[0])
        self._idle = not begun
        self.waits_since = trio.current_time()
        return self.waits_since + (HEAD_LIMIT if begun else IDLE_LIMIT)

    async def _close(self) -> None:
        with trio.CancelScope(shield=True), trio.move_on_after(CLOSE_LIMIT):
            try:
                if isinstance(self._stream, trio.SocketStream):
                    await self._stream.send_eof()
                await self._stream.aclose()
            except (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
                pass
        _socket_of(self._stream).close()


def _socket_of(stream: Stream) -> trio.socket.SocketType:
    return (
        stream.socket if isinstance(stream, trio.SocketStream) else stream.transport_stream.socket
    )
