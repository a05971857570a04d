"""Server: the broker of one realm on one machine, with its clients around it.

It connects providers and consumers with each other, and is then out of the way: no block passes
through it, but those from and to other machines. What it knows it was told by its clients; a
server that takes the place of another is told it again.
"""

import logging
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import trio

from eventgraph.flows.authentication.interface import Authentication
from eventgraph.flows.channel import Channel, close_all
from eventgraph.flows.conversion.opening import Conversions
from eventgraph.flows.errors import (
    FlowClosedError,
    FlowError,
    FlowProtocolError,
    FlowRefusedError,
)
from eventgraph.flows.format import FlowFormat
from eventgraph.flows.key import FlowKey
from eventgraph.flows.listing import (
    ClientListing,
    Listing,
    MachineListing,
    encode_listing,
)
from eventgraph.flows.protocol import (
    MAX_NAMED,
    MAX_REASON,
    PAGE_SIZE,
    Attach,
    Bye,
    ClientInfo,
    Connect,
    Done,
    End,
    FromClient,
    Hello,
    Inconvertible,
    Launch,
    Leave,
    List,
    Lost,
    Obsolete,
    Page,
    Ping,
    Provide,
    Run,
    Running,
    Signal,
    Subscribe,
    Unsubscribe,
    Withdraw,
)
from eventgraph.flows.ring import check_ring
from eventgraph.flows.server.broker import Actions, Broker, Flow, Subscription
from eventgraph.flows.server.census import Census
from eventgraph.flows.server.options import ServerOptions
from eventgraph.flows.server.others import Others
from eventgraph.flows.server.session import MAX_WORK, Session

RECONNECT_PAUSE: Final = 0.05  # seconds before a consumer that has lost a provider gets it again
DESCRIPTOR_PAUSE: Final = 1.0  # seconds to wait for descriptors if there are none
RETURN_TIME: Final = 0.6
"""Seconds after a flow has come from a server that is no more, in which who had stopped it may come
from there, too; then it is started."""
MAX_FLOWS: Final = 4096  # each holds a descriptor
MAX_SUBSCRIPTIONS: Final = 16384
MAX_STRANGERS: Final = 64  # that have connected, and not proved who they are; others wait

_logger = logging.getLogger(__name__)


