"""The accept loop of the HTTP edge: Hypercorn's trio connections, and an end to them.

`hypercorn.trio.serve` is not used, for it cannot promise an end. It answers under a shield,
so a client that stops reading holds up the exit for ever; when it is cancelled it skips the
closing of idle connections; and nobody outside gets at its sockets. So the loop is ours, and
each connection is Hypercorn's `TCPServer` as it is. When the loop is cancelled, idle
connections close at once, answers under way have `GRACE` seconds, and then the sockets go.
"""

import logging
import socket
from typing import Any, Final

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config as HypercornConfig
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState

logger = logging.getLogger("rtp.http")

GRACE: Final = 0.5
"""Seconds for answers under way at the exit: a person who pressed Ctrl-C waits for them."""

MAX_CONNECTIONS: Final = 256
"""At a time. This edge is for operators and signalling, not for an audience."""


class Connections:
    """Serves one ASGI application on one listening socket."""

    def __init__(self, application: Any) -> None:
        config = HypercornConfig()
        config.accesslog = None
        config.errorlog = logger
        config.include_server_header = False
        self._config = config
        self._application = ASGIWrapper(application)
        self._context = WorkerContext(None)
        self._open: dict[trio.SocketStream, trio.CancelScope] = {}
        self._all_closed = trio.Event()
        self._refusing = False

    async def serve(self, listener: socket.socket) -> None:
        """Serve until cancelled, then close everything, the listening socket too."""
        trio_listener = trio.SocketListener(trio.socket.from_stdlib_socket(listener))
        async with trio.open_nursery() as nursery:
            try:
                await trio.serve_listeners(
                    self._serve_one, [trio_listener], handler_nursery=nursery
                )
            finally:
                trio_listener.socket.close()
                with trio.CancelScope(shield=True):
                    await self._close_all()

    async def _serve_one(self, stream: trio.SocketStream) -> None:
        if len(self._open) >= MAX_CONNECTIONS:
            if not self._refusing:  # once for each time that it gets crowded
                logger.warning("connections are refused: %d are open", MAX_CONNECTIONS)
            self._refusing = True
            stream.socket.close()
            return
        server = TCPServer(
            self._application,
            self._config,
            self._context,
            ConnectionState({}),
            stream,  # type: ignore[arg-type]  # annotated as TLS, and made for both
        )
        with trio.CancelScope(shield=True) as scope:
            self._open[stream] = scope
            self._refusing = False
            try:
                await server.run()
            except Exception:
                logger.exception("a connection broke")
            finally:
                stream.socket.close()
                del self._open[stream]
                if not self._open:
                    self._all_closed.set()

    async def _close_all(self) -> None:
        await self._context.terminated.set()  # ends idle connections
        if not self._open:
            return
        self._all_closed = trio.Event()
        with trio.move_on_after(GRACE):
            await self._all_closed.wait()
        for stream, scope in self._open.items():
            scope.cancel()
            stream.socket.close()  # an answer stuck in sending hears of nothing else
