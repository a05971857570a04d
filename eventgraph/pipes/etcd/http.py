"""HTTP to the members of an etcd: what is sent and received is bounded, and nothing leaks.

A stream of httpx is never left in the middle: its inner generators would be closed later, by
the garbage collector. What we want no more of is cancelled instead, which unwinds them all.
"""

import socket
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Final

import httpx
import msgspec
import trio

from eventgraph.pipes.etcd.refusal import AnswerTooLargeError, broken, no_etcd
from eventgraph.pipes.etcd.tls import alert_of

MAX_ANSWER: Final = 64 << 20
"""Bytes of one answer: 30 values of the largest size, in base64."""

MAX_LINE: Final = 16 << 20
"""Bytes of one line of a watch; etcd fragments what exceeds 2 MB, 2.7 MB in base64."""

CALLS: Final = 32
"""Connections for calls; more calls at a time wait for one another. A watch has its own."""


class Post(msgspec.Struct, frozen=True):
    """A request, to a member such as "http://host:2379"."""

    endpoint: str
    path: str
    body: bytes
    token: str  # empty: none


class Http:
    """Args: keepalive: seconds after which a connection that is dead on its way is noticed."""

    def __init__(self, context: ssl.SSLContext | bool, keepalive: float) -> None:
        self._context = context
        self._calls = _client(context, keepalive, CALLS)
        self._streams = _client(context, keepalive, None)

    async def post(self, post: Post) -> tuple[int, bytes]:
        """Status and body of an answer.

        Raises:
            RegistryUnavailableError, RegistryError: as `broken`.
            AnswerTooLargeError: the body exceeds `MAX_ANSWER`.
        """
        answer = bytearray()

        def take(_status: int, chunk: bytes) -> None:
            answer.extend(chunk)
            if len(answer) > MAX_ANSWER:
                raise AnswerTooLargeError(
                    f"{post.endpoint} answers with more than {MAX_ANSWER} bytes"
                )

        status = await self._exchange(self._calls, post, take)
        return status, bytes(answer)

    async def stream(self, post: Post, take: Callable[[int, bytes], None]) -> None:
        """Have an answer taken piece by piece, with its status, until it ends.

        Raises:
            RegistryUnavailableError, RegistryError: as `broken`.
            Exception: what ``take`` raises.
        """
        await self._exchange(self._streams, post, take)

    async def _exchange(
        self,
        client: httpx.AsyncClient,
        post: Post,
        take: Callable[[int, bytes], None],
    ) -> int:
        status = 0
        failure: Exception | None = None
        headers = {"content-type": "application/json", "accept-encoding": "identity"}
        if post.token:
            headers["authorization"] = post.token
        handshake = _Handshake()
        request = client.build_request(
            "POST",
            post.endpoint + post.path,
            content=post.body,
            headers=headers,
            extensions={"trace": handshake},
        )
        request.stream = _Body(post.body)
        try:
            with trio.CancelScope() as stop:
                response = await client.send(request, stream=True)
                try:
                    status = response.status_code
                    async for chunk in response.aiter_raw():
                        if failure is None:
                            try:
                                take(status, chunk)
                            except Exception as error:
                                failure = error
                                stop.cancel()
                finally:
                    await response.aclose()
        except httpx.HTTPError as error:
            cause: Exception = error
            if handshake.done and isinstance(self._context, ssl.SSLContext):
                cause = await alert_of(post.endpoint, self._context) or error
            raise broken(cause, post.endpoint, handshaking=handshake.failed) from error
        if failure is not None:
            raise failure
        return status

    async def close(self) -> None:
        """Close all connections."""
        await self._calls.aclose()
        await self._streams.aclose()


class Lines:
    """Cuts a stream into lines; no line is longer than `MAX_LINE`."""

    __slots__ = ("_rest", "_where")

    def __init__(self, where: str) -> None:
        self._rest = bytearray()
        self._where = where

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that are complete now, without the empty ones.

        Raises:
            EndpointError: one is too long.
        """
        *complete, rest = chunk.split(b"\n")
        if complete:
            complete[0] = bytes(self._rest) + complete[0]
            self._rest.clear()
        self._rest += rest
        if len(self._rest) > MAX_LINE:
            raise no_etcd(self._where, f"a line of more than {MAX_LINE} bytes")
        return [line for line in complete if line.strip()]


class _Body(httpx.AsyncByteStream):
    """A body that is no generator: that of httpx would stay in the middle, too."""

    __slots__ = ("_body",)

    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        body, self._body = self._body, None
        if body is None:
            raise StopAsyncIteration
        return body


class _Handshake:
    """That of TLS, if there is one: httpcore 1.0 forgets the socket of one that was cancelled.

    Attributes:
        done, failed: it was, for this request.
    """

    __slots__ = ("_socket", "done", "failed")

    def __init__(self) -> None:
        self._socket: Any = None
        self.done = self.failed = False

    async def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        if event == "connection.connect_tcp.complete":
            self._socket = info["return_value"].get_extra_info("socket")
        elif event == "connection.start_tls.complete":
            self.done = True
        elif event == "connection.start_tls.failed":
            self.failed = True
            self._socket.close()


def _client(
    context: ssl.SSLContext | bool, keepalive: float, connections: int | None
) -> httpx.AsyncClient:
    """A client that takes nothing from the environment, and keeps no cookie."""
    transport = httpx.AsyncHTTPTransport(
        verify=context,
        trust_env=False,
        limits=httpx.Limits(max_connections=connections, max_keepalive_connections=4),
        socket_options=_keepalive_options(keepalive),
    )
    cookies = CookieJar(policy=DefaultCookiePolicy(allowed_domains=[]))
    # each call has a time limit as a whole
    return httpx.AsyncClient(transport=transport, trust_env=False, cookies=cookies, timeout=None)


def _keepalive_options(keepalive: float) -> list[tuple[int, int, int]]:
    """The kernel finds a connection of which only one end is left."""
    probes = 2
    idle = max(1, round(keepalive) - probes)
    return [
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, probes),
        (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, max(1000, round(1000 * keepalive))),
    ]


@asynccontextmanager
async def open_http(context: ssl.SSLContext | bool, keepalive: float) -> AsyncIterator[Http]:
    """Closes its connections when it is left, within a second."""
    http = Http(context, keepalive)
    try:
        yield http
    finally:
        with trio.move_on_after(1, shield=True):
            await http.close()
