"""Push and pull over zmq."""

from collections.abc import Callable
from typing import cast

import trio
import zmq

from eventgraph.pipes.errors import TransportError
from eventgraph.pipes.transport import Pull, Push
from eventgraph.pipes.url import Url, dial_url
from eventgraph.pipes.zmq.inproc import Dialler
from eventgraph.pipes.zmq.monitor import Connections
from eventgraph.pipes.zmq.socket import (
    Means,
    bind,
    close_socket,
    closed,
    open_socket,
    refuse_too_large,
    transport_errors,
    unlink,
    wait_for,
)


class ZmqPush(Push):
    """A few messages are queued for each connection; one task sends at a time.

    `hang_up` does nothing: zmq cuts no single connection, but its heartbeats find the dead ones.
    """

    def __init__(self, url: Url, means: Means, on_change: Callable[[], None]) -> None:
        self._means = means
        self._limits = means.limits
        self._closed = False
        self._exchange = means.exchange
        self._is_inproc = url.scheme == "inproc"
        if self._is_inproc and means.exchange.answers(str(url)):
            raise TransportError(f"{url}: the address is in use", in_use=True)
        self._socket = open_socket(means, zmq.PUSH)
        self._fd = cast(int, self._socket.get(zmq.FD))
        self._connections = Connections(self._socket, means.nursery, on_change)
        try:
            self._url = bind(self._socket, url)
        except BaseException:
            self._close_socket()
            raise
        if self._is_inproc:
            means.exchange.listen(self._url, on_change)

    @property
    def url(self) -> str:
        return self._url

    @property
    def connections(self) -> int:
        if self._closed:
            return 0
        return self._exchange.connections(self._url) if self._is_inproc else len(self._connections)

    async def send(self, message: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        size = message.nbytes if isinstance(message, memoryview) else len(message)
        refuse_too_large(size, self._limits)
        waited = False
        while not self._closed:
            try:
                self._socket.send(message, zmq.NOBLOCK)
            except zmq.Again:
                await wait_for(self._socket, self._fd, zmq.POLLOUT)
                waited = True
            else:
                break
        else:
            raise closed()
        if not waited:
            await trio.lowlevel.cancel_shielded_checkpoint()

    def hang_up(self) -> None:
        pass

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._means.ends.discard(self)
            if self._is_inproc:
                self._exchange.close(self._url)
            self._close_socket()
            unlink(self._url)

    def _close_socket(self) -> None:
        self._connections.close()
        close_socket(self._socket, self._fd)


class ZmqPull(Pull):
    """Cancelling `receive` loses nothing; one task receives at a time.

    What `hang_up` begins, `receive` ends. After a message above the limit zmq does not dial there
    again: hang up and dial.
    """

    def __init__(self, means: Means, on_change: Callable[[], None]) -> None:
        self._means = means
        self._closed = False
        self._exchange = means.exchange
        self._on_change = on_change
        self._dialled: dict[str, Dialler | None] = {}
        self._socket = open_socket(means, zmq.PULL)
        self._fd = cast(int, self._socket.get(zmq.FD))
        self._connections = Connections(self._socket, means.nursery, on_change)

    def dial(self, url: str) -> None:
        if self._closed:
            raise closed()
        if url in self._dialled:
            return
        target = dial_url(url, self._means.schemes)
        if target.scheme == "inproc":
            dialler = Dialler(
                lambda: self._connect(target), lambda: self._disconnect(url), self._on_change
            )
            self._dialled[url] = dialler
            self._exchange.dial(url, dialler)
        else:
            self._connect(target)
            self._dialled[url] = None

    def hang_up(self, url: str) -> None:
        if url not in self._dialled:
            return
        dialler = self._dialled.pop(url)
        if dialler is not None:
            self._exchange.hang_up(url, dialler)
        else:
            self._disconnect(url)
            self._connections.forget(url)

    def _connect(self, url: Url) -> None:
        with transport_errors(url):
            self._socket.connect(str(url))

    def _disconnect(self, url: str) -> None:
        if not self._socket.closed:
            self._socket.disconnect(url)

    @property
    def connections(self) -> int:
        answering = sum(
            dialler is not None and self._exchange.answers(url)
            for url, dialler in self._dialled.items()
        )
        return 0 if self._closed else answering + len(self._connections)

    async def receive(self) -> memoryview:
        await trio.lowlevel.checkpoint_if_cancelled()
        waited = False
        while not self._closed:
            try:
                frame = self._socket.recv(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                await wait_for(self._socket, self._fd, zmq.POLLIN)
                waited = True
            else:
                if frame.more:
                    self._drop_rest()
                else:
                    break
        else:
            raise closed()
        if not waited:
            await trio.lowlevel.cancel_shielded_checkpoint()
        return frame.buffer.toreadonly()

    def _drop_rest(self) -> None:
        """Of a message in several parts, which we never send."""
        while self._socket.recv(zmq.NOBLOCK, copy=False).more:
            pass

    def close(self) -> None:
        if not self._closed:
            for url in list(self._dialled):
                self.hang_up(url)
            self._closed = True
            self._means.ends.discard(self)
            self._connections.close()
            close_socket(self._socket, self._fd)
