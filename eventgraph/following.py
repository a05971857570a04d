"""Following: how an event that is followed leaves a graph, and comes into the next.

A node that leads out of the graph asks `departing` for what is to travel; one that leads in gives
what has come to `arriving`. Who follows is a `Follower`, of which a graph has one or none; that of
`eventgraph.telemetry` writes OpenTelemetry spans.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, runtime_checkable

from eventgraph.event import Event, FollowedEvent, TraceContext
from eventgraph.member import Member


@runtime_checkable
class Follower(Protocol):
    """Follows events into other processes, and out of them."""

    def departing(self, member: Member) -> TraceContext | None:
        """What to send along, if the event that the node handles just now is followed."""

    def arriving(self, member: Member, trace: TraceContext) -> AbstractContextManager[None]:
        """Within it, what the node delivers is what has come."""


def departing(member: Member, event: Event) -> Event:
    """The event as it is to travel; to be asked for while the node handles it."""
    follower = member.runtime.follower
    if follower is None:
        return event
    assert isinstance(follower, Follower)
    trace = follower.departing(member)
    if trace is None:
        return event
    return FollowedEvent(event.cmd, event.obj, event.reply_to, trace=trace)


@contextmanager
def arriving(member: Member, event: FollowedEvent) -> Iterator[Event]:
    """The event as it is to be delivered, within the block."""
    follower = member.runtime.follower
    if follower is None:
        yield event.plain
        return
    assert isinstance(follower, Follower)
    with follower.arriving(member, event.trace):
        yield event.plain
