"""Served: having a server, whichever it is, and asking it.

The server that is lost, or that hangs, is replaced; the next is told all that stands, before any
request is made, so that none comes before what it is about.
"""

import logging
import random
import socket
from collections.abc import Callable, Iterable
from typing import Final, Protocol, TypeVar

import trio

from eventgraph.background import open_background
from eventgraph.flows.authentication.handshake import ClientHandshake
from eventgraph.flows.authentication.interface import Authentication
from eventgraph.flows.channel import Channel, close_all
from eventgraph.flows.errors import (
    AuthenticationError,
    FlowClosedError,
    FlowConversionError,
    FlowError,
    FlowProtocolError,
    FlowRefusedError,
    FlowServerError,
    FlowVersionError,
)
from eventgraph.flows.protocol import (
    VERSION,
    Challenge,
    ClientInfo,
    Done,
    FromServer,
    Hello,
    Message,
    Page,
    Ping,
    Refused,
    Welcome,
    decode_from_server,
)
from eventgraph.flows.registration import Registration

HANDSHAKE_TIMEOUT: Final = 5.0  # seconds
RETRY_MIN, RETRY_MAX = 0.02, 1.0  # seconds between two tries to have a server
BEATS: Final = 3  # pings in the keepalive time

_ERRORS: Final = {
    error.__name__: error
    for error in (AuthenticationError, FlowServerError, FlowVersionError, FlowConversionError)
}

Kind = TypeVar("Kind")

_logger = logging.getLogger(__name__)


class Way(Protocol):
    """How a client comes to its server; `eventgraph.flows.door.Door` as a rule."""

    async def connect(self) -> socket.socket:
        """A connection with the server, which is started if there is none.

        Raises:
            FlowServerError: there is none, and none could be started.
        """
        ...

    async def replace(self) -> None:
        """The server does not answer: end it, so that another can be started."""
        ...


