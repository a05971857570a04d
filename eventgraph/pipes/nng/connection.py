"""Connections that carry SP: bytes to and fro over TCP, TLS or a Unix socket."""

import socket
import ssl

import trio

from eventgraph.pipes.nng.sp import Message

GONE = (OSError, trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError)
"""What is raised when a connection is cut, by either side, or takes too long to come to terms."""


class Connection:
    """One task at a time reads, one at a time sends: with `write`, or with `take` and `flush`.

    All of them raise what `GONE` lists. Over TLS it is of no more use once a call was cancelled.

    Attributes:
        socket: of the kernel.
        closed: by us.
    """

    def __init__(
        self,
        connected: socket.socket,
        context: ssl.SSLContext | None = None,
        dialled: str | None = None,
    ) -> None:
        """``context`` is for TLS, ``dialled`` the host that the other certificate must be for."""
        self.closed = False
        self.socket = connected
        self._socket = trio.socket.from_stdlib_socket(connected)
        self._tls: trio.SSLStream[trio.SocketStream] | None = None
        if context is not None:
            stream, accepted = trio.SocketStream(self._socket), dialled is None
            self._tls = trio.SSLStream(
                stream, context, server_hostname=dialled, server_side=accepted
            )
        self._rest: Message = b""

    async def write(self, data: Message) -> None:
        """Send all of it."""
        if self._tls is not None:
            await self._tls.send_all(data)
            return
        rest = memoryview(data)
        while rest:
            rest = rest[await self._socket.send(rest) :]

    async def read(self, size: int) -> bytes:
        """At least one byte, at the most so many."""
        tls = self._tls
        heard = await (self._socket.recv(size) if tls is None else tls.receive_some(size))
        if not heard:
            raise trio.BrokenResourceError("it hung up")
        return bytes(heard)

    async def read_into(self, room: memoryview) -> int:
        """How many bytes were put there, at least one."""
        if self._tls is not None:
            heard = await self.read(len(room))
            room[: len(heard)] = heard
            return len(heard)
        size = await self._socket.recv_into(room)
        if not size:
            raise trio.BrokenResourceError("it hung up")
        return size

    def take(self, head: bytes, message: Message) -> bool:
        """Send both, unless `flush` must do the rest; whether it need not.

        Raises:
            BlockingIOError: it has no room, which `flush` waits for; nothing was sent.
            OSError: it is cut; nothing was sent.
        """
        rest = len(head) + len(message)
        if self._tls is None:
            rest -= self.socket.sendmsg((head, message))
        if rest:
            self._rest = _tail(head, message, rest)
        return not rest

    async def flush(self) -> None:
        """Send the rest of what was taken, or wait for room."""
        rest, self._rest = self._rest, b""
        if rest:
            await self.write(rest)
        elif self.closed:
            raise trio.ClosedResourceError("hung up by us")
        else:
            await trio.lowlevel.wait_writable(self._socket)

    def close(self) -> None:
        """Cut it, with an error in whoever waits. Idempotent."""
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


def _tail(head: bytes, message: Message, size: int) -> Message:
    """The last ``size`` bytes of both; a copy, unless the message cannot change."""
    if size > len(message):
        return b"".join((head, message))[-size:]
    tail = memoryview(message)[len(message) - size :]
    return tail if isinstance(message, bytes) else bytes(tail)
