"""Destination: the sending end of pipes, one pipe for each group."""

import logging
import os
import secrets
import socket
import uuid
from collections.abc import Mapping
from typing import Any

import msgspec
import trio

from eventgraph.event import Event
from eventgraph.pipes.binding import advertised, listen
from eventgraph.pipes.endpoint import Endpoint
from eventgraph.pipes.errors import (
    DestinationClosedError,
    DestinationExistsError,
    EventFormatError,
    EventTooLargeError,
    TransportError,
    WireError,
)
from eventgraph.pipes.options import Binding, DestinationOptions
from eventgraph.pipes.pipe import BEATS, Pipe, PipeStatistics
from eventgraph.pipes.records import (
    PipeRecord,
    SenderRecord,
    encode_record,
    pipe_key,
    read_entries,
    sender_key,
)
from eventgraph.pipes.registration import KeyTakenError, Registration
from eventgraph.pipes.registry import Registry
from eventgraph.pipes.transport import Answerer, SocketLimits, Transport
from eventgraph.pipes.wire import (
    HEADER,
    EventEncoder,
    Hook,
    Reply,
    decode_report,
    encode_control,
)

_logger = logging.getLogger(__name__)

MAX_REPORT = 256 << 10  # bytes; far above what the windows of one member can fill
ENVELOPE = HEADER.size + 5  # bytes of a message around its events


class DestinationStatistics(msgspec.Struct, frozen=True):
    """A destination at one instant."""

    name: str
    registered: bool  # whether it stands in the registry, as far as is known
    unheard: int  # events delivered while there was no group
    pipes: list[PipeStatistics]
    ended: list[PipeStatistics]  # of groups that are gone; the latest few