class Call:
    """A request that waits for its answer; None: the connection was lost meanwhile."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.answered = trio.Event()
        self.answer: Done | Refused | None = None
        self.pages: list[bytes] = []


class Served:
    """One client's connection with its server, or the next one.

    Args:
        way: to the server.
        client: who is served.
        keepalive: seconds of silence after which the server is replaced.
        registry: that the server ought to have; None: any.
        registrations: what stands, and each server is to know.
        obey: does what the server says; takes the descriptors that it keeps out of the list.
    """

    def __init__(
        self,
        way: Way,
        authentication: Authentication,
        client: ClientInfo,
        keepalive: float,
        registry: str | None = None,
        *,
        registrations: Callable[[], Iterable[Registration]],
        obey: Callable[[FromServer, list[int]], None],
    ) -> None:
        self.machine = ""
        """What the server calls the machine."""
        self._way = way
        self._authentication = authentication
        self._client = client
        self._keepalive = keepalive
        self._registry = registry
        self._other_registry: str | None = None  # of the last server, if it has been warned of
        self._registrations = registrations
        self._obey = obey
        self._channel: Channel | None = None
        self._changed = trio.lowlevel.ParkingLot()
        self._failure: FlowError | None = None
        self._calls: dict[int, Call] = {}
        self._last_number = 0
        self._last_heard = 0.0

    async def ask(
        self,
        message: Callable[[int], Message],
        descriptors: list[int] | None = None,
        *,
        again: bool = True,
    ) -> Call:
        """Request something until it is answered, by this server or the next.

        Args:
            again: False: once at most.
        """
        while True:
            channel = await self._connected()
            call = self._request(channel, message, descriptors or [])
            if await self._is_answered(call):
                return call
            if not again:
                raise FlowServerError("the server was lost before it answered; look what there is")

    def _request(
        self, channel: Channel, message: Callable[[int], Message], descriptors: list[int]
    ) -> Call:
        self._last_number = number = self._last_number % 0xFFFFFFFF + 1
        channel.send(message(number), descriptors)
        call = self._calls[number] = Call(number)
        return call

    async def _is_answered(self, call: Call) -> bool:
        """Wait for the answer; False: the server was lost before."""
        try:
            await call.answered.wait()
        finally:
            self._calls.pop(call.number, None)
        if isinstance(call.answer, Refused):
            raise _error(call.answer)
        return call.answer is not None

    async def wait(self) -> None:
        """Wait until it has a server."""
        await trio.lowlevel.checkpoint()
        while self._channel is None:  # if there is none to be had, `run` says so
            await self._changed.park()

    async def _connected(self) -> Channel:
        await trio.lowlevel.checkpoint()
        while self._channel is None:
            if self._failure is not None:
                raise self._failure
            await self._changed.park()
        return self._channel

    def say(self, message: Message) -> None:
        """Something that needs no answer; to the next server it would be no news."""
        if self._channel is not None:
            self._channel.send(message)

    # Its life

    async def run(self) -> None:
        """Have a server, until cancelled.

        Raises:
            FlowServerError: there is no server, and none could be started.
            AuthenticationError: we do not trust each other.
            FlowVersionError: it speaks another version.
        """
        pause = RETRY_MIN
        try:
            while True:
                began = trio.current_time()
                try:
                    await self._be_served(await self._way.connect())
                except (FlowClosedError, FlowProtocolError, trio.TooSlowError) as error:
                    _logger.info("%s: the server is lost: %s", self._client.name, error)
                if trio.current_time() - began > RETRY_MAX:
                    pause = RETRY_MIN
                await trio.sleep(random.uniform(0.5, 1) * pause)  # not all at once
                pause = min(2 * pause, RETRY_MAX)
        except FlowError as error:
            self._failure = error
            self._changed.unpark_all()
            raise

    async def _be_served(self, sock: socket.socket) -> None:
        channel = Channel(sock)
        try:
            with trio.fail_after(HANDSHAKE_TIMEOUT):
                await self._greet(channel)
        except trio.TooSlowError:
            channel.close()
            _logger.warning("the server of %s does not answer; it is replaced", self._client.name)
            await self._way.replace()
            return
        except BaseException:
            channel.close()
            raise
        try:
            async with open_background() as nursery:
                nursery.start_soon(channel.run)
                nursery.start_soon(self._keep_alive, channel)
                self._register_all(channel, nursery)
                self._channel = channel
                self._changed.unpark_all()
                await self._listen(channel)
        finally:
            self._channel = None
            channel.close()
            for call in self._calls.values():
                call.answered.set()

    async def _greet(self, channel: Channel) -> None:
        challenge = await self._hear(channel, Challenge)
        handshake = ClientHandshake(self._authentication)
        if challenge.version != VERSION:
            channel.send(Hello(VERSION, handshake.method, handshake.nonce, b"", self._client))
            raise FlowVersionError(
                f"the server speaks version {challenge.version}, this client {VERSION}: "
                "end the server, or update the older of both"
            )
        proof = handshake.answer(challenge.method, challenge.nonce)
        channel.send(Hello(VERSION, handshake.method, handshake.nonce, proof, self._client))
        welcome = await self._hear(channel, Welcome)
        handshake.finish(welcome.proof)
        self.machine = challenge.machine
        self._compare(welcome.registry)

    def _compare(self, registry: str) -> None:
        """Say once that a server was started with another registry than is wanted here."""
        if self._registry is None or registry == self._registry:
            self._other_registry = None
        elif registry != self._other_registry:
            self._other_registry = registry
            _logger.warning(
                "%s: the server that runs has %s, not %s: other machines are found there; "
                "end it to have another",
                self._client.name,
                f"the registry {registry}" if registry else "no registry",
                self._registry or "none",
            )

    async def _hear(self, channel: Channel, kind: type[Kind]) -> Kind:
        data, descriptors = await channel.receive()
        close_all(descriptors)
        message = decode_from_server(data)
        if isinstance(message, Refused):
            raise _error(message)
        if not isinstance(message, kind):
            raise FlowProtocolError(f"{type(message).__name__} where {kind.__name__} is due")
        return message

    def _register_all(self, channel: Channel, nursery: trio.Nursery) -> None:
        for registration in list(self._registrations()):
            if registration.known:
                call = self._request(channel, registration.message, registration.descriptors)
                nursery.start_soon(self._end_if_refused, call, registration)

    async def _end_if_refused(self, call: Call, registration: Registration) -> None:
        try:
            await self._is_answered(call)
        except FlowError as error:
            registration.close(FlowClosedError(f"the new server does not want it: {error}"))

    async def _keep_alive(self, channel: Channel) -> None:
        """See whether the server answers; a process that hangs leaves its connections open."""
        while True:
            await trio.sleep(self._keepalive / BEATS)
            heard = self._last_heard
            channel.send(Ping(0))
            with trio.move_on_after(self._keepalive):
                await self._until_heard(heard)
            if self._last_heard == heard:
                await trio.sleep(self._keepalive / BEATS)  # did we hang ourselves? read first
                if self._last_heard == heard and not channel.closed:
                    _logger.warning("the server of %s hangs; it is replaced", self._client.name)
                    await self._way.replace()
                    channel.close()

    async def _until_heard(self, heard: float) -> None:
        while self._last_heard == heard:
            await self._changed.park()

    async def _listen(self, channel: Channel) -> None:
        while True:
            data, descriptors = await channel.receive()
            self._last_heard = trio.current_time()
            self._changed.unpark_all()
            try:
                self._take(decode_from_server(data), descriptors)
            finally:
                close_all(descriptors)

    def _take(self, message: FromServer, descriptors: list[int]) -> None:
        """Take what the server says; descriptors that are used are taken out of the list."""
        match message:
            case Done() | Refused():
                call = self._calls.get(message.n)
                if call is not None:
                    call.answer = message
                    call.answered.set()
            case Page():
                if (call := self._calls.get(message.n)) is not None:
                    call.pages.append(message.data)
            case _:
                self._obey(message, descriptors)


def _error(refused: Refused) -> FlowError:
    return _ERRORS.get(refused.error, FlowRefusedError)(refused.reason)