class FlowServer(Actions):
    """Serves clients that come by `serve` and `own_connection`.

    Attributes:
        on_rearranged: told of each key of which something has changed.
        on_client: told of each client that comes (True) or goes.
        end_launched: told of each client that is to end; whether it was started here.
        list_launched: those that were started here and are not connected.
        problem: why other machines are not found, or cannot come here; empty: nothing is wrong.
    """

    def __init__(
        self, options: ServerOptions, authentication: Authentication, conversions: Conversions
    ) -> None:
        self.options = options
        self.broker = Broker(self)
        self.sessions: dict[str, Session] = {}
        self.on_rearranged: list[Callable[[FlowKey], None]] = []
        self.on_client: list[Callable[[Session, bool], None]] = []
        self.on_obsolete: Callable[[Flow], None] = lambda flow: None
        self.others: Others | None = None
        self.problem = ""
        self.run_client: Callable[[Launch, str], Awaitable[str]] | None = None
        self.end_launched: Callable[[str], bool] = lambda client: False
        self.list_launched: Callable[[], tuple[ClientListing, ...]] = tuple
        self.describe: Callable[[], MachineListing] = lambda: MachineListing(options.machine)
        self.describe_client: Callable[[ClientInfo], ClientListing] = _plain_client
        self._authentication = authentication
        self._conversions = conversions
        self._rings: dict[str, tuple[int, int]] = {}  # by flow: descriptor, bytes
        self._strangers: dict[Session, None] = {}  # the oldest first
        self._lost: set[tuple[str, str]] = set()  # subscriptions and flows
        self._returning: set[FlowKey] = set()
        self._nursery: trio.Nursery
        self._census = Census(
            self.broker,
            self.sessions,
            size_of=lambda flow: self._rings[flow][1],
            origin_of=lambda flow: self.others.origin_of(flow) if self.others else "",
        )

    # Its clients

    async def run(self, listener: socket.socket) -> None:
        """Accept clients, until cancelled."""
        async with trio.open_nursery() as self._nursery:
            while True:
                await trio.lowlevel.wait_readable(listener)
                try:
                    sock, _ = listener.accept()
                except BlockingIOError:
                    continue
                except OSError as error:  # no descriptors are left: those who are here go on
                    _logger.warning("cannot accept a client: %s", error.strerror)
                    await trio.sleep(RECONNECT_PAUSE)
                    continue
                if len(self._strangers) >= MAX_STRANGERS:
                    oldest = next(iter(self._strangers))
                    del self._strangers[oldest]
                    oldest.channel.close()
                session = Session(Channel(sock))
                self._strangers[session] = None
                self._nursery.start_soon(self._serve, session)

    async def own_connection(self) -> socket.socket:
        """For a client that is a part of the server."""
        await trio.lowlevel.checkpoint()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._nursery.start_soon(self._serve, Session(Channel(ours), own=True))
        return theirs

    async def _await_return(self, key: FlowKey) -> None:
        await trio.sleep(RETURN_TIME)
        self._returning.discard(key)
        self.broker.forget_remembered(key)

    async def _serve(self, session: Session) -> None:
        channel = session.channel
        async with trio.open_nursery() as nursery:
            nursery.start_soon(channel.run)
            try:
                try:
                    known = await session.greet(
                        self.options.machine,
                        self._authentication,
                        self._admit,
                        registry=self.options.shown_registry,
                    )
                finally:
                    self._strangers.pop(session, None)
                if known:
                    await self._be_there_for(session)
            except FlowClosedError:
                pass
            except FlowError as error:
                _logger.warning("client %s is cut off: %s", session.client.name, error)
            finally:
                nursery.cancel_scope.cancel()
                channel.close()

    def _admit(self, client: ClientInfo) -> None:
        there = [id for id, session in self.sessions.items() if not session.own]
        if client.id not in there and len(there) >= self.options.max_clients:
            raise FlowRefusedError(
                f"there are {len(there)} clients: end some, or make max_clients larger"
            )

    async def _be_there_for(self, session: Session) -> None:
        id = session.client.id
        if id in self.sessions:  # it comes back before its end was noticed
            self.sessions[id].channel.close()
            self._left(self.sessions[id])
        self.sessions[id] = session
        for tell in self.on_client:
            tell(session, True)
        try:
            while True:
                message, descriptors = await session.receive()
                try:
                    self._take(session, message, descriptors)
                finally:
                    close_all(descriptors)
        finally:
            if self.sessions.get(id) is session:
                self._left(session)

    def _left(self, session: Session) -> None:
        del self.sessions[session.client.id]
        for flow in self.broker.leave(session.client.id):
            self._forget_ring(flow.id)
        for tell in self.on_client:
            tell(session, False)

    def _take(self, session: Session, message: FromClient, descriptors: list[int]) -> None:
        """Do what a client wants; descriptors that are kept are taken out of the list."""
        client = session.client.id
        match message:
            case Ping():
                session.send(Done(0))
            case Lost():
                self._reconnect_soon(message, client, RECONNECT_PAUSE)
            case Bye():
                session.said_bye = True
            case List() | Run() | End():
                if session.work >= MAX_WORK:
                    error = FlowRefusedError(f"{MAX_WORK} requests of yours are being done: wait")
                    session.answer(message.n, error)
                    return
                session.work += 1
                self._nursery.start_soon(self._work, session, message)
            case Hello():
                raise FlowProtocolError("a second greeting")
            case _:
                try:
                    started = self._change(session, message, descriptors)
                except FlowError as error:
                    session.answer(message.n, error)
                else:
                    session.answer(message.n, started=started)

    def _change(self, session: Session, message: FromClient, descriptors: list[int]) -> int:
        """For a flow: since when it counts as started."""
        client = session.client.id
        match message:
            case Provide():
                return self._provide(session, message, descriptors)
            case Withdraw():
                self.broker.withdraw(message.flow, client)
                self._forget_ring(message.flow)
            case Subscribe():
                if len(self.broker.subscriptions) >= MAX_SUBSCRIPTIONS:
                    raise FlowRefusedError(f"more than {MAX_SUBSCRIPTIONS} subscriptions")
                subscription = Subscription(
                    message.subscription, client, message.pattern, message.format
                )
                subscription.own = session.own
                subscription.attached = dict(message.attached)
                subscription.signal = message.signal
                self.broker.subscribe(subscription)
            case Unsubscribe():
                self.broker.unsubscribe(message.subscription, client)
            case Signal():
                self.broker.signal(message.subscription, client, start=message.start)
        return 0

    def _provide(self, session: Session, message: Provide, descriptors: list[int]) -> int:
        """Since when it counts as started."""
        if len(descriptors) != 1:
            raise FlowProtocolError("a flow comes with one ring")
        slots, slot_size = check_ring(descriptors[0])
        size = slots * slot_size
        if self.memory + size > self.options.memory_limit:
            raise FlowRefusedError(
                f"{message.key}: a ring of {size:,} bytes; {self.memory:,} of "
                f"{self.options.memory_limit:,} are in use: make slots or max_block smaller, or "
                "the server's memory_limit larger"
            )
        if len(self._rings) >= MAX_FLOWS:
            raise FlowRefusedError(f"more than {MAX_FLOWS} flows")
        flow = Flow(
            message.flow,
            session.client.id,
            message.key,
            message.format,
            started=self._rank(session, message),
            variant=message.variant,
            options=message.options,
            remote=session.own,
            begun=message.begun,
            new=not message.again,
        )
        if self.broker.flow(flow.id) is not None:
            raise FlowRefusedError(f"there is a flow with the id {flow.id} already")
        if message.stopped_by or message.started_by:
            self.broker.remember(message.key, message.stopped_by, message.started_by)
            if message.key not in self._returning:
                self._returning.add(message.key)
                self._nursery.start_soon(self._await_return, message.key)
        self._rings[flow.id] = descriptors.pop(), size
        self.broker.provide(flow)
        return flow.rank[0]

    def _rank(self, session: Session, message: Provide) -> int:
        """Since when it counts as started: what comes new takes over, whatever a clock shows.

        What comes again was there before all that has come new to this server.
        """
        if session.own:
            return message.started  # as elsewhere
        stream = self.broker.streams.get(message.key)
        if message.again:
            newcomers = stream.newcomers if stream is not None else []
            return min([message.started, *(flow.rank[0] - 1 for flow in newcomers)])
        chosen = stream.chosen if stream is not None else None
        started = message.started if chosen is None else max(message.started, chosen.rank[0] + 1)
        return started if self.others is None else self.others.rank_for(started)

    def _forget_ring(self, flow: str) -> None:
        descriptor, _ = self._rings.pop(flow)
        os.close(descriptor)

    @property
    def memory(self) -> int:
        """Bytes of all rings."""
        return sum(size for _, size in self._rings.values())

    def _reconnect_soon(self, lost: Lost, client: str, pause: float) -> None:
        """The provider is gone, as a rule, and its own end is about to be noticed."""
        known = lost.subscription, lost.flow
        if known not in self._lost and self.broker.has_lost(client, *known):
            self._lost.add(known)
            self._nursery.start_soon(self._reconnect, lost, client, pause)

    async def _reconnect(self, lost: Lost, client: str, pause: float) -> None:
        await trio.sleep(pause)
        self._lost.discard((lost.subscription, lost.flow))
        self.broker.lost(lost.subscription, client, lost.flow)

    async def _work(self, session: Session, message: List | Run | End) -> None:
        """Requests that take their time."""
        client = ""
        try:
            match message:
                case List():
                    await self._list(session, message)
                case Run():
                    if self.run_client is None:
                        raise FlowRefusedError("this server starts no clients")
                    client = await self.run_client(message.launch, message.machine)
                case End():
                    await self._end(message.client)
        except FlowError as error:
            session.answer(message.n, error)
        else:
            session.answer(message.n, client=client)
        finally:
            session.work -= 1

    async def _list(self, session: Session, message: List) -> None:
        machines = [self.listing()]
        if message.everywhere and self.others is not None:
            machines += await self.others.look_around()
        realm = self.options.realm
        data = encode_listing(Listing(realm.application, realm.user, tuple(machines)))
        for start in range(0, len(data), PAGE_SIZE):
            session.send(Page(message.n, data[start : start + PAGE_SIZE]))

    async def _end(self, client: str) -> None:
        try:
            self.end_here(client)
        except FlowRefusedError:
            if self.others is None:
                raise
            await self.others.end_elsewhere(client)

    def end_here(self, client: str, reason: str = "it was asked for") -> None:
        """Let a client of this server end.

        Raises:
            FlowRefusedError: there is none of that id.
        """
        launched = self.end_launched(client)
        session = self.sessions.get(client)
        if session is not None and not session.own:
            session.send(Leave(reason))
        elif not launched:
            raise FlowRefusedError(f"there is no client with the id {client}")

    # What the broker has done

    def attach(self, flow: Flow, subscription: Subscription) -> None:
        provider, consumer = self.sessions[flow.client], self.sessions[subscription.client]
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError as error:  # no descriptors are left: those who are connected go on
            _logger.error("cannot connect %s: %s", consumer.client.name, error.strerror)  # noqa: TRY400
            lost = Lost(subscription.id, flow.id)
            self._reconnect_soon(lost, subscription.client, DESCRIPTOR_PAUSE)
            return
        with ours, theirs:
            ring, _ = self._rings[flow.id]
            provider.send(Attach(flow.id, consumer.client.name), [ours.fileno()])
            consumer.send(
                Connect(subscription.id, flow.id, flow.key, flow.format),
                [theirs.fileno(), ring],
            )

    def tell_running(
        self, flow: Flow, running: bool, stopped_by: frozenset[str], started_by: frozenset[str]
    ) -> None:
        if not flow.remote:  # else it is told where it comes from
            stopped = tuple(sorted(stopped_by))[:MAX_NAMED]
            started = tuple(sorted(started_by))[:MAX_NAMED]
            message = Running(flow.id, running, stopped, started)
            self.sessions[flow.client].send(message)

    def tell_obsolete(self, flow: Flow, by: str) -> None:
        session, successor = self.sessions[flow.client], self._provider_of(by)
        _logger.info("%s: %s takes over from client %s", flow.key, successor, session.client.name)
        session.send(Obsolete(flow.id, successor))
        self.on_obsolete(flow)

    def tell_inconvertible(self, subscription: Subscription, reason: str) -> None:
        _logger.warning("%s", reason)
        message = Inconvertible(subscription.id, reason[:MAX_REASON])
        self.sessions[subscription.client].send(message)

    def target(self, source: FlowFormat, wanted: FlowFormat) -> FlowFormat:
        return self._conversions.plan(source, wanted).target

    def rearranged(self, key: FlowKey) -> None:
        for tell in self.on_rearranged:
            tell(key)

    # To look at

    def listing(self) -> MachineListing:
        """This machine."""
        return msgspec.structs.replace(
            self.describe(),
            pid=os.getpid(),
            memory=self.memory,
            memory_limit=self.options.memory_limit,
            clients=tuple(
                self.describe_client(session.client)
                for session in self.sessions.values()
                if not session.own
            )
            + self.list_launched(),
            flows=tuple(self._census.flows()),
            problem=self.problem,
            waiting=tuple(self._census.waiting()),
        )

    def _provider_of(self, flow_id: str) -> str:
        """Who provides that, for people."""
        flow = self.broker.flow(flow_id)
        if flow is not None and not flow.remote:
            return f"client {self.sessions[flow.client].client.name}"
        machine = self.others.origin_of(flow_id) if self.others is not None else ""
        return f"a client on {machine or 'another machine'}"


def _plain_client(client: ClientInfo) -> ClientListing:
    movable = client.launch is not None and client.launch.movable
    return ClientListing(client.id, client.name, client.pid, client.launch is not None, movable)
