"""The accept loop of the HTTP edge, and an end to its connections.

`hypercorn.trio.serve` is not used, for it cannot promise an end. It answers under a shield,
so a client that stops reading holds up the exit for ever; when it is cancelled it skips the
closing of idle connections; and nobody outside gets at its sockets. So the loop is ours, and
so is each `Connection`. When the loop is cancelled, idle connections close at once, answers
under way have `GRACE` seconds, and then the sockets go.

Who connects when all places are taken gets that of the client that has kept us waiting longest:
clients that mean it send their request at once, those that only hold places do not.
"""

import logging
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from math import inf
from typing import Any, Final

import msgspec
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config as HypercornConfig
from hypercorn.trio.worker_context import WorkerContext

from .connection import Connection, Stream

logger = logging.getLogger("rtp.http")

GRACE: Final = 0.5
"""Seconds for answers under way at the exit: a person who pressed Ctrl-C waits for them."""

MAX_CONNECTIONS: Final = 256
"""At a time. This edge is for operators and signalling, not for an audience."""

WARNING_PAUSE: Final = 60.0
"""Seconds between two warnings that all places are taken: who attacks must not fill the log."""

TURNS: Final = 8
"""Connections that are served each time round the event loop: together a few milliseconds. trio
runs all that can run before it looks at the network again, and that may be hundreds."""


class ConnectionStatistics(msgspec.Struct, frozen=True):
    """Connections in numbers, since the start.

    Attributes:
        open: now.
        accepted: ever.
        cut: by reason: "evicted" (another has its place), "refused" (all places are taken by
            requests that are being answered), "slow" (its request did not come), "handshake".
    """

    open: int
    accepted: int
    cut: dict[str, int]


class Connections:
    """Serves one ASGI application on one listening socket.

    Args:
        tls: gives the context for a new connection; None: no TLS.
    """

    def __init__(self, application: Any, tls: Callable[[], ssl.SSLContext] | None = None) -> None:
        config = HypercornConfig()
        config.accesslog = None
        config.errorlog = logger
        config.include_server_header = False
        self._config = config
        self._application = ASGIWrapper(application)
        self._tls = tls
        self._context = WorkerContext(None)
        self._turns = trio.Semaphore(TURNS)
        self._open: dict[Connection, None] = {}
        self._accepted = 0
        self._cut: Counter[str] = Counter()
        self._all_closed = trio.Event()
        self._warn_again = -inf

    def statistics(self) -> ConnectionStatistics:
        """As it is now."""
        return ConnectionStatistics(len(self._open), self._accepted, dict(self._cut))

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

    async def _serve_one(self, plain: trio.SocketStream) -> None:
        self._accepted += 1
        if not self._make_room():
            self._cut["refused"] += 1
            plain.socket.close()
            return
        stream: Stream = plain
        if self._tls is not None:
            stream = trio.SSLStream(plain, self._tls(), server_side=True, https_compatible=True)
        connection = Connection(stream, self._application, self._config, self._context, self._turns)
        self._open[connection] = None
        try:
            await connection.run()
        except Exception:
            logger.exception("a connection broke")
        finally:
            plain.socket.close()
            self._open.pop(connection, None)
            if connection.fault:
                self._cut[connection.fault] += 1
            if not self._open:
                self._all_closed.set()

    def _make_room(self) -> bool:
        """Whether there is a place for one more; may take that of another."""
        if len(self._open) < MAX_CONNECTIONS:
            return True
        if trio.current_time() >= self._warn_again:
            logger.warning("all %d connections are taken; those that wait are cut", MAX_CONNECTIONS)
            self._warn_again = trio.current_time() + WARNING_PAUSE
        patient = [one for one in self._open if one.waiting]
        if not patient:
            return False
        waiting = min(patient, key=lambda one: one.waits_since)
        del self._open[waiting]
        waiting.evict()
        return True

    async def _close_all(self) -> None:
        await self._context.terminated.set()  # ends connections after their answer
        for connection in self._open:
            connection.end_soon()
        if not self._open:
            return
        self._all_closed = trio.Event()
        with trio.move_on_after(GRACE):
            await self._all_closed.wait()
        for connection in self._open:
            connection.cancel()
