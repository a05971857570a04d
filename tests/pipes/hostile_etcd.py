"""A server on loopback that answers what a test makes up; no etcd."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio

Answer = Callable[[trio.SocketStream, str], Awaitable[None]]
"""Args: the path that was asked for. The connection is closed afterwards."""

HEADER = b'"header":{"cluster_id":"1","revision":"7"}'
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


class HostileEtcd:
    """Attributes:
    url: as `open_registry` takes it.
    requests: the paths that were asked for.
    connections: that are open.
    idle: set while there are none.
    """

    def __init__(self, answer: Answer) -> None:
        self.url = ""
        self.requests: list[str] = []
        self.connections = 0
        self.idle = trio.Event()
        self._answer = answer

    async def serve(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        self.idle = trio.Event()
        try:
            if path := await self._request(stream):
                self.requests.append(path)
                await self._answer(stream, path)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            self.connections -= 1
            if self.connections == 0:
                self.idle.set()

    async def _request(self, stream: trio.SocketStream) -> str:
        data = b""
        while b"\r\n\r\n" not in data:
            chunk = await stream.receive_some()
            if not chunk:
                return ""
            data += chunk
        head, _, body = data.partition(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1])
            for line in head.lower().split(b"\r\n")
            if line.startswith(b"content-length")
        )
        while len(body) < length:
            chunk = await stream.receive_some()
            if not chunk:
                return ""
            body += chunk
        return head.split(b" ")[1].decode()


def always(answer: bytes) -> Answer:
    """The same bytes, whatever is asked."""

    async def send(stream: trio.SocketStream, _path: str) -> None:
        await stream.send_all(answer)

    return send


def with_body(body: bytes, status: str = "200 OK") -> Answer:
    """An answer of HTTP that is whole."""
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n"
    return always(head.encode() + body)


@asynccontextmanager
async def hostile_etcd(answer: Answer) -> AsyncIterator[HostileEtcd]:
    """Serve, until it is left."""
    server = HostileEtcd(answer)
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        server.url = f"etcd://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        nursery.start_soon(trio.serve_listeners, server.serve, listeners)
        try:
            yield server
        finally:
            nursery.cancel_scope.cancel()
