"""Dialling a URL: from a socket of the kernel to a side that has greeted."""

import socket

import trio

from eventgraph.pipes.nng.bind import abstract_name, check_own_process
from eventgraph.pipes.nng.connection import (
    Connection,
    PlainConnection,
    TlsConnection,
    watch,
)
from eventgraph.pipes.nng.greeting import greet
from eventgraph.pipes.nng.means import Means
from eventgraph.pipes.nng.reader import Reader
from eventgraph.pipes.nng.sp import Protocol
from eventgraph.pipes.url import TLS, Url


async def dial(url: Url, means: Means, ours: Protocol) -> Reader:
    """Connect and come to terms, within the keepalive time; raises what `GONE` lists."""
    with trio.fail_after(means.limits.keepalive):
        connection = await _connect(url, means)
        try:
            return await greet(connection, url, ours, means.limits.max_message_size, dialled=True)
        except BaseException:
            connection.close()
            raise


async def _connect(url: Url, means: Means) -> Connection:
    if url.scheme == "ipc":
        return PlainConnection(_connect_locally(url.path))
    if url.scheme == "inproc":
        connected = _connect_locally("\0" + abstract_name(url.path))
        try:
            check_own_process(connected)
        except BaseException:
            connected.close()
            raise
        return PlainConnection(connected)
    stream = await trio.open_tcp_stream(url.bare_host, url.port)
    connected = socket.socket(fileno=stream.socket.detach())
    connected.setblocking(False)
    watch(connected, means.limits.keepalive)
    if url.scheme in TLS:
        assert means.client_context is not None
        return TlsConnection(connected, means.client_context, url.bare_host)
    return PlainConnection(connected)


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
