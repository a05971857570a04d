"""Connection: a client's side of one connection to the embedded registry's server.

A call is a request that waits in a queue of its own until the writer has time for it. So a
call can be cancelled at any point, and no message is ever half written because of it.
"""

import itertools
from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec
import trio

from eventgraph.background import open_background
from eventgraph.pipes.embedded.protocol import (
    MAX_REPLY,
    VERSION,
    AnyReply,
    AnyRequest,
    Changes,
    Done,
    Entries,
    Framer,
    Hello,
    Ping,
    Refused,
    decode_reply,
    encode,
)
from eventgraph.pipes.embedded.session import CHUNK
from eventgraph.pipes.errors import LeaseLostError, RegistryError, WireError


class ConnectionLostError(RegistryError):
    """The connection has ended; there may be another. Never seen outside."""


class Owner(Protocol):
    """Who is told what happens on a connection."""

    def on_open(self, connection: "Connection") -> None:
        """The server has said hello."""

    def on_answering(self, connection: "Connection") -> None:
        """``answering`` has changed."""

    def on_pong(self, connection: "Connection") -> None:
        """The server is alive; all that it was asked before that ping it has answered."""

    def on_changes(self, changes: Changes) -> None:
        """A watch has seen something."""

    def on_lost(self, connection: "Connection") -> None:
        """It was open, and has ended; not called if ``run`` was cancelled."""


class Waiting:
    """One request, and whoever waits for its answer."""

    __slots__ = ("answer", "done")

    def __init__(self) -> None:
        self.done = trio.Event()
        self.answer: Done | Entries | Refused | None = None


class Connection:
    """Args: keepalive: seconds of silence after which the server counts as away."""

    def __init__(self, stream: trio.abc.Stream, owner: Owner, keepalive: float) -> None:
        self.open = False  # between the server's hello and the end
        self.answering = True  # it did within the keepalive time
        self.fault = "the server closed the connection"  # why it ended
        self._stream = stream
        self._owner = owner
        self._keepalive = keepalive
        self._numbers = itertools.count(1)
        self._waiting: dict[int, Waiting] = {}
        self._unsent: dict[int, bytes] = {}  # in turn
        self._wake = trio.Event()

    async def run(self) -> None:
        """Until it is lost or cancelled."""
        was_open = False
        try:
            async with self._stream, open_background() as nursery:
                for part in (self._write, self._ping):
                    nursery.start_soon(self._until_lost, nursery, part)
                await self._until_lost(nursery, self._read)
            was_open = self.open
        finally:
            self.open = False
            for waiting in self._waiting.values():
                waiting.done.set()
            if was_open:
                self._owner.on_lost(self)

    async def ask(self, request: AnyRequest, undo: AnyRequest | None = None) -> Done | Entries:
        """Send a request and wait for its answer. The number of the request is set here.

        Args:
            undo: sent after it, if this is cancelled when it may have been sent already.
        Raises:
            ConnectionLostError: it may have been done or not.
            LeaseLostError, RegistryError: refused.
        """
        number, waiting = self._begin(request)
        try:
            await waiting.done.wait()
        except trio.Cancelled:  # the answer may be there all the same, if it came just now
            self._waiting.pop(number, None)
            if self._unsent.pop(number, None) is None and undo is not None:
                self.tell(undo)
            raise
        match waiting.answer:
            case None:
                raise ConnectionLostError(self.fault)
            case Refused(_, message, lost):
                raise LeaseLostError(message) if lost else RegistryError(message)
            case answer:
                return answer

    def tell(self, request: AnyRequest) -> trio.Event:
        """Send a request that nobody has to wait for; cancelling does not take it back.

        It must undo one that was sent: so no more of these wait than the server was asked for.

        Returns:
            Set when it was answered, or the connection has ended.
        """
        return self._begin(request)[1].done

    def _begin(self, request: AnyRequest) -> tuple[int, Waiting]:
        number = next(self._numbers)
        waiting = Waiting()
        if self.open:
            self._waiting[number] = waiting
            self._unsent[number] = encode(msgspec.structs.replace(request, id=number))
            self._wake.set()
        else:
            waiting.done.set()
        return number, waiting

    async def _until_lost(self, nursery: trio.Nursery, part: Callable[[], Awaitable[None]]) -> None:
        try:
            await part()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        except WireError as error:
            self.fault = str(error)
        nursery.cancel_scope.cancel()

    async def _read(self) -> None:
        framer = Framer(MAX_REPLY)
        while data := await self._stream.receive_some(CHUNK):
            for frame in framer.feed(data):
                self._take(decode_reply(frame))

    def _take(self, reply: AnyReply) -> None:
        match reply:
            case Hello(version):
                if version != VERSION:
                    raise WireError(f"the server speaks version {version}, and we {VERSION}")
                self.open = True
                self._owner.on_open(self)
            case Changes():
                self._owner.on_changes(reply)
            case _:
                if (waiting := self._waiting.pop(reply.id, None)) is not None:
                    waiting.answer = reply
                    waiting.done.set()

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            while self._unsent:
                number = next(iter(self._unsent))
                await self._stream.send_all(self._unsent.pop(number))

    async def _ping(self) -> None:
        """Keeps the connection, and finds out whether the server hangs."""
        interval = self._keepalive / 3
        while True:
            await trio.sleep(interval)
            if not self.open:
                continue
            pong = self.tell(Ping(0))
            with trio.move_on_after(self._keepalive - interval):
                await pong.wait()
            if not pong.is_set():
                self._set_answering(False)
                await pong.wait()
                self._set_answering(True)
            self._owner.on_pong(self)

    def _set_answering(self, answering: bool) -> None:
        self.answering = answering
        self._owner.on_answering(self)
