"""How two sides come to terms: each must be what the other needs, or the connection is cut.

The scheme of the URL says how they speak.
"""

import os
from base64 import b64encode
from collections.abc import Callable
from functools import partial

import trio

from eventgraph.pipes.nng.bind import check_own_process
from eventgraph.pipes.nng.connection import Connection, watch
from eventgraph.pipes.nng.reader import Reader, StreamReader, UnixReader, WebReader
from eventgraph.pipes.nng.sp import (
    GREETING_SIZE,
    Message,
    Protocol,
    greeting,
    stream_frame,
    unix_frame,
)
from eventgraph.pipes.nng.web import (
    END,
    MAX_REQUEST,
    REFUSAL,
    check_answer,
    web_answer,
    web_frame,
    web_request,
)
from eventgraph.pipes.transport import SocketLimits
from eventgraph.pipes.url import LOCAL, WEB, Url

Frame = Callable[[Message], tuple[bytes, Message]]
"""Makes a message's head, and what follows it."""


def framing(url: Url, *, dialled: bool) -> Frame:
    """How messages travel from who has dialled that URL, or from who listens there."""
    if url.scheme in WEB:
        return partial(web_frame, masked=dialled)
    return unix_frame if url.scheme in LOCAL else stream_frame


async def greet(
    connection: Connection, url: Url, ours: Protocol, limits: SocketLimits, *, dialled: bool
) -> Reader:
    """Come to terms with the other side, within the keepalive time.

    Args:
        connection: to or from ``url``.
        url: where one side listens.
        ours: what we are.
        limits: of the socket that the connection belongs to.
        dialled: by us.
    Returns:
        What reads its messages.
    Raises:
        BrokenResourceError: it is not what we need, or cut; also others of `GONE`.
    """
    if url.scheme == "inproc":
        check_own_process(connection.socket)
    elif url.scheme not in LOCAL:
        watch(connection.socket, limits.keepalive)
    max_size = limits.max_message_size + ours.header
    with trio.fail_after(limits.keepalive):
        if url.scheme not in WEB:
            reader = (UnixReader if url.scheme in LOCAL else StreamReader)(connection, max_size)
            await _greet_stream(reader, ours)
            return reader
        web = WebReader(connection, max_size, dialled=dialled)
        if dialled:
            await _ask_for_websocket(web, url, ours.peer)
        else:
            await _grant_websocket(web, url.path, ours)
        return web


async def _greet_stream(reader: Reader, ours: Protocol) -> None:
    await reader.connection.write(greeting(ours))
    heard = await reader.exactly(GREETING_SIZE)
    if heard != greeting(ours.peer):
        raise trio.BrokenResourceError(
            f"it greets with {bytes(heard)!r} and is no {ours.peer.name.lower()} socket"
        )


async def _ask_for_websocket(reader: Reader, url: Url, listening: Protocol) -> None:
    key = b64encode(os.urandom(16)).decode()
    authority = f"{url.host}:{url.port}"
    await reader.connection.write(web_request(authority, url.path, listening, key))
    try:
        check_answer(await reader.until(END, MAX_REQUEST), listening, key)
    except ValueError as error:
        raise trio.BrokenResourceError(str(error)) from error


async def _grant_websocket(reader: Reader, path: str, listening: Protocol) -> None:
    request = await reader.until(END, MAX_REQUEST)
    try:
        answer = web_answer(request, path, listening)
    except ValueError as error:
        await reader.connection.write(REFUSAL)
        raise trio.BrokenResourceError(str(error)) from error
    await reader.connection.write(answer)
