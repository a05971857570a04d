"""Ledger: the sending side of one pipe, every event accounted for. Pure: time is an argument.

An event is offered, waits, travels in a message, and is received or lost::

    offered == received + lost + queued + in_flight + sum(dropped.values())

*Received* is what a member has reported as taken. A push socket does not say which connection
a message went to. So each message that arrives is reported at once as *held* by its member,
and given up only when that member is gone; one that nobody holds is given up after a time-out,
a short one when a connection was lost. Given up means lost, or sent again to somebody.
"""

import math
from collections import Counter, OrderedDict, deque
from collections.abc import Iterable

import msgspec

from eventgraph.pipes.options import DestinationOptions, Overflow, Reliability
from eventgraph.pipes.wire import Range

AFTERMATH = 0.02  # seconds in which a transport may still feed what is dead; zmq does for 1 ms
LATE = 1024  # messages that were given up and are still known, should somebody report them


class PipeCounts(msgspec.Struct, frozen=True):
    """Events of one pipe, at one instant."""

    offered: int = 0
    received: int = 0  # taken by a member; in raw mode: by the transport
    lost: int = 0  # given up; corrected should a member report them after all
    queued: int = 0
    in_flight: int = 0
    dropped: dict[str, int] = {}  # by reason: full, oldest, abandoned
    redelivered: int = 0  # given up, and sent once more; each time
    duplicates: int = 0  # reported as taken by a second member
    messages: int = 0
    bytes: int = 0  # of messages


class Batch:
    """The events of one message."""

    __slots__ = ("deadline", "events", "holder", "redelivered", "sent_at", "sequence")

    def __init__(self, sequence: int, events: list[bytes], *, redelivered: bool = False) -> None:
        self.sequence = sequence  # of the first event
        self.events = events
        self.redelivered = redelivered
        self.sent_at: float | None = None
        self.deadline: float | None = None  # None: not sent yet, or held by a member
        self.holder: str | None = None  # the member that has it


