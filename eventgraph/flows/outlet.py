"""Outlet: a provider's way to one consumer."""

import socket
from collections import Counter, deque
from typing import Final

import msgspec

from eventgraph.flows.block_wire import DONE, MAX_DATAGRAM, SLOT, pack
from eventgraph.flows.slots import SlotTable

MAX_REPLIES: Final = 1024  # blocks of answers that a consumer leaves unread before it is cut off
SEND_FLAGS: Final = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL  # a program may have taken SIGPIPE


class Record:
    """A block that was provided."""

    __slots__ = ("datagram", "kind", "length", "sequence", "slot", "timestamp")

    def __init__(  # noqa: PLR0917  # made for each block: names cost
        self, kind: int, slot: int, length: int, sequence: int, timestamp: int, datagram: bytes
    ) -> None:
        self.kind = kind
        self.slot = slot  # -1: the block is in the datagram
        self.length = length
        self.sequence = sequence
        self.timestamp = timestamp
        self.datagram = datagram

    def as_answer(self, request: int) -> bytes:
        """The datagram, marked as an answer."""
        header = pack(
            self.kind, 0, max(self.slot, 0), self.length, request, self.sequence, self.timestamp
        )
        return header if self.kind == SLOT else header + self.datagram[len(header) :]


class OutletStatistics(msgspec.Struct, frozen=True):
    """What one consumer was sent.

    Attributes:
        consumer: who it is.
        sent: blocks.
        waiting: blocks that it is too slow for, so far.
        held: slots that it has not given back.
        dropped: blocks that it lost, by reason.
    """

    consumer: str
    sent: int
    waiting: int
    held: int
    dropped: dict[str, int]


class Outlet:
    """Sends announcements as far as the consumer takes them; the others wait in the backlog.

    Args:
        fair: whether the consumer must leave slots to others, see `SlotTable.may_show`; of what
            it asks for it may then have a quarter of the ring at once.
    """

    def __init__(self, consumer: str, sock: socket.socket, slots: SlotTable, *, fair: bool) -> None:
        self.consumer = consumer
        self.sock = sock
        self.fd = sock.fileno()
        self.backlog: deque[Record] = deque()  # its slots are held, too
        self.stuck = False  # the socket's buffer is full
        self.watched = False  # whether somebody looks when it is no longer
        self.dropped: Counter[str] = Counter()
        self.sent = 0
        self._slots = slots
        self._fair = fair
        self._replies: deque[tuple[Record | None, int]] = deque()  # with the request's number
        self._holdings: Counter[int] = Counter()  # what it was shown, by slot
        self._held = 0
        self._answers: Counter[int] = Counter()  # of that, what it has asked for

    def offer(self, records: list[Record], datagram: bytes) -> None:
        """Send blocks, or let them wait.

        Args:
            records: one, or several that have no slots.
            datagram: of all of them.
        Raises:
            OSError: the consumer is gone.
        """
        if self.backlog or self.stuck or not self._send(records, datagram):
            for record in records:
                if record.slot >= 0:
                    self._slots.hold(record.slot)
            self.backlog.extend(records)

    def flush(self) -> None:
        """Send what waits, as far as it goes.

        Raises:
            OSError: the consumer is gone.
        """
        self.stuck = False
        while self._replies:
            record, request = self._replies[0]
            if not self._transmit(_done(request) if record is None else record.as_answer(request)):
                return
            self._replies.popleft()
        while self.backlog:
            records = self._next()
            if not self._send(records, b"".join([record.datagram for record in records])):
                return
            for _ in records:
                self._forget(self.backlog.popleft())

    def _next(self) -> list[Record]:
        """What of the backlog fits into the next datagram."""
        records: list[Record] = []
        size = 0
        for record in self.backlog:
            size += len(record.datagram)
            if records and (record.slot >= 0 or size > MAX_DATAGRAM):
                break
            records.append(record)
            if record.slot >= 0:
                break
        return records

    def _send(self, records: list[Record], datagram: bytes) -> bool:
        slot = records[0].slot
        if slot >= 0 and self._fair and not self._slots.may_show(slot, self._held):
            return False
        if not self._transmit(datagram):
            return False
        if slot >= 0:
            self._show(slot)
        self.sent += len(records)
        return True

    def _transmit(self, datagram: bytes) -> bool:
        try:
            self.sock.send(datagram, SEND_FLAGS)
        except BlockingIOError:
            self.stuck = True
            return False
        return True

    def _show(self, slot: int) -> None:
        self._slots.show(slot)
        self._holdings[slot] += 1
        self._held += 1

    def _forget(self, record: Record) -> None:
        """It waits no longer."""
        if record.slot >= 0:
            self._slots.release(record.slot)

    def drop_oldest(self, reason: str) -> None:
        """The block that waits longest is lost for this consumer."""
        self._forget(self.backlog.popleft())
        self.dropped[reason] += 1

    def given_back(self, slot: int) -> bool:
        """The consumer gives a slot back; False: it has none such."""
        if not self._holdings[slot]:
            return False
        self._holdings[slot] -= 1
        self._held -= 1
        self._answers[slot] -= self._answers[slot] > 0
        self._slots.give_back(slot)
        return True

    def answer(self, records: list[Record], request: int) -> bool:
        """Send blocks of the past, as many as it may have; False: it asks faster than it reads.

        Raises:
            OSError: the consumer is gone.
        """
        if len(self._replies) + len(records) >= MAX_REPLIES:
            return False
        replies: list[tuple[Record | None, int]] = [(None, request)]
        allowed = self._answers_allowed()
        for record in reversed(records):  # if not all of them, then the latest
            if record.slot >= 0:
                if allowed <= 0 or (self._fair and not self._slots.spare_after(record.slot)):
                    break
                allowed -= 1
                self._show(record.slot)
                self._answers[record.slot] += 1
            replies.append((record, request))
        self._replies.extend(reversed(replies))
        if not self.stuck:
            self.flush()
        return True

    def _answers_allowed(self) -> int:
        """Slots that may go into an answer, whatever flows beside it."""
        if self._fair:
            return max(1, len(self._slots) // 4) - self._answers.total()
        return len(self._slots) // 2

    def leave(self) -> None:
        """The consumer wants no more, but keeps what it holds."""
        self._replies.clear()
        while self.backlog:
            self._forget(self.backlog.popleft())

    def close(self) -> None:
        """The consumer is gone: whatever it held is free."""
        self.leave()
        for slot in self._holdings.elements():
            self._slots.give_back(slot)
        self._holdings.clear()
        self._answers.clear()
        self._held = 0
        self.sock.close()

    def statistics(self) -> OutletStatistics:
        """Its counts."""
        return OutletStatistics(
            self.consumer, self.sent, len(self.backlog), self._held, dict(self.dropped)
        )


def _done(request: int) -> bytes:
    return pack(DONE, 0, 0, 0, request, 0, 0)
