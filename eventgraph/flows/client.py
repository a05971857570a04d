"""Client: a process's part in the flows of its realm.

Whatever happens to the server, what is provided and consumed stays: the connections between
providers and consumers do not pass through it. The client finds or starts another server, and
tells it all that stands, as at first; there is no other way to register.
"""

import logging
import os
import random
import socket
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, Protocol, TypeVar

import trio

from eventgraph.flows.authentication.handshake import ClientHandshake
from eventgraph.flows.authentication.interface import Authentication
from eventgraph.flows.channel import Channel, close_all
from eventgraph.flows.consumer import Consumer
from eventgraph.flows.errors import (
    AuthenticationError,
    FlowClosedError,
    FlowConversionError,
    FlowError,
    FlowObsoleteError,
    FlowProtocolError,
    FlowRefusedError,
    FlowServerError,
    FlowVersionError,
)
from eventgraph.flows.format import FlowFormat
from eventgraph.flows.key import FlowKey, FlowPattern
from eventgraph.flows.listing import Listing, decode_listing
from eventgraph.flows.options import ProviderOptions
from eventgraph.flows.protocol import (
    MAX_NAMED,
    VERSION,
    Attach,
    Bye,
    Challenge,
    ClientInfo,
    Connect,
    Done,
    End,
    FromServer,
    Hello,
    Inconvertible,
    Launch,
    Leave,
    List,
    Lost,
    Message,
    Obsolete,
    Page,
    Ping,
    Provide,
    Refused,
    Run,
    Running,
    Signal,
    Subscribe,
    Unsubscribe,
    Welcome,
    Withdraw,
    decode_from_server,
)
from eventgraph.flows.provider import Provider
from eventgraph.flows.ring import RingView
from eventgraph.flows.source import Source
from eventgraph.pipes.background import open_background

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


class _Provided:
    """A flow of ours."""

    def __init__(self, flow: str, provider: Provider, variant: str, started: int) -> None:
        self.flow = flow
        self.provider = provider
        self.variant = variant
        self.started = started
        self.stopped_by: tuple[str, ...] = ()
        self.started_by: tuple[str, ...] = ()
        self.known = False  # to a server, now or before
        self.begun = False  # it was running once

    def message(self, n: int) -> Message:
        provider = self.provider
        return Provide(
            n,
            self.flow,
            provider.key,
            provider.format,
            self.started,
            provider.options,
            self.known,
            self.variant,
            self.stopped_by,
            self.started_by,
            self.begun,
        )


class _Consumed:
    """A subscription of ours."""

    def __init__(self, subscription: str, consumer: Consumer, wanted: FlowFormat | None) -> None:
        self.subscription = subscription
        self.consumer = consumer
        self.wanted = wanted
        self.signal: bool | None = None
        self.known = False

    def message(self, n: int) -> Message:
        sources = self.consumer.sources[-MAX_NAMED:]  # the others are connected again
        attached = tuple((source.key, source.flow) for source in sources)
        return Subscribe(
            n, self.subscription, self.consumer.pattern, self.wanted, attached, self.signal
        )


