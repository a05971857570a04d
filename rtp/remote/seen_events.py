"""What a server says of events as they pass, a line each; for both ends of the connection."""

import msgspec

from eventgraph import Address, TapCounts


class SeenEvent(msgspec.Struct, frozen=True, tag="event"):
    """An event that was delivered.

    Attributes:
        time: seconds since the tap was opened.
        ahead: events that stood before it in the channel.
        object: its text, see `eventgraph.object_text`.
    """

    time: float
    sender: Address
    receiver: Address
    cmd: int
    object: str
    ahead: int


class TapEnd(msgspec.Struct, frozen=True, tag="end"):
    """The last line of a tap: why it is over, and what was seen."""

    reason: str
    counts: TapCounts


class TraceEnd(msgspec.Struct, frozen=True, tag="end"):
    """The last line of a trace of a node: why it is over, and what passed."""

    reason: str
    passed: int
    refused: int
    dropped: int
