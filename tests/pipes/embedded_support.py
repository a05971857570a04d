"""What tests of the embedded registry share: servers and clients apart from each other."""

import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from eventgraph.background import open_background
from eventgraph.pipes.embedded.client import EmbeddedClient
from eventgraph.pipes.embedded.protocol import (
    MAX_REPLY,
    MAX_REQUEST,
    VERSION,
    AnyReply,
    AnyRequest,
    Framer,
    Hello,
    Message,
    decode_reply,
    decode_request,
    encode,
)
from eventgraph.pipes.embedded.server import SILENCE, EmbeddedServer
from eventgraph.pipes.embedded.socket import Claim, dial
from eventgraph.pipes.embedded.store import Store


def server_at(path: Path) -> int:
    """The process that serves there; 0: none does."""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(str(path))
        except OSError:
            return 0
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    pid: int = struct.unpack("3i", credentials)[0]
    return pid


@asynccontextmanager
async def serving(
    path: Path, store: Store | None = None, *, silence: float = SILENCE
) -> AsyncIterator[EmbeddedServer]:
    """A server that nobody takes over from."""
    claim = Claim.take(path)
    assert claim is not None
    server = EmbeddedServer(store or Store(), silence=silence)
    async with open_background() as nursery:
        nursery.start_soon(server.serve, claim.listen())
        try:
            yield server
        finally:
            nursery.cancel_scope.cancel()
            claim.release()


@asynccontextmanager
async def connected(
    path: Path, *, timeout: float = 5.0, keepalive: float = 3.0
) -> AsyncIterator[EmbeddedClient]:
    """A client that never serves."""

    async def dial_on() -> trio.abc.Stream:
        while (stream := dial(path)) is None:  # noqa: ASYNC110  # a path tells nothing
            await trio.sleep(0.01)
        return stream

    async with open_background() as nursery:
        client = EmbeddedClient(f"embedded:{path}", dial_on, timeout=timeout, keepalive=keepalive)
        nursery.start_soon(client.run)
        await client.wait_connected()
        yield client


class RawClient:
    """Speaks to a server by hand."""

    def __init__(self, path: Path) -> None:
        stream = dial(path)
        assert stream is not None
        self.stream = stream
        self._framer = Framer(MAX_REPLY)
        self._replies: list[AnyReply] = []

    async def send(self, *messages: Message) -> None:
        await self.stream.send_all(b"".join(map(encode, messages)))

    async def receive(self) -> AnyReply | None:
        """The next reply; None: it was cut off."""
        while not self._replies:
            try:
                data = await self.stream.receive_some()
            except trio.BrokenResourceError:
                return None
            if not data:
                return None
            self._replies += map(decode_reply, self._framer.feed(data))
        return self._replies.pop(0)

    async def wait_cut(self) -> None:
        """Throw away what comes until nothing more can."""
        with trio.fail_after(10):
            while await self.receive() is not None:
                pass
        await self.stream.aclose()


class RawServer:
    """Speaks to its first client by hand; says hello by itself."""

    def __init__(self, path: Path) -> None:
        claim = Claim.take(path)
        assert claim is not None
        self._claim = claim
        self._listener = claim.listen()
        self._framer = Framer(MAX_REQUEST)
        self._requests: list[AnyRequest] = []
        self._stream: trio.SocketStream | None = None

    async def accept(self) -> None:
        self._stream = await self._listener.accept()
        await self.send(Hello(VERSION))

    async def send(self, *messages: Message) -> None:
        assert self._stream is not None
        await self._stream.send_all(b"".join(map(encode, messages)))

    async def receive(self) -> AnyRequest:
        assert self._stream is not None
        while not self._requests:
            frames = self._framer.feed(await self._stream.receive_some())
            self._requests += map(decode_request, frames)
        return self._requests.pop(0)

    def close(self) -> None:
        self._claim.release()
        if self._stream is not None:
            self._stream.socket.close()
