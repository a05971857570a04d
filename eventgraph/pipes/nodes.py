"""DestinationNode and GroupNode: a link into the one comes out of the other, elsewhere."""

import logging
from collections import Counter
from collections.abc import Iterator

from eventgraph.counts import Counts, RemoteLink
from eventgraph.crossing import departing, hand_on
from eventgraph.delegate import NodeDelegate
from eventgraph.event import Address, Event, FollowedEvent
from eventgraph.lifecycle.own_task import OwnTask
from eventgraph.member import LinkWatcher
from eventgraph.member import Member as GraphMember
from eventgraph.node import Node
from eventgraph.pipes.destination import Destination
from eventgraph.pipes.errors import EventFormatError, EventTooLargeError, GroupLeftError
from eventgraph.pipes.member import PREFETCH, Member, MemberState
from eventgraph.pipes.pipe import PipeStatistics

_logger = logging.getLogger(__name__)


class DestinationNode(Node):
    """Sends every event that it gets to all groups of a destination.

    The destination is the node's from then on, and is unregistered when the node leaves. When
    the destination fails, the node crashes with its error at the next event.
    """

    def __init__(self, scope: str, name: str, destination: Destination) -> None:
        super().__init__(scope, name)
        self.destination = destination
        self.rejected: Counter[str] = Counter()
        """Events that could not travel, by reason: format, too_large."""
        self._graph_member: GraphMember

    def on_event(self, event: Event) -> None:
        try:
            self.destination.deliver(departing(self._graph_member, event))
        except EventFormatError as error:
            self._reject("format", error)
        except EventTooLargeError as error:
            self._reject("too_large", error)

    def _reject(self, reason: str, error: Exception) -> None:
        if not self.rejected[reason]:
            address = Address(self.scope, self.name)
            _logger.warning("%s: %s; counted from now on", address, error)
        self.rejected[reason] += 1

    def on_exit(self) -> None:
        self.destination.end_soon()

    def take_part(self, member: GraphMember) -> LinkWatcher | None:
        self._graph_member = member
        member.remote_links = self._remote_links
        return None

    def _remote_links(self) -> Iterator[RemoteLink]:
        for pipe in self.destination.statistics().pipes:
            yield RemoteLink(
                id=-1 - pipe.epoch,
                far=Address(self.destination.name, pipe.group),
                type="group",
                incoming=False,
                up=pipe.connections > 0,
                room=self.destination.options.queue_size,
                counts=_sent(pipe),
            )


class GroupNode(Node):
    """Broadcasts every event that a member of a group gets.

    The member is the node's from then on, and leaves its group when the node leaves the graph.
    When the member fails, the node crashes with its error.

    Args:
        patience: seconds to wait for room in the channel of a receiver. With 0 what does not
            fit is dropped, as media should be; with more a slow receiver slows the member down,
            and so its share of the events.
    """

    def __init__(self, scope: str, name: str, member: Member, *, patience: float = 0.0) -> None:
        super().__init__(scope, name)
        self.member = member
        self.patience = patience
        self._delegate: NodeDelegate
        self._task: OwnTask | None = None
        self._graph_member: GraphMember

    def on_enter(self, delegate: NodeDelegate) -> None:
        self._delegate = delegate
        nursery = self._graph_member.runtime.nursery
        assert nursery is not None
        name = f"eventgraph group of {delegate.address}"
        self._task = OwnTask(nursery, self._pass_on, delegate.report_failure, name)

    async def _pass_on(self) -> None:
        delegate, patience = self._delegate, self.patience
        async for event in self.member:
            if patience or isinstance(event, FollowedEvent):
                await hand_on(self._graph_member, delegate, event, patience)
            else:
                delegate.broadcast(event)
        raise GroupLeftError(f"{self.member.label} has left")

    def on_exit(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self.member.end_soon()

    def take_part(self, member: GraphMember) -> LinkWatcher | None:
        self._graph_member = member
        member.remote_links = self._remote_links
        return None

    def _remote_links(self) -> Iterator[RemoteLink]:
        statistics = self.member.statistics()
        counts = statistics.counts
        yield RemoteLink(
            id=-1,
            far=Address(self.member.destination, self.member.group),
            type="destination",
            incoming=True,
            up=statistics.state is MemberState.CONNECTED,
            room=PREFETCH,
            counts=Counts(
                counts.arrived,
                counts.taken,
                counts.queued,
                {"returned": counts.returned} if counts.returned else {},
            ),
        )


def _sent(pipe: PipeStatistics) -> Counts:
    """As the counts of a link: what is on its way is queued, what is lost was dropped."""
    counts = pipe.counts
    dropped = counts.dropped | ({"lost": counts.lost} if counts.lost else {})
    return Counts(counts.offered, counts.received, counts.queued + counts.in_flight, dropped)
