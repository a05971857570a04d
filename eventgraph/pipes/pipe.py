"""Pipe: the push socket of one group, and the task that feeds it."""

import logging
from collections.abc import Iterable

import msgspec
import trio

from eventgraph.pipes.alarm import Alarm
from eventgraph.pipes.ledger import Ledger, PipeCounts
from eventgraph.pipes.membership import MAX_HEARD, Membership
from eventgraph.pipes.options import DestinationOptions
from eventgraph.pipes.transport import Push
from eventgraph.pipes.wire import Report, encode_message

WARN_EVERY = 10.0  # seconds between two warnings of one slow group
BEATS = 3  # signs of life within the keepalive time

_logger = logging.getLogger(__name__)


class PipeStatistics(msgspec.Struct, frozen=True):
    """One pipe at one instant."""

    group: str
    url: str
    epoch: int
    members: int  # that are alive
    connections: int
    counts: PipeCounts


class Pipe:
    """Takes events for one group, and sends them in as few messages as they come in time for."""

    def __init__(
        self,
        label: str,
        group: str,
        push: Push,
        *,
        epoch: int,
        options: DestinationOptions,
        keepalive: float,
    ) -> None:
        self.group = group
        self.epoch = epoch
        self.push = push
        self.ledger = Ledger(options)
        self.membership = Membership(keepalive, reports=not options.raw)
        self.empty_since: float | None = None
        self._label = label
        self._options = options
        self._keepalive = keepalive
        self._clock = trio.lowlevel.current_clock().current_time
        self._alarm = Alarm()
        self._room = trio.lowlevel.ParkingLot()
        self._scope = trio.CancelScope()
        self._numbers: dict[str, int] = {}  # of the last report of each member
        self._connections = 0
        self._excess_since: float | None = None
        self._beats_due = 0
        self._next_beat = 0.0
        self._warned = -WARN_EVERY

    # Offer

    def offer(self, encoded: bytes) -> bool:
        """Queue an encoded event; whether it was taken."""
        taken = self.ledger.offer(encoded)
        self._alarm.set()
        if not taken:
            self._warn()
        return taken

    def fits(self, encoded: bytes) -> bool:
        """Whether there is room for this event, or the pipe is closed and will count it."""
        return self._scope.cancel_called or self.ledger.has_room(len(encoded))

    async def wait_for_room(self, encoded: bytes) -> None:
        """Wait until there is room for this event."""
        while not self.fits(encoded):
            await self._room.park()

    def _warn(self) -> None:
        now = self._clock()
        if now - self._warned >= WARN_EVERY:
            self._warned = now
            _logger.warning(
                "%s, group %s: slow or away: %d events wait for %d members, %d are on their way",
                *(self._label, self.group, self.ledger.depth),
                *(len(self.ledger.members), self.ledger.counts().in_flight),
            )

    # Members

    def set_registered(self, members: Iterable[str]) -> None:
        """The registry shows these members."""
        self.membership.registered(members, self._clock())
        self._look_at_members()

    def hear(self, report: Report) -> None:
        """A member says what it has and what it took."""
        news = self._is_news(report)
        if report.leaving:
            self.membership.left(report.member)
        else:
            self.membership.heard(report.member, self._clock())
        if report.member not in self.ledger.members and not report.leaving:
            self._look_at_members()
        if news:
            for sequence in report.held:
                self.ledger.held(sequence, report.member)
            for range_ in report.taken:
                self.ledger.taken(range_)
        if report.leaving:
            self._look_at_members()
        self._alarm.set()

    def _is_news(self, report: Report) -> bool:
        """Whether what it says is new: one whose answer was lost comes again, as it was."""
        last = self._numbers.pop(report.member, 0)
        self._numbers[report.member] = max(last, report.number)
        if len(self._numbers) > MAX_HEARD:
            del self._numbers[next(iter(self._numbers))]
        return not report.number or report.number > last

    def _look_at_members(self, *, cut_silent: bool = False) -> None:
        now = self._clock()
        alive = self.membership.alive(now)
        if alive != self.ledger.members:
            silent = self.ledger.members - alive
            self.ledger.set_members(alive, now)
            if cut_silent and silent and self.push.connections > len(alive):
                # A push socket does not say whose connection is whose, and would go on to give
                # the dead one its share. The living dial again by themselves.
                self.push.hang_up()
            self._alarm.set()
        if not self.membership.is_empty:
            self.empty_since = None
        elif self.empty_since is None:
            self.empty_since = now

    def tick(self, now: float) -> None:
        """Do what time makes due; to be called several times within the keepalive time."""
        self._look_at_members(cut_silent=True)
        self._look_at_connections(now)
        self._look_for_excess(now)
        self.ledger.expire(now)
        if now >= self._next_beat and not self._options.raw:
            self._next_beat = now + self._keepalive / BEATS
            self._beats_due = self.push.connections
        self._alarm.set()

    def _look_for_excess(self, now: float) -> None:
        """Cut connections that are more than the members for longer than one needs to report.

        One is half-open then: its member has dialled again, or is dead.
        """
        if self._options.raw or self.push.connections <= len(self.ledger.members):
            self._excess_since = None
        elif self._excess_since is None:
            self._excess_since = now
        elif now - self._excess_since > self._keepalive / BEATS:
            self._excess_since = None
            self.push.hang_up()

    def connections_changed(self) -> None:
        """Somebody has dialled, or is gone."""
        self._look_at_connections(self._clock())
        self._alarm.set()

    def _look_at_connections(self, now: float) -> None:
        connections = self.push.connections
        if connections < self._connections:
            self.ledger.connection_lost(now)
        self._connections = connections

    # Send

    async def run(self) -> None:
        """Send what is offered, until `close`."""
        with self._scope:
            while True:
                batch_delay = self._options.batch_delay
                if batch_delay and self.ledger.sendable and not self.ledger.full_batch:
                    await self._wait_for_more(batch_delay)
                batch = self.ledger.next_batch()
                if batch is not None:
                    if self._room:
                        self._room.unpark_all()
                    message = self._encode(batch.sequence, batch.events, batch.redelivered)
                    try:
                        await self.push.send(message)
                    except BaseException:
                        self.ledger.unsent(batch)
                        if self._scope.cancel_called:  # it was closed under us
                            return
                        raise
                    self.ledger.sent(batch, len(message), self._clock())
                elif self._beats_due:
                    self._beats_due -= 1
                    with trio.move_on_after(self._keepalive / BEATS):
                        await self.push.send(encode_message(self.epoch, 0, ()))
                else:
                    await self._alarm.wait()

    async def _wait_for_more(self, delay: float) -> None:
        with trio.move_on_after(delay):
            while not self.ledger.full_batch and not self._beats_due:
                await self._alarm.wait()

    def _encode(self, sequence: int, events: list[bytes], redelivered: bool) -> bytes:
        if self._options.raw:
            return events[0]
        return encode_message(self.epoch, sequence, events, redelivered=redelivered)

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits, nor is on its way."""
        return not self.ledger.depth and not self.ledger.in_flight

    def close(self) -> None:
        """End at once: what waits is dropped, what is on its way is lost, both counted."""
        self._scope.cancel()
        self.push.close()
        self.ledger.abandon()
        self._room.unpark_all()

    def statistics(self) -> PipeStatistics:
        """Its counts, and who is there."""
        return PipeStatistics(
            self.group,
            self.push.url,
            self.epoch,
            len(self.ledger.members),
            self.push.connections,
            self.ledger.counts(),
        )
