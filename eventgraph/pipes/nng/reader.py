"""Messages out of a connection."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable

import trio

from eventgraph.pipes.nng.connection import Connection
from eventgraph.pipes.nng.web import (
    BINARY,
    CLOSE,
    CONTINUATION,
    FINAL,
    MASK_SIZE,
    MASKED,
    PING,
    PONG,
    pong_frame,
    xor_mask,
)

CHUNK = 64 << 10  # bytes to ask for at once
MAX_CONTROL = 125  # bytes in a control frame


class Reader(ABC):
    """What the other side says; raises what `GONE` lists when it is cut, or says nonsense.

    Attributes:
        connection: what it reads from.
        pong: called with the answer to a ping.
    """

    pong: Callable[[bytes], Awaitable[None]]

    def __init__(self, connection: Connection, max_size: int) -> None:
        self.connection = connection
        self._max_size = max_size
        self._heard = b""
        self._at = 0  # in ``_heard``: what is before has been taken
        self.pong = connection.write

    @abstractmethod
    async def message(self) -> bytes | bytearray:
        """The next."""

    async def silence(self) -> None:
        """Until it is cut; one that has nothing to say, and does, is nonsense."""
        await self.exactly(1)
        raise trio.BrokenResourceError("it talks, which it should not")

    async def until(self, end: bytes, limit: int) -> bytes:
        """What comes up to an end, and with it; at the most so many bytes."""
        heard = bytearray()
        while not heard.endswith(end):
            if len(heard) == limit:
                raise trio.BrokenResourceError(f"no end within {limit} bytes")
            heard += await self.exactly(1)
        return bytes(heard)

    async def exactly(self, size: int) -> bytes | bytearray:
        """So many bytes; in memory of their own."""
        end = self._at + size
        if end <= len(self._heard):
            taken = self._heard[self._at : end]
            self._at = end
            return taken
        room = bytearray(size)
        view = memoryview(room)
        had = len(self._heard) - self._at
        view[:had] = memoryview(self._heard)[self._at :]
        self._heard, self._at = b"", 0
        while had < size:
            missing = size - had
            if missing >= CHUNK:
                had += await self.connection.read_into(view[had:])
            else:
                self._heard = await self.connection.read(CHUNK)
                self._at = min(missing, len(self._heard))
                view[had : had + self._at] = memoryview(self._heard)[: self._at]
                had += self._at
        return room

    def _check(self, size: int) -> None:
        if size > self._max_size:
            raise trio.BrokenResourceError(f"it sends a message of {size} bytes")


class StreamReader(Reader):
    """Over TCP or TLS."""

    prefix = b""  # of the size of each message

    async def message(self) -> bytes | bytearray:
        head = await self.exactly(len(self.prefix) + 8)
        if not head.startswith(self.prefix):
            raise trio.BrokenResourceError(f"it says {bytes(head)!r} where a message begins")
        size = int.from_bytes(head[len(self.prefix) :], "big")
        self._check(size)
        return await self.exactly(size)


class UnixReader(StreamReader):
    """Over a Unix socket."""

    prefix = b"\x01"


class WebReader(Reader):
    """Over WebSocket."""

    def __init__(self, connection: Connection, max_size: int, *, dialled: bool) -> None:
        super().__init__(connection, max_size)
        self._dialled = dialled

    async def message(self) -> bytes | bytearray:
        message: bytearray | None = None
        while True:
            first, second = await self.exactly(2)
            opcode, final = first & 0x7F, first & FINAL
            payload = await self._payload(second, len(message or b""), control=opcode >= CLOSE)
            if opcode == (BINARY if message is None else CONTINUATION):
                if message is None and final:
                    return payload
                message = message or bytearray()
                message += payload
                if final:
                    return message
            elif opcode == PING and final:
                await self.pong(pong_frame(payload, masked=self._dialled))
            elif opcode != PONG:
                raise trio.BrokenResourceError(f"it sends a frame that begins with {first:#x}")

    async def silence(self) -> None:
        await self.message()  # also answers pings
        raise trio.BrokenResourceError("it talks, which it should not")

    async def _payload(self, second: int, before: int, *, control: bool) -> bytes | bytearray:
        masked, size = bool(second & MASKED), second & 0x7F
        if masked == self._dialled:
            raise trio.BrokenResourceError("it does not mask as RFC 6455 says in section 5.1")
        if size > MAX_CONTROL:
            if control:
                raise trio.BrokenResourceError("it sends too large a control frame")
            size = int.from_bytes(await self.exactly(2 if size == 126 else 8), "big")
        self._check(before + size)
        mask = await self.exactly(MASK_SIZE) if masked else b""
        payload = await self.exactly(size)
        return xor_mask(payload, mask) if masked else payload
