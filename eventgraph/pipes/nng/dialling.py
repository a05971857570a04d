"""Dialling a URL: from a socket of the kernel to a side that has greeted."""

import socket

import trio

from eventgraph.pipes.nng.bind import abstract_name
from eventgraph.pipes.nng.connection import Connection
from eventgraph.pipes.nng.greeting import greet
from eventgraph.pipes.nng.means import Means
from eventgraph.pipes.nng.reader import Reader
from eventgraph.pipes.nng.sp import Protocol
from eventgraph.pipes.url import TLS, Url


async def dial(url: Url, means: Means, ours: Protocol) -> Reader:
    """Connect and come to terms; each may take the keepalive time.

    Raises:
        BrokenResourceError: there is nobody that we need; also others of `GONE`.
    """
    with trio.fail_after(means.limits.keepalive):
        connected = await _connect(url)
    context = means.client_context if url.scheme in TLS else None
    connection = Connection(connected, context, url.bare_host)
    try:
        return await greet(connection, url, ours, means.limits, dialled=True)
    except BaseException:
        connection.close()
        raise


async def _connect(url: Url) -> socket.socket:
    if url.scheme == "ipc":
        return _connect_locally(url.path)
    if url.scheme == "inproc":
        return _connect_locally("\0" + abstract_name(url.path))
    stream = await trio.open_tcp_stream(url.bare_host, url.port)
    connected = socket.socket(fileno=stream.socket.detach())
    connected.setblocking(False)
    return connected


def _connect_locally(address: str) -> socket.socket:
    """To a Unix socket; it has room for us at once, or we try again later."""
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connected.setblocking(False)
        connected.connect(address)
    except BaseException:
        connected.close()
        raise
    return connected
