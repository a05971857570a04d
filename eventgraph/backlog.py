"""Backlog: events that wait in front of a node's data channel.

Two kinds wait there: offers of ``deliver_within``, each with the task that waits for its
answer, and events from other threads, which were promised a place and get one as soon as
there is room. Both are moved into the channel by ``admit``, in turn, oldest first: a
receiver that has room hands it over, so no waiting sender can be overtaken for ever.

The inbox of threads is bounded by the channel's own size. It needs the lock that all
threads of the graph share; the hot path never takes that lock.
"""

from collections import deque

import trio

from eventgraph.event import Event
from eventgraph.link import DropReason, Link, Tally, Vertex
from eventgraph.parking import ParkedTask


class Offer:
    """One ``deliver_within`` that waits for room."""

    __slots__ = ("event", "link", "parking", "taken")

    def __init__(self, link: Link, event: Event) -> None:
        self.link = link
        self.event = event
        self.parking = ParkedTask()
        self.taken = False


class Backlog:
    """Of one node; made when something first has to wait for it.

    ``inbox`` and ``closed`` are guarded by the graph's thread lock; only the graph's own
    thread takes events out of the inbox.
    """

    __slots__ = ("_offers", "closed", "inbox")

    def __init__(self) -> None:
        self.closed = False
        self.inbox: deque[tuple[Tally, Event]] = deque()
        self._offers: dict[Offer, None] = {}  # in the order they came; one for each task

    def __bool__(self) -> bool:
        return bool(self.inbox or self._offers)

    def put(self, tally: Tally, event: Event, capacity: int) -> DropReason | None:
        """Take an event from a thread that holds the lock; None, or why it was refused."""
        if self.closed:
            return DropReason.LINK_DOWN
        if len(self.inbox) >= capacity:
            return DropReason.FULL
        self.inbox.append((tally, event))
        return None

    async def offer(self, link: Link, event: Event, timeout: float) -> bool:
        """Wait at most ``timeout`` seconds for room; whether the event got in.

        If it is cancelled, the event did not get in.
        """
        offer = Offer(link, event)
        self._offers[offer] = None
        reason = DropReason.CANCELLED
        try:
            with trio.move_on_after(timeout) as scope:
                await offer.parking.park(on_cancel=lambda: self._offers.pop(offer))
            late = scope.cancelled_caught
            reason = link.receiver.why_full() if late else DropReason.LINK_DOWN
        finally:
            if not offer.taken:
                link.refuse(reason)
        return offer.taken

    def admit(self, vertex: Vertex) -> None:
        """Move what fits into the channel of the vertex that this backlog belongs to."""
        entries, inbox, offers = vertex.entries, self.inbox, self._offers
        while (offers or inbox) and len(entries) < vertex.capacity:
            if offers:
                offer = next(iter(offers))
                del offers[offer]
                offer.link.entries.append((offer.link, offer.event))
                offer.link.accepted += 1.0
                offer.taken = True
                offer.parking.unpark()
            if inbox and len(entries) < vertex.capacity:
                entries.append(inbox.popleft())

    def turn_away(self, link: Link | None = None) -> None:
        """Nobody waits on this link any longer, or on any: it went down."""
        for offer in [o for o in self._offers if link is None or o.link is link]:
            del self._offers[offer]
            offer.parking.unpark()
