"""FlowProviderNode and FlowConsumerNode: a link into the one comes out of the other, elsewhere."""

import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from typing import Any

from eventgraph.counts import Counts, RemoteLink
from eventgraph.crossing import departing, hand_on
from eventgraph.delegate import NodeDelegate
from eventgraph.event import Address, Event, FollowedEvent
from eventgraph.flows.consumer import MAX_UNREAD, Consumer
from eventgraph.flows.errors import (
    BlockTooLargeError,
    FlowClosedError,
    FlowOptionError,
    FlowProtocolError,
)
from eventgraph.flows.event_wire import (
    EventPacker,
    EventUnpacker,
    Pack,
    RawUnpacker,
    Unpack,
    pack_raw,
)
from eventgraph.flows.options import SlowConsumer
from eventgraph.flows.provider import Provider
from eventgraph.lifecycle.own_task import OwnTask
from eventgraph.member import LinkWatcher, Member
from eventgraph.node import Node
from eventgraph.pipes.errors import EventFormatError

_logger = logging.getLogger(__name__)


class _FlowNode(Node, ABC):
    """What both have: they count what they cannot pass on."""

    def __init__(self, scope: str, name: str) -> None:
        super().__init__(scope, name)
        self.rejected: Counter[str] = Counter()
        """What was not passed on, by reason."""
        self._member: Member

    def _reject(self, reason: str, error: Exception) -> None:
        if not self.rejected[reason]:
            address = Address(self.scope, self.name)
            _logger.warning("%s: %s; counted from now on", address, error)
        self.rejected[reason] += 1

    @abstractmethod
    def _remote_links(self) -> Iterator[RemoteLink]:
        """What the snapshot shows of its ways out."""

    def take_part(self, member: Member) -> LinkWatcher | None:
        self._member = member
        member.remote_links = self._remote_links
        return None


class FlowProviderNode(_FlowNode):
    """Provides every event that it gets to all consumers of a flow.

    ``obj`` is copied, once: where it is bytes as it is, else as MessagePack; the same things can
    travel as with pipes. With `SlowConsumer.DROP_OLDEST` the node never waits: what comes while
    the flow is stopped is dropped, counted by the provider. With `SlowConsumer.BLOCK` it waits,
    and its channel fills.

    The provider is the node's from then on, and is closed when the node leaves. When the
    provider is closed, as when another has taken over, the node crashes with its error at once.

    Attributes:
        rejected: events that could not travel, by reason: format, too_large, late (their
            timestamp is not above the one before).
    """

    def __init__(
        self,
        scope: str,
        name: str,
        provider: Provider,
        *,
        raw: bool = False,
        pack: Pack | None = None,
    ) -> None:
        """
        Args:
            raw: blocks are the bytes of ``obj``, as programs without a graph give and take them;
                of a `Block` with its timestamp.
            pack: other than these two, such as ``EventPacker(hook)``.
        """
        super().__init__(scope, name)
        self.provider = provider
        self._pack: Pack = pack or (pack_raw if raw else EventPacker())
        self._delegate: NodeDelegate
        if provider.options.slow_consumer is SlowConsumer.BLOCK:
            # The graph looks at the instance's hooks: this one gets a task of its own.
            self.on_event = self._send  # type: ignore[method-assign,assignment]

    def on_enter(self, delegate: NodeDelegate) -> None:
        self._check_open()
        self._delegate = delegate
        self.provider.on_closed = self._see_to_it

    def _see_to_it(self) -> None:
        """The provider was closed; if the channel is full, the next event finds out."""
        self._delegate.deliver_self(Event(0))

    def on_event(self, event: Event) -> None:
        self._check_open()
        try:
            packed = self._pack(departing(self._member, event))
            if packed is not None:
                data, head, timestamp = packed
                self.provider.offer(data, timestamp, head=head)
        except (EventFormatError, BlockTooLargeError, FlowOptionError) as error:
            self._reject(_REASONS[type(error)], error)

    async def _send(self, event: Event) -> None:
        self._check_open()
        try:
            packed = self._pack(departing(self._member, event))
            if packed is not None:
                data, head, timestamp = packed
                await self.provider.send(data, timestamp, head=head)
        except (EventFormatError, BlockTooLargeError, FlowOptionError) as error:
            self._reject(_REASONS[type(error)], error)

    def _check_open(self) -> None:
        if self.provider.error is not None:
            raise self.provider.error

    def on_exit(self) -> None:
        self.provider.on_closed = lambda: None
        self.provider.close()  # what was sent is given to the consumers

    def _remote_links(self) -> Iterator[RemoteLink]:
        """One to the flow, with what nobody was given, and one to each of its consumers."""
        provider = self.provider
        statistics = provider.statistics()
        blocks, dropped = statistics.blocks, statistics.dropped
        yield RemoteLink(
            id=-1,
            far=Address(provider.key.group, provider.key.name),
            type="flow",
            incoming=False,
            up=statistics.running and provider.error is None,
            room=provider.options.slots,
            counts=Counts(blocks + sum(dropped.values()), blocks, 0, dropped),
        )
        for number, consumer in enumerate(statistics.consumers):
            offered = consumer.sent + consumer.waiting + sum(consumer.dropped.values())
            yield RemoteLink(
                id=-2 - number,
                far=Address(str(provider.key), consumer.consumer),
                type="consumer",
                incoming=False,
                up=True,
                room=provider.options.backlog,
                counts=Counts(offered, consumer.sent, consumer.waiting, consumer.dropped),
            )


