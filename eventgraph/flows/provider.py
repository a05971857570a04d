"""Provider: the end of a flow that makes its blocks. Knows consumers as sockets, and no server.

One task reads what consumers give back; it rests a little between two looks, since under load
many slots come back at once and each wake-up costs more than the reading. Who waits for a slot
looks for itself.

What costs with small blocks is the number of system calls. A block is sent at once if none was
sent just before; those that follow it closely are gathered, and another task sends them as soon
as the sender lets others have their turn.
"""

import select
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, Self

import msgspec
import trio

from eventgraph.flows.block_wire import (
    HEADER,
    HISTORY,
    INLINE,
    LEAVE,
    LOSSLESS,
    MAX_DATAGRAM,
    MAX_RETURNS,
    RELEASE,
    SLOT,
    pack,
)
from eventgraph.flows.clock import now
from eventgraph.flows.errors import BlockTooLargeError, FlowClosedError, FlowOptionError
from eventgraph.flows.format import FlowFormat
from eventgraph.flows.history import History
from eventgraph.flows.key import FlowKey
from eventgraph.flows.options import ProviderOptions, SlowConsumer
from eventgraph.flows.outlet import Outlet, OutletStatistics, Record
from eventgraph.flows.ring import Ring
from eventgraph.flows.slots import SlotTable

MAX_ANSWER: Final = 64  # blocks of the past in one answer
REST: Final = 0.001  # seconds between two looks at what consumers give back
SENDS_A_CHECKPOINT: Final = 32  # small blocks sent in a row before others get their turn
BURST: Final = 50_000  # nanoseconds from one block to the next within which they are gathered
LOOKS: Final = 64  # datagrams that are read from one consumer in one go
SEND_BUFFER: Final = 4 * MAX_DATAGRAM  # bytes, at least; else a block might never fit
_NOBODY: Final = FlowClosedError("the provider was closed")

Data = bytes | bytearray | memoryview


class ProviderStatistics(msgspec.Struct, frozen=True):
    """A provider at one instant.

    Attributes:
        blocks, bytes: that were provided.
        running: False: stopped by a consumer, or waiting for clients.
        slots_held: of the ring.
        dropped: blocks that nobody was given, by reason.
    """

    key: FlowKey
    format: FlowFormat
    running: bool
    blocks: int
    bytes: int
    slots_held: int
    dropped: dict[str, int]
    consumers: list[OutletStatistics]


class Draft:
    """A block that is being written, in place.

    Attributes:
        data: the slot.
        length: bytes of it that are the block; set it.
        timestamp: nanoseconds of `eventgraph.flows.clock.now`; by default, when it is sent.
    """

    __slots__ = ("data", "length", "timestamp")

    def __init__(self, data: memoryview) -> None:
        self.data = data
        self.length = len(data)
        self.timestamp: int | None = None