class _Call:
    """A request that waits for its answer; None: the connection was lost meanwhile."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.answered = trio.Event()
        self.answer: Done | Refused | None = None
        self.pages: list[bytes] = []


class FlowClient:
    """Provides and consumes. Made by `eventgraph.flows.open_flows`."""

    def __init__(
        self,
        way: Way,
        authentication: Authentication,
        *,
        name: str,
        launch: Launch | None = None,
        id: str | None = None,
        keepalive: float = 2.0,
    ) -> None:
        self.id = id or uuid.uuid4().hex
        self.name = name
        self.machine = ""
        """What the server calls the machine."""
        self.leaving = trio.Event()
        """Set when somebody wants this client to end."""
        self._way = way
        self._authentication = authentication
        self._info = ClientInfo(self.id, name, os.getpid(), launch)
        self._keepalive = keepalive
        self._nursery: trio.Nursery
        self._channel: Channel | None = None
        self._changed = trio.lowlevel.ParkingLot()
        self._failure: FlowError | None = None
        self._provided: dict[str, _Provided] = {}
        self._consumed: dict[str, _Consumed] = {}
        self._calls: dict[int, _Call] = {}
        self._last_number = 0
        self._last_heard = 0.0

    # Provide and consume

    async def provide(
        self,
        key: FlowKey | str,
        format: FlowFormat | str = "RAW",
        options: ProviderOptions | None = None,
        *,
        variant: str = "",
    ) -> Provider:
        """Begin a flow. If another provides it, this one takes over.

        Args:
            key: or as ``group/name``.
            format: or as text, see `FlowFormat.parse`.
            variant: for converters: of which format of the flow this is the provider.
        Raises:
            FlowNameError, FlowOptionError: an argument makes no sense.
            FlowRefusedError: the server does not want it.
            FlowClosedError: the client was closed, or has failed.
        """
        key = FlowKey.parse(key) if isinstance(key, str) else key
        format = FlowFormat.parse(format) if isinstance(format, str) else format
        return await self._provide(key, format, options or ProviderOptions(), variant=variant)

    async def bring_in(
        self,
        key: FlowKey,
        format: FlowFormat,
        options: ProviderOptions,
        *,
        flow: str,
        started: int,
    ) -> Provider:
        """For servers: provide what another machine provides, under its id. As `provide`."""
        provider = await self._provide(key, format, options, flow=flow, started=started)
        provider.set_running(True)  # it is stopped where it comes from
        return provider

    async def _provide(
        self,
        key: FlowKey,
        format: FlowFormat,
        options: ProviderOptions,
        *,
        variant: str = "",
        flow: str | None = None,
        started: int | None = None,
    ) -> Provider:
        known = flow is not None
        flow = flow or uuid.uuid4().hex
        provider = Provider(key, format, options, partial(self._withdraw, flow))
        entry = _Provided(flow, provider, variant, time.time_ns() if started is None else started)
        entry.known = known
        provider.set_running(bool(variant))  # until the server says so; only to the original
        self._provided[flow] = entry
        self._nursery.start_soon(provider.run, name=f"flow {key}")
        try:
            call = await self._ask(entry.message, [provider.ring.fd])
        except BaseException:
            provider.close()
            raise
        assert isinstance(call.answer, Done)
        entry.started = call.answer.started
        entry.known = True
        return provider

    async def consume(
        self, pattern: FlowPattern | FlowKey | str, format: FlowFormat | str | None = None
    ) -> Consumer:
        """Take part in flows. Their providers may come later, and come and go.

        Args:
            pattern: or as ``group/name``, or ``*/name``.
            format: that is wanted; a converter is started if the provider has another.
        Raises:
            As `provide`.
        """
        if isinstance(pattern, FlowKey):
            pattern = FlowPattern(pattern.group, pattern.name)
        elif isinstance(pattern, str):
            pattern = FlowPattern.parse(pattern)
        format = FlowFormat.parse(format) if isinstance(format, str) else format
        subscription = uuid.uuid4().hex
        consumer = Consumer(
            pattern,
            partial(self._lost, subscription),
            partial(self._unsubscribe, subscription),
            partial(self._signal, subscription),
        )
        entry = self._consumed[subscription] = _Consumed(subscription, consumer, format)
        try:
            await self._ask(entry.message)
        except BaseException:
            consumer.close()
            raise
        entry.known = True
        return consumer

    def _withdraw(self, flow: str) -> None:
        if self._provided.pop(flow, None) is not None:
            self._say(Withdraw(0, flow))

    def _unsubscribe(self, subscription: str) -> None:
        if self._consumed.pop(subscription, None) is not None:
            self._say(Unsubscribe(0, subscription))

    def _lost(self, subscription: str, source: Source) -> None:
        self._say(Lost(subscription, source.flow))

    async def _signal(self, subscription: str, start: bool) -> None:
        entry = self._consumed[subscription]
        before, entry.signal = entry.signal, start
        try:
            await self._ask(lambda n: Signal(n, subscription, start))
        except FlowRefusedError:
            entry.signal = before
            raise

    # The whole

    async def look(self, *, everywhere: bool = True) -> Listing:
        """Machines, clients and flows, as they are now.

        Args:
            everywhere: on all machines, not on this alone.
        Raises:
            FlowServerError: the server was lost meanwhile, and could not be replaced.
        """
        call = await self._ask(lambda n: List(n, everywhere))
        return decode_listing(b"".join(call.pages))

    async def run(self, launch: Launch, machine: str = "") -> str:
        """Start a client; the server starts it again when it crashes.

        Args:
            machine: where; by default, here.
        Returns:
            its id.
        Raises:
            FlowRefusedError: it could not be started.
            FlowServerError: the server was lost meanwhile; it may have been started or not.
        """
        call = await self._ask(lambda n: Run(n, launch, machine), again=False)
        assert isinstance(call.answer, Done)
        return call.answer.client

    async def end(self, client: str) -> None:
        """Let a client end, wherever it is.

        Raises:
            FlowRefusedError: there is none of that id.
        """
        await self._ask(lambda n: End(n, client))

    # Requests

    async def _ask(
        self,
        message: Callable[[int], Message],
        descriptors: list[int] | None = None,
        *,
        again: bool = True,
    ) -> _Call:
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
    ) -> _Call:
        self._last_number = number = self._last_number % 0xFFFFFFFF + 1
        channel.send(message(number), descriptors)
        call = self._calls[number] = _Call(number)
        return call

    async def _is_answered(self, call: _Call) -> bool:
        """Wait for the answer; False: the server was lost before."""
        try:
            await call.answered.wait()
        finally:
            self._calls.pop(call.number, None)
        if isinstance(call.answer, Refused):
            raise _error(call.answer)
        return call.answer is not None

    async def wait_served(self) -> None:
        """Wait until it has a server."""
        await trio.lowlevel.checkpoint()
        while self._channel is None:  # if there is none to be had, `live` says so
            await self._changed.park()

    async def _connected(self) -> Channel:
        await trio.lowlevel.checkpoint()
        while self._channel is None:
            if self._failure is not None:
                raise self._failure
            await self._changed.park()
        return self._channel

    def _say(self, message: Message) -> None:
        """Something that needs no answer; to the next server it would be no news."""
        if self._channel is not None:
            self._channel.send(message)

    # Its life

    async def live(self) -> None:
        """Have a server, until cancelled.

        Raises:
            FlowServerError: there is no server, and none could be started.
            AuthenticationError: we do not trust each other.
            FlowVersionError: it speaks another version.
        """
        pause = RETRY_MIN
        async with open_background() as nursery:
            self._nursery = nursery
            try:
                while True:
                    began = trio.current_time()
                    try:
                        await self._be_served(await self._way.connect())
                    except (FlowClosedError, FlowProtocolError, trio.TooSlowError) as error:
                        _logger.info("%s: the server is lost: %s", self.name, error)
                    if trio.current_time() - began > RETRY_MAX:
                        pause = RETRY_MIN
                    await trio.sleep(random.uniform(0.5, 1) * pause)  # not all at once
                    pause = min(2 * pause, RETRY_MAX)
            except FlowError as error:
                self._fail(error)
                raise

    def _fail(self, error: FlowError) -> None:
        self._failure = error
        self._changed.unpark_all()
        self.close(FlowClosedError(f"the client has failed: {error}"))

    async def _be_served(self, sock: socket.socket) -> None:
        channel = Channel(sock)
        try:
            with trio.fail_after(HANDSHAKE_TIMEOUT):
                await self._greet(channel)
        except trio.TooSlowError:
            channel.close()
            _logger.warning("the server of %s does not answer; it is replaced", self.name)
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
            channel.send(Hello(VERSION, handshake.method, handshake.nonce, b"", self._info))
            raise FlowVersionError(
                f"the server speaks version {challenge.version}, this client {VERSION}: "
                "end the server, or update the older of both"
            )
        proof = handshake.answer(challenge.method, challenge.nonce)
        channel.send(Hello(VERSION, handshake.method, handshake.nonce, proof, self._info))
        welcome = await self._hear(channel, Welcome)
        handshake.finish(welcome.proof)
        self.machine = challenge.machine

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
        """All that stands; at once, so that no request comes before what it is about."""
        for provided in list(self._provided.values()):
            if provided.known:
                ring = [provided.provider.ring.fd]
                call = self._request(channel, provided.message, ring)
                nursery.start_soon(self._end_if_refused, call, provided.provider)
        for consumed in list(self._consumed.values()):
            if consumed.known:
                call = self._request(channel, consumed.message, [])
                nursery.start_soon(self._end_if_refused, call, consumed.consumer)

    async def _end_if_refused(self, call: _Call, end: Provider | Consumer) -> None:
        try:
            await self._is_answered(call)
        except FlowError as error:
            end.close(FlowClosedError(f"the new server does not want it: {error}"))

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
                    _logger.warning("the server of %s hangs; it is replaced", self.name)
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

    def _obey(self, message: FromServer, descriptors: list[int]) -> None:
        match message:
            case Attach():
                if message.flow in self._provided and descriptors:
                    provider = self._provided[message.flow].provider
                    provider.attach(message.consumer, socket.socket(fileno=descriptors.pop()))
            case Connect():
                if message.subscription in self._consumed and len(descriptors) == 2:
                    self._connect(message, descriptors)
            case Running():
                if (provided := self._provided.get(message.flow)) is not None:
                    provided.stopped_by = message.stopped_by
                    provided.started_by = message.started_by
                    provided.begun |= message.running
                    provided.provider.set_running(message.running)
            case Obsolete():
                if (provided := self._provided.get(message.flow)) is not None:
                    key = provided.provider.key
                    provided.provider.close(
                        FlowObsoleteError(f"{key}: {message.by} has taken over; end")
                    )
            case Inconvertible():
                if (consumed := self._consumed.get(message.subscription)) is not None:
                    consumed.consumer.close(FlowConversionError(message.reason))
            case Leave():
                _logger.info("%s is asked to end: %s", self.name, message.reason)
                self.leaving.set()
                self.close(FlowClosedError(f"this client is to end: {message.reason}"))
            case _:
                raise FlowProtocolError(f"{type(message).__name__} out of place")

    def _connect(self, message: Connect, descriptors: list[int]) -> None:
        ring_fd, sock_fd = descriptors.pop(), descriptors.pop()
        sock = socket.socket(fileno=sock_fd)
        try:
            ring = RingView(ring_fd)
        except BaseException:
            sock.close()
            raise
        consumer = self._consumed[message.subscription].consumer
        consumer.connect(Source(message.flow, message.key, message.format, sock, ring))

    def close(self, error: FlowClosedError | None = None) -> None:
        """End all that it provides and consumes. Idempotent."""
        error = error or FlowClosedError("the client was closed")
        for provided in list(self._provided.values()):
            provided.provider.close(error)
        for consumed in list(self._consumed.values()):
            consumed.consumer.close(error)

    def say_bye(self) -> None:
        """It ends, and did not crash."""
        self._say(Bye())


def _error(refused: Refused) -> FlowError:
    return _ERRORS.get(refused.error, FlowRefusedError)(refused.reason)


@asynccontextmanager
async def open_client(client: FlowClient) -> AsyncIterator[FlowClient]:
    """Let a client live for the length of a block; it has its server when that begins.

    Raises:
        As `open_flows`.
    """
    async with open_background() as nursery:
        nursery.start_soon(client.live)
        await client.wait_served()
        crashes = False
        try:
            yield client
        except Exception:
            crashes = True
            raise
        finally:
            if not crashes:
                client.say_bye()
            client.close()
