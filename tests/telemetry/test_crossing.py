"""That an event is followed costs it nothing on its way out of a graph."""

from typing import Any

import pytest
import trio

from eventgraph import Event, FollowedEvent, Graph, Node, NodeDelegate, TraceContext
from eventgraph.crossing import departing
from eventgraph.member import Member
from eventgraph.pipes.wire import EventEncoder, MessageDecoder, encode_message
from eventgraph.telemetry import EventFollower
from eventgraph.testing import wait_idle
from tests.telemetry.spans import Recorded
from tests.telemetry.test_follower import SOURCE, chain, sample

TRACE = TraceContext("00-0123456789abcdef0123456789abcdef-0123456789abcdef-01", 2**60)


class Frame(Event, frozen=True):
    """An event with more to say."""

    pts: int = 0


class Out(Node):
    """As nodes that lead out of a graph."""

    def on_enter(self, delegate: NodeDelegate) -> None:
        self.sent: list[Event] = []

    def take_part(self, member: Member) -> None:
        self.member = member

    def on_event(self, event: Event) -> None:
        self.sent.append(departing(self.member, event))


@pytest.mark.parametrize("event", [Event(1, b"x"), Frame(1, b"x", pts=5)])
async def test_an_event_with_fields_of_its_own_keeps_them(
    event: Event, autojump_clock: trio.abc.Clock
) -> None:
    out = Out("test", "out")
    async with Graph() as graph:
        source = chain(graph, out)
        await wait_idle(graph)
        with EventFollower(graph, Recorded().provider, origins=[SOURCE]) as follower:
            await sample(follower, source, event)
        assert follower.begun == 1
    (sent,) = out.sent
    if isinstance(event, Frame):
        assert sent is event
    else:
        assert isinstance(sent, FollowedEvent)


@pytest.mark.parametrize("elements", [100, 101, 102, 103])
def test_a_followed_event_may_be_made_of_as_much_as_another(elements: int) -> None:
    def comes(event: Event, count: int) -> Any:
        encoded = EventEncoder().encode(event)
        message = MessageDecoder(max_elements=100).decode(encode_message(1, 1, [encoded] * count))
        return len(message.events), message.oversized, message.malformed

    obj = [0] * elements
    for count in (1, 2):
        assert comes(Event(1, obj), count) == comes(FollowedEvent(1, obj, trace=TRACE), count)
