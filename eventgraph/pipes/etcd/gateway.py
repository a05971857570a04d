"""Gateway: calls of an etcd, whichever of its members answers, and whatever its tokens do."""

from collections.abc import Callable
from typing import Final, TypeVar

import msgspec
import trio

from eventgraph.pipes.errors import RegistryError, RegistryUnavailableError
from eventgraph.pipes.etcd.address import Address
from eventgraph.pipes.etcd.http import Http, Lines, Post
from eventgraph.pipes.etcd.messages import AUTHENTICATE, Method, Request
from eventgraph.pipes.etcd.refusal import (
    AuthenticationOffError,
    EndpointError,
    TokenError,
    no_etcd,
    refusal,
    refusal_of_body,
)

REFUSAL_PAUSE: Final = 1.0
"""Seconds in which a refused password is not shown again: each time costs etcd 50 ms of bcrypt."""

MAX_REFUSAL: Final = 64 << 10
"""Bytes of the body of an answer that is not 200, in a stream."""

T = TypeVar("T")


class Gateway:
    """One member is asked until it fails, then the next.

    All that is asked can be asked twice, so a call whose fate is unclear is repeated.

    Args:
        timeout: seconds for a call, with all its tries.
    """

    def __init__(self, address: Address, http: Http, timeout: float) -> None:
        self._address = address
        self._http = http
        self._timeout = timeout
        self._member = 0
        self._token: str | None = None if address.user else ""  # None: to be asked for
        self._authentication = trio.Lock()
        self._refused: tuple[float, RegistryError] | None = None
        self._streams: set[trio.CancelScope] = set()
        self._streaming = trio.Event()
        self._closed = False

    @property
    def url(self) -> str:
        """Where it is, without a password."""
        return self._address.url

    @property
    def timeout(self) -> float:
        """Seconds for a call."""
        return self._timeout

    async def call(
        self, method: Method[T], request: Request, doing: str, *, timeout: float | None = None
    ) -> T:
        """Ask, and decode the answer.

        Args:
            doing: what for, such as "read the keys below /a"; it stands in the errors.
            timeout: seconds, if not those of all calls.
        Raises:
            RegistryUnavailableError: no member answers in time.
            RegistryError: it refuses.
            LeaseLostError: the lease in the request is not known.
        """
        limit = self._timeout if timeout is None else timeout
        body = msgspec.json.encode(request)
        members = len(self._address.endpoints)
        deadline = trio.current_time() + limit
        # one try more for a connection that was lost while it was not used
        for left in range(max(members, 2), 0, -1):
            endpoint = self._endpoint()
            share = (deadline - trio.current_time()) / min(left, members)
            try:
                with trio.fail_after(max(share, 0)):
                    return await self._ask(endpoint, method, body, doing)
            except trio.TooSlowError:
                failure: RegistryError = RegistryUnavailableError(
                    f"{self.url} did not answer within {limit:g} s; cannot {doing}"
                )
                if members == 1:
                    break
            except RegistryUnavailableError as error:
                failure = error
            except EndpointError as error:
                failure = error
                if members == 1:
                    break
            self._leave(endpoint)
        raise failure

    async def stream(
        self, method: Method[T], request: Request, doing: str, take: Callable[[T], None]
    ) -> None:
        """Ask, and have each line of the answer taken, until cancelled.

        Raises:
            RegistryUnavailableError: it ended, the first line did not come in time, or
                `drop_streams` was called.
            RegistryError: it refuses, or what ``take`` raises.
        """
        endpoint, body = self._endpoint(), msgspec.json.encode(request)
        lines, refused = Lines(endpoint), bytearray()
        failed_with = 0

        def take_chunk(status: int, chunk: bytes) -> None:
            nonlocal failed_with
            if status != 200:
                failed_with = status
                refused.extend(chunk[:MAX_REFUSAL])
                if len(refused) > MAX_REFUSAL:
                    raise refusal_of_body(status, bytes(refused), endpoint, doing)
                return
            for line in lines.feed(chunk):
                scope.deadline = float("inf")
                take(_decode(method, line, endpoint, doing))

        with trio.CancelScope(deadline=trio.current_time() + self._timeout) as scope:
            self._streams.add(scope)
            self._streaming.set()
            token = self._token
            try:
                token = await self._have_token(endpoint)
                await self._http.stream(Post(endpoint, method.path, body, token), take_chunk)
                if failed_with:
                    raise refusal_of_body(failed_with, bytes(refused), endpoint, doing)
            except TokenError:
                self._forget(token)
                raise
            except (RegistryUnavailableError, EndpointError):
                self._leave(endpoint)
                raise
            finally:
                self._streams.discard(scope)
        if scope.cancelled_caught:
            self._leave(endpoint)
        raise RegistryUnavailableError(f"{endpoint} has stopped to {doing}")

    async def streams(self) -> None:
        """Wait until there is a stream."""
        while not self._streams:
            self._streaming = trio.Event()
            await self._streaming.wait()

    def drop_streams(self) -> None:
        """End all streams: who they come from is silent."""
        for scope in self._streams:
            scope.cancel()

    def close(self) -> None:
        """Refuse all calls from now on."""
        self._closed = True

    def _endpoint(self) -> str:
        if self._closed:
            raise RegistryUnavailableError(f"the connection to {self.url} was closed by its owner")
        return self._address.endpoints[self._member]

    def _leave(self, endpoint: str) -> None:
        """Go on with the next member, unless that was done already."""
        endpoints = self._address.endpoints
        if len(endpoints) > 1 and endpoints[self._member] == endpoint:
            self._member = (self._member + 1) % len(endpoints)
            self.drop_streams()

    async def _ask(self, endpoint: str, method: Method[T], body: bytes, doing: str) -> T:
        token = await self._have_token(endpoint)
        try:
            return await self._post(endpoint, method, body, token, doing)
        except TokenError:
            if not self._address.user:
                raise
        self._forget(token)
        token = await self._have_token(endpoint)
        return await self._post(endpoint, method, body, token, doing)

    async def _post(
        self, endpoint: str, method: Method[T], body: bytes, token: str, doing: str
    ) -> T:
        status, answer = await self._http.post(Post(endpoint, method.path, body, token))
        if status != 200:
            raise refusal_of_body(status, answer, endpoint, doing)
        return _decode(method, answer, endpoint, doing)

    def _forget(self, token: str | None) -> None:
        if self._address.user and self._token == token:
            self._token = None

    async def _have_token(self, endpoint: str) -> str:
        """The token, asked for by one task when there is none."""
        if self._token is not None:
            return self._token
        async with self._authentication:
            if self._token is None:
                self._token = await self._authenticate(endpoint)
            return self._token

    async def _authenticate(self, endpoint: str) -> str:
        if self._refused and trio.current_time() < self._refused[0] + REFUSAL_PAUSE:
            raise type(self._refused[1])(*self._refused[1].args)
        who = {"name": self._address.user, "password": self._address.password}
        try:
            answer = await self._post(
                endpoint, AUTHENTICATE, msgspec.json.encode(who), "", "authenticate"
            )
        except AuthenticationOffError:
            return ""
        except (RegistryUnavailableError, EndpointError):
            raise
        except RegistryError as error:
            self._refused = trio.current_time(), error
            raise
        return answer.token


def _decode(method: Method[T], line: bytes, endpoint: str, doing: str) -> T:
    try:
        answer = method.answer.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise no_etcd(endpoint, f"its answer makes no sense ({error})") from error
    failed = getattr(answer, "error", None)
    if failed is not None:
        raise refusal(failed.http_code, failed.message, endpoint, doing)
    return answer
