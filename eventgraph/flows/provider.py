"""Provider: the end of a flow that makes its blocks. Knows consumers as sockets, and no server.

What costs with small blocks is the number of system calls. A block is sent at once if none was
sent just before; those that follow it closely are gathered, and another task sends them as soon
as the sender lets others have their turn.
"""

import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, Self

import msgspec
import trio

from eventgraph.flows.audience import Audience
from eventgraph.flows.block_wire import (
    INLINE,
    LOSSLESS,
    MAX_DATAGRAM,
    SLOT,
    pack,
)
from eventgraph.flows.clock import now
from eventgraph.flows.errors import BlockTooLargeError, FlowClosedError, FlowOptionError
from eventgraph.flows.format import FlowFormat
from eventgraph.flows.history import History
from eventgraph.flows.key import FlowKey
from eventgraph.flows.options import ProviderOptions, SlowConsumer
from eventgraph.flows.outlet import OutletStatistics, Record
from eventgraph.flows.ring import Ring
from eventgraph.flows.slots import SlotTable

SENDS_A_CHECKPOINT: Final = 32  # small blocks sent in a row before others get their turn
BURST: Final = 50_000  # nanoseconds from one block to the next within which they are gathered
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
        self._audience = Audience(
            self._slots, self._history, options.backlog if self._drops else None
        )
        self._running = True
        self._gathered: list[Record] = []
        self._gathered_size = 0
        self._to_gather = trio.lowlevel.ParkingLot()
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
        if (
            self.error is not None
            or not self._running
            or (self._audience.behind and not self._drops)
        ):
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
                self._audience.look()
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

    def skip(self, blocks: int) -> None:
        """So many blocks were lost before they came here: consumers see them as missed."""
        self._blocks += blocks
        self._dropped["lost"] += blocks

    async def drain(self) -> None:
        """Wait until no block waits for a consumer; what is sent then survives `close`.

        Raises:
            FlowClosedError: the provider was closed, or is obsolete.
        """
        await trio.lowlevel.checkpoint()
        self._send_gathered()
        await self._until(lambda: not self._audience.waits)

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
            self._audience.publish([record], datagram)

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
        self._audience.publish([record], datagram)

    def _note(self, record: Record) -> None:
        self._blocks += 1
        self._bytes += record.length
        self._last_timestamp = record.timestamp
        self._history.add(record)

    def _send_gathered(self) -> None:
        if self._gathered:
            records, self._gathered = self._gathered, []
            self._audience.publish(records, b"".join([record.datagram for record in records]))

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
        return self._running and (self._drops or not self._audience.behind)

    def _may_have_slot(self) -> bool:
        return self._ready and self._slots.held < len(self._slots)

    def _take_slot(self) -> int | None:
        """A slot to write to; None: all are in the hands of consumers."""
        slot = self._slots.take()
        if slot is None:
            self._audience.look()
            slot = self._slots.take()
        while slot is None and self._drops and self._audience.drop_oldest():
            slot = self._slots.take()
        if slot is not None:
            self._written[slot] = -1
        return slot

    def _stands(self, record: Record) -> bool:
        return record.slot < 0 or self._written[record.slot] == record.sequence

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Wait for room, or to be started again."""
        while self.error is None and not condition():
            await self._audience.progress()
        if self.error is not None:
            raise self.error

    # Consumers

    @property
    def consumers(self) -> list[str]:
        """Who is attached."""
        return self._audience.names

    def attach(self, consumer: str, sock: socket.socket) -> None:
        """Send to one more, from the next block on. The socket is the provider's from then on."""
        if self.error is not None:
            sock.close()
            return
        self._send_gathered()
        self._audience.attach(consumer, sock)

    async def run(self) -> None:
        """Listen to the consumers, until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._gather)
                await self._audience.listen()
                nursery.cancel_scope.cancel()
        finally:
            self.close()

    async def _gather(self) -> None:
        while True:
            self._send_gathered()
            await self._to_gather.park()

    # Its life

    @property
    def running(self) -> bool:
        """Whether nobody has stopped the flow."""
        return self._running

    def set_running(self, running: bool) -> None:
        """The flow was stopped by somebody, or started."""
        self._running = running
        self._audience.wake()

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
            self._audience.close()
            self.ring.close()
            self._on_close()
            self._audience.wake()
            self.on_closed()

    def statistics(self) -> ProviderStatistics:
        """Its state and counts."""
        self._send_gathered()
        return ProviderStatistics(
            self.key,
            self.format,
            self._running,
            self._blocks - self._dropped["lost"],
            self._bytes,
            self._slots.held,
            dict(self._dropped),
            self._audience.statistics(),
        )
