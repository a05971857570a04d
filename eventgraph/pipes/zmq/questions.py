"""Questions and answers over zmq, on the wire as its REQ and REP have them.

A ROUTER and a DEALER have no state between a question and its answer: so one that fails or
comes too late leaves nothing behind. Each question has a number of its own.
"""

from collections.abc import Callable
from itertools import count
from typing import cast

import trio
import zmq

from eventgraph.pipes.errors import TransportError
from eventgraph.pipes.transport import Answerer, Asker
from eventgraph.pipes.url import Url
from eventgraph.pipes.zmq.inproc import Dialler
from eventgraph.pipes.zmq.socket import (
    Means,
    bind,
    close_socket,
    closed,
    open_socket,
    refuse_too_large,
    unlink,
    wait_for,
)

MAX_HOPS = 8  # parts before the empty one, that tell the way back


class ZmqAnswerer(Answerer):
    """An answer that its connection has no room for is dropped: who asked does not read."""

    def __init__(self, url: Url, means: Means) -> None:
        self._means = means
        self._closed = False
        self._socket = open_socket(means, zmq.ROUTER)
        self._socket.set(zmq.ROUTER_MANDATORY, 1)  # no answer is dropped without a word
        self._fd = cast(int, self._socket.get(zmq.FD))
        self._url = ""
        try:
            self._url = bind(self._socket, url)
            if url.scheme == "inproc":
                means.exchange.listen(self._url, lambda: None)
        except BaseException:
            self.close()
            raise

    @property
    def url(self) -> str:
        return self._url

    async def serve(self, answer: Callable[[bytes], bytes]) -> None:
        while True:
            parts = await _receive(self, self._socket, self._fd)
            if parts.count(b"") == 0 or parts.index(b"") != len(parts) - 2 or len(parts) > MAX_HOPS:
                continue  # no question
            self._answer((*parts[:-1], answer(parts[-1])))
            await trio.lowlevel.checkpoint()

    def _answer(self, parts: tuple[bytes, ...]) -> None:
        for _ in range(2):
            try:
                self._socket.send_multipart(parts, zmq.NOBLOCK)
            except zmq.Again:
                self._socket.get(zmq.EVENTS)  # has zmq look whether there is room by now
            except zmq.ZMQError:
                return  # who asked is gone
            else:
                return

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._means.ends.discard(self)
            if self._url.startswith("inproc:"):
                self._means.exchange.close(self._url)
            close_socket(self._socket, self._fd)
            unlink(self._url)


class ZmqAsker(Asker):
    """A question that is lost with its connection gets no answer."""

    def __init__(self, url: Url, means: Means) -> None:
        self._name = str(url)
        self._means = means
        self._closed = False
        self._numbers = count()
        self._one_at_a_time = trio.Lock()
        self._socket = open_socket(means, zmq.DEALER)
        self._socket.set(zmq.IMMEDIATE, 1)  # nothing is queued while there is no connection
        self._fd = cast(int, self._socket.get(zmq.FD))
        self._dialler = Dialler(self._connect, self._disconnect, lambda: None)
        if url.scheme == "inproc":
            means.exchange.dial(self._name, self._dialler)
        else:
            self._connect()

    async def ask(self, question: bytes, timeout: float) -> bytes:
        refuse_too_large(len(question), self._means.limits)
        with trio.move_on_after(timeout):
            async with self._one_at_a_time:
                number = next(self._numbers).to_bytes(8, "big")
                await self._send((number, b"", question))
                while True:
                    parts = await _receive(self, self._socket, self._fd)
                    if len(parts) == 3 and parts[0] == number:
                        return parts[2]
        raise TransportError(f"{self._name}: no answer within {timeout} s")

    def _connect(self) -> None:
        self._socket.connect(self._name)

    def _disconnect(self) -> None:
        self._socket.disconnect(self._name)

    async def _send(self, parts: tuple[bytes, ...]) -> None:
        while not self._closed:
            try:
                self._socket.send_multipart(parts, zmq.NOBLOCK)
            except zmq.Again:
                await wait_for(self._socket, self._fd, zmq.POLLOUT)
            else:
                return
        raise closed()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._means.ends.discard(self)
            if self._name.startswith("inproc:"):
                self._means.exchange.hang_up(self._name, self._dialler)
            close_socket(self._socket, self._fd)


async def _receive(
    owner: ZmqAnswerer | ZmqAsker, socket: zmq.Socket[bytes], fd: int
) -> list[bytes]:
    while not owner._closed:
        try:
            return socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            await wait_for(socket, fd, zmq.POLLIN)
    raise closed()
