"""Peers: what a server has to do with those of other machines, all of it.

It brings in what consumers here want and others provide, and carries out what others want. What
is wanted follows from the broker and the claims, each time that one of both changes.
"""

import ipaddress
import logging
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final
from urllib.parse import urlsplit

import msgspec
import trio

from eventgraph.background import open_background
from eventgraph.flows.authentication.interface import Authentication
from eventgraph.flows.client import FlowClient
from eventgraph.flows.errors import FlowError, FlowOptionError, FlowRefusedError, FlowServerError
from eventgraph.flows.key import FlowKey
from eventgraph.flows.listing import MachineListing
from eventgraph.flows.protocol import Launch
from eventgraph.flows.server.claims import Claims
from eventgraph.flows.server.desk import Desk
from eventgraph.flows.server.exports import Exports
from eventgraph.flows.server.imported import Import
from eventgraph.flows.server.peer import Peer
from eventgraph.flows.server.peer_protocol import MAX_WANTS, VERSION, Carried, Want
from eventgraph.flows.server.records import ClaimRecord, ServerRecord, base_of
from eventgraph.flows.server.server import FlowServer
from eventgraph.pipes.alarm import Alarm
from eventgraph.pipes.binding import advertised, listen
from eventgraph.pipes.errors import TransportError
from eventgraph.pipes.pipes import Pipes, open_pipes
from eventgraph.pipes.transport import Answerer, SocketLimits, Transport
from eventgraph.pipes.transports import open_transport

LINGER: Final = 0.5  # seconds that a flow comes in after nobody wants it, or another takes over
MAX_OFFSETS: Final = 1024  # flows whose time is remembered

_logger = logging.getLogger("eventgraph.flows.server")


