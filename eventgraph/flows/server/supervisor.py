"""Supervisor: starts clients on this machine, and again when they crash; ends them.

A client lives on when its server dies. It comes to the next server with its launch, and that
one looks after it as if it had started it itself. What a launch starts has to connect in time,
else it is ended: it could not be found again.

It is finished if its process exits with 0 after Bye, was to end, or what it provided was taken
over; any other end is a crash. A client that comes back has the same id.
"""

import logging
import signal
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import trio

from eventgraph.flows.errors import FlowOptionError, FlowRefusedError
from eventgraph.flows.listing import ClientListing
from eventgraph.flows.opening import Started
from eventgraph.flows.protocol import ClientInfo, Launch, Leave
from eventgraph.flows.server.broker import Flow
from eventgraph.flows.server.client_process import ClientProcess, find_client, start_client
from eventgraph.flows.server.launched import Launched
from eventgraph.flows.server.life import END_TIME, live
from eventgraph.flows.server.server import FlowServer
from eventgraph.flows.server.session import Session
from eventgraph.flows.worker.report import is_report

MAX_LAUNCHED: Final = 128
MAX_GIVEN_UP: Final = 16  # that are listed; the older are forgotten
CONNECT_TIMEOUT: Final = 30.0  # seconds; importing takes its time on a busy machine
OBSOLETE_TIME: Final = 3.0  # seconds for one that was taken over to end by itself
OUTPUT_PERIOD: Final = 0.5  # seconds between two looks at what clients write

_logger = logging.getLogger(__name__)


