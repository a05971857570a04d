"""The pull end over TLS and WebSocket: what comes is carried to nng over a socket of this process.

nng 1.11 speaks both, but does not always notice that a connection was lost, and such a pull never
dials again: over TLS 10 of 500 that were cut while idle, and a third of those under load; over
WebSocket each that was cut while it waited for its reader (``ws_str_recv`` in websocket.c queues
a receive that nothing ends). So this dials, and while it stands, nng dials a local socket.
"""

import contextlib
import logging
from collections.abc import Callable
from itertools import count

import trio

from eventgraph.pipes.errors import TransportError
from eventgraph.pipes.nng.bind import Listening
from eventgraph.pipes.nng.connection import GONE, PlainConnection
from eventgraph.pipes.nng.dialling import UNREACHED, dial
from eventgraph.pipes.nng.greeting import greet
from eventgraph.pipes.nng.reader import Reader
from eventgraph.pipes.nng.socket import Dialer, Means
from eventgraph.pipes.nng.sp import Protocol, unix_frame
from eventgraph.pipes.url import Url

_logger = logging.getLogger(__name__)
_numbers = count()


class Bridge:
    """Dials a URL again and again, and has nng dial a local one as long as that stands."""

    def __init__(self, url: Url, means: Means, have_nng_dial: Callable[[Url], Dialer]) -> None:
        self._url = url
        self._local = Url("inproc", path=f"{url}#{next(_numbers)}")
        self._have_nng_dial = have_nng_dial
        self._limits = means.limits
        self._means = means
        self._scope = trio.CancelScope(shield=True)  # `close` ends it, nothing else
        means.nursery.start_soon(self._run)

    def close(self) -> None:
        """Hang up, and dial no more."""
        self._scope.cancel()

    async def _run(self) -> None:
        pause = self._limits.reconnect_min
        with self._scope:
            while True:
                try:
                    reader = await dial(self._url, self._means, Protocol.PULL)
                    pause = self._limits.reconnect_min
                    with contextlib.closing(reader.connection):
                        await self._bridge(reader)
                except (*UNREACHED, TransportError) as error:
                    _logger.debug("%s: %s", self._url, error)
                await trio.sleep(pause)
                pause = min(2 * pause, self._limits.reconnect_max)

    async def _bridge(self, reader: Reader) -> None:
        """Until one of both ends is gone."""
        with contextlib.closing(Listening(self._local)) as listening:
            dialer = self._have_nng_dial(self._local)
            with contextlib.ExitStack() as opened:
                opened.callback(dialer.close)
                with trio.fail_after(self._limits.keepalive):
                    await trio.lowlevel.wait_readable(listening.socket)
                accepted, _ = listening.socket.accept()
                accepted.setblocking(False)
                local = PlainConnection(accepted)
                opened.callback(local.close)
                await greet(local, self._local, Protocol.PUSH, 0, dialled=False)
                listening.close()  # nng is not to dial again
                await self._carry(reader, local)

    async def _carry(self, reader: Reader, local: PlainConnection) -> None:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def until_nng_hangs_up() -> None:
                with contextlib.suppress(*GONE):
                    await local.read(1)
                nursery.cancel_scope.cancel()

            with contextlib.suppress(*GONE):
                while True:
                    await local.write(b"".join(unix_frame(await reader.message())))
            nursery.cancel_scope.cancel()
        await local.end()