class FlowConsumerNode(_FlowNode):
    """Broadcasts every event that comes by a flow.

    Bytes are copied out of shared memory, since an event may wait in the channels of receivers
    long after the slot was written again. With ``hand_over`` there is no copy: ``obj`` is then
    a `Block`, which holds its slot until it is released, or until the last receiver has let go
    of it. If there are several receivers, none of them should release it. What waits in their
    channels holds slots: of a flow with fewer than those it drops blocks, or waits.

    The consumer is the node's from then on, and is closed when the node leaves. When the
    consumer is closed, the node crashes with its error.

    Attributes:
        rejected: blocks that could not be passed on, by reason: format, protocol.
    """

    def __init__(
        self,
        scope: str,
        name: str,
        consumer: Consumer,
        *,
        raw: bool = False,
        cmd: int = 0,
        payload_type: Any = Any,
        unpack: Unpack | None = None,
        hand_over: bool = False,
        patience: float = 0.0,
    ) -> None:
        """
        Args:
            raw: blocks are no events, but what any program provides: ``obj`` is a `Block` with
                key, format and timestamp, in memory of its own unless it is handed over.
            cmd: of the events, if they are raw.
            payload_type: what ``obj`` is to be, else; see `EventUnpacker`.
            unpack: other than these two. Without ``hand_over`` the block is given back when it
                returns, else it is the function's.
            hand_over: whether blocks are handed over with no copy.
            patience: seconds to wait for room in the channel of a receiver. With 0 what does
                not fit is dropped, as media should be; with more a slow receiver makes this a
                slow consumer.
        """
        super().__init__(scope, name)
        self.consumer = consumer
        self.patience = patience
        self._hand_over = hand_over
        self._unpack: Unpack
        if unpack is not None:
            self._unpack = unpack
        elif raw:
            self._unpack = RawUnpacker(cmd, hand_over=hand_over)
        else:
            self._unpack = EventUnpacker(payload_type, hand_over=hand_over)
        self._delegate: NodeDelegate
        self._task: OwnTask | None = None

    def on_enter(self, delegate: NodeDelegate) -> None:
        self._delegate = delegate
        nursery = self._member.runtime.nursery
        assert nursery is not None
        name = f"eventgraph flow {delegate.address}"
        self._task = OwnTask(nursery, self._pass_on, delegate.report_failure, name)

    async def _pass_on(self) -> None:
        delegate, patience = self._delegate, self.patience
        while True:
            event = await self._receive()
            if event is None:
                continue
            if patience or isinstance(event, FollowedEvent):
                await hand_on(self._member, delegate, event, patience)
            else:
                delegate.broadcast(event)
            del event  # it may be a block that holds its slot, and the next may be long in coming

    async def _receive(self) -> Event | None:
        try:
            block = await self.consumer.receive()
        except FlowProtocolError as error:  # that provider is lost, and no other
            self._reject("protocol", error)
            return None
        try:
            return self._unpack(block)
        except Exception as error:  # whatever another process has put in there
            self._reject("format", error)
            block.release()
            return None
        finally:
            if not self._hand_over:
                block.release()

    def on_exit(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self.consumer.close(FlowClosedError(f"{self.name}@{self.scope} has left"))

    def _remote_links(self) -> Iterator[RemoteLink]:
        statistics = self.consumer.statistics()
        dropped = {
            "missed": statistics.missed,
            "repeated": statistics.repeated,
            "unread": statistics.unread,
            "format": self.rejected["format"],
        }
        dropped = {reason: count for reason, count in dropped.items() if count}
        handled = statistics.blocks - self.rejected["format"]
        yield RemoteLink(
            id=-1,
            far=Address(self.consumer.pattern.group, self.consumer.pattern.name),
            type="flow",
            incoming=True,
            up=bool(statistics.sources),
            room=MAX_UNREAD,
            counts=Counts(handled + sum(dropped.values()), handled, 0, dropped),
        )


_REASONS = {EventFormatError: "format", BlockTooLargeError: "too_large", FlowOptionError: "late"}
