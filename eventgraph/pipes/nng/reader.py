"""Messages out of the stream that a push sends, for `bridge`."""

import os
from abc import ABC, abstractmethod
from base64 import b64encode

import trio

from eventgraph.pipes.nng.sp import GREETING_SIZE, PULL, PUSH, greeting
from eventgraph.pipes.nng.web import (
    BINARY,
    CONTINUATION,
    END,
    FINAL,
    MAX_REQUEST,
    check_answer,
    web_request,
)
from eventgraph.pipes.url import Url

CLOSE = 0x08  # control frames have this number and those above; RFC 6455, section 5.5
MASKED = 0x80
MAX_CONTROL = 125  # bytes in a control frame
CHUNK = 64 << 10  # bytes to ask for at once


class Reader(ABC):
    """What a pull says and hears; raises BrokenResourceError when it is cut, or hears nonsense."""

    def __init__(self, stream: trio.abc.Stream, url: Url, max_message_size: int) -> None:
        self._stream = stream
        self._url = url
        self._limit = max_message_size
        self._heard = bytearray()

    @abstractmethod
    async def greet(self) -> None:
        """Come to terms."""

    @abstractmethod
    async def message(self) -> bytes | bytearray:
        """The next."""

    async def _until(self, end: bytes, limit: int) -> bytes:
        while end not in self._heard:
            if len(self._heard) > limit:
                raise trio.BrokenResourceError(f"no end within {limit} bytes")
            await self._hear()
        return self._take(self._heard.index(end) + len(end))

    async def _exactly(self, size: int) -> bytes:
        while len(self._heard) < size:
            await self._hear()
        return self._take(size)

    async def _hear(self) -> None:
        data = await self._stream.receive_some(CHUNK)
        if not data:
            raise trio.BrokenResourceError("it hung up")
        self._heard += data

    def _take(self, size: int) -> bytes:
        taken = bytes(memoryview(self._heard)[:size])
        del self._heard[:size]
        return taken

    def _check(self, size: int) -> None:
        if size > self._limit:
            raise trio.BrokenResourceError(f"a message of {size} bytes")


class SpReader(Reader):
    """Of a stream as `sp` has it."""

    async def greet(self) -> None:
        await self._stream.send_all(greeting(PULL))
        heard = await self._exactly(GREETING_SIZE)
        if heard != greeting(PUSH):
            raise trio.BrokenResourceError(f"it greets with {heard!r} and is no push socket")

    async def message(self) -> bytes | bytearray:
        size = int.from_bytes(await self._exactly(8), "big")
        self._check(size)
        return await self._exactly(size)


class WebReader(Reader):
    """Of a WebSocket; nothing is answered to pings."""

    async def greet(self) -> None:
        key = b64encode(os.urandom(16)).decode()
        authority = f"{self._url.host}:{self._url.port}"
        await self._stream.send_all(web_request(authority, self._url.path, key))
        try:
            check_answer(await self._until(END, MAX_REQUEST), key)
        except ValueError as error:
            raise trio.BrokenResourceError(str(error)) from error

    async def message(self) -> bytes | bytearray:
        message = bytearray()
        expected = BINARY
        while True:
            first, second = await self._exactly(2)
            if second & MASKED:
                raise trio.BrokenResourceError("a masked frame, which only a client may send")
            size = second & 0x7F
            if size > MAX_CONTROL:
                size = int.from_bytes(await self._exactly(2 if size == 126 else 8), "big")
            self._check(len(message) + size)
            payload = await self._exactly(size)
            opcode = first & 0x7F
            if opcode == expected:
                message += payload
                expected = CONTINUATION
                if first & FINAL:
                    return message
            elif opcode <= CLOSE:
                raise trio.BrokenResourceError(f"a frame with opcode {opcode}")
