"""Client: a process's part in the flows of its realm.

Whatever happens to the server, what is provided and consumed stays: the connections between
providers and consumers do not pass through it. The client finds or starts another server, and
tells it all that stands, as at first; there is no other way to register.
"""

import logging
import os
import socket
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import trio

from eventgraph.background import open_background
from eventgraph.flows.authentication.interface import Authentication
from eventgraph.flows.consumer import Consumer
from eventgraph.flows.conversion.parameters import check_format
from eventgraph.flows.errors import (
    FlowClosedError,
    FlowConversionError,
    FlowError,
    FlowObsoleteError,
    FlowProtocolError,
    FlowRefusedError,
)
from eventgraph.flows.format import FlowFormat
from eventgraph.flows.key import FlowKey, FlowPattern
from eventgraph.flows.listing import Listing, decode_listing
from eventgraph.flows.options import ProviderOptions
from eventgraph.flows.protocol import (
    Attach,
    Bye,
    ClientInfo,
    Connect,
    Done,
    End,
    FromServer,
    Inconvertible,
    Launch,
    Leave,
    List,
    Lost,
    Obsolete,
    Run,
    Running,
    Signal,
    Unsubscribe,
    Withdraw,
)
from eventgraph.flows.provider import Provider
from eventgraph.flows.registration import Consumed, Provided
from eventgraph.flows.ring import RingView
from eventgraph.flows.served import Served, Way
from eventgraph.flows.source import Source

_logger = logging.getLogger(__name__)


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
        registry: str | None = None,
    ) -> None:
        """
        Args:
            registry: that the server ought to have, as `ServerOptions.shown_registry`; None: any.
        """
        self.id = id or uuid.uuid4().hex
        self.name = name
        self.leaving = trio.Event()
        """Set when somebody wants this client to end."""
        self.close_when_leaving = True
        """Whether all its ends are closed then; else who heeds `leaving` does that, and soon."""
        self._nursery: trio.Nursery
        self._provided: dict[str, Provided] = {}
        self._consumed: dict[str, Consumed] = {}
        self._served = Served(
            way,
            authentication,
            ClientInfo(self.id, name, os.getpid(), launch),
            keepalive,
            registry,
            registrations=lambda: (*self._provided.values(), *self._consumed.values()),
            obey=self._obey,
        )

    @property
    def machine(self) -> str:
        """What the server calls the machine."""
        return self._served.machine

    @property
    def providers(self) -> tuple[Provider, ...]:
        """What it provides: those that are not closed."""
        return tuple(provided.provider for provided in self._provided.values())

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
        check_format(format)
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
        entry = Provided(flow, provider, variant, time.time_ns() if started is None else started)
        entry.known = known
        provider.set_running(bool(variant))  # until the server says so; only to the original
        self._provided[flow] = entry
        self._nursery.start_soon(provider.run, name=f"flow {key}")
        try:
            call = await self._served.ask(entry.message, entry.descriptors)
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
        if format is not None:
            check_format(format)
        subscription = uuid.uuid4().hex
        consumer = Consumer(
            pattern,
            partial(self._lost, subscription),
            partial(self._unsubscribe, subscription),
            partial(self._signal, subscription),
        )
        entry = self._consumed[subscription] = Consumed(subscription, consumer, format)
        try:
            await self._served.ask(entry.message)
        except BaseException:
            consumer.close()
            raise
        entry.known = True
        return consumer

    def _withdraw(self, flow: str) -> None:
        if self._provided.pop(flow, None) is not None:
            self._served.say(Withdraw(0, flow))

    def _unsubscribe(self, subscription: str) -> None:
        if self._consumed.pop(subscription, None) is not None:
            self._served.say(Unsubscribe(0, subscription))

    def _lost(self, subscription: str, source: Source) -> None:
        self._served.say(Lost(subscription, source.flow))

    async def _signal(self, subscription: str, start: bool) -> None:
        entry = self._consumed[subscription]
        before, entry.signal = entry.signal, start
        try:
            await self._served.ask(lambda n: Signal(n, subscription, start))
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
        call = await self._served.ask(lambda n: List(n, everywhere))
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
        call = await self._served.ask(lambda n: Run(n, launch, machine), again=False)
        assert isinstance(call.answer, Done)
        return call.answer.client

    async def end(self, client: str) -> None:
        """Let a client end, wherever it is.

        Raises:
            FlowRefusedError: there is none of that id.
        """
        await self._served.ask(lambda n: End(n, client))

    # Its life

    async def live(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Have a server, until cancelled; started when it has one.

        Raises:
            FlowServerError: there is no server, and none could be started.
            AuthenticationError: we do not trust each other.
            FlowVersionError: it speaks another version.
        """
        async with open_background() as self._nursery:
            self._nursery.start_soon(self._be_served)
            await self._served.wait()
            task_status.started()
            await trio.sleep_forever()

    async def _be_served(self) -> None:
        try:
            await self._served.run()
        except FlowError as error:
            self.close(FlowClosedError(f"the client has failed: {error}"))
            raise

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
                self._leave(message.reason)
            case _:
                raise FlowProtocolError(f"{type(message).__name__} out of place")

    def _leave(self, reason: str) -> None:
        _logger.info("%s is asked to end: %s", self.name, reason)
        self.leaving.set()
        if self.close_when_leaving:
            self.close(FlowClosedError(f"this client is to end: {reason}"))

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
        self._served.say(Bye())


@asynccontextmanager
async def open_client(client: FlowClient) -> AsyncIterator[FlowClient]:
    """Let a client live for the length of a block; it has its server when that begins.

    Raises:
        As `open_flows`.
    """
    async with open_background() as nursery:
        await nursery.start(client.live)
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
