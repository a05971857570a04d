"""Mailboxes: the media way between trio and the asyncio thread, bounded and batched.

    asyncio: mailbox.put ... put ... put --[one wake-up a time slice]--> trio: receive each
    trio:    mailbox.put ... put ... put --[one wake-up a time slice]--> asyncio: receive each

A wake-up across threads costs as much as dozens of packets. So all mailboxes of a direction
share a `Hop`, which wakes the other side once for whatever has gathered. A lone item goes at
once; while items keep coming, the next wake-up is due a slice after the last one. The other
side handles a bounded batch at a time and then lets its other tasks run.

There is no lock: the order of steps makes up for it. Who puts appends first and looks then
whether a wake-up is on its way; who drains takes that mark away first and looks then what is
there. So an item is seen by a drain, or its putter sees no mark and wakes. A `deque` is safe
to append to and pop from at opposite ends.
"""

import logging
import time
from abc import abstractmethod
from collections import Counter, deque
from collections.abc import Callable
from typing import Final, Generic, TypeVar

import msgspec

from .asyncio_thread import AsyncioThread

T = TypeVar("T")

SLICE: Final = 0.002
"""Seconds between wake-ups of asyncio under load: a tenth of a packet of voice."""
TRIO_SLICE: Final = 0.004
"""Seconds between wake-ups of trio: each costs some 60 µs, with its epoll, its tasks and the change
of threads. At 500 a second that was a third of what a hundred sessions of voice took."""
BATCH: Final = 256
"""Items handled in one go; about a millisecond of work."""

logger = logging.getLogger("rtp")


class MailboxStatistics(msgspec.Struct, frozen=True):
    """A mailbox in numbers: what was put is handled, waits, or was dropped.

    Attributes:
        dropped: by reason: "full", "closed" (put afterwards, or left in it),
            "receiver failed" (it raised).
    """

    handled: int
    queued: int
    dropped: dict[str, int]


class Hop:
    """One direction between the threads, shared by its mailboxes.

    Attributes:
        wakeups: of the other side, so far.
    """

    def __init__(self, thread: AsyncioThread) -> None:
        self.wakeups = 0
        self._thread = thread
        self._ready: deque[Mailbox[object]] = deque()  # bounded: each mailbox is in it once
        self._on_its_way = False
        self._last = -TRIO_SLICE

    def announce(self, mailbox: "Mailbox[object]") -> None:
        """A mailbox has something; called on the putting side."""
        self._ready.append(mailbox)
        if not self._on_its_way:
            self._on_its_way = True
            self._send()

    @abstractmethod
    def _send(self) -> None:
        """Have ``_drain`` called on the receiving side."""

    def _drain(self) -> bool:
        """Handle a batch; whether there was more. Called on the receiving side."""
        room = BATCH
        while self._ready:
            mailbox = self._ready.popleft()
            room -= mailbox.drain(room)
            if room <= 0:
                if mailbox.waiting:
                    mailbox.announce_rest(self._ready)
                return bool(self._ready)
        return False


class HopToTrio(Hop):
    """From the asyncio thread to trio."""

    def _send(self) -> None:
        wait = self._last + TRIO_SLICE - time.monotonic()
        if wait > 0:
            self._thread.loop.call_later(wait, self._wake)
        else:
            self._wake()

    def _wake(self) -> None:
        self._last = time.monotonic()
        self.wakeups += 1
        self._thread.token.run_sync_soon(self._arrive)

    def _arrive(self) -> None:
        self._on_its_way = False
        if self._drain() and not self._on_its_way:
            self._on_its_way = True
            self._thread.token.run_sync_soon(self._arrive)  # after trio's other tasks


class HopToAsyncio(Hop):
    """From trio to the asyncio thread.

    Trio's side has no timer that a plain function could set, so the slices are kept over
    there: after a batch the loop looks again a slice later, until nothing has come.
    """

    def _send(self) -> None:
        self.wakeups += 1
        try:
            self._thread.loop.call_soon_threadsafe(self._arrive)
        except RuntimeError:  # the loop is closed: what waits is never handled
            self._ready.clear()

    def _arrive(self) -> None:
        if self._drain():
            self._thread.loop.call_soon(self._arrive)
        else:
            self._thread.loop.call_later(SLICE, self._look_again)

    def _look_again(self) -> None:
        if self._ready:
            self._arrive()
            return
        self._on_its_way = False
        if self._ready and not self._on_its_way:  # put just now, when the mark still stood
            self._on_its_way = True
            self._arrive()


class Mailbox(Generic[T]):
    """A bounded queue from one thread to the other.

    `put` belongs to the one side, `drain` and the receiver to the other, `close` to either.
    """

    __slots__ = (
        "_announced", "_capacity", "_closed", "_dropped_here", "_dropped_there", "_handled",
        "_hop", "_items", "_name", "_receive",
    )  # fmt: skip

    def __init__(
        self, hop: Hop, receive: Callable[[T], object], *, capacity: int, name: str
    ) -> None:
        """
        Args:
            hop: the direction.
            receive: gets each item on the other side; must return soon. What it raises is
                logged once and counted.
            capacity: items, at least 1.
            name: for the log.
        """
        if capacity < 1:
            raise ValueError(f"capacity is {capacity} items: give at least 1")
        self._hop = hop
        self._receive = receive
        self._capacity = capacity
        self._name = name
        self._items: deque[T] = deque()
        self._announced = False
        self._closed = False
        self._handled = 0
        self._dropped_here: Counter[str] = Counter()
        self._dropped_there: Counter[str] = Counter()

    @property
    def waiting(self) -> int:
        """Items in it."""
        return len(self._items)

    def put(self, item: T) -> bool:
        """Hand an item over; whether it was taken. Never waits."""
        if self._closed:
            self._dropped_here["closed"] += 1
            return False
        if len(self._items) >= self._capacity:
            self._dropped_here["full"] += 1
            return False
        self._append(item)
        return True

    def put_last(self, item: T) -> None:
        """Hand over what ends a stream, even if the mailbox is full: there is one for each."""
        if self._closed:
            self._dropped_here["closed"] += 1
        else:
            self._append(item)

    def _append(self, item: T) -> None:
        self._items.append(item)
        if not self._announced:
            self._announced = True
            self._hop.announce(self)  # type: ignore[arg-type]  # a hop does not look at items

    def drain(self, room: int = BATCH) -> int:
        """Hand at most `room` items to the receiver; how many. On the receiving side."""
        self._announced = False
        done = 0
        while done < room:
            try:
                item = self._items.popleft()
            except IndexError:
                break
            done += 1
            if self._closed:
                self._dropped_there["closed"] += 1
                continue
            try:
                self._receive(item)
            except Exception:
                if not self._dropped_there["receiver failed"]:  # it may fail for every item
                    logger.exception("the receiver of mailbox %s failed", self._name)
                self._dropped_there["receiver failed"] += 1
            else:
                self._handled += 1
        return done

    def announce_rest(self, ready: "deque[Mailbox[object]]") -> None:
        """Stand in line again, with what did not fit in the batch."""
        if not self._announced:
            self._announced = True
            ready.append(self)  # type: ignore[arg-type]  # as above

    def close(self) -> None:
        """Take nothing more and drop what waits. Idempotent."""
        self._closed = True
        while True:
            try:
                self._items.popleft()
            except IndexError:
                return
            self._dropped_there["closed"] += 1

    def statistics(self) -> MailboxStatistics:
        """The mailbox in numbers."""
        dropped = self._dropped_here + self._dropped_there
        return MailboxStatistics(self._handled, len(self._items), dict(dropped))
