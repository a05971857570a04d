"""What all zmq sockets share: options, errors, and waiting for them in trio.

A zmq socket's descriptor says that something has happened, once, and not what. So each wait
first asks the socket itself, which also makes zmq handle what has come.
"""

import errno
import socket as kernel
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import msgspec
import trio
import zmq

from eventgraph.pipes.errors import TransportError
from eventgraph.pipes.transport import Answerer, Asker, Pull, Push, SocketLimits
from eventgraph.pipes.url import Url
from eventgraph.pipes.zmq.inproc import Exchange

QUEUE = 4  # messages for each connection and direction, so that few are lost with it


class Means(msgspec.Struct, frozen=True):
    """What the sockets of one transport share."""

    schemes: frozenset[str]
    limits: SocketLimits
    nursery: trio.Nursery
    context: zmq.Context[Any]
    exchange: Exchange
    ends: set[Push | Pull | Answerer | Asker]  # that are open


def open_socket(means: Means, kind: int) -> zmq.Socket[bytes]:
    """A socket that neither listens nor dials; close it."""
    limits = means.limits
    socket: zmq.Socket[bytes] = means.context.socket(kind)
    half_keepalive = max(1, round(limits.keepalive * 1000 / 2))  # ms
    for option, value in (
        (zmq.LINGER, 0),
        (zmq.IPV6, 1),
        (zmq.SNDHWM, QUEUE),
        (zmq.RCVHWM, QUEUE),
        (zmq.MAXMSGSIZE, limits.max_message_size),
        (zmq.RECONNECT_IVL, max(1, round(limits.reconnect_min * 1000))),
        (zmq.RECONNECT_IVL_MAX, round(limits.reconnect_max * 1000)),
        # A ping after the one half, and the other half to answer it.
        (zmq.HEARTBEAT_IVL, half_keepalive),
        (zmq.HEARTBEAT_TIMEOUT, half_keepalive),
        (zmq.HEARTBEAT_TTL, 2 * half_keepalive),
        (zmq.HANDSHAKE_IVL, 2 * half_keepalive),
        (zmq.TCP_KEEPALIVE, 1),
    ):
        socket.set(option, value)
    return socket


@contextmanager
def transport_errors(url: Url) -> Iterator[None]:
    """Turns what zmq raises into a TransportError."""
    try:
        yield
    except zmq.ZMQError as error:
        in_use = error.errno == errno.EADDRINUSE
        raise TransportError(f"{url}: {error.strerror}", in_use=in_use) from error


def bind(socket: zmq.Socket[bytes], url: Url) -> str:
    """Listen; the URL with the port that it got."""
    if url.scheme == "ipc" and _is_live(Path(url.path)):
        raise TransportError(f"{url}: the address is in use", in_use=True)
    host = {"*": "0.0.0.0", "localhost": "127.0.0.1"}.get(url.host, url.host)
    with transport_errors(url):
        socket.bind(f"tcp://{host}:{url.port}" if url.host else str(url))
    if not url.host:
        return str(url)
    port = cast(bytes, socket.get(zmq.LAST_ENDPOINT)).rstrip(b"\0").decode().rpartition(":")[2]
    return f"tcp://{url.host}:{port}"


def _is_live(path: Path) -> bool:
    """Whether somebody listens there: zmq itself would take the path away from them."""
    with kernel.socket(kernel.AF_UNIX, kernel.SOCK_STREAM) as probe:
        probe.setblocking(False)
        return probe.connect_ex(str(path)) in (0, errno.EAGAIN)


async def wait_for(socket: zmq.Socket[bytes], fd: int, event: int) -> None:
    """Wait until trying again is worthwhile; ``event`` is POLLIN or POLLOUT."""
    if not cast(int, socket.get(zmq.EVENTS)) & event:
        try:
            await trio.lowlevel.wait_readable(fd)
        except trio.ClosedResourceError:
            raise closed() from None


def unlink(url: str) -> None:
    """Take the file of an ipc socket away, as zmq does not."""
    scheme, _, path = url.partition("://")
    if scheme == "ipc":
        Path(path).unlink(missing_ok=True)


def close_socket(socket: zmq.Socket[bytes], fd: int) -> None:
    """Close, with an error in whoever waits."""
    trio.lowlevel.notify_closing(fd)
    socket.close(0)


def closed() -> TransportError:
    """The error of calls on a closed socket."""
    return TransportError("the socket is closed")


def refuse_too_large(size: int, limits: SocketLimits) -> None:
    """Say who is at fault before the other side cuts the connection."""
    if size > limits.max_message_size:
        raise TransportError(
            f"a message of {size} bytes; max_message_size is {limits.max_message_size}"
        )
