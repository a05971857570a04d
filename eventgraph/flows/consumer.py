"""Consumer: the end of a flow that takes its blocks. Knows providers as sockets, and no server.

Whoever waits reads for all: the task that receives, or one that asks for the past; so there is
no task of the consumer's own, and no hop from one to the other on the way of a block. Nobody else
reads meanwhile: the one that waits would not learn that what it waits for has come.
"""

import select
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, Self

import msgspec
import trio

from eventgraph.flows.block import Block
from eventgraph.flows.clock import now
from eventgraph.flows.errors import (
    FlowClosedError,
    FlowError,
    FlowOptionError,
    FlowProtocolError,
    FlowUnreadError,
)
from eventgraph.flows.key import FlowKey, FlowPattern
from eventgraph.flows.source import Source

MAX_UNREAD: Final = 1024  # blocks that wait for the application while it asks for the past
RECEIVES_A_CHECKPOINT: Final = 32  # blocks taken in a row before others get their turn
MAX_KEYS: Final = 4096  # flows whose progress is remembered when nobody provides them
FIRST, LAST = -(2**63), 2**63 - 1


class ConsumerStatistics(msgspec.Struct, frozen=True):
    """A consumer at one instant.

    Attributes:
        sources: providers that it is connected to, by key.
        blocks, bytes: that the application was given.
        missed: blocks that a provider sent and that did not come: this consumer was too slow.
        repeated: blocks of a provider that took over which are not later than what was there.
        unread: dropped, since the application did not receive while it asked for the past.
        takeovers: how often another provider of a key came in place of one.
        last_gap: nanoseconds from the last block of the one to the first of the other.
    """

    pattern: FlowPattern
    sources: list[FlowKey]
    blocks: int
    bytes: int
    missed: int
    repeated: int
    unread: int
    takeovers: int
    last_gap: int


async def _signal_nobody(_start: bool) -> None:
    await trio.lowlevel.checkpoint()


class _Progress:
    """How far one key has come, whoever provides it."""

    __slots__ = ("arrived", "sequence", "source", "timestamp")

    def __init__(self) -> None:
        self.source: Source | None = None  # that the last block came from
        self.sequence = -1
        self.timestamp = FIRST
        self.arrived = 0


class _Question:
    """For the past, put to one provider."""

    def __init__(self, source: Source, limit: int) -> None:
        self.source = source
        self.limit = limit
        self.blocks: list[Block] = []
        self.done = False


