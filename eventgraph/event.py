"""What travels, and where to: plain data."""

from typing import Annotated, Any

import msgspec


class Address(msgspec.Struct, frozen=True, order=True):
    """Where a node is in its graph; unique there.

    A scope is a group of nodes that belong together, such as one media session.
    """

    scope: str
    name: str

    def __str__(self) -> str:
        """As in the node language: ``name@scope``."""
        return f"{self.name}@{self.scope}"


class Event(msgspec.Struct, frozen=True):
    """One message between nodes.

    ``cmd`` says what it is, by a convention between sender and receiver; ``obj`` is
    handed over as it is, never copied: treat it as the receiver's from then on.
    The receiver does not learn who sent; whoever wants an answer says where to.
    """

    cmd: int
    obj: Any = None
    reply_to: Address | None = None


class TraceContext(msgspec.Struct, frozen=True, array_like=True):
    """What tells another process that an event is followed, and by whom.

    Attributes:
        parent: traceparent (W3C Trace Context §3.2).
        sent: nanoseconds since the epoch.
    """

    parent: Annotated[str, msgspec.Meta(max_length=55)]
    sent: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class FollowedEvent(Event, frozen=True, kw_only=True):
    """An event between two processes that is followed: see `eventgraph.telemetry`.

    Within a graph it is an `Event` like any other. (A field in every event was not wanted: it
    costs those that nobody follows.)
    """

    trace: TraceContext

    @property
    def plain(self) -> Event:
        """The event itself."""
        return Event(self.cmd, self.obj, self.reply_to)