class Peers:
    """Made by `open_peers`."""

    def __init__(
        self,
        *,
        nursery: trio.Nursery,
        server: FlowServer,
        client: FlowClient,
        pipes: Pipes,
        transport: Transport,
        authentication: Authentication,
        answerer: Answerer,
        url: str,
    ) -> None:
        options = server.options
        self.id = uuid.uuid4().hex
        self._nursery = nursery
        self._server = server
        self._client = client
        self._pipes = pipes
        self._transport = transport
        self._authentication = authentication
        self._answerer = answerer
        self._keepalive = options.keepalive
        self._peers: dict[str, Peer] = {}
        self._imports: dict[str, Import] = {}
        self._unwanted: dict[str, float] = {}  # imports, since when
        self._offsets: dict[str, int] = {}  # of flows that came in, of late
        self._alarm = Alarm()
        self._unreachable = unreachable(options.registry, url)
        if self._unreachable:
            _logger.warning("%s", self._unreachable)
        self.claims = Claims(
            pipes.registry,
            base_of(options.realm),
            ServerRecord(self.id, options.machine, url, VERSION),
            server.broker,
            options.ttl,
            describe=self._describe,
            on_change=self._alarm.set,
            tell=self._tell,
        )
        self._desk = Desk(authentication, self, nursery.start_soon)
        self._exports = Exports(
            nursery, server.broker, client, pipes, options.keepalive, sealed=self._desk.seals
        )

    def _describe(self, flow_id: str) -> ClaimRecord:
        flow = self._server.broker.flow(flow_id)
        assert flow is not None
        return ClaimRecord(
            flow.id, self.id, self._server.options.machine, flow.rank[0], flow.format, flow.options
        )

    def _tell(self, problem: str) -> None:
        """Of the registry; else of ourselves."""
        found = f"other machines cannot be found: {problem}" if problem else ""
        self._server.problem = found or self._unreachable

    def start(self) -> None:
        """Begin."""
        for run in (self.claims.run, self._answer, self._follow, self._keep_watch):
            self._nursery.start_soon(run)

    async def _answer(self) -> None:
        await self._answerer.serve(self._desk.answer)

    def look(self, key: FlowKey) -> None:
        """Something of that key has changed here."""
        self.claims.look(key)
        self._alarm.set()

    # Bring in

    async def _follow(self) -> None:
        """Make what comes in, and who is asked, true to what is wanted."""
        while True:
            await self._alarm.wait()
            self._meet_peers()
            wanted = self._wanted()
            for flow, (key, record) in wanted.items():
                self._unwanted.pop(flow, None)
                self._bring_in(flow, key, record)
            for flow, brought in list(self._imports.items()):
                if flow not in wanted:
                    self._let_go(flow, brought)
            for peer in self._peers.values():
                peer.demand_soon()

    def _meet_peers(self) -> None:
        known = self.claims.servers
        for id in [id for id in self._peers if id not in known]:
            self._peers.pop(id).scope.cancel()
        for id, record in known.items():
            standing = self._peers.get(id)
            if standing is not None and standing.record == record:
                continue
            if standing is not None:
                standing.scope.cancel()
            peer = self._peers[id] = Peer(
                record,
                self._transport,
                self._authentication,
                server=self.id,
                machine=self._server.options.machine,
                keepalive=self._keepalive,
                wants=partial(self._wants_of, id),
                on_answer=self._alarm.set,
            )
            self._nursery.start_soon(peer.run, name=f"server of {record.machine}")

    def _wanted(self) -> dict[str, tuple[FlowKey, ClaimRecord]]:
        """The flows that are to come in."""
        wanted = {}
        for key, record in self.claims.standing.items():
            if record.server in self._peers and self._server.broker.wanted_from_elsewhere(key):
                wanted[record.flow] = (key, record)
        return wanted

    def _wants_of(self, server: str) -> tuple[Want, ...]:
        """What is wanted of one of the others."""
        wants: list[Want] = []
        for flow, (key, record) in self._wanted().items():
            if record.server == server and len(wants) < MAX_WANTS:
                stopped_by, started_by = self._server.broker.signals(key)
                if not self._arrives(server, flow):
                    started_by = frozenset()  # it would begin before we hear it
                wants.append(Want(key, flow, tuple(stopped_by), tuple(started_by)))
        for flow, brought in self._imports.items():  # those that linger
            if brought.record.server == server and flow in self._unwanted:
                wants.append(Want(brought.key, flow))
        return tuple(wants)

    def _arrives(self, server: str, flow: str) -> bool:
        carried = self._peers[server].carried.get(flow)
        return carried is not None and carried.attached

    def _bring_in(self, flow: str, key: FlowKey, record: ClaimRecord) -> None:
        peer = self._peers[record.server]
        carried = peer.carried.get(flow)
        brought = self._imports.get(flow)
        if carried is None:
            if brought is not None and brought.runs:
                brought.scope.cancel()
            return
        if brought is not None and brought.runs:
            if brought.carried.destination == carried.destination:
                return
            brought.scope.cancel()  # it was begun anew there
        brought = self._imports[flow] = Import(key, record, carried)
        self._nursery.start_soon(self._run_import, flow, brought, peer)

    async def _run_import(self, flow: str, brought: Import, peer: Peer) -> None:
        await brought.run(self._client, self._pipes, self.id, lambda: self._offset_of(flow, peer))
        if self._imports.get(flow) is brought:
            del self._imports[flow]
            self._unwanted.pop(flow, None)

    def _offset_of(self, flow: str, peer: Peer) -> int:
        """Nanoseconds from the clock of a flow to ours, as measured when it first came in."""
        if flow not in self._offsets:
            measured = peer.offset
            self._offsets[flow] = measured.nanoseconds if measured is not None else 0
            if len(self._offsets) > MAX_OFFSETS:
                del self._offsets[next(iter(self._offsets))]
        return self._offsets[flow]

    def _let_go(self, flow: str, brought: Import) -> None:
        """Nobody wants it: end it soon. What takes over from it may not have come yet."""
        since = self._unwanted.setdefault(flow, trio.current_time())
        gone = brought.record.server not in self._peers
        if gone or trio.current_time() - since >= LINGER:
            brought.scope.cancel()

    async def _keep_watch(self) -> None:
        """What follows from the passing of time."""
        while True:
            await trio.sleep(min(LINGER, self._keepalive / 3))
            self._exports.forget_silent()
            if self._unwanted:
                self._alarm.set()

    def rank_for(self, started: int) -> int:
        """When a new provider counts as started: after all that stand, and that stood."""
        return self.claims.rank_for(started)

    def origin_of(self, flow: str) -> str:
        """The machine that a flow comes in from, or is claimed by; empty: nobody knows."""
        brought = self._imports.get(flow)
        if brought is not None:
            return brought.record.machine
        standing = self.claims.standing.values()
        return next((record.machine for record in standing if record.flow == flow), "")

    # What others ask for

    def supply(self, server: str, wants: tuple[Want, ...]) -> tuple[Carried, ...]:
        """Carry these flows to that server, and no others."""
        return self._exports.supply(server, wants)

    def listing(self) -> MachineListing:
        """What is here."""
        return self._server.listing()

    def end_here(self, client: str, reason: str) -> None:
        """Let a client end."""
        self._server.end_here(client, reason)

    async def run_here(self, launch: Launch) -> str:
        """Start a client; its id."""
        if self._server.run_client is None:
            raise FlowRefusedError("this server starts no clients")
        return await self._server.run_client(launch, "")

    # Ask others

    async def look_around(self) -> list[MachineListing]:
        """All other machines; what does not answer is listed with its problem."""
        found: list[MachineListing] = []

        async def look_at(peer: Peer) -> None:
            try:
                machine = await peer.look()
            except (FlowError, TransportError) as error:
                found.append(MachineListing(peer.record.machine, problem=str(error)))
                return
            offset = peer.offset
            found.append(
                msgspec.structs.replace(
                    machine,
                    offset=offset.nanoseconds if offset is not None else 0,
                    uncertainty=offset.uncertainty if offset is not None else 0,
                )
            )

        async with trio.open_nursery() as nursery:
            for peer in list(self._peers.values()):
                nursery.start_soon(look_at, peer)
        return sorted(found, key=lambda machine: machine.name)

    async def run_elsewhere(self, launch: Launch, machine: str) -> str:
        """Start a client on another machine.

        Raises:
            FlowRefusedError: it cannot be started, or there is no such machine.
            FlowServerError: that machine does not answer.
        """
        for peer in self._peers.values():
            if peer.record.machine == machine:
                try:
                    return await peer.start(launch, uuid.uuid4().hex)
                except TransportError as error:
                    raise FlowServerError(f"{machine} does not answer: {error}") from None
        known = ", ".join(sorted(p.record.machine for p in self._peers.values())) or "no other"
        raise FlowRefusedError(f"there is no machine {machine}; there are {known}")

    async def end_elsewhere(self, client: str) -> None:
        """Let a client end, on whichever machine it is.

        Raises:
            FlowRefusedError: it is on none.
        """
        for peer in list(self._peers.values()):
            try:
                await peer.end(client)
            except (FlowError, TransportError):
                continue
            return
        raise FlowRefusedError(f"there is no client with the id {client}")