class Consumer:
    """Made by `eventgraph.flows.FlowClient.consume`; iterate over it for its blocks."""

    def __init__(
        self,
        pattern: FlowPattern,
        on_lost: Callable[[Source], None] = lambda source: None,
        on_close: Callable[[], None] = lambda: None,
        signal: Callable[[bool], Awaitable[None]] = _signal_nobody,
    ) -> None:
        """Connected to nothing.

        Args:
            on_lost: told of a provider that is gone.
            on_close: told of its end.
            signal: passes START (True) and STOP on.
        """
        self.pattern = pattern
        self.error: FlowError | None = None
        """Why nothing comes any more."""
        self._on_lost = on_lost
        self._on_close = on_close
        self._signal = signal
        self._sources: dict[int, Source] = {}
        self._epoll = select.epoll()
        self._stuck: set[int] = set()  # descriptors that are waited for to be written, too
        self._blocks: deque[Block] = deque()
        self._progress: dict[FlowKey, _Progress] = {}
        self._questions: dict[int, _Question] = {}
        self._last_request = 0
        self._reading = False
        self._connected = 0
        self._turn = trio.lowlevel.ParkingLot()
        self._count = self._bytes = 0
        self._missed = self._repeated = self._unread = 0
        self._takeovers = self._last_gap = 0

    # Receive

    async def receive(self) -> Block:
        """The next block of any of the flows. Give it back by leaving it as a context.

        Raises:
            FlowClosedError: the consumer was closed.
            FlowConversionError: the flow cannot be had in the wanted format.
            FlowProtocolError: a provider sent what makes no sense; it is lost, and no other.
        """
        if self._count % RECEIVES_A_CHECKPOINT:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            await trio.lowlevel.checkpoint()
        if not self._blocks:
            if not self._reading:
                self._read()
            if not self._blocks:
                await self._until(self._has_blocks)
        block = self._blocks.popleft()
        self._count += 1
        self._bytes += len(block.data)
        return block

    def _has_blocks(self) -> bool:
        return bool(self._blocks)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Block:
        try:
            return await self.receive()
        except FlowClosedError:
            raise StopAsyncIteration from None

    # Flow control

    async def stop(self) -> None:
        """Stop the providers, for all their consumers, until this one starts them or is gone.

        Said again, it changes nothing.

        Raises:
            FlowRefusedError: a provider does not allow it.
            FlowClosedError: the consumer was closed.
        """
        await self._say(start=False)

    async def start(self) -> None:
        """Undo `stop`. Also counts for providers that wait for so many clients to be ready."""
        await self._say(start=True)

    async def _say(self, *, start: bool) -> None:
        if self.error is not None:
            raise self.error
        await self._signal(start)

    # The past

    async def latest(self, at: int | None = None, *, key: FlowKey | None = None) -> Block | None:
        """The latest block with a timestamp at or before that; None if there is none any more.

        Blocks that arrive meanwhile wait to be received.

        Args:
            at: nanoseconds; by default, the latest of all.
            key: whose, if the consumer has several flows.
        Raises:
            FlowOptionError: several flows, and no key.
            FlowClosedError: the consumer was closed.
            FlowUnreadError: blocks that must not be lost wait to be received.
            FlowProtocolError: as `receive`.
        """
        blocks = await self.between(FIRST, LAST if at is None else at, limit=1, key=key)
        return blocks[0] if blocks else None

    async def between(
        self, first: int, last: int, *, limit: int = 64, key: FlowKey | None = None
    ) -> list[Block]:
        """Blocks with timestamps from ``first`` to ``last``, both included, that are still there.

        Args:
            first, last: nanoseconds.
            limit: at most so many, the latest; the provider gives no more than 64, and of blocks
                in shared memory, each of which holds a slot, no more than half of the ring, or a
                quarter if it drops blocks for slow consumers.
            key: whose, if the consumer has several flows.
        Raises:
            As `latest`.
        """
        await trio.lowlevel.checkpoint()
        source = self._source_of(key)
        first, last, limit = max(first, FIRST), min(last, LAST), min(limit, 0xFFFFFFFF)
        if source is None or limit < 1 or first > last:
            return []
        self._last_request = self._last_request % 0xFFFFFFFF + 1
        request = self._last_request
        question = self._questions[request] = _Question(source, limit)
        try:
            await self._until(lambda: question.done or source.ask(request, first, last, limit))
            await self._until(lambda: question.done)
        except BaseException:
            for block in question.blocks:
                block.release()
            raise
        finally:
            del self._questions[request]
        return question.blocks

    def _source_of(self, key: FlowKey | None) -> Source | None:
        if self.error is not None:
            raise self.error
        sources = [s for s in self._sources.values() if key is None or s.key == key]
        if len({source.key for source in sources}) > 1:
            raise FlowOptionError(f"{self.pattern} are several flows: say of which, with key=")
        return sources[-1] if sources else None

    # Read

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Read, or let the task that does go on, until something is so."""
        while True:
            if self.error is not None:
                raise self.error
            if condition():
                return
            if self._reading:
                await self._turn.park()
                continue
            self._reading = True
            try:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
            except trio.ClosedResourceError:
                continue  # said by the error
            finally:
                self._reading = False
                self._turn.unpark_all()
            self._read()

    def _read(self) -> None:
        if self.error is not None:
            raise self.error
        full = bool(self._questions) and len(self._blocks) >= MAX_UNREAD
        if len(self._sources) == 1 and not self._stuck:  # as a rule; one system call less
            ready = [(fd, select.EPOLLIN) for fd in self._sources]
        else:
            ready = self._epoll.poll(0)
        for fd, events in ready:
            source = self._sources.get(fd)
            if source is None:
                continue  # it was closed on the way
            if events & select.EPOLLOUT:
                source.resume()
            if events & ~select.EPOLLOUT:
                if full and source.lossless:
                    raise FlowUnreadError(
                        f"{source.key}: {len(self._blocks)} blocks wait, and none may be lost: "
                        "receive them before, or while, you ask for the past"
                    )
                self._read_from(source)

    def _read_from(self, source: Source) -> None:
        try:
            blocks, answers = source.read()
            if blocks:
                self._take(source, blocks)
            for request, block in answers:
                self._take_answer(source, request, block)
        except FlowProtocolError:
            self._lose(source)
            raise
        if source.over:
            self._lose(source)

    def _take(self, source: Source, blocks: list[Block]) -> None:
        progress = self._progress[source.key]
        if progress.source is not source:
            blocks = self._take_over(source, blocks, progress)
            if not blocks:
                return
        progress.arrived = now()
        sequence, timestamp = progress.sequence, progress.timestamp
        for block in blocks:
            if block.timestamp <= timestamp or block.sequence <= sequence:
                raise FlowProtocolError(f"{source.key}: a block that comes too late")
            self._missed += block.sequence - sequence - 1
            progress.sequence = sequence = block.sequence
            progress.timestamp = timestamp = block.timestamp
            self._blocks.append(block)
        if self._questions and len(self._blocks) > MAX_UNREAD and not source.lossless:
            self._drop_oldest(source.key)

    def _drop_oldest(self, key: FlowKey) -> None:
        """Nobody receives: keep the latest of what may be dropped."""
        excess = len(self._blocks) - MAX_UNREAD
        kept: deque[Block] = deque()
        for block in self._blocks:
            if excess > 0 and block.key == key:
                excess -= 1
                self._unread += 1
                block.release()
            else:
                kept.append(block)
        self._blocks = kept

    def _take_over(self, source: Source, blocks: list[Block], progress: _Progress) -> list[Block]:
        """Let another provider of the key take over; what of its blocks is new."""
        before = progress.source
        obsolete = before is not None and not before.over and source.number < before.number
        new = []
        for block in blocks:
            if obsolete or block.timestamp <= progress.timestamp:
                self._repeated += 1
                block.release()
            else:
                new.append(block)
        if new:
            progress.source = source
            anew = new[0].sequence <= progress.sequence  # brought in again from another machine
            if before is None or before.flow != source.flow or anew:
                progress.sequence = new[0].sequence - 1
                if before is not None:
                    self._takeovers += 1
                    self._last_gap = now() - progress.arrived
        return new

    def _take_answer(self, source: Source, request: int, block: Block | None) -> None:
        question = self._questions.get(request)
        if question is None or question.source is not source:  # who asked was cancelled
            if block is not None:
                block.release()
        elif block is None:
            question.done = True
        elif len(question.blocks) < question.limit:
            question.blocks.append(block)
        else:
            raise FlowProtocolError(f"{source.key}: more blocks of the past than were asked for")

    # Providers

    @property
    def sources(self) -> list[Source]:
        """Who it is connected to."""
        return list(self._sources.values())

    def connect(self, source: Source) -> None:
        """Take blocks from there, too."""
        if self.error is not None:
            source.close()
            return
        self._connected += 1
        source.number = self._connected
        self._sources[source.fd] = source
        if source.key not in self._progress:
            self._forget_progress()
            self._progress[source.key] = _Progress()
        source.on_stuck = partial(self._watch, source.fd)
        self._epoll.register(source.fd, select.EPOLLIN)

    def _watch(self, fd: int, stuck: bool) -> None:
        if stuck:
            self._stuck.add(fd)
        else:
            self._stuck.discard(fd)
        self._epoll.modify(fd, select.EPOLLIN | (select.EPOLLOUT if stuck else 0))

    def _forget_progress(self) -> None:
        """A consumer of a pattern may have seen any number of flows come and go."""
        if len(self._progress) >= MAX_KEYS:
            alive = {source.key for source in self._sources.values()}
            oldest = next((key for key in self._progress if key not in alive), None)
            if oldest is not None:
                del self._progress[oldest]

    def _lose(self, source: Source) -> None:
        self._drop(source)
        self._on_lost(source)

    def _drop(self, source: Source) -> None:
        if self._sources.pop(source.fd, None) is not None:
            self._epoll.unregister(source.fd)
            source.close()
            self._stuck.discard(source.fd)
            for question in self._questions.values():
                question.done |= question.source is source

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self, error: FlowError | None = None) -> None:
        """Take no more; blocks that are held stay readable. Idempotent."""
        if self.error is None:
            self.error = error or FlowClosedError(f"the consumer of {self.pattern} was closed")
            while self._blocks:
                self._blocks.popleft().release()
            for source in list(self._sources.values()):
                self._drop(source)
            trio.lowlevel.notify_closing(self._epoll.fileno())
            self._epoll.close()
            self._turn.unpark_all()
            self._on_close()

    def statistics(self) -> ConsumerStatistics:
        """Its counts."""
        return ConsumerStatistics(
            self.pattern,
            [source.key for source in self._sources.values()],
            self._count,
            self._bytes,
            self._missed,
            self._repeated,
            self._unread,
            self._takeovers,
            self._last_gap,
        )