class Supervisor:
    """Of one server, which it hooks into.

    Attributes:
        clients: that it looks after, by id.
        on_end: told of each of them that has ended for good.
        log: path of what they and the server write; None: it goes elsewhere.
    """

    def __init__(self, server: FlowServer, *, connect_timeout: float = CONNECT_TIMEOUT) -> None:
        self.clients: dict[str, Launched] = {}
        self.on_end: list[Callable[[Launched], None]] = []
        self.log: Path | None = None
        self._server = server
        self._connect_timeout = connect_timeout
        self._given_up: dict[str, ClientListing] = {}
        self._ended = trio.lowlevel.ParkingLot()
        self._closing = False
        self._nursery: trio.Nursery
        server.on_client.append(self._seen)
        server.on_obsolete = self._obsolete
        server.run_client = self.run_client
        server.end_launched = self._end
        server.list_launched = self._absent
        server.describe_client = self.describe_client

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look after clients, until cancelled; they live on then."""
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            while True:
                await trio.sleep(OUTPUT_PERIOD)
                for client in self.clients.values():
                    if client.process is not None:
                        client.process.output.pass_on()

    # Start

    async def run_client(self, launch: Launch, machine: str = "") -> str:
        """Start a client.

        Args:
            machine: where; empty: here.
        Returns:
            its id.
        Raises:
            FlowRefusedError: it cannot be started; says why.
            FlowOptionError: the launch makes no sense.
        """
        if machine not in ("", self._server.options.machine):
            if self._server.others is None:
                raise FlowRefusedError(
                    f"there is no machine {machine}; there is {self._server.options.machine}"
                )
            return await self._server.others.run_elsewhere(launch, machine)
        client = Launched(launch.id or uuid.uuid4().hex, launch)
        self._check(client)
        self._given_up.pop(client.id, None)
        self.clients[client.id] = client
        try:
            process = await self._start(client)
        except BaseException:
            del self.clients[client.id]
            raise
        _logger.info("%s: started as process %d", client, process.pid)
        client.process = process
        self._nursery.start_soon(self._look_after, client, process)
        return client.id

    def _check(self, client: Launched) -> None:
        if self._closing:
            raise FlowRefusedError("the server ends")
        if len(self.clients) >= MAX_LAUNCHED:
            raise FlowRefusedError(f"{MAX_LAUNCHED} clients were started here; end some")
        if client.id in self.clients or client.id in self._server.sessions:
            raise FlowRefusedError(f"there is a client with the id {client.id} already")

    async def _start(self, client: Launched) -> ClientProcess:
        client.came = client.said_bye = False
        return await start_client(Started(self._server.options, client.id, client.launch))

    def _adopt(self, session: Session, launch: Launch) -> None:
        """One that a server before this has started."""
        if self._closing:
            session.send(Leave("the server ends"))
            return
        info = session.client
        try:
            client = Launched(info.id, launch)
        except FlowOptionError as error:
            _logger.warning("a client's launch makes no sense: %s", error)
            return
        if len(self.clients) >= MAX_LAUNCHED:
            _logger.warning("%s: %d are looked after already", client, MAX_LAUNCHED)
            return
        process = find_client(info.pid, info.id, launch.name)
        if process is None:
            _logger.warning("%s: process %d was not started for it", client, info.pid)
            return
        _logger.info("%s: process %d is looked after from now on", client, info.pid)
        client.process = process
        client.seen(session, True)
        self._given_up.pop(client.id, None)
        self.clients[client.id] = client
        self._nursery.start_soon(self._look_after, client, process)

    # Look after

    def _seen(self, session: Session, here: bool) -> None:
        client = self.clients.get(session.client.id)
        if client is not None:
            client.seen(session, here)
        elif here and session.client.launch is not None and not session.own:
            self._adopt(session, session.client.launch)

    async def _look_after(self, client: Launched, process: ClientProcess | None) -> None:
        while True:
            status = 1 if process is None else await live(client, process, self._connect_timeout)
            if client.is_finished(status):
                _logger.info("%s: ended", client)
                break
            pause = client.respawn.crashed(trio.current_time())
            if pause is None:
                self._give_up(client, status)
                break
            self._say(
                client, logging.WARNING, f"{client.describe_end(status)}, and is started again"
            )
            with trio.move_on_after(pause):
                await client.wait_to_end()
            if client.to_end:
                break
            try:
                process = client.process = await self._start(client)
            except FlowRefusedError as error:
                process = None
                _logger.warning("%s", error)
        del self.clients[client.id]
        self._ended.unpark_all()
        for tell in self.on_end:
            tell(client)

    def _give_up(self, client: Launched, status: int | None) -> None:
        client.gave_up = True
        end = client.describe_end(status)
        problem = f"{end}, and is not started again: that was done {client.respawn}"
        self._say(client, logging.ERROR, problem)
        self._given_up[client.id] = client.list(0)
        while len(self._given_up) > MAX_GIVEN_UP:
            del self._given_up[next(iter(self._given_up))]

    def _say(self, client: Launched, level: int, problem: str) -> None:
        _logger.log(level, "%s: %s", client, problem)
        client.problem = problem if self.log is None else f"{problem}; what it wrote: {self.log}"

    # End

    def _end(self, client_id: str) -> bool:
        if self._given_up.pop(client_id, None) is not None:
            return True
        client = self.clients.get(client_id)
        if client is not None:
            client.end()
        return client is not None

    def _obsolete(self, flow: Flow) -> None:
        client = self.clients.get(flow.client)
        if client is not None and not self._provides(client):
            client.replaced = True
            self._nursery.start_soon(self._end_obsolete, client, client.process)

    async def _end_obsolete(self, client: Launched, process: ClientProcess | None) -> None:
        await trio.sleep(OBSOLETE_TIME)
        if self.clients.get(client.id) is not client or client.process is not process:
            return
        if self._provides(client):
            client.replaced = False
            return
        _logger.warning("%s: was taken over and does not end: it is ended", client)
        client.end(at_once=True)

    def _provides(self, client: Launched) -> bool:
        """Whether there is something of it that was not taken over, a worker's report apart."""
        return any(
            flow.client == client.id and not flow.obsolete and not is_report(flow.key, flow.format)
            for stream in self._server.broker.streams.values()
            for flow in stream.flows.values()
        )

    async def end_all(self) -> None:
        """The server ends: so do they, in bounded time."""
        self._closing = True
        for client in list(self.clients.values()):
            if (session := self._server.sessions.get(client.id)) is not None:
                session.send(Leave("the server ends"))
            client.end()
        with trio.move_on_after(END_TIME):
            while self.clients:
                await self._ended.park()

    async def end_unconnected(self) -> None:
        """Another server has taken the place: end what it could not find, in bounded time.

        By SIGKILL, so that it is a crash to that server, and is started again there, if it has
        come to it meanwhile.
        """
        self._closing = True
        unknown = [client for client in self.clients.values() if not client.came]
        for client in unknown:
            client.end(at_once=True)
            if client.process is not None:
                client.process.signal(signal.SIGKILL)
        with trio.move_on_after(END_TIME):
            while any(client.id in self.clients for client in unknown):
                await self._ended.park()

    # To look at

    def describe_client(self, info: ClientInfo) -> ClientListing:
        """One that is connected."""
        client = self.clients.get(info.id)
        if client is None:
            return ClientListing(info.id, info.name, info.pid)
        return msgspec.structs.replace(client.list(info.pid), name=info.name)

    def _absent(self) -> tuple[ClientListing, ...]:
        clients = [c for c in self.clients.values() if c.id not in self._server.sessions]
        return (
            *(c.list(c.process.pid if c.process is not None else 0) for c in clients),
            *self._given_up.values(),
        )
