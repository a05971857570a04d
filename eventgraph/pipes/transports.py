"""Opening a transport by its name: each is an entry point, also of other packages."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

from eventgraph.pipes.errors import TransportError
from eventgraph.pipes.transport import SocketLimits, Tls, Transport
from eventgraph.plugins import find_plugin

ENTRY_POINTS: Final = "eventgraph.pipes.transports"
"""Group in which packages name what opens a `Transport`: called with limits and certificates."""
EXTRAS: Final = {"zmq": "zmq"}  # that bring a library

Open = Callable[[SocketLimits, Tls | None], AbstractAsyncContextManager[Transport]]


@asynccontextmanager
async def open_transport(
    name: str, limits: SocketLimits | None = None, tls: Tls | None = None
) -> AsyncIterator[Transport]:
    """A transport; leaving it closes every socket that it made.

    Args:
        name: ``nng`` is the default of pipes; ``zmq`` needs the extra of that name.
        limits: of each of its sockets.
        tls: certificates for mutual TLS, over nng.
    Raises:
        TransportError: there is none of that name, it is not installed, or the certificates
            cannot be used.
    """
    open_named = _find(name)
    async with open_named(limits or SocketLimits(), tls) as transport:
        yield transport


def _find(name: str) -> Open:
    try:
        entry = find_plugin(ENTRY_POINTS, "transport", name)
    except LookupError as error:
        raise TransportError(str(error)) from None
    try:
        found: Open = entry.load()
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        raise TransportError(
            f"the transport {name} is not installed: pip install 'eventgraph[{EXTRAS[error.name]}]'"
        ) from error
    return found