class Destination(Endpoint):
    """The one sender of a destination. Made by `Pipes.register`."""

    def __init__(
        self,
        registry: Registry,
        transport: Transport,
        prefix: str,
        name: str,
        options: DestinationOptions,
        *,
        binding: Binding,
        limits: SocketLimits,
        ttl: float,
        standby: bool,
        hook: Hook | None,
    ) -> None:
        super().__init__(f"destination {name}")
        self.name = name
        largest = min(options.max_batch_bytes, limits.max_message_size - ENVELOPE)
        self.options = msgspec.structs.replace(options, max_batch_bytes=largest)
        self._transport = transport
        self._prefix = prefix
        self._binding = binding
        self._limits = limits
        self._standby = standby
        self._encode_event = EventEncoder(hook).encode
        self._pipes: dict[str, Pipe] = {}
        self._ended: list[PipeStatistics] = []
        self._unheard = 0
        self._entries: Mapping[str, bytes] = {}
        self._unopened = False  # whether a group has no pipe because none could be opened
        self._complained: set[str] = set()
        self._closing = False
        self._writers: trio.Nursery | None = None
        self._answerer: Answerer | None = None
        self._registration = Registration(
            registry, f"{prefix}/{name}/", ttl, self._look_at, self._become_ready
        )

    # Deliver

    def deliver(self, event: Event) -> int:
        """Queue an event for every group; never waits.

        Returns:
            How many groups took it. Each of the others counts it as dropped.
        Raises:
            DestinationClosedError: it is unregistered; if it failed, its error is raised.
            EventFormatError: the event holds what cannot travel.
            EventTooLargeError: it does not fit into a message.
        """
        return self._offer(self._encode(event))

    async def deliver_within(self, event: Event, timeout: float) -> int:
        """Deliver, and wait for room in the groups that have none.

        Args:
            timeout: seconds; after it, the groups that are still full drop the event.
        Returns, raises:
            As `deliver`. If cancelled, no group took it.
        """
        encoded = self._encode(event)
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._have_no_room(encoded):
            with trio.move_on_after(timeout):
                while full := self._have_no_room(encoded):
                    await full[0].wait_for_room(encoded)
        elif any(pipe.ledger.full_batch for pipe in self._pipes.values()):
            await trio.lowlevel.checkpoint()  # a message is full: let it be sent
        self._check_open()  # it may have ended meanwhile
        return self._offer(encoded)

    def _have_no_room(self, encoded: bytes) -> list[Pipe]:
        return [pipe for pipe in self._pipes.values() if not pipe.fits(encoded)]

    def _offer(self, encoded: bytes) -> int:
        taken = 0
        for pipe in self._pipes.values():
            taken += pipe.offer(encoded)
        if not self._pipes:
            self._unheard += 1
        return taken

    def _check_open(self) -> None:
        if self._closing or self.over:
            raise self.error or DestinationClosedError(f"{self.label} is unregistered")

    def _encode(self, event: Event) -> bytes:
        self._check_open()
        encoded = _raw_bytes(event) if self.options.raw else self._encode_event(event)
        if len(encoded) + ENVELOPE > self._limits.max_message_size:
            raise EventTooLargeError(
                f"an event of {len(encoded)} bytes exceeds the max_message_size of "
                f"{self._limits.max_message_size}"
            )
        return encoded

    # Groups

    @property
    def groups(self) -> list[str]:
        """The groups that have a pipe now."""
        return list(self._pipes)

    async def wait_for_members(self, group: str, count: int = 1) -> None:
        """Wait until a group has so many members that are connected.

        Raises:
            PipeError: the destination is over before.
        """
        await self._until(lambda: self._connected(group) >= count)

    async def wait_for_group(self) -> None:
        """Wait until there is a group at all; its members may not be connected yet.

        Raises:
            PipeError: the destination is over before.
        """
        await self._until(lambda: bool(self._pipes))

    async def wait_drained(self) -> None:
        """Wait until nothing waits for a group, nor is on its way; as long as that takes.

        Raises:
            PipeError: the destination is over before.
        """
        await self._until(lambda: all(pipe.is_idle for pipe in self._pipes.values()))

    def _connected(self, group: str) -> int:
        pipe = self._pipes.get(group)
        return min(pipe.push.connections, len(pipe.ledger.members)) if pipe else 0

    def _look_at(self, entries: Mapping[str, bytes]) -> None:
        """The registry shows these entries of the destination."""
        self._entries, self._unopened = entries, False
        entry = read_entries(self._prefix, entries).get(self.name)
        groups = entry.groups if entry is not None else {}
        for group, standing in groups.items():
            if group not in self._pipes and standing.members and self._ready.is_set():
                self._try_to_open(group)
        for group, pipe in self._pipes.items():
            pipe.set_registered(groups[group].members if group in groups else ())
        self._tell()

    def _try_to_open(self, group: str) -> None:
        """Open a pipe; if there is no port or no descriptor left, the others go on."""
        try:
            self._open(group)
        except (TransportError, OSError) as error:
            self._unopened = True
            if group not in self._complained:
                self._complained.add(group)
                _logger.warning("%s, group %s: %s; trying again", self.label, group, error)
        else:
            self._complained.discard(group)

    def _open(self, group: str) -> None:
        assert self._writers is not None
        epoch = secrets.randbits(32)
        push = listen(
            lambda url: self._transport.push(url, lambda: self._connections_changed(group)),
            self._binding,
        )
        keepalive = self._limits.keepalive
        pipe = Pipe(self.label, group, push, epoch=epoch, options=self.options, keepalive=keepalive)
        self._pipes[group] = pipe
        control = None
        if self._answerer is not None:
            control = advertised(self._answerer.url, self._binding)
        url = advertised(push.url, self._binding)
        options = self.options
        record = PipeRecord(url, epoch, options.raw, control, options.reliability)
        self._registration.hold(pipe_key(self._prefix, self.name, group), encode_record(record))
        self._writers.start_soon(pipe.run, name=f"{self.label}, group {group}")

    def _connections_changed(self, group: str) -> None:
        pipe = self._pipes.get(group)
        if pipe is not None:
            pipe.connections_changed()
        self._tell()

    def _end_pipe(self, group: str) -> None:
        pipe = self._pipes.pop(group)
        self._registration.release(pipe_key(self._prefix, self.name, group))
        pipe.close()
        self._ended = [*self._ended[-15:], pipe.statistics()]

    # Its life

    async def _run(self) -> None:
        if not self.options.raw:
            self._answerer = listen(self._transport.answerer, self._binding)
        record = SenderRecord(
            uuid.uuid4().hex, socket.gethostname(), os.getpid(), self.options.reliability
        )
        key = sender_key(self._prefix, self.name)
        self._registration.claim(key, encode_record(record), wait=self._standby)
        async with trio.open_nursery() as self._writers:
            if self._answerer is not None:
                self._writers.start_soon(self._answerer.serve, self._answer)
            self._writers.start_soon(self._keep_time)
            try:
                await self._registration.run()
            except KeyTakenError:
                raise DestinationExistsError(
                    f"another sender has the destination {self.name!r}; use another name, "
                    "or register with standby=True to take over when it is gone"
                ) from None

    async def _keep_time(self) -> None:
        clock = trio.lowlevel.current_clock().current_time
        pause = min(0.25, self._limits.keepalive / (2 * BEATS))
        while True:
            due = clock() + pause
            await trio.sleep_until(due)
            now = clock()
            for group, pipe in list(self._pipes.items()):
                pipe.membership.excuse(now - due)  # if we were stopped, reports are waiting
                pipe.tick(now)
                empty = pipe.empty_since
                if empty is not None and now - empty >= self.options.group_linger:
                    self._end_pipe(group)
            if self._unopened:
                self._look_at(self._entries)
            self._tell()

    def _answer(self, question: bytes) -> bytes:
        if len(question) > MAX_REPORT:
            return encode_control(Reply(False))
        try:
            report = decode_report(question)
        except WireError as error:
            _logger.debug("%s: %s", self.label, error)
            return encode_control(Reply(False))
        pipe = self._pipes.get(report.group)
        if pipe is None or pipe.epoch != report.epoch:
            return encode_control(Reply(False))
        pipe.hear(report)
        self._tell()
        return encode_control(Reply(True))

    async def unregister(self) -> None:
        """Take no more events, wait for those on their way, and remove all from the registry.

        Bounded by ``drain_timeout``; what is still there then is counted as lost or dropped.
        If cancelled, it ends at once.
        """
        await self._end()

    async def _farewell(self) -> None:
        self._closing = True
        with trio.move_on_after(self.options.drain_timeout):
            while any(not pipe.is_idle and pipe.ledger.members for pipe in self._pipes.values()):
                await self._changed.park()

    def _close(self) -> None:
        self._closing = True
        for group in list(self._pipes):
            self._end_pipe(group)
        if self._answerer is not None:
            self._answerer.close()

    def statistics(self) -> DestinationStatistics:
        """Its pipes and their counts."""
        return DestinationStatistics(
            self.name,
            self._registration.registered,
            self._unheard,
            [pipe.statistics() for pipe in self._pipes.values()],
            list(self._ended),
        )


def _raw_bytes(event: Event) -> bytes:
    payload: Any = event.obj
    if isinstance(payload, bytes | bytearray | memoryview):
        return bytes(payload)
    raise EventFormatError(f"a raw destination carries bytes, not {type(payload).__name__}")
