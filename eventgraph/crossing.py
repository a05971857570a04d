"""Crossing: what nodes that lead out of a graph, and into the next, have in common."""

from eventgraph.delegate import NodeDelegate
from eventgraph.event import Event, FollowedEvent
from eventgraph.member import Member


def departing(member: Member, event: Event) -> Event:
    """The event as it is to travel; to be asked for while the node handles it.

    One with fields of its own, which are the node's to know, travels as it is.
    """
    follower = member.runtime.follower
    trace = None if follower is None else follower.departing(member)
    if trace is None or type(event).__struct_fields__ != Event.__struct_fields__:
        return event
    return FollowedEvent(event.cmd, event.obj, event.reply_to, trace=trace)


async def hand_on(member: Member, delegate: NodeDelegate, event: Event, patience: float) -> None:
    """Deliver what has come to every output link that is up.

    Args:
        patience: seconds to wait for room at each that has none.
    """
    if isinstance(event, FollowedEvent):
        follower = member.runtime.follower
        if follower is None:
            await _broadcast(delegate, event.plain, patience)
        else:
            with follower.arriving(member, event.trace):
                await _broadcast(delegate, event.plain, patience)
    else:
        await _broadcast(delegate, event, patience)


async def _broadcast(delegate: NodeDelegate, event: Event, patience: float) -> None:
    if not patience:
        delegate.broadcast(event)
        return
    for link in delegate.links:
        await delegate.deliver_within(link, event, patience)
