"""TcpRelay: a bad network between two ends of TCP on this machine.

    who dials ==> 127.0.0.2 port --delay, stall, cut-- 127.0.0.1 port ==> who listens

What is stalled is neither passed on nor closed, nor is the end of a connection: both ends see
one that stands and says nothing, as when packets are dropped on the way. When it goes on,
what was sent meanwhile arrives late, as TCP would send it again.
"""

import random
import socket
import struct
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from enum import StrEnum
from typing import Final

import trio

FRONT: Final = "127.0.0.2"
BACK: Final = "127.0.0.1"
CHUNK: Final = 64 << 10
HELD: Final = 64
"""Chunks that may be on their way in one direction of a connection."""
_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER: closing says RST


class Way(StrEnum):
    """A direction."""

    THERE = "there"  # to who listens
    HERE = "here"  # to who has dialled


BOTH_WAYS: Final = frozenset(Way)


class _Connection:
    """One that was accepted, and the one that was made for it."""

    def __init__(self, port: int, near: trio.SocketStream) -> None:
        self.port = port
        self.near = near
        self.far: trio.SocketStream | None = None
        self.scope = trio.CancelScope()
        self.stalled: set[Way] = set()

    def reset(self) -> None:
        """Close both, with RST."""
        for stream in (self.near, self.far):
            if stream is not None:
                with suppress(OSError):
                    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                stream.socket.close()
        self.scope.cancel()


class TcpRelay:
    """Passes TCP on at several ports, as well as it is told to.

    Attributes:
        ports: where it listens, and whereto it passes on.
        delay: seconds that what is sent needs, each way.
        refuses: whether who dials is turned away, with RST.
        accepted: connections so far.
    """

    def __init__(self, ports: Iterable[int]) -> None:
        self.ports = tuple(ports)
        self.delay = 0.0
        self.refuses = False
        self.accepted = 0
        self._stalled: set[int] = set()
        self._changed = trio.Event()
        self._connections: set[_Connection] = set()

    @property
    def connections(self) -> int:
        """How many stand, stalled or not."""
        return len(self._connections)

    def stall(self, *ports: int) -> None:
        """Pass on nothing at these ports, without a word."""
        self._stalled |= set(ports)

    def stall_standing(self, *ports: int, ways: Iterable[Way] = BOTH_WAYS) -> None:
        """Likewise with the connections that stand now; others are welcome."""
        for connection in self._connections:
            if connection.port in ports:
                connection.stalled |= set(ways)

    def go_on(self) -> None:
        """Stall nothing any more, and refuse nobody."""
        self.refuses = False
        self._stalled.clear()
        for connection in self._connections:
            connection.stalled.clear()
        self._changed.set()
        self._changed = trio.Event()

    def cut(self, *ports: int) -> int:
        """Reset the connections at these ports, on both sides; how many there were."""
        cut = [connection for connection in self._connections if connection.port in ports]
        for connection in cut:
            connection.reset()
        return len(cut)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled."""
        listeners = [
            listener
            for port in self.ports
            for listener in await trio.open_tcp_listeners(port, host=FRONT)
        ]
        async with trio.open_nursery() as nursery:
            for port, listener in zip(self.ports, listeners, strict=True):
                nursery.start_soon(self._listen, listener, port, nursery)
            task_status.started()

    async def _listen(
        self, listener: trio.SocketListener, port: int, nursery: trio.Nursery
    ) -> None:
        async with listener:
            while True:
                connection = _Connection(port, await listener.accept())
                if self.refuses:
                    connection.reset()
                    continue
                self.accepted += 1
                nursery.start_soon(self._serve, connection)

    async def _serve(self, connection: _Connection) -> None:
        self._connections.add(connection)
        try:
            with connection.scope:
                await self._passable(connection, Way.THERE)
                far = connection.far = await trio.open_tcp_stream(BACK, connection.port)
                async with trio.open_nursery() as nursery:
                    for way in Way:
                        there = way is Way.THERE
                        ends = (connection.near, far) if there else (far, connection.near)
                        nursery.start_soon(self._pass_on, connection, way, *ends)
        except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            connection.reset()  # the one side was reset, or is not there: so is the other
        finally:
            self._connections.discard(connection)
            for stream in (connection.near, connection.far):
                if stream is not None:
                    stream.socket.close()

    async def _pass_on(
        self, connection: _Connection, way: Way, source: trio.SocketStream, sink: trio.SocketStream
    ) -> None:
        send, receive = trio.open_memory_channel[tuple[float, bytes]](HELD)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read, source, send)
            async with receive:
                async for at, data in receive:
                    await trio.sleep_until(at)
                    await self._passable(connection, way)
                    if data:
                        await sink.send_all(data)
                    else:
                        await sink.send_eof()

    async def _read(
        self, source: trio.SocketStream, send: trio.MemorySendChannel[tuple[float, bytes]]
    ) -> None:
        async with send:
            data = b"something"
            while data:
                data = bytes(await source.receive_some(CHUNK))
                await send.send((trio.current_time() + self.delay, data))

    async def _passable(self, connection: _Connection, way: Way) -> None:
        while connection.port in self._stalled or way in connection.stalled:
            await self._changed.wait()


@asynccontextmanager
async def relaying(count: int = 2) -> AsyncIterator[TcpRelay]:
    """A relay that runs, at so many ports side by side; closed at the end."""
    relay = TcpRelay(_free_ports(count))
    async with trio.open_nursery() as nursery:
        await nursery.start(relay.run)
        yield relay
        nursery.cancel_scope.cancel()


def _free_ports(count: int) -> range:
    """Free at both addresses, and none that the kernel gives to others by chance."""
    for _ in range(100):
        first = random.randrange(20000, 32000 - count)
        try:
            for host in (FRONT, BACK):
                for port in range(first, first + count):
                    with socket.socket() as probe:
                        probe.bind((host, port))
        except OSError:
            continue
        return range(first, first + count)
    raise AssertionError("no free ports side by side")
