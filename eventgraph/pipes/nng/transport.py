"""The nng transport, the default one: tcp, ws, ipc and inproc; with certificates tls+tcp and wss.

It speaks the protocols of nanomsg and nng (SP), so programs that use these can stand at either
end. SP has no heartbeat: that a connection is half-open, the layer above must find out, unless
TCP does.
"""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

from eventgraph.background import open_background
from eventgraph.pipes.errors import TransportError
from eventgraph.pipes.nng.answerer import SpAnswerer
from eventgraph.pipes.nng.asker import SpAsker
from eventgraph.pipes.nng.means import Means
from eventgraph.pipes.nng.pull import SpPull
from eventgraph.pipes.nng.push import SpPush
from eventgraph.pipes.transport import Answerer, Asker, Pull, Push, SocketLimits, Tls, Transport
from eventgraph.pipes.url import dial_url, listen_url

PLAIN = frozenset({"tcp", "ws", "ipc", "inproc"})
SECURE = frozenset({"tls+tcp", "wss", "ipc", "inproc"})


class NngTransport(Transport):
    """With certificates nothing leaves the machine in the clear: tcp and ws are then refused."""

    def __init__(self, limits: SocketLimits, tls: Tls | None, nursery: trio.Nursery) -> None:
        self.schemes = SECURE if tls else PLAIN
        self._means = Means(
            self.schemes,
            limits,
            nursery,
            set(),
            _context(tls, ssl.PROTOCOL_TLS_SERVER) if tls else None,
            _context(tls, ssl.PROTOCOL_TLS_CLIENT) if tls else None,
        )

    def push(self, url: str, on_change: Callable[[], None] = lambda: None) -> Push:
        push = SpPush(listen_url(url, self.schemes), self._means, on_change)
        self._means.ends.add(push)
        return push

    def pull(self, on_change: Callable[[], None] = lambda: None) -> Pull:
        pull = SpPull(self._means, on_change)
        self._means.ends.add(pull)
        return pull

    def answerer(self, url: str) -> Answerer:
        answerer = SpAnswerer(listen_url(url, self.schemes), self._means)
        self._means.ends.add(answerer)
        return answerer

    def asker(self, url: str) -> Asker:
        asker = SpAsker(dial_url(url, self.schemes), self._means)
        self._means.ends.add(asker)
        return asker

    def close(self) -> None:
        """Close what is still open."""
        for end in tuple(self._means.ends):
            end.close()


@asynccontextmanager
async def open_nng(limits: SocketLimits, tls: Tls | None) -> AsyncIterator[Transport]:
    """A transport; leaving it closes its sockets."""
    async with open_background() as nursery:
        transport = NngTransport(limits, tls, nursery)
        try:
            yield transport
        finally:
            transport.close()


def _context(tls: Tls, protocol: int) -> ssl.SSLContext:
    """For one side; each asks the other for a certificate."""
    try:
        for file in (tls.ca, tls.certificate, tls.key):
            file.read_bytes()  # names the one that cannot be read, which ssl does not
        context = ssl.SSLContext(protocol)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(tls.ca)
        context.load_cert_chain(tls.certificate, tls.key)
    except (OSError, ssl.SSLError) as error:
        raise TransportError(f"the certificates cannot be used: {error}") from error
    return context
