"""Session: what the embedded registry's server has to do with one client.

One task answers requests, one after the other; another sends what the watches saw. Nothing
waits in a queue: the next request is read when the answer to the last one was taken, and for
a watch only the names of what changed are kept, until the client takes what stands there then.
So a client that does not read costs one message, and is cut off when it has taken none of it
for a while.
"""

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from eventgraph.background import open_background
from eventgraph.pipes.embedded.protocol import (
    MAX_REQUEST,
    VERSION,
    Answer,
    AnyRequest,
    Changes,
    Create,
    Delete,
    Done,
    Entries,
    Framer,
    Grant,
    Hello,
    Message,
    Put,
    Read,
    Refused,
    Revoke,
    Unwatch,
    Watch,
    decode_request,
    encode,
)
from eventgraph.pipes.embedded.store import Store, check_key
from eventgraph.pipes.errors import LeaseLostError, RegistryError, WireError

MAX_CHANGED: Final = 128
"""Keys: when more have changed while the client did not read, it gets the whole view anew."""

CHUNK: Final = 64 << 10
"""Bytes read at a time."""


class Following:
    """One watch of the client: what of it has changed since the client was told."""

    __slots__ = ("_prefix", "_store", "_wake", "changed", "number", "whole")

    def __init__(self, store: Store, prefix: str, wake: Callable[[], None]) -> None:
        self._store = store
        self._prefix = prefix
        self._wake = wake
        self.changed: dict[str, None] = {}  # keys, in the order they first changed
        self.whole = True  # all is to be sent
        self.number = store.watch(prefix, self._on_change)

    def take(self, watch: int) -> Changes | None:
        """What the client has to be told now; nothing waits afterwards."""
        if self.whole:
            self.whole = False
            return Changes(watch, True, self._store.read(self._prefix), [])
        if not self.changed:
            return None
        now = {key: self._store.get(key) for key in self.changed}
        self.changed = {}
        there = {key: value for key, value in now.items() if value is not None}
        return Changes(watch, False, there, [key for key in now if key not in there])

    def _on_change(self, key: str) -> None:
        if not self.whole:
            self.changed[key] = None
            if len(self.changed) > MAX_CHANGED:
                self.changed = {}
                self.whole = True
        self._wake()


class Session:
    """Args: silence: seconds within which a request must come, and an answer be taken."""

    def __init__(self, store: Store, stream: trio.abc.Stream, silence: float) -> None:
        self._store = store
        self._stream = stream
        self._silence = silence
        self._leases: dict[int, int] = {}  # the client's number -> the store's
        self._followings: dict[int, Following] = {}
        self._lock = trio.Lock()
        self._woken = trio.Event()
        self._end = ""

    async def run(self) -> str:
        """Serve until the client goes, or has to; its leases end then.

        Returns:
            What it ended by: "gone", "silent", "slow", or "garbage".
        """
        try:
            async with self._stream, open_background() as nursery:
                nursery.start_soon(self._until_over, nursery, self._follow)
                await self._until_over(nursery, self._answer)
        finally:
            for following in self._followings.values():
                self._store.unwatch(following.number)
            for lease in self._leases.values():
                self._store.end(lease)
        return self._end

    async def _until_over(self, nursery: trio.Nursery, part: Callable[[], Awaitable[None]]) -> None:
        try:
            await part()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._over("gone", nursery)
        except WireError:
            self._over("garbage", nursery)
        else:
            self._over("gone", nursery)

    def _over(self, reason: str, nursery: trio.Nursery) -> None:
        self._end = self._end or reason
        nursery.cancel_scope.cancel()

    async def _answer(self) -> None:
        framer = Framer(MAX_REQUEST)
        await self._send([Hello(VERSION)])
        while True:
            frames: list[bytes] = []
            with trio.move_on_after(self._silence) as scope:
                while not frames:
                    data = await self._stream.receive_some(CHUNK)
                    if not data:
                        return
                    frames = framer.feed(data)
            if scope.cancelled_caught:
                self._end = "silent"
                return
            for frame in frames:
                answer = self._do(decode_request(frame))
                await self._send([answer])

    async def _follow(self) -> None:
        while True:
            await self._woken.wait()
            self._woken = trio.Event()
            await self._send([])

    async def _send(self, messages: list[Message]) -> None:
        async with self._lock:
            for watch, following in list(self._followings.items()):
                # taken one by one: all views together may be many times the store
                changes = following.take(watch)
                if changes is not None:
                    await self._send_one(changes)
            for message in messages:
                await self._send_one(message)

    async def _send_one(self, message: Message) -> None:
        with trio.move_on_after(self._silence) as scope:
            await self._stream.send_all(encode(message))
        if scope.cancelled_caught:
            self._end = "slow"
            raise trio.BrokenResourceError

    def _wake(self) -> None:
        self._woken.set()

    def _do(self, request: AnyRequest) -> Answer:
        try:
            match request:
                case Read(id, prefix):
                    check_key(prefix)
                    return Entries(id, self._store.read(prefix))
                case Create(id, lease, key, value):
                    return Done(id, self._store.create(self._lease(lease), key, value))
                case _:
                    self._change(request)
                    return Done(request.id)
        except RegistryError as error:
            return Refused(request.id, str(error), isinstance(error, LeaseLostError))

    def _change(self, request: AnyRequest) -> None:
        match request:
            case Watch(_, watch, prefix):
                if watch in self._followings:
                    raise WireError(f"the watch {watch} is in use")
                self._followings[watch] = Following(self._store, prefix, self._wake)
            case Unwatch(_, watch):
                if (following := self._followings.pop(watch, None)) is not None:
                    self._store.unwatch(following.number)
            case Grant(_, lease):
                if lease in self._leases:
                    raise WireError(f"the lease {lease} is in use")
                self._leases[lease] = self._store.grant()
            case Revoke(_, lease):
                self._store.end(self._leases.pop(lease, 0))
            case Put(_, lease, key, value):
                self._store.put(self._lease(lease), key, value)
            case Delete(_, lease, key):
                self._store.delete(self._lease(lease), key)
            case _:  # Ping: the answer is all that it wants
                pass

    def _lease(self, number: int) -> int:
        return self._leases.get(number, 0)  # the store grants no 0
