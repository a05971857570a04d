"""Intake: the receiving side of one pipe, between arrival and the application. Pure."""

from collections import Counter, deque

import msgspec

from eventgraph.pipes.wire import Message, Range, Report


class MemberCounts(msgspec.Struct, frozen=True):
    """Events of one member, at one instant: ``arrived == taken + queued + returned``."""

    arrived: int = 0
    taken: int = 0  # handed to the application
    queued: int = 0
    returned: int = 0  # had arrived when the member left or its sender went, and were not taken
    redelivered: int = 0  # of those that arrived: somebody may have had them before
    messages: int = 0
    dropped: dict[str, int] = {}  # events: malformed, oversized; messages: unreadable, stranger


class Delivery:
    """The events of one message; iterate over them."""

    __slots__ = ("_message", "epoch", "events", "handed", "redelivered", "sequence")

    def __init__(self, message: Message) -> None:
        self._message = message
        self.epoch = message.epoch
        self.sequence = message.sequence  # of the first event; unique within an epoch
        self.redelivered = message.redelivered  # somebody may have had these events before
        self.events = message.events
        self.handed = 0  # how many the application has

    @property
    def range(self) -> Range:
        """What of the message is done with."""
        return Range(self.sequence, self._message.count(self.handed))


class Intake:
    """What has arrived, what was taken, and what the sender has yet to be told of it."""

    def __init__(self) -> None:
        self.queue: deque[Delivery] = deque()
        self.current: Delivery | None = None
        self._epoch: int | None = None
        self._held: list[int] = []
        self._taken: list[Range] = []
        self._unanswered: Report | None = None
        self._number = 0  # of the last report
        self._counts: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()

    def follow(self, epoch: int | None) -> None:
        """Another pipe: reports on the one before have nobody to go to.

        Args:
            epoch: None if nobody wants reports, as in raw mode.
        """
        if epoch != self._epoch:
            self._epoch = epoch
            self._held, self._taken = [], []
            self._unanswered = None

    def arrived(self, message: Message) -> bool:
        """Queue a message; False: it is of another pipe than the one that is followed."""
        if self._epoch is not None and message.epoch != self._epoch:
            self._dropped["stranger"] += 1
            return False
        count = len(message.events)
        self._dropped["malformed"] += message.malformed
        self._dropped["oversized"] += message.oversized
        if count or message.malformed or message.oversized:
            self._counts["messages"] += 1
            self._counts["arrived"] += count
            self._counts["redelivered"] += count if message.redelivered else 0
            self.queue.append(Delivery(message))
            if self._epoch is not None:
                self._held.append(message.sequence)
        return True

    def unreadable(self) -> None:
        """Count a message that is none of ours, or of another version."""
        self._dropped["unreadable"] += 1

    def next_delivery(self) -> Delivery | None:
        """The next message, all of it being taken; what was taken before it is done with."""
        self.finish()
        if not self.queue:
            return None
        self.current = self.queue.popleft()
        return self.current

    def finish(self) -> None:
        """The application is done with what it has of the current message, and wants no more."""
        current, self.current = self.current, None
        if current is not None:
            self._counts["taken"] += current.handed
            self._counts["returned"] += len(current.events) - current.handed
            self._settle(current)

    def _settle(self, delivery: Delivery) -> None:
        if delivery.epoch == self._epoch:
            self._taken.append(delivery.range)

    def clear(self) -> None:
        """Give back what waits: the member leaves."""
        self.finish()
        for delivery in self.queue:
            self._counts["returned"] += len(delivery.events)
            self._settle(delivery)
        self.queue.clear()

    @property
    def has_report(self) -> bool:
        """Whether there is something that the sender does not know."""
        return bool(self._held or self._taken or self._unanswered)

    @property
    def unanswered(self) -> bool:
        """Whether there is a report that the sender may have or not, to be sent again."""
        return self._unanswered is not None

    def next_report(self, group: str, member: str, *, leaving: bool = False) -> Report:
        """All that the sender has yet to be told; the last one again if that was `unreported`.

        The sender may have got that one, and only its answer was lost. So it keeps its number
        and what is in it; what came since goes into the one after it.
        """
        again, self._unanswered = self._unanswered, None
        if again is not None and not leaving:
            return again
        held, self._held = self._held, []
        taken, self._taken = self._taken, []
        known = {range_.sequence for range_ in taken}
        held = [sequence for sequence in held if sequence not in known]
        self._number += 1
        return Report(group, member, self._epoch or 0, held, taken, leaving, self._number)

    def unreported(self, report: Report) -> None:
        """The report was not answered."""
        if report.epoch == self._epoch:
            self._unanswered = report

    def counts(self) -> MemberCounts:
        """All of it at this instant."""
        counts = self._counts
        current = self.current
        handed = current.handed if current is not None else 0
        left = len(current.events) - handed if current is not None else 0
        return MemberCounts(
            counts["arrived"],
            counts["taken"] + handed,
            sum(len(delivery.events) for delivery in self.queue) + left,
            counts["returned"],
            counts["redelivered"],
            counts["messages"],
            {reason: count for reason, count in self._dropped.items() if count},
        )
