"""What the server program does, from its start to its end."""

import logging
import resource
import signal
from typing import Final

import trio

from eventgraph.background import open_background
from eventgraph.flows.authentication.interface import Authentication
from eventgraph.flows.authentication.opening import open_authentication
from eventgraph.flows.balancing.opening import open_balancer
from eventgraph.flows.client import FlowClient, open_client
from eventgraph.flows.conversion.opening import open_conversions
from eventgraph.flows.errors import FlowError
from eventgraph.flows.place.daemon import Report
from eventgraph.flows.place.directory import RuntimeDirectory
from eventgraph.flows.place.place import Place
from eventgraph.flows.server.balance import Balance
from eventgraph.flows.server.converters import Converters
from eventgraph.flows.server.options import ServerOptions, decode_options
from eventgraph.flows.server.server import FlowServer
from eventgraph.flows.server.supervisor import Supervisor
from eventgraph.pipes.errors import PipeError, RegistryError, TransportError

GLANCE: Final = 1.0  # seconds between two looks whether the place is ours still
JOIN_TIMEOUT: Final = 5.0  # seconds; a server serves its machine without the others, too
JOIN_PAUSE, MAX_JOIN_PAUSE = 0.2, 5.0  # seconds between two tries to join them
LOOKS: Final = 10  # at least so many in the time that it may be idle

_logger = logging.getLogger("eventgraph.flows.server")


def serve(text: str, report: Report) -> int:
    """Be the server that the options say, until there is no need for one; the exit status."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for each renewal of a lease
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # each flow and client has one
    try:
        options = decode_options(text)
        directory = RuntimeDirectory(options.runtime_directory, options.realm, options.own_machine)
        place = directory.occupy()
        if place is None:
            report.yielded()
            return 0
        with place:
            trio.run(_serve, options, place, report)
    except (FlowError, PipeError) as error:
        _logger.error("%s", error)  # noqa: TRY400  # it says what to do; a traceback does not
        report.failed(str(error))
        return 1
    return 0


async def _serve(options: ServerOptions, place: Place, report: Report) -> None:
    authentication = open_authentication(options.authentication)
    server = FlowServer(options, authentication, open_conversions())
    supervisor = Supervisor(server)
    converters = Converters(server, supervisor)
    balancer = open_balancer(options.balancing, options.balancing_options)
    balance = Balance(server, supervisor, balancer)
    async with open_background() as nursery:
        await nursery.start(supervisor.run)
        nursery.start_soon(server.run, place.listener)
        if options.registry:
            await _meet_others(server, authentication, nursery)
        with trio.CancelScope() as scope:
            await nursery.start(_end_by_signal, scope)  # before anybody hears that it is there
            report.ready(place.log)
            supervisor.log = place.log.path
            _logger.info("serving %s on %s in %s", options.realm, options.machine, place.path)
            async with open_background() as launching:
                launching.start_soon(converters.run)
                launching.start_soon(balance.run)
                await _until_useless(server, supervisor, place)
        _logger.info("the server ends")
        if scope.cancelled_caught:
            await supervisor.end_all()
        else:  # the others come to the server that has the place now
            await supervisor.end_unconnected()


async def _meet_others(
    server: FlowServer, authentication: Authentication, nursery: trio.Nursery
) -> None:
    """Join the servers of other machines, if the registry answers; else as soon as it does."""
    from eventgraph.flows.server.peers import open_peers

    joined = trio.Event()

    async def run() -> None:
        pause = JOIN_PAUSE
        while True:
            try:
                async with (
                    open_client(own_client(server, authentication)) as client,
                    open_peers(server, client, authentication) as peers,
                ):
                    await peers.claims.wait_ready()
                    joined.set()
                    await trio.sleep_forever()
            except (RegistryError, TransportError) as error:
                _logger.warning("cannot join other machines: %s; trying again", error)
                server.problem = f"other machines cannot be found: {error}"
            await trio.sleep(pause)
            pause = min(2 * pause, MAX_JOIN_PAUSE)

    nursery.start_soon(run)
    with trio.move_on_after(JOIN_TIMEOUT):
        await joined.wait()


async def _end_by_signal(
    scope: trio.CancelScope, *, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED
) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for _ in signals:
            scope.cancel()


async def _until_useless(server: FlowServer, supervisor: Supervisor, place: Place) -> None:
    """Wait until another server has the place, or nobody has been here for long."""
    idle_timeout = server.options.idle_timeout
    last_client = trio.current_time()
    while place.is_ours():
        place.log.trim()
        connected = any(not session.own for session in server.sessions.values())
        if connected or supervisor.clients or not idle_timeout:
            last_client = trio.current_time()
        elif trio.current_time() - last_client > idle_timeout:
            _logger.info("nobody has been here for %g s", idle_timeout)
            return
        await trio.sleep(min(GLANCE, idle_timeout / LOOKS or GLANCE))
    _logger.warning("the directory is another server's now: this one yields")


class _OwnWay:
    """A client that is a part of the server comes to it without a socket in the directory."""

    def __init__(self, server: FlowServer) -> None:
        self.connect = server.own_connection

    async def replace(self) -> None:
        """It cannot hang without us."""
        await trio.lowlevel.checkpoint()


def own_client(server: FlowServer, authentication: Authentication) -> FlowClient:
    """The server's part in the flows of its own clients, to carry them out and bring others in."""
    return FlowClient(
        _OwnWay(server), authentication, name="server", keepalive=server.options.keepalive
    )