class Provider:
    """Made by `eventgraph.flows.FlowClient.provide`."""

    def __init__(
        self,
        key: FlowKey,
        format: FlowFormat,
        options: ProviderOptions,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        """Connected to nobody.

        Args:
            on_close: told of its end.
        """
        self.key = key
        self.format = format
        self.options = options
        self.ring = Ring(str(key), options.slots, options.max_block)
        self.error: FlowClosedError | None = None
        """Why it takes no more blocks."""
        self.on_closed: Callable[[], None] = lambda: None
        """Told of its end, at once; for who provides."""
        self._on_close = on_close
        self._drops = options.slow_consumer is SlowConsumer.DROP_OLDEST
        self._flags = 0 if self._drops else LOSSLESS
        self._slots = SlotTable(options.slots)
        self._written = [-1] * options.slots  # sequence number of what stands there
        self._history = History(options.slots + options.history, self._stands)
        self._outlets: dict[int, Outlet] = {}  # by descriptor
        self._each: list[Outlet] = []  # the same but for those that have left
        self._epoll = select.epoll()
        self._running = True
        self._behind = False  # whether blocks wait for a consumer
        self._gathered: list[Record] = []
        self._gathered_size = 0
        self._to_gather = trio.lowlevel.ParkingLot()
        self._waiting = 0
        self._wanted = trio.Event()
        self._progress = trio.lowlevel.ParkingLot()
        self._dropped: Counter[str] = Counter()
        self._blocks = self._bytes = 0
        self._last_timestamp = -(2**63)
        self._last_publication = 0

    # Send

    async def send(self, data: Data, timestamp: int | None = None, *, head: bytes = b"") -> None:
        """Send a block to all consumers; waits while the flow is stopped.

        With `SlowConsumer.BLOCK` it also waits until every consumer has taken what was before.

        Args:
            data: copied.
            timestamp: nanoseconds of `eventgraph.flows.clock.now`, above that of the last block;
                by default, now.
            head: stands before the data; so nobody has to copy both together.
        Raises:
            BlockTooLargeError: larger than ``max_block``.
            FlowOptionError: the timestamp goes back.
            FlowClosedError: the provider was closed, or is obsolete.
        """
        if self._blocks % SENDS_A_CHECKPOINT:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            await trio.lowlevel.checkpoint()
        if type(data) is not bytes:
            data = memoryview(data).cast("B")
        length = len(head) + len(data)
        if self.error is not None or not self._running or (self._behind and not self._drops):
            await self._until(lambda: self._ready)
        if timestamp is not None or length > self.options.max_block:
            self._check(length, timestamp)
        if length <= self.options.inline:
            self._send_inline(head, data, length, timestamp)
            return
        slot = self._take_slot()
        while slot is None:
            await self._until(self._may_have_slot)
            slot = self._take_slot()
        self._send_slot(slot, head, data, length, timestamp)

    def offer(self, data: Data, timestamp: int | None = None, *, head: bytes = b"") -> bool:
        """The same, and never waits: False if `send` would; the block is dropped, and counted.

        Raises:
            As `send`.
        """
        if self.error is not None:
            raise self.error
        if type(data) is not bytes:
            data = memoryview(data).cast("B")
        length = len(head) + len(data)
        self._check(length, timestamp)
        if not self._ready:
            if self._running:
                self._look()
            if not self._ready:
                self._dropped["slow" if self._running else "stopped"] += 1
                return False
        if length <= self.options.inline:
            self._send_inline(head, data, length, timestamp)
            return True
        slot = self._take_slot()
        if slot is None:
            self._dropped["no_slot"] += 1
            return False
        self._send_slot(slot, head, data, length, timestamp)
        return True

    @asynccontextmanager
    async def block(self) -> AsyncIterator[Draft]:
        """Write a block in place; it is sent when the context is left without an error.

        Waits as `send` does, and raises the same.
        """
        await trio.lowlevel.checkpoint()
        if self.error is not None or not self._ready:
            await self._until(lambda: self._ready)
        slot = self._take_slot()
        while slot is None:
            await self._until(self._may_have_slot)
            slot = self._take_slot()
        try:
            draft = Draft(self.ring.slot(slot)[: self.options.max_block])
            yield draft
            if self.error is not None:
                raise self.error
            self._publish_slot(slot, draft.length, draft.timestamp)
        finally:
            self._slots.release(slot)

    async def drain(self) -> None:
        """Wait until no block waits for a consumer; what is sent then survives `close`.

        Raises:
            FlowClosedError: the provider was closed, or is obsolete.
        """
        await trio.lowlevel.checkpoint()
        self._send_gathered()
        await self._until(lambda: not any(outlet.backlog for outlet in self._each))

    def _send_inline(self, head: bytes, data: Data, length: int, timestamp: int | None) -> None:
        time = now()
        if timestamp is None:
            timestamp = time if time > self._last_timestamp else self._last_timestamp + 1
        header = pack(INLINE, self._flags, 0, length, 0, self._blocks, timestamp)
        datagram = b"".join((header, head, data))
        record = Record(INLINE, -1, length, self._blocks, timestamp, datagram)
        self._note(record)
        last, self._last_publication = self._last_publication, time
        if self._gathered:
            self._gathered_size += len(datagram)
            if self._gathered_size > MAX_DATAGRAM:
                self._send_gathered()
                self._gathered_size = len(datagram)
            self._gathered.append(record)
            if not self._blocks % SENDS_A_CHECKPOINT:
                self._send_gathered()
        elif time - last < BURST:
            self._gathered.append(record)
            self._gathered_size = len(datagram)
            self._to_gather.unpark()
        else:
            self._publish([record], datagram)

    def _send_slot(
        self, slot: int, head: bytes, data: Data, length: int, timestamp: int | None
    ) -> None:
        try:
            memory = self.ring.slot(slot)
            if head:
                memory[: len(head)] = head
            memory[len(head) : length] = data
            self._publish_slot(slot, length, timestamp)
        finally:
            self._slots.release(slot)

    def _publish_slot(self, slot: int, length: int, timestamp: int | None) -> None:
        self._check(length, timestamp)
        if timestamp is None:
            timestamp = max(now(), self._last_timestamp + 1)
        self._written[slot] = self._blocks
        datagram = pack(SLOT, self._flags, slot, length, 0, self._blocks, timestamp)
        record = Record(SLOT, slot, length, self._blocks, timestamp, datagram)
        self._note(record)
        self._send_gathered()
        self._publish([record], datagram)

    def _note(self, record: Record) -> None:
        self._blocks += 1
        self._bytes += record.length
        self._last_timestamp = record.timestamp
        self._history.add(record)

    def _send_gathered(self) -> None:
        if self._gathered:
            records, self._gathered = self._gathered, []
            self._publish(records, b"".join([record.datagram for record in records]))

    def _publish(self, records: list[Record], datagram: bytes) -> None:
        for outlet in self._each:
            try:
                outlet.offer(records, datagram)
            except OSError:
                self._cut(outlet)
                continue
            if outlet.backlog:
                self._fall_behind(outlet)

    def _fall_behind(self, outlet: Outlet) -> None:
        self._behind = True
        self._watch(outlet)
        if self._drops:
            while len(outlet.backlog) > self.options.backlog:
                outlet.drop_oldest("slow")

    def _check(self, length: int, timestamp: int | None) -> None:
        if not 0 <= length <= self.options.max_block:
            raise BlockTooLargeError(
                f"{self.key}: a block of {length} bytes; max_block is {self.options.max_block}"
            )
        if timestamp is not None and not self._last_timestamp < timestamp < 2**63:
            raise FlowOptionError(
                f"{self.key}: timestamp {timestamp} is not above {self._last_timestamp}, "
                "that of the last block"
            )

    # Room

    @property
    def _ready(self) -> bool:
        """Whether the next block may be sent, if there is a slot for it."""
        return self._running and (self._drops or not self._behind)

    def _may_have_slot(self) -> bool:
        return self._ready and self._slots.held < len(self._slots)

    def _take_slot(self) -> int | None:
        """A slot to write to; None: all are in the hands of consumers."""
        slot = self._slots.take()
        if slot is None:
            self._look()
            slot = self._slots.take()
        while slot is None and self._drops:
            victim = max(self._each, key=lambda outlet: len(outlet.backlog), default=None)
            if victim is None or not victim.backlog:
                break
            victim.drop_oldest("slow")
            slot = self._slots.take()
        if slot is not None:
            self._written[slot] = -1
        return slot

    def _stands(self, record: Record) -> bool:
        return record.slot < 0 or self._written[record.slot] == record.sequence

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Wait for room, or to be started again."""
        self._waiting += 1
        self._wanted.set()
        try:
            while self.error is None and not condition():
                await self._progress.park()
        finally:
            self._waiting -= 1
        if self.error is not None:
            raise self.error

    # Consumers

    @property
    def consumers(self) -> list[str]:
        """Who is attached."""
        return [outlet.consumer for outlet in self._each]

    def attach(self, consumer: str, sock: socket.socket) -> None:
        """Send to one more, from the next block on. The socket is the provider's from then on."""
        if self.error is not None:
            sock.close()
            return
        self._send_gathered()
        sock.setblocking(False)
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) < SEND_BUFFER // 2:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        outlet = Outlet(consumer, sock, self._slots, fair=self._drops)
        self._outlets[outlet.fd] = outlet
        self._each = [*self._each, outlet]
        self._epoll.register(outlet.fd, select.EPOLLIN)

    def _part(self, outlet: Outlet) -> None:
        """Send to it no longer."""
        self._each = [other for other in self._each if other is not outlet]
        outlet.leave()

    def _cut(self, outlet: Outlet) -> None:
        if self._outlets.pop(outlet.fd, None) is not None:
            self._part(outlet)
            self._epoll.unregister(outlet.fd)
            outlet.close()
            self._go_on()

    def _go_on(self) -> None:
        """Something has changed; whoever waits may look again."""
        self._behind = any(outlet.backlog for outlet in self._each)
        self._progress.unpark_all()

    def _watch(self, outlet: Outlet) -> None:
        """Be told when there is room again in its socket."""
        if outlet.watched is not outlet.stuck:
            outlet.watched = outlet.stuck
            events = select.EPOLLIN | (select.EPOLLOUT if outlet.stuck else 0)
            self._epoll.modify(outlet.fd, events)

    async def run(self) -> None:
        """Listen to the consumers, until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._gather)
                await self._listen()
                nursery.cancel_scope.cancel()
        finally:
            self.close()

    async def _gather(self) -> None:
        while True:
            self._send_gathered()
            await self._to_gather.park()

    async def _listen(self) -> None:
        try:
            while self.error is None:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
                self._look()
                if not self._waiting and not self._behind:
                    self._wanted = trio.Event()
                    with trio.move_on_after(REST):
                        await self._wanted.wait()
        except trio.ClosedResourceError:
            pass  # by `close`

    def _look(self) -> None:
        """Take in what consumers have sent, and send what waits for them."""
        if self.error is not None:
            return  # closed since there was something to be read
        for fd, events in self._epoll.poll(0):
            outlet = self._outlets[fd]
            try:
                if events & select.EPOLLOUT:
                    outlet.stuck = False
                if events & ~select.EPOLLOUT and not self._take_in(outlet):
                    self._cut(outlet)
            except OSError:
                self._cut(outlet)
        for outlet in list(self._outlets.values()):
            try:
                if not outlet.stuck:
                    outlet.flush()
                self._watch(outlet)
            except OSError:
                self._cut(outlet)
        self._go_on()

    def _take_in(self, outlet: Outlet) -> bool:
        """Read what a consumer has sent; False: it is gone, or not to be dealt with.

        Raises:
            OSError: it is gone.
        """
        for _ in range(LOOKS):
            try:
                datagram = outlet.sock.recv(MAX_RETURNS * HEADER.size + 1)
            except BlockingIOError:
                break
            if not datagram or len(datagram) % HEADER.size:
                return False
            asked = False
            for kind, _flags, slot, limit, request, first, last in HEADER.iter_unpack(datagram):
                if kind == RELEASE:
                    if not outlet.given_back(slot):
                        return False
                elif kind == HISTORY and not asked:
                    asked = True
                    records = self._history.between(first, last, min(limit, MAX_ANSWER))
                    if not outlet.answer(records, request):
                        return False
                elif kind == LEAVE:
                    self._part(outlet)
                else:
                    return False
            if asked:
                break  # one question in one go: others want to be served, too
        return True

    # Its life

    @property
    def running(self) -> bool:
        """Whether nobody has stopped the flow."""
        return self._running

    def set_running(self, running: bool) -> None:
        """The flow was stopped by somebody, or started."""
        self._running = running
        self._progress.unpark_all()

    async def wait_running(self) -> None:
        """Wait until it is not stopped, to make blocks only when they are wanted.

        Raises:
            FlowClosedError: the provider was closed, or is obsolete.
        """
        await trio.lowlevel.checkpoint()
        await self._until(lambda: self._running)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self, error: FlowClosedError = _NOBODY) -> None:
        """Take no more blocks; consumers get what was sent, but for what waits for them.

        Idempotent. See `drain`.
        """
        if self.error is None:
            self._send_gathered()
            self.error = error
            for outlet in self._outlets.values():
                outlet.close()
            self._outlets.clear()
            self._each = []
            trio.lowlevel.notify_closing(self._epoll.fileno())
            self._epoll.close()
            self.ring.close()
            self._on_close()
            self._progress.unpark_all()
            self.on_closed()

    def statistics(self) -> ProviderStatistics:
        """Its state and counts."""
        self._send_gathered()
        return ProviderStatistics(
            self.key,
            self.format,
            self._running,
            self._blocks,
            self._bytes,
            self._slots.held,
            dict(self._dropped),
            [outlet.statistics() for outlet in self._each],
        )