@asynccontextmanager
async def open_peers(
    server: FlowServer, client: FlowClient, authentication: Authentication
) -> AsyncIterator[Peers]:
    """Find the servers of other machines, and be found.

    Args:
        client: of the server itself.
    Raises:
        FlowOptionError: an authentication that needs TLS, and none.
        PipeError: the registry does not answer, or one cannot listen.
    """
    options = server.options
    if authentication.needs_secure_transport and options.tls is None:
        raise FlowOptionError(
            f"authentication by {authentication.name} between machines needs mutual TLS: "
            "give tls, and a binding with the scheme tls+tcp"
        )
    limits = SocketLimits(max_message_size=1 << 28, keepalive=options.keepalive)
    base = base_of(options.realm)
    async with (
        open_pipes(
            options.registry,
            transport=options.transport,
            binding=options.binding,
            tls=options.tls,
            registry_tls=options.registry_tls,
            prefix=f"{base}/pipes",
            limits=limits,
            ttl=options.ttl,
        ) as pipes,
        open_transport(options.transport, limits, options.tls) as transport,
        open_background() as nursery,
    ):
        answerer = listen(transport.answerer, options.binding)
        url = advertised(answerer.url, options.binding)
        peers = Peers(
            nursery=nursery,
            server=server,
            client=client,
            pipes=pipes,
            transport=transport,
            authentication=authentication,
            answerer=answerer,
            url=url,
        )
        peers.start()
        server.on_rearranged.append(peers.look)
        server.others = peers
        try:
            yield peers
        finally:
            server.on_rearranged.remove(peers.look)
            server.others = None


def unreachable(registry: str, url: str) -> str:
    """Why other hosts that read a URL in the registry cannot come here; empty: they can.

    Args:
        registry: if it is embedded, all "machines" are on this host.
        url: of where this server listens, as it stands there.
    """
    host = urlsplit(url).hostname
    if registry.startswith("embedded:") or host is None:
        return ""
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        return ""  # the name that others know it by
    if not (address.is_loopback or address.is_unspecified):
        return ""
    return (
        f"other hosts cannot reach this machine at {host}: begin the server with an address of "
        "its network (host, interface or advertise)"
    )
