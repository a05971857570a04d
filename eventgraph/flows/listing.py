"""Listing: what there is, for people and programs to look at."""

from collections.abc import Iterator
from typing import Final

import msgspec

from eventgraph.flows.errors import FlowError, FlowProtocolError
from eventgraph.flows.format import FlowFormat
from eventgraph.flows.key import FlowKey, FlowPattern

OTHER_MACHINES: Final = "other machines"


class ConsumerListing(msgspec.Struct, frozen=True):
    """Who takes a flow.

    Attributes:
        client: its id; empty for what is carried to other machines.
        name: of the client, or `OTHER_MACHINES`.
        signal: ``stopped``, ``started``, or empty.
    """

    client: str
    name: str
    signal: str = ""


class FlowListing(msgspec.Struct, frozen=True):
    """One provider of a flow.

    Attributes:
        client, provider: id and name of the client that provides it.
        variant: of which format of the flow a converter makes it; empty: it is the original.
        origin: machine that it is brought in from; empty: it is made here.
        memory: bytes of its ring.
        running: whether it may make blocks; what is brought in says nothing of it.
        stopped_by: names of the clients.
        obsolete: another has taken over, and it has not ended yet.
    """

    key: FlowKey
    flow: str
    format: FlowFormat
    client: str
    provider: str
    variant: str
    origin: str
    memory: int
    running: bool
    stopped_by: tuple[str, ...]
    obsolete: bool
    consumers: tuple[ConsumerListing, ...]


class ClientListing(msgspec.Struct, frozen=True):
    """One client.

    Attributes:
        launched: whether a server started it, and starts it again.
        movable: whether it may be moved to another machine.
        restarts: how often it was started again.
        need: processing power that it takes, in cores; 0 if nobody measures.
        age: seconds since a server of this machine has started it.
        problem: why it is not there, if a server is to have started it; empty: it is.
    """

    id: str
    name: str
    pid: int
    launched: bool = False
    movable: bool = False
    restarts: int = 0
    need: float = 0.0
    age: float = 0.0
    problem: str = ""


class WaitingListing(msgspec.Struct, frozen=True):
    """A consumer that is connected to nothing: nobody provides it, or it is yet to come.

    Attributes:
        client, name: id and name of the client.
        format: that is wanted; None: whatever comes.
    """

    client: str
    name: str
    pattern: FlowPattern
    format: FlowFormat | None = None


class MachineListing(msgspec.Struct, frozen=True):
    """One machine.

    Attributes:
        pid: of its server.
        offset: nanoseconds to be added to its clock for that of the machine that was asked.
        uncertainty: nanoseconds that the offset may be wrong by.
        memory, memory_limit: bytes in rings, of all that the server allows.
        cores, busy: processors, and how much of them is in use.
        problem: why nothing more is to be said of it, or why it does not know the other
            machines; empty: all is well.
        waiting: consumers that are connected to nothing.
    """

    name: str
    pid: int = 0
    offset: int = 0
    uncertainty: int = 0
    memory: int = 0
    memory_limit: int = 0
    cores: float = 0.0
    busy: float = 0.0
    clients: tuple[ClientListing, ...] = ()
    flows: tuple[FlowListing, ...] = ()
    problem: str = ""
    waiting: tuple[WaitingListing, ...] = ()


class Listing(msgspec.Struct, frozen=True):
    """All of a realm, the machine that was asked first."""

    application: str
    user: str
    machines: tuple[MachineListing, ...]

    def flows(self) -> Iterator[tuple[MachineListing, FlowListing]]:
        """All of them, with where they stand."""
        return ((machine, flow) for machine in self.machines for flow in machine.flows)


_DECODER: Final = msgspec.msgpack.Decoder(Listing)
encode_listing: Final = msgspec.msgpack.Encoder().encode


def decode_listing(data: bytes) -> Listing:
    """Read one.

    Raises:
        FlowProtocolError: it is none.
    """
    try:
        return _DECODER.decode(data)
    except (msgspec.MsgspecError, FlowError, UnicodeDecodeError, RecursionError) as error:
        raise FlowProtocolError(f"not a listing: {error}") from None
