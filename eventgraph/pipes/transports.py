"""Opening a transport by its name."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

from eventgraph.pipes.errors import TransportError
from eventgraph.pipes.transport import SocketLimits, Tls, Transport


@asynccontextmanager
async def open_transport(
    name: Literal["nng", "zmq"], limits: SocketLimits | None = None, tls: Tls | None = None
) -> AsyncIterator[Transport]:
    """A transport; leaving it closes every socket that it made.

    Args:
        name: ``nng`` is the default of pipes; ``zmq`` needs the extra of that name.
        limits: of each of its sockets.
        tls: certificates for mutual TLS, over nng.
    Raises:
        TransportError: it is not installed, or the certificates cannot be used.
    """
    limits = limits or SocketLimits()
    try:
        if name == "nng":
            from eventgraph.pipes.nng.transport import open_nng as open_named
        elif name == "zmq":
            from eventgraph.pipes.zmq.transport import open_zmq as open_named
        else:
            raise TransportError(f"no transport {name!r}: use nng or zmq")
    except ModuleNotFoundError as error:
        if error.name not in ("pynng", "zmq"):
            raise
        extra = "pipes" if name == "nng" else "zmq"
        raise TransportError(
            f"the transport {name} is not installed: pip install 'eventgraph[{extra}]'"
        ) from error
    async with open_named(limits, tls) as transport:
        yield transport
