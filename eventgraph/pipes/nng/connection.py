"""Connections that carry SP: bytes to and fro over TCP, TLS or a Unix socket."""

import socket
import ssl
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from eventgraph.pipes.nng.sp import Message

GONE = (OSError, trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError)
"""What is raised when a connection is cut, by either side, or takes too long to come to terms."""

T = TypeVar("T")
Heard = TypeVar("Heard", bytes, int)


class Connection(ABC):
    """One task at a time reads, one at a time sends: with `write`, or with `take` and `flush`."""

    closed = False

    @abstractmethod
    async def write(self, data: bytes) -> None:
        """Send all of it. Raises what `GONE` lists."""

    @abstractmethod
    async def read(self, size: int) -> bytes:
        """At least one byte, at the most so many; raises what `GONE` lists."""

    @abstractmethod
    async def read_into(self, room: memoryview) -> int:
        """How many bytes were put there, at least one; raises what `GONE` lists."""

    @abstractmethod
    def take(self, head: bytes, message: Message) -> bool:
        """Send both, unless `flush` must do the rest; whether it need not.

        Raises:
            BlockingIOError: it has no room, which `flush` waits for; nothing was sent.
            OSError: it is cut; nothing was sent.
        """

    @abstractmethod
    async def flush(self) -> None:
        """Send the rest of what was taken, or wait for room. Raises what `GONE` lists."""

    @abstractmethod
    def close(self) -> None:
        """Cut it, with an error in whoever waits. Idempotent."""


class PlainConnection(Connection):
    """Over TCP or a Unix socket."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._rest = memoryview(b"")

    async def write(self, data: bytes) -> None:
        self._rest = memoryview(data)
        await self.flush()

    async def read(self, size: int) -> bytes:
        return await self._hear(self._socket.recv, size)

    async def read_into(self, room: memoryview) -> int:
        return await self._hear(self._socket.recv_into, room)

    async def _hear(self, receive: Callable[[T], Heard], argument: T) -> Heard:
        await trio.lowlevel.checkpoint()  # as there may be more and more
        while True:
            try:
                return _unless_gone(receive(argument))
            except BlockingIOError:
                await self._wait(trio.lowlevel.wait_readable)

    def take(self, head: bytes, message: Message) -> bool:
        rest = len(head) + len(message) - self._socket.sendmsg((head, message))
        if not rest:
            return True
        self._rest = memoryview(_tail(head, message, rest))
        return False

    async def flush(self) -> None:
        await self._wait(trio.lowlevel.wait_writable)
        while self._rest:
            try:
                self._rest = self._rest[self._socket.send(self._rest) :]
            except BlockingIOError:
                await self._wait(trio.lowlevel.wait_writable)
        self._rest = memoryview(b"")

    async def _wait(self, wait: Callable[[socket.socket], Awaitable[None]]) -> None:
        if self.closed:
            raise trio.ClosedResourceError("hung up by us")
        await wait(self._socket)

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()


class TlsConnection(Connection):
    """Over TLS over TCP; once a call was cancelled, it is of no more use."""

    def __init__(
        self, connected: socket.socket, context: ssl.SSLContext, dialled: str | None = None
    ) -> None:
        """``dialled`` is the host that the other side's certificate must be for."""
        self._socket = trio.socket.from_stdlib_socket(connected)
        stream = trio.SocketStream(self._socket)
        self._stream = trio.SSLStream(
            stream, context, server_hostname=dialled, server_side=dialled is None
        )
        self._rest = b""

    async def write(self, data: bytes) -> None:
        await self._stream.send_all(data)

    async def read(self, size: int) -> bytes:
        return _unless_gone(bytes(await self._stream.receive_some(size)))

    async def read_into(self, room: memoryview) -> int:
        heard = await self.read(len(room))
        room[: len(heard)] = heard
        return len(heard)

    def take(self, head: bytes, message: Message) -> bool:
        self._rest = head + message
        return False

    async def flush(self) -> None:
        rest, self._rest = self._rest, b""
        await self._stream.send_all(rest)

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._socket.close()


def watch(connected: socket.socket, keepalive: float) -> None:
    """Let TCP find out that the other side of an idle connection is gone.

    Not TCP_USER_TIMEOUT: it cuts off a living receiver, too, that has not read for so long. That
    what was sent arrives nowhere, the layer above finds out.
    """
    third = max(1, round(keepalive / 3))
    tcp = socket.IPPROTO_TCP
    connected.setsockopt(tcp, socket.TCP_NODELAY, 1)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connected.setsockopt(tcp, socket.TCP_KEEPIDLE, third)
    connected.setsockopt(tcp, socket.TCP_KEEPINTVL, third)
    connected.setsockopt(tcp, socket.TCP_KEEPCNT, 2)


def _unless_gone(heard: Heard) -> Heard:
    if not heard:
        raise trio.BrokenResourceError("it hung up")
    return heard


def _tail(head: bytes, message: Message, size: int) -> Message:
    """The last ``size`` bytes of both; a copy, unless the message cannot change."""
    if size > len(message):
        return b"".join((head, message))[-size:]
    tail = memoryview(message)[len(message) - size :]
    return tail if isinstance(message, bytes) else bytes(tail)
