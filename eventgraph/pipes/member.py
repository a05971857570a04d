"""Member: the receiving end, one of those that share the events of a group."""

import logging
import os
import socket
import uuid
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Self

import msgspec
import trio

from eventgraph.event import Event
from eventgraph.pipes.alarm import Alarm
from eventgraph.pipes.endpoint import Endpoint
from eventgraph.pipes.errors import GroupLeftError, TransportError, WireError
from eventgraph.pipes.intake import Delivery, Intake, MemberCounts
from eventgraph.pipes.options import Reliability
from eventgraph.pipes.pipe import BEATS
from eventgraph.pipes.records import (
    MemberRecord,
    PipeRecord,
    encode_record,
    member_key,
    pipe_key,
    read_record,
)
from eventgraph.pipes.registration import Registration
from eventgraph.pipes.registry import Registry
from eventgraph.pipes.transport import Asker, SocketLimits, Transport
from eventgraph.pipes.wire import Message, MessageDecoder, decode_reply, encode_control

_logger = logging.getLogger(__name__)

PREFETCH = 16  # messages that may wait for the application; the others wait on the way
REPORT_PAUSE = 0.005  # seconds between two reports: many messages share one
FAREWELL_TIMEOUT = 1.0  # seconds that a leaving member waits for its last report to arrive
ANSWER_PART = 2 / BEATS  # of the keepalive time for an answer; leaves a beat to dial again in


class MemberState(StrEnum):
    """Where a member stands."""

    WAITING = "waiting"  # for the destination to come, or to come again
    CONNECTING = "connecting"
    CONNECTED = "connected"
    OVER = "over"


class MemberStatistics(msgspec.Struct, frozen=True):
    """A member at one instant."""

    destination: str
    group: str
    id: str
    state: MemberState
    registered: bool  # whether it stands in the registry, as far as is known
    redials: int  # connections that were given up because nothing came, not even a sign of life
    counts: MemberCounts


