"""Channel: messages with file descriptors, between a client and its server."""

import os
import socket
from array import array
from collections import deque
from collections.abc import Sequence
from typing import Final

import trio

from eventgraph.flows.errors import FlowClosedError, FlowProtocolError
from eventgraph.flows.protocol import MAX_DESCRIPTORS, MAX_MESSAGE, Message, encode

MAX_UNSENT: Final = 1024  # messages for a side that does not read; then it is cut off

_ANCILLARY: Final = socket.CMSG_SPACE(MAX_DESCRIPTORS * array("i").itemsize)


class Channel:
    """One end. Sending never waits: what the other side has no room for yet is kept."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._unsent: deque[tuple[bytes, list[int]]] = deque()
        self._to_send = trio.Event()
        self._closed = False

    def send(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Say something. If the other side is gone, or does not read, the channel is closed.

        Args:
            descriptors: go along; they stay open here.
        """
        if self._closed:
            return
        data = encode(message)
        if not self._unsent and self._transmit(data, descriptors):
            return
        if len(self._unsent) >= MAX_UNSENT:
            self.close()
            return
        kept: list[int] = []
        try:
            for descriptor in descriptors:
                kept.append(os.dup(descriptor))
        except OSError:  # no more are to be had
            close_all(kept)
            self.close()
            return
        self._unsent.append((data, kept))
        self._to_send.set()

    def _transmit(self, data: bytes, descriptors: Sequence[int]) -> bool:
        """Whether nothing more is to be done with it."""
        try:
            if descriptors:
                socket.send_fds(self._sock, [data], descriptors)
            else:
                self._sock.send(data)
        except BlockingIOError:
            return False
        except OSError:
            self.close()
        return True

    async def run(self) -> None:
        """Send what is kept, until cancelled or closed."""
        while not self._closed:
            await self._to_send.wait()
            if self.closed:  # meanwhile
                return
            try:
                await trio.lowlevel.wait_writable(self._sock)
            except (trio.ClosedResourceError, OSError):
                return
            while self._unsent and self._transmit(*self._unsent[0]):
                if self._unsent:  # it may have been closed
                    self._forget()
            if not self._unsent:
                self._to_send = trio.Event()

    def _forget(self) -> None:
        for descriptor in self._unsent.popleft()[1]:
            os.close(descriptor)

    async def receive(self) -> tuple[bytes, list[int]]:
        """The next message, and what came along; the descriptors are the caller's.

        Raises:
            FlowClosedError: the other side is gone, or the channel was closed.
            FlowProtocolError: a message is too long.
        """
        while True:
            try:
                await trio.lowlevel.wait_readable(self._sock)
                data, ancillary, flags, _ = self._sock.recvmsg(
                    MAX_MESSAGE + 1, _ANCILLARY, socket.MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                continue
            except (trio.ClosedResourceError, OSError, ValueError) as error:
                raise FlowClosedError(f"the connection is closed: {error}") from None
            descriptors = _descriptors(ancillary)
            if flags & socket.MSG_CTRUNC or len(data) > MAX_MESSAGE:
                close_all(descriptors)
                raise FlowProtocolError("a message that is too long, or with too much in it")
            if not data:
                close_all(descriptors)
                raise FlowClosedError("the other side has closed the connection")
            return data, descriptors

    @property
    def closed(self) -> bool:
        """Whether nothing can be said any more."""
        return self._closed

    def close(self) -> None:
        """Idempotent; what was not sent is not."""
        if not self._closed:
            self._closed = True
            while self._unsent:
                self._forget()
            self._to_send.set()
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    """As `socket.recv_fds` finds them; that ignores the flag that no child is to inherit them."""
    found = array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return list(found)


def close_all(descriptors: Sequence[int]) -> None:
    """Those that nobody wants."""
    for descriptor in descriptors:
        os.close(descriptor)
