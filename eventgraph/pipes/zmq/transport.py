"""The zmq transport: tcp, ipc, and inproc among the sockets of one transport.

zmq has heartbeats of its own: a connection that is half-open falls within the keepalive time.
There is no TLS. zmq takes who greets in no way it knows for one of its oldest peers, so it is
for networks where nobody else dials.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio
import zmq

from eventgraph.background import open_background
from eventgraph.pipes.errors import TransportError
from eventgraph.pipes.transport import Answerer, Asker, Pull, Push, SocketLimits, Tls, Transport
from eventgraph.pipes.url import dial_url, listen_url
from eventgraph.pipes.zmq.inproc import Exchange
from eventgraph.pipes.zmq.pipeline import ZmqPull, ZmqPush
from eventgraph.pipes.zmq.questions import ZmqAnswerer, ZmqAsker
from eventgraph.pipes.zmq.socket import Means


class ZmqTransport(Transport):
    """One zmq context, which ends with the transport."""

    schemes = frozenset({"tcp", "ipc", "inproc"})

    def __init__(self, limits: SocketLimits, nursery: trio.Nursery) -> None:
        self._means = Means(self.schemes, limits, nursery, zmq.Context(), Exchange(), set())

    def push(self, url: str, on_change: Callable[[], None] = lambda: None) -> Push:
        push = ZmqPush(listen_url(url, self.schemes), self._means, on_change)
        self._means.ends.add(push)
        return push

    def pull(self, on_change: Callable[[], None] = lambda: None) -> Pull:
        pull = ZmqPull(self._means, on_change)
        self._means.ends.add(pull)
        return pull

    def answerer(self, url: str) -> Answerer:
        answerer = ZmqAnswerer(listen_url(url, self.schemes), self._means)
        self._means.ends.add(answerer)
        return answerer

    def asker(self, url: str) -> Asker:
        asker = ZmqAsker(dial_url(url, self.schemes), self._means)
        self._means.ends.add(asker)
        return asker

    def close(self) -> None:
        """Close what is still open."""
        for end in tuple(self._means.ends):
            end.close()
        self._means.context.destroy(linger=0)


@asynccontextmanager
async def open_zmq(limits: SocketLimits, tls: Tls | None) -> AsyncIterator[Transport]:
    """A transport; leaving it closes its sockets.

    Raises:
        TransportError: certificates were given, which zmq has no use for.
    """
    if tls is not None:
        raise TransportError("zmq has no TLS here: use the transport nng")
    async with open_background() as nursery:
        transport = ZmqTransport(limits, nursery)
        try:
            yield transport
        finally:
            transport.close()
