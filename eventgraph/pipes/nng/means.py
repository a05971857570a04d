"""What the sockets of one transport share."""

import ssl

import msgspec
import trio

from eventgraph.pipes.errors import TransportError
from eventgraph.pipes.transport import Answerer, Asker, Pull, Push, SocketLimits


class Means(msgspec.Struct, frozen=True):
    """What each socket of a transport is made with; with certificates there are contexts."""

    schemes: frozenset[str]
    limits: SocketLimits
    nursery: trio.Nursery
    ends: set[Push | Pull | Answerer | Asker]  # that are open
    server_context: ssl.SSLContext | None = None
    client_context: ssl.SSLContext | None = None


def closed() -> TransportError:
    """The error of calls on a closed socket."""
    return TransportError("the socket is closed")


def refuse_too_large(size: int, limit: int) -> None:
    """Say who is at fault before the other side cuts the connection."""
    if size > limit:
        raise TransportError(f"a message of {size} bytes; max_message_size is {limit}")