class Member(Endpoint):
    """One member of a group. Made by `Pipes.join`; iterate over it for its events."""

    def __init__(
        self,
        registry: Registry,
        transport: Transport,
        prefix: str,
        destination: str,
        group: str,
        *,
        limits: SocketLimits,
        ttl: float,
        payload_type: Any,
        hook: Callable[[type, Any], Any] | None,
    ) -> None:
        super().__init__(f"member of {group} at {destination}")
        self.destination = destination
        self.group = group
        self.id = uuid.uuid4().hex
        self._transport = transport
        self._prefix = prefix
        self._keepalive = limits.keepalive
        self._raw_type = payload_type
        self._decode = MessageDecoder(payload_type, hook, limits.max_elements).decode
        self._intake = Intake()
        self._clock = trio.lowlevel.current_clock().current_time
        self._arrivals, self._space, self._to_report = Alarm(), Alarm(), Alarm()
        self._busy = False
        self._working, self._idle = trio.CancelScope(), trio.Event()
        self._record: PipeRecord | None = None  # of the pipe that is dialled
        self._listed: PipeRecord | None = None  # that stands in the registry
        self._refused: PipeRecord | None = None  # that cannot be dialled
        self._reliability = Reliability.AT_MOST_ONCE  # of the pipe that was dialled last
        self._asker: Asker | None = None
        self._last_data = self._last_reply = 0.0
        self._redials = 0
        self._pull = transport.pull(self._tell)
        self._registration = Registration(
            registry,
            f"{prefix}/{destination}/{group}/",
            ttl,
            self._look_at,
            self._become_ready,
        )

    # Receive

    async def receive(self) -> Delivery:
        """The events of the next message, all of them; with what marks a redelivery.

        With `Reliability.AT_LEAST_ONCE` they count as taken when the next are asked for.

        Raises:
            GroupLeftError: the member has left.
            PipeError: it has failed, with this.
        """
        delivery = await self._next()
        delivery.handed = len(delivery.events)
        self._all_handed()
        return delivery

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        current = self._intake.current
        while current is None or current.handed >= len(current.events):
            try:
                current = await self._next()
            except GroupLeftError:
                raise StopAsyncIteration from None
        event = current.events[current.handed]
        current.handed += 1
        if current.handed == len(current.events):
            self._all_handed()
        return event

    def _all_handed(self) -> None:
        """The application has a whole message. Is it done with it, when it may have it twice?"""
        if self._reliability is Reliability.AT_MOST_ONCE:
            self._intake.finish()
            self._to_report.set()

    async def _next(self) -> Delivery:
        if self._busy:
            raise trio.BusyResourceError(f"another task receives as {self.label}")
        self._busy = True
        try:
            await trio.lowlevel.checkpoint()
            while True:
                delivery = self._intake.next_delivery()
                self._to_report.set()
                if delivery is not None:
                    self._space.set()
                    return delivery
                if self.over:
                    raise self.error or GroupLeftError(f"{self.label} has left")
                await self._arrivals.wait()
        finally:
            self._busy = False

    # Follow the destination

    @property
    def state(self) -> MemberState:
        """Whether it is connected."""
        if self.over:
            return MemberState.OVER
        if self._record is None:
            return MemberState.WAITING
        return MemberState.CONNECTED if self._pull.connections else MemberState.CONNECTING

    async def wait_connected(self) -> None:
        """Wait until it is connected to the destination.

        Raises:
            PipeError: it is over before.
        """
        await self._until(lambda: self.state is MemberState.CONNECTED)

    def _look_at(self, entries: Mapping[str, bytes]) -> None:
        """The registry shows these entries of the group."""
        value = entries.get(pipe_key(self._prefix, self.destination, self.group))
        self._listed = read_record(value, PipeRecord) if value is not None else None
        self._follow()

    def _follow(self) -> None:
        """Dial what the registry shows, and stay with what still gives signs of life."""
        if self._listed == self._record:
            return
        if self._listed is not None and self._listed == self._refused:
            return
        if self._listed is None:
            last_sign = max(self._last_data, self._last_reply)
            if self._pull.connections and self._clock() - last_sign <= self._keepalive:
                return  # the registry has lost it, but it lives; looked at again in time
        self._switch(self._listed)

    def _switch(self, record: PipeRecord | None) -> None:
        old, self._record = self._record, record
        if old is not None:
            self._pull.hang_up(old.url)
        if self._asker is not None:
            self._asker.close()
            self._asker = None
        if record is not None:
            self._intake.follow(None if record.control is None else record.epoch)
            self._reliability = record.reliability
            self._last_data = self._last_reply = self._clock()
            try:
                self._pull.dial(record.url)
                if record.control is not None:
                    self._asker = self._transport.asker(record.control)
            except TransportError as error:  # anybody may write to the registry
                _logger.warning(
                    "%s: cannot dial: %s; is the sender set up otherwise (TLS, transport)? Waiting",
                    self.label,
                    error,
                )
                self._pull.hang_up(record.url)
                self._record = None
                self._refused = record
        self._to_report.set()
        self._tell()

    def _look_for_silence(self) -> None:
        """Dial again when not even signs of life come.

        Also when nobody has answered so far: a system whose call for a connection was dropped
        says it again, but after ever longer pauses, up to a minute.
        """
        record = self._record
        if record is None or record.raw or len(self._intake.queue) >= PREFETCH:
            return
        now = self._clock()
        if now - self._last_data > self._keepalive:
            self._redials += 1 if self._pull.connections else 0
            self._last_data = now
            self._pull.hang_up(record.url)
            self._pull.dial(record.url)

    # Its life

    async def _run(self) -> None:
        key = member_key(self._prefix, self.destination, self.group, self.id)
        self._registration.hold(key, encode_record(MemberRecord(socket.gethostname(), os.getpid())))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._work)
            await self._registration.run()

    async def _work(self) -> None:
        """Receive and report, until the member leaves."""
        try:
            with self._working:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._take_in)
                    nursery.start_soon(self._report)
                    nursery.start_soon(self._keep_watch)
        finally:
            self._idle.set()

    async def _take_in(self) -> None:
        while True:
            while len(self._intake.queue) >= PREFETCH:
                await self._space.wait()
            data = await self._pull.receive()
            self._last_data = self._clock()
            record = self._record
            if record is None:
                continue
            try:
                message = self._read_raw(record, data) if record.raw else self._decode(data)
            except WireError:
                self._intake.unreadable()
                continue
            if self._intake.arrived(message):
                self._arrivals.set()
                self._to_report.set()

    def _read_raw(self, record: PipeRecord, data: memoryview) -> Message:
        payload = data if self._raw_type is memoryview else bytes(data)
        return Message(record.epoch, 0, False, [Event(0, payload)])

    async def _keep_watch(self) -> None:
        while True:
            await trio.sleep(self._keepalive / (2 * BEATS))
            self._follow()
            self._look_for_silence()

    async def _report(self) -> None:
        while True:
            with trio.move_on_after(self._keepalive / BEATS):
                await self._to_report.wait()
            if (asker := self._asker) is not None:
                answered = await self._send_report(asker, timeout=self._keepalive * ANSWER_PART)
                if not answered and self._asker is asker:
                    self._dial_control()
                await trio.sleep(REPORT_PAUSE)

    def _dial_control(self) -> None:
        """Report over another connection: the one that stands may be half-open."""
        record = self._record
        if record is not None and record.control is not None and self._asker is not None:
            self._asker.close()
            self._asker = self._transport.asker(record.control)

    async def _send_report(self, asker: Asker, *, leaving: bool = False, timeout: float) -> bool:
        """Whether it was answered."""
        record = self._record
        report = self._intake.next_report(self.group, self.id, leaving=leaving)
        try:
            reply = decode_reply(await asker.ask(encode_control(report), timeout))
        except (TransportError, WireError):
            self._intake.unreported(report)
            return False
        except BaseException:
            self._intake.unreported(report)
            raise
        self._last_reply = self._clock()
        if not reply.known and self._record is record:  # it has ended, or the sender is another
            self._last_data = self._last_reply = float("-inf")
            if self._listed != record:
                self._follow()
        return True

    async def leave(self) -> None:
        """Receive nothing more, give back what was not taken, and leave the group.

        Bounded, and never blocks: if cancelled, the member is gone all the same, and its key
        is removed in the background or with its lease.
        """
        await self._end()

    async def _farewell(self) -> None:
        self._working.cancel()
        await self._idle.wait()
        self._pull.close()
        self._intake.clear()
        asker, self._asker = self._asker, None
        if asker is not None:
            try:
                with trio.move_on_after(FAREWELL_TIMEOUT):
                    if self._intake.unanswered:
                        await self._send_report(asker, timeout=FAREWELL_TIMEOUT)
                    await self._send_report(asker, leaving=True, timeout=FAREWELL_TIMEOUT)
            finally:
                asker.close()

    def _close(self) -> None:
        self._idle.set()
        self._pull.close()
        if self._asker is not None:
            self._asker.close()
        self._arrivals.set()

    def statistics(self) -> MemberStatistics:
        """Its state and its counts."""
        return MemberStatistics(
            self.destination,
            self.group,
            self.id,
            self.state,
            self._registration.registered,
            self._redials,
            self._intake.counts(),
        )