class Ledger:
    """What waits and what is on its way, for one group."""

    def __init__(self, options: DestinationOptions) -> None:
        self.options = options
        self.members: set[str] = set()
        self.in_flight: OrderedDict[int, Batch] = OrderedDict()
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._again: deque[Batch] = deque()  # given up, to be sent once more
        self._late: OrderedDict[int, int] = OrderedDict()  # given up as lost: sequence, count
        self._next_sequence = 0
        self._shaky_until = -math.inf
        self._offered = self._received = self._lost = self._in_flight_events = 0
        self._redelivered = self._duplicates = self._messages = 0
        self._bytes = 0
        self._dropped: Counter[str] = Counter()

    # Offer

    @property
    def depth(self) -> int:
        """Events that wait."""
        return len(self._queue) + sum(len(batch.events) for batch in self._again)

    def has_room(self, size: int) -> bool:
        """Whether an event of so many bytes would be queued without dropping any."""
        options = self.options
        return len(self._queue) < options.queue_size and (
            self._queued_bytes + size <= options.queue_bytes or not self._queue
        )

    def offer(self, event: bytes) -> bool:
        """Queue an encoded event; whether it was taken. If not, it is counted as dropped."""
        self._offered += 1
        size = len(event)
        while not self.has_room(size):
            if self.options.overflow is Overflow.REFUSE:
                self._dropped["full"] += 1
                return False
            self._queued_bytes -= len(self._queue.popleft())
            self._dropped["oldest"] += 1
        self._queue.append(event)
        self._queued_bytes += size
        return True

    # Send

    @property
    def sendable(self) -> bool:
        """Whether there is something to send, and the window is open for it."""
        room = self.options.window * max(1, len(self.members))
        return bool(self._again or self._queue) and len(self.in_flight) < room

    @property
    def full_batch(self) -> bool:
        """Whether as much waits as fits into a message."""
        options = self.options
        return (
            bool(self._again)
            or len(self._queue) >= options.max_batch_events
            or self._queued_bytes >= options.max_batch_bytes
        )

    def next_batch(self) -> Batch | None:
        """What to send next, in flight from now on; None if nothing may be sent now."""
        if not self.sendable:
            return None
        if self._again:
            batch = self._again.popleft()
        else:
            batch = Batch(self._next_sequence, self._take_events())
            self._next_sequence += len(batch.events)
        self.in_flight[batch.sequence] = batch
        self._in_flight_events += len(batch.events)
        return batch

    def _take_events(self) -> list[bytes]:
        queue, options = self._queue, self.options
        count = 1 if options.raw else min(len(queue), options.max_batch_events)
        size = 0
        events: list[bytes] = []
        for _ in range(count):
            size += len(queue[0])
            if events and size > options.max_batch_bytes:
                size -= len(queue[0])
                break
            events.append(queue.popleft())
        self._queued_bytes -= size
        return events

    def sent(self, batch: Batch, size: int, now: float) -> None:
        """The transport has taken the message of a batch, of so many bytes."""
        self._messages += 1
        self._bytes += size
        if self.options.raw:
            self._forget(batch)
            self._received += len(batch.events)  # nobody will say more of it
        elif batch.sequence in self.in_flight and batch.holder is None:
            batch.sent_at = now
            shaky = now < self._shaky_until
            patience = self.options.loss_grace if shaky else self.options.ack_timeout
            batch.deadline = now + patience

    def unsent(self, batch: Batch) -> None:
        """Sending was cut off: the batch is first in the queue again."""
        if self.in_flight.get(batch.sequence) is batch:  # else it was given up meanwhile
            self._forget(batch)
            self._again.appendleft(batch)

    # What members report

    def held(self, sequence: int, member: str) -> None:
        """A message has arrived at a member."""
        batch = self.in_flight.get(sequence)
        if batch is not None and member in self.members:
            batch.holder, batch.deadline = member, None

    def taken(self, range_: Range) -> None:
        """The first events of a message, or all, were handled; the others never will be."""
        batch = self.in_flight.get(range_.sequence)
        if batch is None:
            self._taken_late(range_)
            return
        self._forget(batch)
        count = min(max(range_.count, 0), len(batch.events))
        self._received += count
        if count < len(batch.events):
            self._give_up(Batch(batch.sequence + count, batch.events[count:]))

    def _taken_late(self, range_: Range) -> None:
        for waiting in self._again:
            if waiting.sequence == range_.sequence:
                count = min(max(range_.count, 0), len(waiting.events))
                self._received += count
                del waiting.events[:count]
                waiting.sequence += count
                if not waiting.events:
                    self._again.remove(waiting)
                return
        if range_.sequence in self._late:
            count = min(max(range_.count, 0), self._late.pop(range_.sequence))
            self._lost -= count
            self._received += count
        else:
            count = min(range_.count, self.options.max_batch_events)
            self._duplicates += count if range_.sequence < self._next_sequence else 0

    # What is given up

    def set_members(self, members: Iterable[str], now: float) -> None:
        """Who is in the group now; what those hold who have gone is given up."""
        gone = self.members - set(members)
        self.members = set(members)
        if gone:
            for batch in list(self.in_flight.values()):
                if batch.holder in gone:
                    self._forget(batch)
                    self._give_up(batch)
            self.connection_lost(now)

    def connection_lost(self, now: float) -> None:
        """Messages sent before now, or just after, may have been lost with it.

        They have not long to arrive.
        """
        self._shaky_until = now + AFTERMATH
        limit = now + self.options.loss_grace
        for batch in self.in_flight.values():
            if batch.deadline is not None:
                batch.deadline = min(batch.deadline, limit)

    def expire(self, now: float) -> None:
        """Give up what is overdue."""
        due = [b for b in self.in_flight.values() if b.deadline is not None and b.deadline <= now]
        for batch in due:
            self._forget(batch)
            self._give_up(batch)

    def abandon(self) -> None:
        """The pipe ends: nothing of this will be sent or received any more."""
        waiting = self.depth
        if waiting:
            self._dropped["abandoned"] += waiting
        self._queue.clear()
        self._again.clear()
        self._queued_bytes = 0
        self._lost += self._in_flight_events
        self._in_flight_events = 0
        self.in_flight.clear()

    def _forget(self, batch: Batch) -> None:
        if self.in_flight.pop(batch.sequence, None) is not None:
            self._in_flight_events -= len(batch.events)

    def _give_up(self, batch: Batch) -> None:
        if self.options.reliability is Reliability.AT_LEAST_ONCE:
            again = Batch(batch.sequence, batch.events, redelivered=True)
            self._again.append(again)
            self._redelivered += len(batch.events)
            return
        self._lost += len(batch.events)
        self._late[batch.sequence] = len(batch.events)
        if len(self._late) > LATE:
            self._late.popitem(last=False)

    def counts(self) -> PipeCounts:
        """All of it at this instant."""
        return PipeCounts(
            self._offered,
            self._received,
            self._lost,
            self.depth,
            self._in_flight_events,
            dict(self._dropped),
            self._redelivered,
            self._duplicates,
            self._messages,
            self._bytes,
        )
